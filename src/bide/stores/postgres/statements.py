"""Named SQL statements from files, and several of them as one statement.

A line `-- name: words` opens a statement. `{table alias}` stands for that table's columns in the
order of its record (`bide.stores.rows`), each with the alias before it; an entry after a bar names
what stands in a column's place: `{interactions i|request=null}`, with `*` for all that are not named.
`{table}` stands for the bare names.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from bide.stores.rows import COLUMNS

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_TYPE = re.compile(r"::bide\.(\w+)\[\]")
_COLUMNS = re.compile(r"\{(\w+)(?: (\w+))?(?:\|([^}]+))?\}")


def load(file: str) -> Mapping[str, str]:
    """The statements of a file in this package, by name."""
    source = resources.files("bide.stores.postgres").joinpath(file).read_text("utf-8")
    parts = _NAME.split(source)[1:]
    return {
        name: _COLUMNS.sub(_columns, text).strip()
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def _columns(match: re.Match[str]) -> str:
    table, alias, instead = match.groups()
    if alias is None:
        return ", ".join(COLUMNS[table])
    others = dict(part.strip().split("=") for part in instead.split(",")) if instead else {}
    rest = others.get("*")
    return ", ".join(others.get(name, rest or f"{alias}.{name}") for name in COLUMNS[table])


class Batch(NamedTuple):
    """A statement by its name, and the rows that it is for."""

    name: str
    rows: Sequence[Sequence[Any]]


class Batches:
    """Statements of one file that a commit runs together: one round trip, whatever it writes."""

    def __init__(self, file: str) -> None:
        """Read the file; each statement in it takes rows as $1, and returns one for each written."""
        self.texts = load(file)
        self.names = tuple(self.texts)
        self.combined = cache(self._combined)

    def _combined(self, names: tuple[str, ...]) -> str:
        """One statement for all of `names`, which gives how many rows each of them wrote.

        Its parameters are the rows of each, in the order of the names.
        """
        parts = [
            f"{name} as (\n{self.texts[name].replace('$1', f'${number}')}\n)"
            for number, name in enumerate(names, 1)
        ]
        counts = ", ".join(f"(select count(*) from {name})" for name in names)
        return f"with {', '.join(parts)} select {counts}"


def types_used(texts: Iterable[str]) -> str:
    """One statement that uses every composite type that `texts` use.

    The driver asks the server about each type that it meets for the first time on a connection;
    prepared first, this makes one question of them all.
    """
    names = sorted({name for text in texts for name in _TYPE.findall(text)})
    return "select " + ", ".join(f"${n}::bide.{name}[]" for n, name in enumerate(names, 1))
