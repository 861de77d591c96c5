"""Migrations: numbered files of SQL beside each store, forwards only."""

import re
from importlib import resources

_NAME = re.compile(r"(\d{4})_\w+\.sql")


def migrations_in(package: str) -> list[tuple[int, str]]:
    """The migrations in a package of this release, in order: number and text."""
    found = [
        (int(match[1]), file.read_text("utf-8"))
        for file in resources.files(package).iterdir()
        if (match := _NAME.fullmatch(file.name))
    ]
    return sorted(found)
