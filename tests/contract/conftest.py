"""The stores that the contract suite runs over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bide.spi.clock import Clock
from bide.spi.store import Store
from bide.stores.memory import MemoryStore
from bide.stores.postgres.store import PostgresStore
from bide.stores.sqlite.store import SqliteStore
from bide.testing.store_contract import StoreFactory


@asynccontextmanager
async def opened(store: Any) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def memory() -> StoreFactory:
    return StoreFactory(
        name="memory",
        fresh=lambda clock: opened(MemoryStore(clock)),
        another=lambda store, clock: opened(MemoryStore(clock, store.data)),  # type: ignore[attr-defined]  # the factory gets back what it made
    )


def sqlite(folder: Path) -> StoreFactory:
    made: dict[int, str] = {}

    def fresh(clock: Clock) -> Any:
        store = SqliteStore(str(folder / f"bide-{len(made)}.db"), clock=clock)
        made[id(store)] = str(folder / f"bide-{len(made)}.db")
        return opened(store)

    return StoreFactory(
        name="sqlite",
        fresh=fresh,
        another=lambda store, clock: opened(SqliteStore(made[id(store)], clock=clock)),
        faults=lambda store: store.faults,  # type: ignore[attr-defined]  # the factory gets back what it made
    )


def postgres(url: str) -> StoreFactory:
    @asynccontextmanager
    async def fresh(clock: Clock) -> AsyncIterator[Store]:
        async with opened(PostgresStore(url, clock)) as store:
            yield store

    return StoreFactory(
        name="postgres",
        fresh=fresh,
        another=lambda store, clock: opened(PostgresStore(url, clock)),
        faults=lambda store: store.faults,  # type: ignore[attr-defined]  # the factory gets back what it made
    )


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store_factory(request: pytest.FixtureRequest, tmp_path: Path) -> StoreFactory:
    match request.param:
        case "memory":
            return memory()
        case "sqlite":
            return sqlite(tmp_path)
        case _:
            return postgres(request.getfixturevalue("postgres_tables"))
