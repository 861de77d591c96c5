"""Opening the file: refuse what would lose data, before anything is written."""

# apsw's stubs name a type that pyright cannot find, so all that touches a binding is half unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import os
from pathlib import Path

import apsw

from bide.errors import StoreUnavailable
from bide.spi.store import Schema
from bide.stores.migrating import migrations_in

#: How long a statement waits for another process's commit; the turnstile keeps it far below.
BUSY_TIMEOUT_MS = 10_000
_CACHE_STATEMENTS = 512
_WAL_PAGES = 4_000
_FIXED = (3, 51, 3)
_FIXED_BEFORE = ((3, 50, 7), (3, 44, 6))


def check_version(version: str | None = None) -> None:
    """Refuse a SQLite that can lose committed writes with two connections in WAL mode.

    The WAL-reset bug was fixed in 3.51.3, 3.50.7 and 3.44.6.
    """
    text = version or apsw.sqlite_lib_version()
    number = tuple(int(part) for part in text.split("."))[:3]
    if number >= _FIXED or any(
        number[:2] == fixed[:2] and number >= fixed for fixed in _FIXED_BEFORE
    ):
        return
    raise StoreUnavailable(
        f"SQLite {text} can lose committed writes (the WAL-reset bug, fixed in 3.51.3)."
        " Install the apsw wheel from the package registry: pip install -U apsw"
    )


def open_writer(path: str) -> apsw.Connection:
    """Open for writing: create the file if it is absent, check it, bring its tables up to date."""
    check_version()
    folder = Path(path).parent
    if not folder.is_dir():
        raise StoreUnavailable(f"there is no folder {folder} for the database {path}")
    try:
        db = _open(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        db.execute("pragma foreign_keys = on")  # of users' tables: Bide's have none
        db.execute(f"pragma wal_autocheckpoint = {_WAL_PAGES}")
        _migrate(db)
    except apsw.Error as error:
        raise explained(error, path) from error
    return db


def open_reader(path: str) -> apsw.Connection:
    """Open for reading only."""
    try:
        return _open(path, apsw.SQLITE_OPEN_READONLY)
    except apsw.Error as error:
        raise explained(error, path) from error


def _open(path: str, flags: int) -> apsw.Connection:
    # Each connection has one thread that uses it, so SQLite need not lock it at every call.
    flags |= apsw.SQLITE_OPEN_NOMUTEX
    db = apsw.Connection(path, flags=flags, statementcachesize=_CACHE_STATEMENTS)
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    db.execute("pragma cache_size = -65536")
    return db


def explained(error: Exception, path: str) -> StoreUnavailable:
    """Say in a sentence what is wrong with the file and what to do about it."""
    match error:
        case apsw.NotADBError() | apsw.CorruptError():
            what = "is not a sound SQLite database; restore it from a backup"
        case apsw.ReadOnlyError():
            what = "cannot be written: the file, its folder or the disk is read-only"
        case apsw.CantOpenError():
            reason = "is a folder" if os.path.isdir(path) else "cannot be opened"  # noqa: PTH112 - a plain path
            what = f"{reason}; check that the path is right and may be written"
        case apsw.FullError():
            what = "cannot grow: the disk is full; nothing was lost, free some space"
        case apsw.BusyError():
            what = f"was locked by another process for over {BUSY_TIMEOUT_MS // 1000} s"
        case apsw.PermissionsError() | apsw.AuthError():
            what = "may not be accessed"
        case _:
            what = f"failed: {error}"
    return StoreUnavailable(f"the database {path} {what}")


def schema_version(db: apsw.Connection) -> int:
    """Number of the last migration made."""
    return int(db.pragma("user_version") or 0)


def schema_of(path: str) -> Schema:
    """Which tables are in the file at `path`; none when there is no file."""
    known = migrations()[-1][0]
    if not Path(path).exists():
        return Schema(present=0, needed=known)
    db = open_reader(path)
    try:
        return Schema(present=schema_version(db), needed=known)
    except apsw.Error as error:
        raise explained(error, path) from error
    finally:
        db.close()


def migrations() -> list[tuple[int, str]]:
    """All migrations of this release, in order."""
    return migrations_in(f"{__package__}.migrations")


def _migrate(db: apsw.Connection) -> None:
    known = migrations()
    if schema_version(db) == known[-1][0]:
        return
    db.execute("begin immediate")
    try:
        present = schema_version(db)
        if present > known[-1][0]:
            raise StoreUnavailable(
                f"the database was written by a newer release (schema {present}, this one knows"
                f" {known[-1][0]}); upgrade bide"
            )
        for number, text in known:
            if number > present:
                db.execute(text)
                db.execute(f"pragma user_version = {number}")
    except BaseException:
        db.execute("rollback")
        raise
    db.execute("commit")
