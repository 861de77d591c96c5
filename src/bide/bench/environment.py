"""Where a figure was measured: figures of two machines are not to be compared."""

import os
import platform
from pathlib import Path

import apsw


def environment() -> str:
    """One line: cores, Python, SQLite, file system."""
    cores = os.cpu_count() or 1
    shown = "1 core" if cores == 1 else f"{cores} cores"
    return (
        f"{shown}, Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()},"
        f" {file_system(Path.cwd())}, {platform.system()} {platform.machine()}"
    )


def file_system(path: Path) -> str:
    """The type of the file system that `path` lies on, where the system tells."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown file system"
    best = ("", "unknown file system")
    for line in mounts:
        _, mounted_at, kind, *_ = line.split()
        if path.is_relative_to(mounted_at) and len(mounted_at) >= len(best[0]):
            best = (mounted_at, kind)
    return best[1]
