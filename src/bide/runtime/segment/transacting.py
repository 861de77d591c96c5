"""The transaction of one try of a transactional step, from its first statement to the segment's end.

What goes wrong has one of two causes, and they are kept apart. A statement that is refused, a time
that is up, a connection that is lost under a statement: that is the step's, it counts as a failed try,
and the retry policy says what follows. A store that cannot be reached before the first statement or
at the commit has nothing to do with what the step did: it is waited for, and no try is counted.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from bide.engine.fold import Transacted
from bide.engine.moves import Move, Refused
from bide.errors import NonRetryable, NotRunning, StoreUnavailable, TransactionFailed
from bide.model.ids import format_execution
from bide.model.records import Execution
from bide.planning.plan import PlanStep
from bide.runtime.segment.failing import Abandoned
from bide.settings import Settings
from bide.spi.store import LeaseKey
from bide.spi.transactions import Bounds, Driven, OpenTransaction, Transactional

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a store that cannot be reached is left alone.
AGAIN_S = 0.25
#: Steps of one process that are in their function with a transaction open or to come. More would
#: only wait for each other, and what they wait counts against their own timeouts.
_AT_ONCE = 64


class Transactions:
    """What begins the transactions of one process's steps."""

    def __init__(self, store: Transactional, settings: Settings) -> None:
        self.store = store
        self.bounds = Bounds(settings.transaction_max_ms, settings.transaction_idle_ms)
        #: Held from before a step is called until its segment has ended.
        self.room = asyncio.Semaphore(_AT_ONCE)


class StepTransaction:
    """One try's statements, and the commit of the segment's end with them."""

    def __init__(
        self,
        execution: Execution,
        step: PlanStep,
        attempt: int,
        value: Any,
        transactions: Transactions,
    ) -> None:
        self.step = step
        self.attempt = attempt
        #: What the step was called with, to call it again.
        self.value = value
        self._execution = execution
        self._transactions = transactions
        self._turn = asyncio.Lock()
        self._open: OpenTransaction | None = None
        #: Why nothing more can come of it.
        self._broken: Exception | None = None
        self._has_returned = False

    # --- for the step -------------------------------------------------------------------------

    async def execute(self, sql: str, args: Sequence[object]) -> None:
        """Run a statement."""
        await self._in_turn(lambda transaction: transaction.execute(sql, args))

    async def fetch(self, sql: str, args: Sequence[object]) -> list[Mapping[str, Any]]:
        """Run a statement and give its rows."""
        return await self._in_turn(lambda transaction: transaction.fetch(sql, args))

    async def connection(self) -> Any:
        """Give the driver's connection."""

        async def lent(transaction: OpenTransaction) -> Any:
            return self._driven(transaction).connection()

        return await self._in_turn(lent)

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Any]:
        """Open a session of SQLAlchemy."""

        async def opened(transaction: OpenTransaction) -> AbstractAsyncContextManager[Any]:
            return self._driven(transaction).session()

        async with await self._in_turn(opened) as session:
            yield session

    def _driven(self, transaction: OpenTransaction) -> Driven:
        if not isinstance(transaction, Driven):
            raise NonRetryable(
                f"step '{self.step.id}' asks for the driver's own objects, and there are such on"
                " PostgreSQL alone; use execute and fetch, which are the same on every store"
            )
        return transaction

    async def _in_turn(self, run: Callable[[OpenTransaction], Awaitable[T]]) -> T:
        async with self._turn:
            if self._has_returned:
                raise NotRunning(
                    f"the transaction of step '{self.step.id}' has ended with the step; await every"
                    " statement in it before it returns"
                )
            if self._broken is not None:
                raise self._broken
            try:
                return await run(await self._begun())
            except asyncio.CancelledError:
                self._broken = TransactionFailed("a statement of the step was given up half way")
                raise
            except (Abandoned, TransactionFailed) as error:
                self._broken = error
                raise

    async def _begun(self) -> OpenTransaction:
        lease = LeaseKey(self._execution.id, self._execution.fence)
        while self._open is None:
            try:
                begun = await self._transactions.store.begin(lease, self._transactions.bounds)
            except StoreUnavailable as error:
                log.warning("%s waits to begin: %s", format_execution(self._execution.id), error)
                await asyncio.sleep(AGAIN_S)
                continue
            if isinstance(begun, Refused):
                raise Abandoned(begun.reason)
            self._open = begun
        return self._open

    # --- for the segment ----------------------------------------------------------------------

    async def returned(self) -> None:
        """Let the step run no more statements; those that have begun come to their end."""
        async with self._turn:
            self._has_returned = True

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to commit or a reason not to."""
        return self._open is not None or self._broken is not None

    async def commit(self, move: Move) -> Transacted:
        """Make the move and commit it with what the step wrote.

        Raises:
            Abandoned: the lease was lost before the first statement.
            TransactionFailed: a statement has failed, whatever the step did about it, or it cannot
                be committed.
            StoreUnavailable: nothing of it was written, and not for what the step did.
        """
        if self._broken is not None:
            raise self._broken
        assert self._open is not None
        return await self._open.commit(move)

    async def roll_back(self) -> None:
        """Undo it unless it was committed."""
        self._has_returned = True
        if self._open is not None:
            await self._open.roll_back()
