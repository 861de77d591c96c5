"""Transactions that write: begun, locked, decided, written, marked, committed.

Theory of operation
-------------------
A process has a few *lanes*, each with a connection of its own, and runs one transaction at a time on
each. A transaction first locks what it concerns, in the one order, and reads the clock only then, so
that it is later than every commit it has waited for. What it writes goes out as one statement, with
a mark: the number of this commit under the lane's name.

A transaction that meets another's work (a key that both make, a deadlock, a row changed between a
look and its lock) is rolled back and made again from the start, where it sees what the other did.

What happens when the connection is lost: before `commit` was sent, nothing was written. After it the
outcome is unknown, and the mark is looked up over a new connection. The look writes the mark's row
itself, so it waits for the lost transaction to end if the server has not noticed yet that nobody is
there; that is why a transaction may not idle for long. A transaction's number would not do
(`pg_xact_status`): after a crash of the server the next one may bear the same. Until the mark could
be read, nothing is answered.
"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from bide.errors import StoreUnavailable
from bide.model.ids import ExecutionId
from bide.model.records import Execution
from bide.spi.clock import Clock
from bide.stores.faults import CommitLost, Faults
from bide.stores.isolate import DataError
from bide.stores.postgres.complaints import explained, refused_value, state_of
from bide.stores.postgres.connection import FOR_TRANSACTION, Connection, is_expected, one_session
from bide.stores.postgres.statements import Batch, Batches, load, types_used
from bide.stores.rows import COLUMNS, execution_of

T = TypeVar("T")

LOCKS = load("locks.sql")
_WRITES = Batches("writes.sql")
#: What a connection may learn at once of all types that are written.
TYPES = types_used([*LOCKS.values(), *_WRITES.texts.values()])

#: In the transaction and not on the connection, which a pooler may share. One whose process stands
#: still, or cannot be reached, keeps what it has locked from everybody for so long at most.
BEGIN = f"begin; {FOR_TRANSACTION} set local idle_in_transaction_session_timeout = '10s'"

_DUE_AT = COLUMNS["executions"].index("due_at")

_READ_MARK = """
insert into bide.writers values ($1, 0, 0)
on conflict (name) do update set last_commit = writers.last_commit
returning last_commit
"""
_FORGET_MARKS = "delete from bide.writers where at < $1 and at > 0"
_DAY_MS = 86_400_000

#: Serialisation failure, deadlock, lock not available, unique violation.
_RACES = frozenset({"40001", "40P01", "55P03", "23505"})
_ATTEMPTS_MAX = 100
_RETRY_S = 0.002
#: A lane takes a new name after so many commits: while somebody holds an old snapshot open, the
#: versions of its row stay, and each look at it goes through all of them.
_RENAME_AFTER = 1_000
_LOOK_UP_FIRST_S, _LOOK_UP_MAX_S = 0.05, 2.0


class Race(Exception):
    """Another transaction has made or changed what this one had read."""


class Statements(Protocol):
    """What a transaction uses of its connection."""

    async def execute(self, query: str, *args: Any) -> str: ...

    async def fetch(self, query: str, *args: Any) -> list[Sequence[Any]]: ...

    async def fetchval(self, query: str, *args: Any) -> Any: ...


class Transaction:
    """One attempt at a transaction, on one connection."""

    def __init__(self, db: Statements, clock: Clock | None, mark: tuple[str, int]) -> None:
        self._db = db
        self._clock = clock
        self._mark = mark
        self.wrote = False

    async def read(self, name: str, keys: Sequence[Any]) -> list[Sequence[Any]]:
        """Run a statement of `locks.sql` over whole keys: a row for each that is there."""
        found = await self._db.fetch(LOCKS[name], keys)
        assert len(found) <= len(keys), f"{name}: {len(found)} rows for {len(keys)} keys"
        return found

    async def fetch(self, text: str, *args: Any) -> list[Sequence[Any]]:
        """Run a statement."""
        return await self._db.fetch(text, *args)

    async def execute(self, text: str, *args: Any) -> None:
        """Run a statement that gives nothing."""
        await self._db.execute(text, *args)

    async def now(self) -> int:
        """The store's time; to be read when all that is concerned is locked."""
        return int(await self._db.fetchval(LOCKS["now"], self._wall_clock()))

    async def lock_executions(self, ids: Sequence[ExecutionId]) -> tuple[list[Execution], int]:
        """Lock and read executions, and give the store's time once they are locked."""
        *rows, last = await self._db.fetch(LOCKS["lock_executions"], ids, self._wall_clock())
        return [execution_of(row) for row in rows], int(last[_DUE_AT])

    def _wall_clock(self) -> int | None:
        return self._clock() if self._clock else None

    async def write(self, batches: Sequence[Batch], now: int) -> None:
        """Write rows, with the mark of this commit.

        Raises:
            Race: not all of them could be written.
        """
        self.wrote = True
        marked = [*batches, Batch("mark", [(*self._mark, now)])]
        text = _WRITES.combined(tuple(batch.name for batch in marked))
        [written] = await self._db.fetch(text, *(batch.rows for batch in marked))
        for batch, count in zip(marked, written, strict=True):
            if count != len(batch.rows):
                raise Race(f"{batch.name}: {count} of {len(batch.rows)} rows")


Work = Callable[[Transaction], Awaitable[T]]


class Lane:
    """One connection that writes, one transaction after another."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        clock: Clock | None,
        faults: Faults,
        label: str,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._faults = faults
        self._label = label
        self._db: Connection | None = None
        self._name = ""
        self._commits = _RENAME_AFTER
        self._closing = asyncio.Event()
        self._turn = asyncio.Lock()

    def open(self) -> None:
        """Accept work; the first piece of it connects."""
        self._closing.clear()

    def give_up(self) -> None:
        """From now on, do not wait for a server that cannot say what became of a commit."""
        self._closing.set()

    async def close(self) -> None:
        """Finish the transaction in progress, then disconnect."""
        self.give_up()
        async with self._turn:
            if self._db is not None:
                await self._db.close(timeout=5)
                self._db = None

    @property
    def is_free(self) -> bool:
        """True while it does nothing."""
        return not self._turn.locked()

    async def run(self, work: Work[T]) -> T:
        """Do `work` in a transaction and commit what it wrote.

        Raises:
            StoreUnavailable: nothing of it was written.
        """
        async with self._turn:
            for attempt in range(_ATTEMPTS_MAX):
                try:
                    return await self._attempt(work)
                except Race:
                    # Apart from whom it met, should both try at the same pace.
                    await asyncio.sleep(random.uniform(0, _RETRY_S * min(attempt, 10)))
        raise StoreUnavailable(
            f"{self._label} is too busy: others changed the same rows again and again"
        )

    async def _attempt(self, work: Work[T]) -> T:
        db, _ = await self.begin(_begin)
        transaction = self.transaction(db)
        try:
            result = await work(transaction)
        except BaseException as error:
            await self._roll_back(db)
            told = self.told(error)
            if told is error:
                raise
            raise told from error
        if transaction.wrote:
            await self.commit(db, lambda: db.execute("commit"))
        else:
            await self._roll_back(db)
        return result

    # --- the parts of a transaction, for whoever holds the lane --------------------------------

    async def take(self) -> Callable[[], None]:
        """Hold the lane beyond one piece of work; gives what lets it go."""
        await self._turn.acquire()
        return self._turn.release

    def transaction(self, db: Statements) -> Transaction:
        """The transaction that was begun on `db`, with the mark of the lane's next commit."""
        if self._commits >= _RENAME_AFTER:
            self._name, self._commits = secrets.token_hex(8), 0
        self._commits += 1
        return Transaction(db, self._clock, (self._name, self._commits))

    def told(self, error: BaseException) -> BaseException:
        """What something that went wrong in a transaction means: a race, a value, the server."""
        if state_of(error) in _RACES:
            return Race()
        if (problem := refused_value(error)) is not None:
            return DataError(problem)
        return explained(error, self._label) if is_expected(error) else error

    async def _connected(self) -> Connection:
        if self._db is None or self._db.is_closed():
            try:
                self._db = await self._connect()
            except BaseException as error:
                if is_expected(error):
                    raise explained(error, self._label) from error
                raise
        return self._db

    async def begin(self, how: Callable[[Connection], Awaitable[T]]) -> tuple[Connection, T]:
        """A connection with a transaction begun; one that died while it was idle is replaced.

        Raises:
            StoreUnavailable: there is none.
        """
        db = await self._connected()
        try:
            return db, await how(db)
        except BaseException as error:
            db.terminate()
            if not is_expected(error):
                raise
            db = await self._connected()
            try:
                return db, await how(db)
            except BaseException as again:
                db.terminate()
                if is_expected(again):
                    raise explained(again, self._label) from again
                raise

    async def commit(self, db: Connection, how: Callable[[], Awaitable[object]]) -> None:
        """Commit the transaction, and find out whether that took place if it cannot be told.

        Raises:
            StoreUnavailable: it did not.
            Race: neither, since another came between.
        """
        try:
            self._faults.before_commit()
            await how()
            self._faults.after_commit()
        except BaseException as error:
            if state_of(error) in _RACES:
                raise Race from error
            db.terminate()
            if not (is_expected(error) or isinstance(error, CommitLost)):
                raise
            if not await self._took_place():
                raise explained(error, self._label) from error

    async def _took_place(self) -> bool:
        """Look whether the last commit is there, for as long as it takes."""
        pause = _LOOK_UP_FIRST_S
        while True:
            try:
                db = await self._connected()
                async with one_session(db):
                    mark = await db.fetchval(_READ_MARK, self._name)
                return bool(mark == self._commits)
            except StoreUnavailable:
                pass
            except BaseException as error:
                if self._db is not None:
                    self._db.terminate()
                if not is_expected(error):
                    raise
            if self._closing.is_set():
                raise StoreUnavailable(
                    f"{self._label} was lost while committing, and the store was closed before"
                    " what became of it could be looked up"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LOOK_UP_MAX_S)

    async def _roll_back(self, db: Connection) -> None:
        try:
            if not db.is_closed():
                await db.execute("rollback")
        except BaseException:
            db.terminate()
            raise

    async def forget_marks(self, now: int) -> None:
        """Remove the marks of lanes that have long been gone."""
        async with self._turn:
            db = await self._connected()
            async with one_session(db):
                await db.execute(_FORGET_MARKS, now - _DAY_MS)


async def _begin(db: Connection) -> None:
    await db.execute(BEGIN)
