"""The command line: `bide`. Commands translate and show; they hold no rule of the model."""


def main() -> None:
    """Run `bide` with the arguments of this process, and leave with its exit code."""
    import signal
    import sys

    from bide.cli.complaints import TERMINATED
    from bide.cli.root import run

    def leave(*_: object) -> None:
        sys.exit(TERMINATED)

    signal.signal(signal.SIGTERM, leave)  # so that whatever was opened is closed
    sys.exit(run(sys.argv[1:]))
