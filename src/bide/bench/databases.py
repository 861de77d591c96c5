"""What the bench wants of a database itself: how large it is, and a snapshot held open in it."""

# The driver's own type hints are partly unknown to pyright.
# pyright: reportUnknownMemberType=false

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw

from bide.bench.figures import WrongResult
from bide.bench.limit import checkpointed_bytes
from bide.stores.postgres.connection import Connection, connect

SQLITE = "sqlite:///"
_SIZE = """
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c
where c.relkind = 'r' and c.relnamespace = 'bide'::regnamespace
"""


_POSTGRES = ("postgresql://", "postgres://")


def file_of(store: str) -> Path | None:
    """The file of an SQLite store; None for any other."""
    return Path(store.removeprefix(SQLITE)) if store.startswith(SQLITE) else None


def is_postgres(store: str) -> bool:
    """True for a PostgreSQL store."""
    return store.startswith(_POSTGRES)


def is_on_disk(store: str) -> bool:
    """True for a store that has a size and can be read from outside."""
    return store.startswith(SQLITE) or is_postgres(store)


async def size_of(store: str) -> int:
    """Bytes of everything in a store on disk, indexes included."""
    file = file_of(store)
    if file is not None:
        return checkpointed_bytes(file)
    async with _connected(store) as db:
        return int(await db.fetchval(_SIZE))


@asynccontextmanager
async def old_snapshot(store: str) -> AsyncGenerator[None]:
    """Hold a snapshot open on a connection of its own, as a forgotten report or a backup does.

    PostgreSQL then keeps every row version that was there or came later, SQLite all of its log.

    Raises:
        WrongResult: the store has no snapshots.
    """
    file = file_of(store)
    if file is not None:
        reader = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            reader.execute("begin; select 1 from executions limit 1").fetchall()
            yield
        finally:
            reader.close(force=True)
    elif is_postgres(store):
        async with _connected(store) as db:
            await db.execute(
                "begin isolation level repeatable read; select 1 from bide.executions limit 1"
            )
            yield
    else:
        raise WrongResult(f"a store like {store} has no snapshots to hold")


@asynccontextmanager
async def _connected(store: str) -> AsyncGenerator[Connection]:
    db = await connect(store)
    try:
        yield db
    finally:
        await db.close(timeout=5)
