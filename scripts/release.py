"""Builds what would be published, and installs it as a user does.

python -m scripts.release            wheel and source archive into dist/; the wheel from the archive
python -m scripts.release --install  then, for each extra alone, for none and for all: a new
                                     environment outside the checkout, in which a pipeline runs and
                                     what the extra is for can be imported
"""

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: What an extra is for: it must be importable with that extra, and say which one without it.
MODULES = {
    "jwt": "bide.security.bearer",
    "kafka": "bide.transports.kafka.transport",
    "postgres": "bide.stores.postgres.store",
    "sqlalchemy": "bide.stores.postgres.sessions",
    "telemetry": "bide.telemetry.metrics, bide.telemetry.traces",
    "webhook": "bide.transports.webhook",
    "yaml": "yaml",
}
HELLO = """\
import asyncio
from bide import App, Await, Inbox, Pipeline

approve = Await("Ship it?", str, bool, via=Inbox(), timeout="1d")
hello = Pipeline("hello", str).wait(approve)

async def main() -> None:
    async with App(hello, store="sqlite:///hello.db").running() as app:
        execution = await app.submit(hello, "v2")
        [question] = await execution.parked(approve, timeout="30s")
        await app.complete(question, True, actor="ada")
        assert await execution.result(timeout="30s") is True

asyncio.run(main())
"""


def build(target: Path) -> Path:
    """Build the source archive, and the wheel from what is in it; gives the wheel."""
    hatch = ("-m", "hatchling", "build", "-t", "sdist", "-d", target.resolve())
    _run(ROOT, sys.executable, *hatch)
    pip = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", target.resolve())
    _run(target, sys.executable, *pip, next(target.glob("bide-*.tar.gz")).resolve())
    return next(target.glob("bide-*.whl"))


def extras() -> list[str]:
    """The extras that are declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return sorted(project["project"]["optional-dependencies"])


def install(wheel: Path, extra: str | None) -> None:
    """Install it with that extra alone, and use it.

    Raises:
        subprocess.CalledProcessError: it cannot be installed, or does not run.
    """
    with tempfile.TemporaryDirectory(prefix="bide-release-") as folder:
        place = Path(folder)
        venv.create(place / "venv", with_pip=True)
        python = place / "venv" / "bin" / "python"
        wanted = f"{wheel}[{extra}]" if extra else str(wheel)
        _run(place, python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wanted)
        _run(place, python, "-W", "error", "-c", HELLO)
        _run(place, place / "venv" / "bin" / "bide", "--version")
        modules = MODULES.values() if extra == "all" else [MODULES[extra]] if extra else []
        for names in modules:
            _run(place, python, "-c", f"import {names}")


def _run(where: Path, *command: str | Path) -> None:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        done.check_returncode()


def main(arguments: list[str]) -> int:
    """Build, and install if asked to."""
    wheel = build(ROOT / "dist")
    print(wheel.relative_to(ROOT))
    if arguments == ["--install"]:
        for extra in (None, *extras()):
            install(wheel, extra)
            print(f"  bide[{extra}] installs and runs" if extra else "  bide installs and runs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
