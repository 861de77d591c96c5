"""Named SQL statements from files.

A line `-- name: words` opens a statement. `{table alias}` stands for that table's columns in the
order of its record (`bide.stores.rows`), each with the alias before it; an entry after a bar names
what stands in a column's place: `{interactions i|request=null}`.
"""

import re
from collections.abc import Mapping
from importlib import resources

from bide.stores.rows import COLUMNS

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COLUMNS = re.compile(r"\{(\w+) (\w+)(?:\|([^}]+))?\}")


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
    others = dict(part.strip().split("=") for part in instead.split(",")) if instead else {}
    return ", ".join(others.get(column, f"{alias}.{column}") for column in COLUMNS[table])
