"""Files that hold keys: read again when they change, written whole and for their owner's eyes."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from bide.errors import BideError, DefinitionError

T = TypeVar("T")

log = logging.getLogger(__name__)

#: How often a file is looked at, at most; a rotation is known everywhere after so long.
_LOOK_EVERY_S: Final = 1.0
_BYTES_MAX: Final = 4 * 1024 * 1024


class Watched(Generic[T]):
    """What a file says, as of a second ago: a rotation needs no restart.

    A file that cannot be read any more, or makes no sense, changes nothing but the log: what was
    read last stays good, so that a slip of an editor locks nobody out.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes, str], T],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file.

        Args:
            path: the file.
            parse: makes a value of its bytes; its second argument names the file in messages.
            clock: seconds, in which it is decided whether to look again.

        Raises:
            DefinitionError: it cannot be read, or `parse` refuses it.
        """
        self.path = path
        self._parse = parse
        self._clock = clock
        self._looked = clock()
        self._state = _state(path)
        self._value = parse(read_key_file(path), str(path))

    def current(self) -> T:
        """What the file says."""
        now = self._clock()
        if now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            self._look()
        return self._value

    def _look(self) -> None:
        state = _state(self.path)
        if state == self._state:
            return
        self._state = state
        try:
            self._value = self._parse(read_key_file(self.path), str(self.path))
            log.info("read %s again: it has changed", self.path)
        except BideError as error:
            log.error("what was read before stays good: %s", error)  # noqa: TRY400 - no trace: it may quote the file


def read_key_file(path: Path) -> bytes:
    """Read a file of keys.

    Raises:
        DefinitionError: it cannot be read, or is no such file by its size.
    """
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise DefinitionError(f"{path} is no file of keys: it has over {_BYTES_MAX:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise DefinitionError(f"cannot read {path}: {error.strerror}") from None


def write_key_file(path: Path, text: bytes) -> None:
    """Write a file of keys, readable by its owner alone; the old one stays until it is whole.

    Raises:
        DefinitionError: it cannot be written; nothing has changed.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise DefinitionError(f"cannot write {path}: {error.strerror}") from None


def is_private(path: Path) -> bool:
    """Whether nobody but its owner may read a file; True where it is not there."""
    try:
        return path.stat().st_mode & 0o077 == 0
    except OSError:
        return True


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
