"""The stores that the contract suite runs over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bide.spi.clock import Clock
from bide.spi.store import Store
from bide.stores.memory import MemoryStore
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
    from bide.stores.sqlite.store import SqliteStore

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


STORES = ["memory"]
# Joins on the day that its module is there; from then on a failing import is a failing test.
if find_spec("bide.stores.sqlite.store") is not None:
    STORES.append("sqlite")


@pytest.fixture(params=STORES)
def store_factory(request: pytest.FixtureRequest, tmp_path: Path) -> StoreFactory:
    return memory() if request.param == "memory" else sqlite(tmp_path)
