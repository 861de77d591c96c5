"""A transaction that a step holds on the writer's thread, a statement at a time.

Theory of operation
-------------------
To the writer it is one piece of work like any other: begun, done, marked, committed. But this piece
waits, on the writer's own thread, for what the step asks for next. So nobody else writes meanwhile,
in this process or in any other, and therefore it is bounded: by the thread itself, which would free
the file also while the program's event loop stands still.

Requests go in through a queue; answers come back as futures. However the work ends (committed, rolled
back, out of time, the disk gone) whoever still waits for an answer is told by how it ended, and that
is after the writer was freed.
"""

# apsw's stubs name a type that pyright cannot find, so all that touches a binding is half unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import queue
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import apsw

from bide.engine.fold import Transacted
from bide.engine.moves import Move, Refused
from bide.engine.stepping import keeps_rows, undone
from bide.engine.waiting import LEASE_LOST
from bide.errors import TransactionFailed
from bide.spi.store import LeaseKey
from bide.spi.transactions import Bounds
from bide.stores.sqlite import transacting
from bide.stores.sqlite.guard import Guard
from bide.stores.sqlite.recent import Recent

T = TypeVar("T")
#: The work, given the connection and how to read the store's time.
Serve = Callable[[apsw.Connection, Callable[[], int]], Transacted]
_Rows = list[Mapping[str, Any]]

#: So many steps of SQLite's machine, well below a millisecond, between two looks at the clock.
_STEPS_PER_LOOK = 10_000
_TEXT = re.compile(r"'(?:[^']|'')*'")
_NUMBERED = re.compile(r"\$([0-9]+)")
#: What the driver raises for a statement, or for a value that cannot be bound to it.
_REFUSALS = (apsw.Error, TypeError, ValueError, OverflowError)


class _Statement(NamedTuple):
    sql: str
    args: Sequence[object]
    answer: "asyncio.Future[_Rows]"


class _Undone(Exception):
    """Leave no trace of it; `made` is what the end came to, where it was refused."""

    def __init__(self, made: Transacted | None = None) -> None:
        super().__init__()
        self.made = made


class HeldTransaction:
    """One transaction of one step; its calls come from the event loop, one after another."""

    def __init__(self, lease: LeaseKey, bounds: Bounds, recent: Recent, guard: Guard) -> None:
        self._lease = lease
        self._whole_s, self._idle_s = bounds.whole_ms / 1000, bounds.idle_ms / 1000
        self._recent = recent
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self._begun: asyncio.Future[None] = self._loop.create_future()
        self._requests: queue.SimpleQueue[_Statement | Move | None] = queue.SimpleQueue()
        self._work: asyncio.Task[Transacted]

    # --- on the event loop --------------------------------------------------------------------

    async def begin(self, hold: Callable[[Serve], Awaitable[Transacted]]) -> Refused | None:
        """Wait for the writer, and begin; gives why not when the lease is lost."""

        async def work() -> Transacted:
            return await hold(self._serve)

        self._work = self._loop.create_task(work())
        self._work.add_done_callback(_heard)
        try:
            await self._answered(self._begun)
        except _Undone:
            return LEASE_LOST
        except BaseException:
            self._requests.put(None)  # nobody is there any more when its turn comes
            raise
        return None

    async def execute(self, sql: str, args: Sequence[object]) -> None:
        """Run a statement of the step."""
        await self.fetch(sql, args)

    async def fetch(self, sql: str, args: Sequence[object]) -> _Rows:
        """Run a statement of the step and give its rows."""
        answer: asyncio.Future[_Rows] = self._loop.create_future()
        self._requests.put(_Statement(sql, args, answer))
        return await self._answered(answer)

    async def commit(self, move: Move) -> Transacted:
        """Make the move and commit."""
        self._requests.put(move)
        try:
            return await asyncio.shield(self._work)
        except _Undone as end:
            if end.made is None:  # it was rolled back before
                raise TransactionFailed("the transaction was rolled back") from None
            return end.made

    async def roll_back(self) -> None:
        """Undo it, if it still runs."""
        self._requests.put(None)
        await asyncio.wait([self._work])

    async def _answered(self, answer: "asyncio.Future[T]") -> T:
        """The answer; or, when the work ends without one, how it ended."""
        await asyncio.wait((answer, self._work), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            self._work.result()
        return answer.result()

    # --- on the writer's thread ---------------------------------------------------------------

    def _serve(self, db: apsw.Connection, read_time: Callable[[], int]) -> Transacted:
        if not transacting.is_held(transacting.Transaction(db, 0, self._recent), self._lease):
            raise _Undone
        ends_at = time.monotonic() + self._whole_s
        self._tell(self._begun, None)
        while True:
            match self._next(ends_at):
                case None:
                    raise _Undone
                case _Statement(sql, args, answer):
                    self._tell(answer, self._run(db, sql, args, ends_at))
                case move:
                    _check_foreign_keys(db)
                    transaction = transacting.Transaction(db, read_time(), self._recent)
                    made = transacting.make_alone(transaction, move)
                    if not keeps_rows(made.outcomes[0]):
                        raise _Undone(undone(made))
                    return made

    def _next(self, ends_at: float) -> _Statement | Move | None:
        left = ends_at - time.monotonic()
        try:
            return self._requests.get(timeout=max(0.0, min(left, self._idle_s)))
        except queue.Empty:
            raise (self._too_long() if left <= self._idle_s else self._too_idle()) from None

    def _run(self, db: apsw.Connection, sql: str, args: Sequence[object], ends_at: float) -> _Rows:
        db.set_progress_handler(lambda: time.monotonic() > ends_at, _STEPS_PER_LOOK)
        try:
            with self._guard.watching():
                return _rows_of(db.execute(sql, _bound(sql, args), can_cache=False))
        except apsw.InterruptError as error:
            raise self._too_long() from error
        except _REFUSALS as error:
            reason = self._guard.reason or error
            raise TransactionFailed(f"the database refuses the statement: {reason}") from error
        finally:
            db.set_progress_handler(None)

    def _too_long(self) -> TransactionFailed:
        return TransactionFailed(
            f"the step held its transaction for longer than transaction_max_ms allows"
            f" ({self._whole_s * 1000:,.0f} ms), and it was rolled back; do less in it"
        )

    def _too_idle(self) -> TransactionFailed:
        return TransactionFailed(
            f"the step held its transaction for longer than transaction_idle_ms allows"
            f" ({self._idle_s * 1000:,.0f} ms) without a statement, and it was rolled back; await"
            " everything else before the first statement"
        )

    def _tell(self, answer: "asyncio.Future[T]", value: T) -> None:
        self._loop.call_soon_threadsafe(_set, answer, value)


def _bound(sql: str, args: Sequence[object]) -> Any:
    """The arguments as the statement names them: `$2` is the second, wherever it stands.

    Raises:
        ValueError: there are more or fewer than it names.
    """
    named = {int(number) for number in _NUMBERED.findall(_TEXT.sub("", sql))}
    if not named:
        return tuple(args)
    if max(named) != len(args):
        raise ValueError(f"it takes {max(named)} arguments, and {len(args)} are given")
    return {str(number): value for number, value in enumerate(args, 1)}


def _check_foreign_keys(db: apsw.Connection) -> None:
    """Refuse what the commit would, before anything of Bide's is written."""
    if db.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
        raise TransactionFailed(
            "the database refuses to commit the step: FOREIGN KEY constraint failed"
        )


def _rows_of(cursor: apsw.Cursor) -> _Rows:
    rows: _Rows = []
    names: list[str] = []
    for row in cursor:
        if not rows:  # a statement that has come to its end says nothing of its columns
            names = [column[0] for column in cursor.get_description()]
        rows.append(dict(zip(names, row, strict=True)))
    return rows


def _set(answer: "asyncio.Future[T]", value: T) -> None:
    if not answer.done():
        answer.set_result(value)


def _heard(work: "asyncio.Task[Transacted]") -> None:
    """Take note of how it ended: whoever waits is told, and nobody else has to be."""
    if not work.cancelled():
        work.exception()
