"""The command line: `bide`. Commands translate and show; they hold no rule of the model."""


def main() -> None:
    """Run `bide` with the arguments of this process, and leave with its exit code."""
    import sys

    from bide.cli.root import run

    sys.exit(run(sys.argv[1:]))
