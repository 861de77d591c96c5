"""The machine's clock and its randomness: the only place that asks either."""

import random
import secrets
import threading
import time

from bide.model.ids import ExecutionId, compose_execution_id


def system_clock() -> int:
    """Unix milliseconds by the wall clock."""
    return time.time_ns() // 1_000_000


class ExecutionIds:
    """Makes UUIDv7 ids that rise within one process, also within one millisecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._sequence = 0
        # Seeded by the machine, one for each that makes ids: they have to differ between processes
        # and are no secrets, and asking the machine each time costs more than all the rest here.
        self._random = random.Random()

    def __call__(self) -> ExecutionId:
        """The next id."""
        with self._lock:
            now = max(system_clock(), self._last_ms)
            self._sequence = self._sequence + 1 if now == self._last_ms else 0
            if self._sequence > 0xFFF:  # the millisecond is full: borrow from the next one
                now, self._sequence = now + 1, 0
            self._last_ms = now
            return compose_execution_id(now, self._sequence, self._random.getrandbits(50))


def worker_name() -> str:
    """A short name for a worker, new at each start."""
    return secrets.token_hex(4)
