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
from tests.servers.postgres import PostgresServer


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


def postgres(server: PostgresServer, template: str) -> StoreFactory:
    urls: dict[int, str] = {}

    @asynccontextmanager
    async def fresh(clock: Clock) -> AsyncIterator[Store]:
        with server.database(template=template) as url:
            store = PostgresStore(url, clock)
            urls[id(store)] = url
            async with opened(store):
                yield store

    return StoreFactory(
        name="postgres",
        fresh=fresh,
        another=lambda store, clock: opened(PostgresStore(urls[id(store)], clock)),
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
            server = request.getfixturevalue("postgres_server")
            return postgres(server, request.getfixturevalue("postgres_template"))
