"""A PostgreSQL store that stops before a chosen statement, and two backends that overlap there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from bide.stores.postgres.connection import Connection, connect
from bide.stores.postgres.store import PostgresStore
from bide.testing import FakeClock

_PATIENCE_S = 30.0
_LOCKED = """
select count(*) from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock'
"""


class Gate:
    """Counts statements down, and holds back the one at which it is to stop."""

    def __init__(self) -> None:
        self._left: int | None = None
        self.reached = asyncio.Event()
        self._open = asyncio.Event()

    def close_before(self, statement: int) -> None:
        """Stop before the n-th statement from now, counted from 0."""
        self._left = statement
        self.reached.clear()
        self._open.clear()

    def open(self) -> None:
        """Let everything through."""
        self._left = None
        self._open.set()

    async def wait(self) -> None:
        """Run before each statement."""
        if self._left is None:
            return
        if self._left == 0:
            self._left = None
            self.reached.set()
            await self._open.wait()
            return
        self._left -= 1


class _Halting:
    """A connection behind a gate."""

    def __init__(self, db: Connection, gate: Gate) -> None:
        self._db = db
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._db, name)
        if name not in {"execute", "fetch", "fetchval", "fetchrow"}:
            return found

        async def halting(text: str, *args: Any) -> Any:
            if not text.startswith("notify"):  # which stands beside every transaction
                await self._gate.wait()
            return await found(text, *args)

        return halting


class HaltingStore(PostgresStore):
    """A store with a gate before each statement of its verbs."""

    def __init__(self, url: str, clock: FakeClock) -> None:
        super().__init__(url, clock)
        self.gate = Gate()

    async def _connect(self) -> Connection:
        return _Halting(await super()._connect(), self.gate)  # type: ignore[return-value]  # it stands for one


class Overlap(NamedTuple):
    """What both came to."""

    first: Any
    second: Any


class Backends:
    """Two backends on one database, and an eye on what they wait for."""

    def __init__(self, url: str, clock: FakeClock) -> None:
        self._url = url
        self.first = HaltingStore(url, clock)
        self.second = PostgresStore(url, clock)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Backends"]:
        """Both stores open."""
        self._eye = await connect(self._url)
        await self.first.open()
        await self.second.open()
        try:
            yield self
        finally:
            self.first.gate.open()
            await self.first.close()
            await self.second.close()
            await self._eye.close()

    async def overlap(
        self,
        at: int,
        first: Callable[[], Awaitable[Any]],
        second: Callable[[], Awaitable[Any]],
    ) -> Overlap | None:
        """Stop `first` before its statement `at`, run `second` until it is done or waits for a lock,
        then let both end. None when `first` has fewer statements than that.
        """
        gate = self.first.gate
        gate.close_before(at)
        one = asyncio.ensure_future(first())
        reached = asyncio.ensure_future(gate.reached.wait())
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.wait([one, reached], return_when=asyncio.FIRST_COMPLETED)
            if one.done():
                reached.cancel()
                gate.open()
                await one
                return None
            other = asyncio.ensure_future(second())
            while not other.done() and not await self._eye.fetchval(_LOCKED):
                await asyncio.sleep(0.001)
            gate.open()
            return Overlap(await one, await other)
