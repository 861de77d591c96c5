"""Named SQL statements, and rows of any number with few of them.

Rows go in groups and not one by one: SQLite's driver lets go of the interpreter's lock at every
step, and with a busy event loop beside it each step waits to get it back. They go as a plain list of
values: through a sub-query, which could have cut off the padding of a group, a row costs twice as
much (`docs/decisions/0006-second-look.md`).
"""

# apsw's stubs name a type that pyright cannot find, so all that touches a binding is half unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from itertools import chain
from typing import Any

import apsw

#: How many rows one statement takes: as many of the first as there are, then of the next. So few
#: texts for so many statements all stay prepared; none is larger than the driver keeps (16 KiB).
_GROUPS = (64, 8, 1)

_NAME = re.compile(r"^-- name: (\w+)(?: \((\d+)\))?$", re.MULTILINE)


class Statement:
    """One named statement; with `columns`, one over rows of that many columns."""

    __slots__ = ("_texts", "text")

    def __init__(self, text: str, columns: int) -> None:
        self.text = text
        row = f"({','.join('?' * columns)})"
        self._texts = {size: text.replace(":rows", ",".join([row] * size)) for size in _GROUPS}

    def over(self, rows: int) -> str:
        """The text for that many rows, a size of `_GROUPS`."""
        return self._texts[rows]


def source() -> str:
    """The file that holds the statements."""
    return resources.files("bide.stores.sqlite").joinpath("queries.sql").read_text("utf-8")


def _load() -> dict[str, Statement]:
    parts = _NAME.split(source())[1:]
    return {
        name: Statement(text.strip(), int(columns or 0))
        for name, columns, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


@cache
def statement(name: str) -> Statement:
    """The statement of that name."""
    return _load()[name]


def fetch(db: apsw.Connection, name: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement and give its rows."""
    return db.execute(statement(name).text, parameters).fetchall()


def fetch_one(
    db: apsw.Connection, name: str, parameters: Sequence[Any] = ()
) -> tuple[Any, ...] | None:
    """Run a statement and give its first row."""
    rows = fetch(db, name, parameters)
    return rows[0] if rows else None


def for_rows(
    db: apsw.Connection, name: str, rows: Sequence[Sequence[Any]]
) -> Iterable[tuple[Any, ...]]:
    """Run a statement over rows; gives what it returns."""
    what = statement(name)
    found: list[tuple[Any, ...]] = []
    start = 0
    for size in _GROUPS:
        stop = len(rows) - (len(rows) - start) % size
        if stop > start:
            groups = [tuple(chain(*rows[at : at + size])) for at in range(start, stop, size)]
            found += db.executemany(what.over(size), groups).fetchall()
            start = stop
    return found


def change_rows(db: apsw.Connection, name: str, rows: Sequence[Sequence[Any]]) -> int:
    """Run an update for each row; gives how many it changed.

    Row by row: `update ... from` gathers its rows in a table of its own first, which costs four
    times what the update does.
    """
    before = db.total_changes()
    db.executemany(statement(name).text, rows)
    return db.total_changes() - before
