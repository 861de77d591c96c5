"""Named SQL statements from files, and several of them over rows of any number as one statement.

A line `-- name: words` opens a statement. `{table alias}` stands for that table's columns in the
order of its record (`bide.stores.rows`), each with the alias before it; an entry after a bar names
what stands in a column's place: `{interactions i|request=null}`.

A line `-- rows: name type, ...` below it says which columns its rows have. `:rows` stands for those
rows as a relation `n`, which comes as one array for each column, and `:columns` for their names.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from bide.stores.rows import COLUMNS

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROWS = re.compile(r"^-- rows: (.+(?:\n--   .+)*)$", re.MULTILINE)
_COLUMNS = re.compile(r"\{(\w+) (\w+)(?:\|([^}]+))?\}")


def load(file: str) -> Mapping[str, str]:
    """The statements of a file in this package, by name; their rows are parameters from $1 on."""
    return {name: _over(text, 1) for name, text in _read(file).items()}


def _read(file: str) -> dict[str, str]:
    source = resources.files("bide.stores.postgres").joinpath(file).read_text("utf-8")
    parts = _NAME.split(source)[1:]
    return {
        name: _COLUMNS.sub(_columns, text).strip()
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def _columns(match: re.Match[str]) -> str:
    table, alias, instead = match.groups()
    others = dict(part.strip().split("=") for part in instead.split(",")) if instead else {}
    return ", ".join(others.get(column, f"{alias}.{column}") for column in COLUMNS[table])


def _declared(text: str) -> list[tuple[str, str]]:
    """Names and types of a statement's columns."""
    match = _ROWS.search(text)
    if match is None:
        return []
    words = match[1].replace("\n--", " ").split(",")
    return [(name, type_) for name, type_ in (word.split() for word in words)]


def _over(text: str, first: int) -> str:
    """The statement with its rows as parameters from `first` on."""
    columns = _declared(text)
    arrays = ", ".join(f"${n}::{type_}[]" for n, (_, type_) in enumerate(columns, first))
    names = ", ".join(name for name, _ in columns)
    text = _ROWS.sub("", text).strip()
    return text.replace(":rows", f"unnest({arrays}) n ({names})").replace(":columns", names)


class Batch(NamedTuple):
    """A statement by its name, and the rows that it is for."""

    name: str
    rows: Sequence[Sequence[Any]]


class Batches:
    """Statements of one file that a commit runs together: one round trip, whatever it writes."""

    def __init__(self, file: str) -> None:
        """Read the file; each statement in it returns a row for each that it wrote."""
        self._texts = _read(file)
        self.names = tuple(self._texts)
        self.combined = cache(self._combined)

    def _combined(self, names: tuple[str, ...]) -> str:
        """One statement for all of `names`, which gives how many rows each of them wrote."""
        parts: list[str] = []
        first = 1
        for name in names:
            parts.append(f"{name} as (\n{_over(self._texts[name], first)}\n)")
            first += len(_declared(self._texts[name]))
        counts = ", ".join(f"(select count(*) from {name})" for name in names)
        return f"with {', '.join(parts)} select {counts}"


def columns_of(batches: Sequence[Batch]) -> list[Sequence[Any]]:
    """The rows of all batches column by column, as the combined statement takes them."""
    return [column for batch in batches for column in zip(*batch.rows, strict=True)]
