"""Makes every project that `bide new` can make, as a user does, and runs its tests.

python -m scripts.projects           each in a new folder with an environment of its own: the wheel is
                                     built, installed and asked for the project, then `make test`
python -m scripts.projects inbox     those of one carrier alone

pip takes what it needs from wherever it is told to; the wheel comes from a folder (PIP_FIND_LINKS).
"""

import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping
from pathlib import Path

from bide.scaffold.choices import CARRIERS
from scripts.release import build


def main(carriers: list[str]) -> int:
    """Make and test them; give the exit code."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="bide-projects-") as folder:
        place = Path(folder)
        wheel = build(place / "dist")
        maker = _installed(place, wheel)
        links = f"{wheel.parent} {os.environ.get('PIP_FIND_LINKS', '')}".strip()
        for carrier in carriers or CARRIERS:
            for flags in ((), ("--yaml",)):
                name = f"shop-{carrier}{'-yaml' if flags else ''}"
                _run(place, [maker, "new", name, "--via", carrier, *flags])
                began = time.monotonic()
                output = _run(place / name, ["make", "test"], {"PIP_FIND_LINKS": links})
                warned = "warning" in output.lower()
                failed += warned
                last = output.strip().splitlines()[-1]
                told = f"{last}{', with a warning' if warned else ''}"
                print(f"{name:20} {told} ({time.monotonic() - began:.0f} s with its installation)")
    return int(failed > 0)


def _installed(place: Path, wheel: Path) -> Path:
    """Install the wheel alone, without any extra, to make projects with."""
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / "bin" / "python"
    _run(place, [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel])
    return python.with_name("bide")


def _run(where: Path, command: list[str | Path], more: Mapping[str, str] | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=where, env={**environment, **(more or {})},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} in {where.name}:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
