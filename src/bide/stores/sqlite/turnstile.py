"""Processes take turns at writing, so that none waits long behind one that never stops.

SQLite's own lock is taken by whoever asks at the right moment: a process that commits again and
again can starve the others for seconds. Here a process holds `next` while it waits for `turn`, and
whoever has just written must queue for `next` behind it. The locks are advisory and the system
releases them with a process that dies.
"""

import fcntl
import os
from types import TracebackType


class Turnstile:
    """Two lock files beside the database, used as a context manager around each transaction."""

    def __init__(self, path: str) -> None:
        """Open the lock files of the database at `path`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._next = os.open(f"{path}-next", flags, 0o644)
        self._turn = os.open(f"{path}-turn", flags, 0o644)

    def __enter__(self) -> None:
        """Wait for this process's turn."""
        fcntl.flock(self._next, fcntl.LOCK_EX)
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        fcntl.flock(self._next, fcntl.LOCK_UN)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the next process write."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock files."""
        os.close(self._next)
        os.close(self._turn)
