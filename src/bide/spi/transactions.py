"""What a store does whose database steps may write to, in duties that its contract suite cites.

T1  What a step writes and the end of its segment are one commit: both are there, or neither is,
    whatever crashes when.
T2  The fence is compared when the transaction begins, and again under lock by the move that ends
    it. With a stale one, or where the end is refused or fails, nothing of the step's is written.
T3  A statement that the database refuses ends it at once: it is rolled back, and every later
    statement and the commit are refused as well.
T4  It is bounded, from its beginning to its end and between two statements. Past a bound it is
    rolled back by whoever holds the connection, also while the program's event loop stands still.
T5  A statement can neither begin nor end a transaction.
T6  An outcome of the commit that is not known is looked up before it is answered (S7).
T7  It may be rolled back at any time; once the commit was asked for, that does nothing.
T8  It keeps no other execution from moving for longer than its bounds, and its own not from being
    cancelled.

A store that has no SQL has no such verb, and an app with a transactional step does not start on it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

from bide.engine.fold import Transacted
from bide.engine.moves import Move, Refused
from bide.spi.store import LeaseKey


class Bounds(NamedTuple):
    """How long a step may hold a transaction, in milliseconds."""

    #: From its beginning until its end is asked for.
    whole_ms: int
    #: Without a statement.
    idle_ms: int


class OpenTransaction(Protocol):
    """A transaction that a step writes in; calls come one after another."""

    async def execute(self, sql: str, args: Sequence[object]) -> None:
        """Run one statement of the step.

        Raises:
            TransactionFailed: it is rolled back.
        """
        ...

    async def fetch(self, sql: str, args: Sequence[object]) -> list[Mapping[str, Any]]:
        """Run one statement of the step and give its rows by the names of their columns.

        Raises:
            TransactionFailed: it is rolled back.
        """
        ...

    async def commit(self, move: Move) -> Transacted:
        """Make the move that ends the segment, and commit it with what the step wrote (T1).

        Where `bide.engine.stepping.keeps_rows` says no of its outcome, nothing is written at all.

        Raises:
            TransactionFailed: the step's part of it cannot be committed.
            StoreUnavailable: nothing of it was written, and not for what the step did.
        """
        ...

    async def roll_back(self) -> None:
        """Undo it, if it still runs (T7)."""
        ...


@runtime_checkable
class Driven(Protocol):
    """An open transaction whose driver users may use themselves."""

    def connection(self) -> Any:
        """Lend the driver's connection; from now on nobody watches for idle time.

        Raises:
            TransactionFailed: it is rolled back.
        """
        ...

    def session(self) -> AbstractAsyncContextManager[Any]:
        """Open a SQLAlchemy session on it.

        Raises:
            TransactionFailed: it is rolled back.
            NonRetryable: SQLAlchemy is not installed.
        """
        ...


@runtime_checkable
class Transactional(Protocol):
    """A store whose database steps may write to."""

    async def begin(self, lease: LeaseKey, bounds: Bounds) -> OpenTransaction | Refused:
        """Begin a transaction for the worker that has this lease; may wait for its turn.

        Raises:
            StoreUnavailable: none can be begun.
        """
        ...
