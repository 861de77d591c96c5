"""Where a simulation lives, and how it keeps quiet."""

import logging
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager

#: Linux's folder in memory.
_MEMORY = "/dev/shm"  # noqa: S108 - a folder with a name of its own is made there
#: Who says so in a log when its process's store is gone.
_WHO_COMPLAINS = (
    "bide.runtime.committer", "bide.runtime.worker", "bide.runtime.dispatcher", "bide.step",
)  # fmt: skip


def quick_folder() -> str | None:
    """Where files are written without waiting for a disk, if there is such a place: what has to
    survive here is the end of a process, and no power cut.
    """
    return _MEMORY if os.access(_MEMORY, os.W_OK) else None


@contextmanager
def muted(is_dead: Callable[[], bool]) -> Generator[None]:
    """Let a process that has died log nothing: that its store is gone is no news."""

    def is_said(_: logging.LogRecord) -> bool:
        return not is_dead()

    loggers = [logging.getLogger(name) for name in _WHO_COMPLAINS]
    for logger in loggers:
        logger.addFilter(is_said)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_said)
