"""What a store's address says about files, before anything is opened."""

from pathlib import Path

from bide import App
from bide.cli.complaints import CliError

_SQLITE = "sqlite:///"


def refuse_missing(app: App) -> None:
    """Refuse to look into a database file that is not there, since opening it would make one."""
    path = file_of(app.store)
    if path is not None and not path.exists():
        raise CliError(
            f"there is no database at {path.absolute()}; name another with --store, or make this"
            " one with bide migrate"
        )


def file_of(url: str) -> Path | None:
    """The file of a SQLite address, else None."""
    if not url.startswith(_SQLITE):
        return None
    return Path(url.removeprefix(_SQLITE).partition("?")[0])
