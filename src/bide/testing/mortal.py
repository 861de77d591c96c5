"""A store as one process has it, which may die at any of its commits.

A crash is played and not done: from one instant on the process's store answers nothing, whatever it
is asked, and so nothing that the process still has in memory leaves any trace. What it committed
before stays. So the same process can die at every commit in turn, in milliseconds, and on every
store; `bide.stores.faults` is for processes that are really killed.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from bide.engine.dispatching import DispatchOffer
from bide.engine.fold import Transacted
from bide.engine.moves import Claimed, Handover, Mismatch, Move, Refused, ToSend
from bide.engine.publishing import HandoffOffer
from bide.engine.running import ClaimOffer
from bide.errors import StoreUnavailable
from bide.model.records import Handoff
from bide.spi.store import LeaseKey, Store
from bide.spi.transactions import Bounds, OpenTransaction, Transactional

T = TypeVar("T")


class Died(StoreUnavailable):
    """The process has died; nobody is told of anything any more."""


class Fate:
    """What befalls a process at its commits; this one lets everything be."""

    async def before(self, store: Store, moves: Sequence[Move], *, is_held: bool = False) -> None:
        """Called before moves are committed; `store` is what a process that lives would ask.

        `is_held` says that a step's transaction holds the store, so that nobody can come between.

        Raises:
            Died: the process dies here, and they are not.
        """

    async def after(self, made: Sequence[type[Move]]) -> None:
        """Called once moves are durable and nobody was told of it, with the kinds of those that
        were made; what was refused is not among them.

        Raises:
            Died: the process dies here.
        """

    async def claimed(self, kind: type[Claimed | ToSend | Handoff]) -> None:
        """Called once a claim is durable that brought something.

        Raises:
            Died: the process dies here.
        """


class Mortal:
    """A `Store` that ends with its process: then no verb does anything, but `close`."""

    def __init__(self, store: Store, fate: Fate) -> None:
        self._store = store
        self._fate = fate
        #: Set when the process has died.
        self.died = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)

        async def asked(*args: Any, **named: Any) -> Any:
            async with self._living():
                return await verb(*args, **named)

        return asked

    async def close(self) -> None:
        """Let go of what is open; it is the machine that does so when a process dies."""
        await self._store.close()

    @property
    def is_dead(self) -> bool:
        """True once the process has died."""
        return self.died.is_set()

    def die(self) -> None:
        """Answer nothing from now on."""
        self.died.set()

    async def while_alive(self, work: Awaitable[T]) -> T:
        """Wait for something that the process does.

        Raises:
            Died: it died before that was done.
        """
        doing, dying = asyncio.ensure_future(work), asyncio.ensure_future(self.died.wait())
        try:
            await asyncio.wait({doing, dying}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                self._check()
            return doing.result()
        finally:
            for task in (doing, dying):
                task.cancel()
            await asyncio.gather(doing, dying, return_exceptions=True)

    @asynccontextmanager
    async def _living(self) -> AsyncGenerator[None]:
        self._check()
        try:
            yield
        except Died:
            self.die()
            raise
        # It may have died elsewhere meanwhile, and then it hears nothing of what was committed.
        self._check()

    def _check(self) -> None:
        if self.is_dead:
            raise Died("the process has died, made so by a simulation")

    async def transact(self, moves: Sequence[Move], handover: Handover | None = None) -> Transacted:
        async with self._living():
            await self._fate.before(self._store, moves)
            done = await self._store.transact(moves, handover)
            await self._fate.after(_made(moves, done))
            return done

    async def begin(self, lease: LeaseKey, bounds: Bounds) -> OpenTransaction | Refused:
        async with self._living():
            begun = await cast("Transactional", self._store).begin(lease, bounds)
            return begun if isinstance(begun, Refused) else _MortalTransaction(begun, self)

    async def claim(self, offer: ClaimOffer) -> list[Claimed]:
        async with self._living():
            claimed = await self._store.claim(offer)
            if claimed:
                await self._fate.claimed(Claimed)
            return claimed

    async def claim_dispatches(self, offer: DispatchOffer) -> list[ToSend]:
        async with self._living():
            claimed = await self._store.claim_dispatches(offer)
            if claimed:
                await self._fate.claimed(ToSend)
            return claimed

    async def claim_handoffs(self, offer: HandoffOffer) -> list[Handoff]:
        async with self._living():
            claimed = await self._store.claim_handoffs(offer)
            if claimed:
                await self._fate.claimed(Handoff)
            return claimed


class _MortalTransaction:
    """A step's transaction in a process that may die at its commit."""

    def __init__(self, open_: OpenTransaction, mortal: Mortal) -> None:
        self._open = open_
        self._mortal = mortal
        self.execute = open_.execute
        self.fetch = open_.fetch
        self.roll_back = open_.roll_back

    async def commit(self, move: Move) -> Transacted:
        mortal = self._mortal
        async with mortal._living():
            await mortal._fate.before(mortal._store, [move], is_held=True)
            done = await self._open.commit(move)
            await mortal._fate.after(_made([move], done))
            return done


def _made(moves: Sequence[Move], done: Transacted) -> list[type[Move]]:
    """The kinds of what was made, and not refused."""
    return [
        type(move)
        for move, outcome in zip(moves, done.outcomes, strict=True)
        if not isinstance(outcome, Refused | Mismatch)
    ]
