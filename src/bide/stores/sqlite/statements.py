"""Named SQL statements, and rows of any number as one statement.

One statement for a whole batch and not one a row: SQLite's driver lets go of the interpreter's
lock at every step, and with a busy event loop beside it each step waits to get it back. A batch of
250 rows took eight times as long row by row (see `docs/decisions/0003-sqlite.md`).
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

#: Rows of one statement at most. Larger texts are not kept prepared by the driver (16 KiB).
ROWS_MAX = 256

_NAME = re.compile(r"^-- name: (\w+)(?: \((\d+)\))?$", re.MULTILINE)


class Statement:
    """One named statement; with `columns`, one over rows of that many columns."""

    __slots__ = ("_row", "_texts", "columns", "name", "text")

    def __init__(self, name: str, text: str, columns: int) -> None:
        self.name = name
        self.text = text
        self.columns = columns
        self._row = f"({', '.join('?' * columns)})"
        self._texts: dict[int, str] = {}

    def padded(self, size: int) -> str:
        """The text for `size` rows, a power of two."""
        text = self._texts.get(size)
        if text is None:
            text = self._texts[size] = self.text.replace(":rows", ",".join([self._row] * size))
        return text


def _load() -> dict[str, Statement]:
    source = resources.files("bide.stores.sqlite").joinpath("queries.sql").read_text("utf-8")
    parts = _NAME.split(source)[1:]
    return {
        name: Statement(name, text.strip(), int(columns or 0))
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
    for start in range(0, len(rows), ROWS_MAX):
        chunk = rows[start : start + ROWS_MAX]
        size = 1 << (len(chunk) - 1).bit_length()
        flat = list(chain.from_iterable(chunk))
        flat.extend(chain.from_iterable([chunk[-1]] * (size - len(chunk))))
        flat.append(len(chunk))
        found += db.execute(what.padded(size), flat).fetchall()
    return found


def change_rows(db: apsw.Connection, name: str, rows: Sequence[Sequence[Any]]) -> int:
    """Run an update for each row; gives how many it changed.

    Row by row: `update ... from` gathers its rows in a table of its own first, which costs four
    times what the update does.
    """
    before = db.total_changes()
    db.executemany(statement(name).text, rows)
    return db.total_changes() - before
