"""A commit takes the same few statements for one row and for a hundred."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bide.engine.moves import Finish, Move, Park
from bide.model.ids import InteractionId
from bide.stores.postgres import connection
from bide.stores.postgres.store import PostgresStore
from bide.testing.clock import FakeClock
from bide.testing.store_contract import StoreFactory
from bide.testing.store_contract.harness import Driver, answer, asking, boundary

#: `docs/explanation/scaling.md` counts with them.
_AT_MOST = {"submit": 5, "claim": 6, "park": 4, "admit": 6, "finish": 4}


class Counted:
    """A connection that counts what is sent over it; each is one round trip.

    Not what is said beside a commit, which at most twenty a second are.
    """

    def __init__(self, db: connection.Connection, sent: list[str]) -> None:
        self._db = db
        self._sent = sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def execute(self, query: str, *args: Any) -> str:
        return await self._db.execute(self._noted(query), *args)

    async def fetch(self, query: str, *args: Any) -> Any:
        return await self._db.fetch(self._noted(query), *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        return await self._db.fetchval(self._noted(query), *args)

    def _noted(self, query: str) -> str:
        if not query.startswith("notify"):
            self._sent.append(query)
        return query


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What connections made from now on have sent."""
    said: list[str] = []
    connect = connection.connect

    async def counted(url: str, **named: Any) -> Any:
        return Counted(await connect(url, **named), said)

    monkeypatch.setattr(connection, "connect", counted)
    return said


async def _cycle(driver: Driver, count: int, sent: list[str]) -> dict[str, int]:
    """How many statements each move of `count` executions took."""
    took: dict[str, int] = {}

    async def counting(name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        sent.clear()
        result = await work()
        took[name] = len(sent)
        return result

    async def do(name: str, moves: list[Move]) -> None:
        await counting(name, lambda: driver.do(*moves))

    await do("submit", [driver.submission(f"key-{count}-{n}") for n in range(count)])
    claimed = await counting("claim", lambda: driver.claim(limit=count))
    running = [one.execution for one in claimed]
    await do("park", [Park(one.id, one.fence, boundary(), asking()) for one in running])
    await do("admit", [answer(InteractionId(one.id, 1)) for one in running])
    resumed = [one.execution for one in await driver.claim(limit=count)]
    await do("finish", [Finish(one.id, one.fence, 2, b"1") for one in resumed])
    assert len(running) == len(resumed) == count
    return took


async def test_of_one_and_of_a_hundred(postgres_tables: str, sent: list[str]) -> None:
    """Begin, a look under lock for each table, the clock, one write, commit: whatever the batch."""
    clock = FakeClock()
    store = PostgresStore(postgres_tables, clock)
    await store.open()
    driver = Driver(store, clock, StoreFactory(name="postgres", fresh=None))  # type: ignore[arg-type]  # it opens no other

    one = await _cycle(driver, 1, sent)
    hundred = await _cycle(driver, 100, sent)
    await store.close()

    assert one == hundred
    assert {name: trips for name, trips in one.items() if trips > _AT_MOST[name]} == {}
