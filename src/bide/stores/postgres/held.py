"""A transaction that a step holds on a connection of its own.

Theory of operation
-------------------
It begins with a look at the fence and locks nothing of Bide's, so that leases are renewed and the
execution can be cancelled while it is open. Only the move that ends the segment locks rows of Bide's,
compares the fence again and writes them; so no transaction of Bide's ever waits for a step's locks.
Marks, and the look-up of a commit whose outcome is unknown, are the lane's, as for every commit.

What goes wrong in a statement is the step's: it is rolled back at once. So are its deferred
constraints, which are checked before the move is made. What goes wrong after that is the store's.

Whoever waits for a statement may go away. The statement is left running, and `roll_back` then cuts
the connection, which ends it; the lane opens another when it needs one. A time that is up does the
same. The server has the bound as well, for a program that stands still.
"""

import asyncio
import re
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from uuid import UUID

from bide.engine.fold import Transacted
from bide.engine.moves import Move, Refused, Unstorable
from bide.engine.stepping import keeps_rows, undone
from bide.engine.waiting import LEASE_LOST, holds
from bide.errors import NonRetryable, StoreUnavailable, TransactionFailed
from bide.spi.store import LeaseKey
from bide.spi.transactions import Bounds
from bide.stores.isolate import DataError
from bide.stores.postgres import transacting
from bide.stores.postgres.connection import FOR_TRANSACTION, Block, Connection
from bide.stores.postgres.reads import READS
from bide.stores.postgres.writer import Lane, Race
from bide.stores.rows import execution_of

if TYPE_CHECKING:
    from bide.stores.postgres.sessions import Sessions

_Rows = list[Mapping[str, Any]]

#: For the step's statements, whose plans are the server's own affair.
_FOR_STEP = (
    "set local statement_timeout = {ms}; set local idle_in_transaction_session_timeout = {ms};"
    "set local plan_cache_mode = force_custom_plan"
)
#: Deferred constraints of the step's rows are checked before anything of Bide's is locked.
_FOR_END = f"set constraints all immediate; set local statement_timeout = 0; {FOR_TRANSACTION}"
#: How a statement begins that would begin or end a transaction, behind blanks and comments.
_CONTROL = re.compile(
    r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
    r"(?:abort|begin|commit|end|prepare\s+transaction|release|rollback|savepoint|start)\b",
    re.IGNORECASE | re.DOTALL,
)


class ToItsEnd(Protocol):
    """Does work to its end, also when whoever waits for it goes away."""

    async def __call__(self, work: Coroutine[Any, Any, Any], /) -> Any: ...


class LetGo(Protocol):
    """Takes a lane back."""

    def __call__(self, *, committed: bool) -> None: ...


class HeldTransaction:
    """One transaction of one step; its calls come one after another."""

    def __init__(self, lane: Lane, bounds: Bounds, to_its_end: ToItsEnd, let_go: LetGo) -> None:
        """Use `lane`, which is this one's alone until it calls `let_go`."""
        self._lane = lane
        self._bounds = bounds
        self._to_its_end = to_its_end
        self._let_go = let_go
        self._db: Connection
        self._block: Block
        #: What runs on the connection, or ran there last.
        self._running: asyncio.Future[Any] | None = None
        self._whole: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        #: Why it can be neither used nor committed any more.
        self._failure: TransactionFailed | None = None
        self._is_lent = self._is_ending = self._is_over = False

    async def begin(self, lease: LeaseKey) -> Refused | None:
        """Begin, and compare the fence; gives why not when the lease is lost."""
        try:
            self._db, self._block = await self._lane.begin(_begin_block)
        except BaseException:
            self._end()
            raise
        try:
            await self._db.execute(_FOR_STEP.format(ms=self._bounds.whole_ms))
            found = await _Ours(self._db).fetch(READS["executions_by_id"], None, [lease.execution])
        except BaseException as error:
            self._cut()
            told = self._lane.told(error)
            if told is error:
                raise
            raise told from error
        if not holds(execution_of(found[0]) if found else None, lease.fence):
            await self._undo()
            return LEASE_LOST
        self._whole = self._after(self._bounds.whole_ms, "transaction_max_ms", "")
        self._watch_idle()
        return None

    async def execute(self, sql: str, args: Sequence[object]) -> None:
        """Run a statement of the step."""
        await self.fetch(sql, args)

    async def fetch(self, sql: str, args: Sequence[object]) -> _Rows:
        """Run a statement of the step and give its rows."""
        self._check()
        if _CONTROL.match(sql):
            await self._fail(
                "a step's transaction ends by itself; leave out begin, commit, rollback"
            )
        self._running = task = asyncio.ensure_future(self._db.fetch(sql, *args))
        if self._idle is not None:
            self._idle.cancel()
        try:
            found = await asyncio.shield(task)
        except Exception as error:
            if self._failure is not None:  # its time was up, which has cut it off
                raise self._failure from error
            await self._fail(f"the database refuses the statement: {_said(error)}", error)
        self._watch_idle()
        return [dict(row) for row in found]

    def connection(self) -> Connection:
        """Lend the connection; what is done on it nobody sees here."""
        self._check()
        if self._idle is not None:
            self._idle.cancel()
        self._is_lent = True
        return self._db

    def session(self) -> AbstractAsyncContextManager[Any]:
        """Open a SQLAlchemy session on the connection."""
        return _sessions().on(self.connection())

    async def commit(self, move: Move) -> Transacted:
        """Make the move and commit."""
        self._check()
        self._is_ending = True
        self._stop_watching()
        made: Transacted = await self._to_its_end(self._commit(move))
        return made

    async def roll_back(self) -> None:
        """Undo it, if it still runs; what nobody waits for any more is cut off."""
        if self._is_ending or self._is_over:
            return
        if self._running is not None and not self._running.done():
            self._cut()
            await asyncio.wait([self._running])
        else:
            await self._undo()

    # --- its end ------------------------------------------------------------------------------

    async def _commit(self, move: Move) -> Transacted:
        if not self._db.is_in_transaction():
            self._cut()
            raise TransactionFailed("the step has ended its transaction itself; leave that to Bide")
        try:
            await self._db.execute(_FOR_END)
        except Exception as error:
            if not self._db.is_closed():
                await self._fail(f"the database refuses to commit the step: {_said(error)}", error)
            self._end()
            raise self._lane.told(error) from error
        try:
            transaction = self._lane.transaction(_Ours(self._db))
            made = await transacting.make(transaction, [move], None)
            if keeps_rows(made.outcomes[0]):
                await self._lane.commit(self._db, self._block.commit)
                self._end(committed=True)
                return made
        except BaseException as error:
            await self._undo()
            match error if isinstance(error, Race) else self._lane.told(error):
                case DataError() as problem:
                    return Transacted([Unstorable(str(problem))], [], 0, [])
                case Race():
                    raise StoreUnavailable("others changed the same rows; once more") from error
                case StoreUnavailable() as told if told is not error:
                    raise told from error
                case _:
                    raise
        await self._undo()
        return undone(made)

    async def _undo(self) -> None:
        try:
            if not self._db.is_closed() and self._db.is_in_transaction():
                await self._block.rollback()
        except Exception:  # noqa: BLE001 - cut off, it is undone as well
            self._db.terminate()
        finally:
            self._end()

    def _cut(self) -> None:
        self._db.terminate()
        self._end()

    def _end(self, *, committed: bool = False) -> None:
        if not self._is_over:
            self._is_over = True
            self._stop_watching()
            self._let_go(committed=committed)

    def _stop_watching(self) -> None:
        for timer in (self._whole, self._idle):
            if timer is not None:
                timer.cancel()

    # --- what goes wrong ----------------------------------------------------------------------

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _fail(self, message: str, error: Exception | None = None) -> NoReturn:
        """Roll it back, and let it be used no more.

        Raises:
            TransactionFailed: with `message`.
        """
        self._failure = TransactionFailed(message)
        await self._undo()
        raise self._failure from error

    def _watch_idle(self) -> None:
        if self._is_lent:
            return
        self._idle = self._after(
            self._bounds.idle_ms,
            "transaction_idle_ms",
            " without a statement",
        )

    def _after(self, ms: int, setting: str, how: str) -> asyncio.TimerHandle:
        """Cut it off when it was held for so long."""

        def is_up() -> None:
            self._failure = TransactionFailed(
                f"the step held its transaction for longer than {setting} allows ({ms:,} ms){how},"
                " and it was rolled back; do less in it, and await everything else before"
            )
            self._cut()

        return asyncio.get_running_loop().call_later(ms / 1000, is_up)


class _Ours:
    """A step's connection as the store's own statements see it: ids are bytes."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def execute(self, query: str, *args: Any) -> str:
        return await self._db.execute(query, *args)

    async def fetch(self, query: str, *args: Any) -> list[Sequence[Any]]:
        return [tuple(map(_as_bytes, row)) for row in await self._db.fetch(query, *args)]

    async def fetchval(self, query: str, *args: Any) -> Any:
        return _as_bytes(await self._db.fetchval(query, *args))


def _as_bytes(value: Any) -> Any:
    return value.bytes if isinstance(value, UUID) else value


@cache
def _sessions() -> "Sessions":
    try:
        from bide.stores.postgres.sessions import Sessions
    except ImportError as error:
        raise NonRetryable(
            'Transaction.session() needs SQLAlchemy: pip install "bide[sqlalchemy]"'
        ) from error
    return Sessions()


async def _begin_block(db: Connection) -> Block:
    """Begin as the driver has it, so that a block of the step's own within it is a savepoint."""
    block = db.transaction()
    await block.start()
    return block


def _said(error: Exception) -> str:
    """The first line of what the driver says."""
    return str(error).partition("\n")[0] or type(error).__name__
