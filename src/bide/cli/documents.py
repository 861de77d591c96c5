"""Reading what a user gives: one JSON document, or many as NDJSON (one a line).

Standard input is taken in before anything is opened, into a file of its own when it is long, so
that a slow sender holds no store and an interrupt is heard.
"""

import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bide.cli.complaints import CliError
from bide.cli.output import remark
from bide.planning.json_limits import MalformedJson, strict_loads

_SPOOLED_BYTES = 8 * 1024 * 1024
_LINE_SUFFIXES = (".ndjson", ".jsonl")


class Line(NamedTuple):
    """One line of NDJSON: its number from 1, and its value or what is wrong with it."""

    number: int
    value: object
    problem: str | None


@contextmanager
def opened(name: str) -> Generator[BinaryIO]:
    """Open the file of that name, or all of standard input for "-"."""
    if name != "-":
        with _file(name) as file:
            yield file
        return
    if sys.stdin.isatty():
        remark("reading JSON from the terminal; end it with Ctrl-D")
    with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        spool.seek(0)
        yield spool  # type: ignore[misc]  # it reads as a binary file does


def _file(name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise CliError(f"{name}: {error.strerror}") from error


def is_many(file: BinaryIO, name: str, bytes_max: int) -> bool:
    """Whether the file holds many documents: its first line is one, and more lines follow."""
    if name.endswith(_LINE_SUFFIXES):
        return True
    try:
        first = next(_lines(file, bytes_max), None)
        if first is None or len(first[1]) > bytes_max:
            return False
        try:
            strict_loads(first[1])
        except MalformedJson:
            return False
        return next(_lines(file, bytes_max), None) is not None
    finally:
        file.seek(0)


def read_document(file: BinaryIO, name: str, bytes_max: int) -> object:
    """Read the one JSON document of a file."""
    try:
        data = file.read(bytes_max + 1)
    except OSError as error:
        raise CliError(f"{name}: {error.strerror}") from error
    shown = "standard input" if name == "-" else name
    if len(data) > bytes_max:
        raise CliError(
            f"{shown} has more than {bytes_max:,} bytes (BIDE_HTTP_MAX_BODY_BYTES); many documents"
            " go one a line, as NDJSON"
        )
    if not data.strip():
        raise CliError(f"{shown} is empty; JSON is wanted")
    try:
        return strict_loads(data)
    except MalformedJson as error:
        raise CliError(f"{shown} is {_problem(error)}") from error


def read_lines(file: BinaryIO, bytes_max: int) -> Iterator[Line]:
    """Read NDJSON; a line that cannot be read is given with its problem, and reading goes on."""
    for number, data in _lines(file, bytes_max):
        if len(data) > bytes_max:
            problem = f"more than {bytes_max:,} bytes (BIDE_HTTP_MAX_BODY_BYTES)"
            yield Line(number, None, problem)
            continue
        try:
            yield Line(number, strict_loads(data), None)
        except MalformedJson as error:
            yield Line(number, None, str(error))


def _lines(file: BinaryIO, bytes_max: int) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers; what is too long is cut but counted as one."""
    number = 0
    while data := file.readline(bytes_max + 2):
        number += 1
        rest = data
        while len(rest) == bytes_max + 2 and not rest.endswith(b"\n"):
            rest = file.readline(bytes_max + 2)
        stripped = data.strip()
        if stripped:
            yield number, stripped


def _problem(error: MalformedJson) -> str:
    said = str(error)
    return said if said.startswith("not ") else f"not JSON that is taken: {said}"
