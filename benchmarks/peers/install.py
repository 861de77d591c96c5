"""An environment of its own for each peer, made from its locked requirements."""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = Path(__file__).parent / "requirements"
CACHE = ROOT / ".cache" / "peers"
_PATIENCE_S = 600.0


class NotInstalled(Exception):
    """A peer cannot be had here; the message says why."""


def install(peer: str) -> Path:
    """Make the peer's environment unless it is there already; give its Python.

    Raises:
        NotInstalled: its packages cannot be had, or a tool that fetches them is missing.
    """
    home, python = CACHE / peer, CACHE / peer / "bin" / "python"
    stamp, locked = home / "installed", _digest(peer)
    if stamp.exists() and stamp.read_text() == locked:
        return python
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(home)], ROOT)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "--requirement", str(LOCKS / f"{peer}.txt")], ROOT)
    if _server(peer).exists():
        shutil.copytree(_server(peer), home, dirs_exist_ok=True)
        # The scripts of those packages report to others that they were installed.
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], home)
    stamp.write_text(locked)
    return python


def version(peer: str) -> str:
    """The version that is locked: of the server, where there is one, else of the first package."""
    if _server(peer).exists():
        [found] = re.findall(r'-server": "(.+)"', (_server(peer) / "package.json").read_text())
    else:
        asked_first = (LOCKS / f"{peer}.in").read_text().split()[0]
        [found] = re.findall(rf"^{asked_first}==(\S+)", _lock(peer).read_text(), re.MULTILINE)
    return str(found)


def _lock(peer: str) -> Path:
    return LOCKS / f"{peer}.txt"


def _server(peer: str) -> Path:
    """Where the packages of a server are locked that comes from npm."""
    return LOCKS / f"{peer}-server"


def _digest(peer: str) -> str:
    """What the environment was made from: another lock makes another one."""
    files = [_lock(peer), *sorted(_server(peer).glob("*.json"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=_PATIENCE_S
        )
    except FileNotFoundError:
        raise NotInstalled(f"{command[0]} is not on this machine") from None
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"{command[0]} took more than {_PATIENCE_S:.0f} s") from None
    except subprocess.CalledProcessError as error:
        said = [line for line in (error.stderr + error.stdout).splitlines() if line.strip()]
        reasons = [line for line in said if "error" in line.lower()] or said or ["no reason given"]
        raise NotInstalled(reasons[0].strip()) from None
