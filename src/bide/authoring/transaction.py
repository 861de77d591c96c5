"""`Transaction`: what a step writes in the commit that ends its segment.

A step asks for it by the type of a parameter, as for its `Context`. What it writes and what its
execution does next (to wait, or to finish) are one commit of the store's database: both or neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Statements(Protocol):
    """What runs the statements of one try of a step; they come one after another."""

    async def execute(self, sql: str, args: Sequence[object]) -> None:
        """Run a statement."""
        ...

    async def fetch(self, sql: str, args: Sequence[object]) -> list[Mapping[str, Any]]:
        """Run a statement and give its rows."""
        ...

    async def connection(self) -> Any:
        """Give the driver's connection."""
        ...

    def session(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session of SQLAlchemy."""
        ...


class Transaction:
    """The commit that ends this step's segment, open for statements of the step's own.

    It begins with the first statement and ends by itself when the step returns: committed together
    with what the execution does next, or rolled back if either cannot be done. It is the same on
    SQLite and PostgreSQL, parameters included: `$1` is the first argument wherever it stands.
    One statement a call; several tasks that share it take turns.

    Every statement raises `TransactionFailed` when the database refuses it, or when the transaction
    has been open for too long (`transaction_max_ms`, `transaction_idle_ms`): then it is rolled back
    already, nothing of it can be rescued, and the step has failed, whatever it does about the error.
    After the step has returned, a statement raises `NotRunning`.
    """

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        """Run statements by what the runtime has made; steps are given theirs."""
        self._statements = statements

    async def execute(self, sql: str, *args: object) -> None:
        """Run a statement that gives nothing: `insert into bookings values ($1, $2)`.

        Args:
            sql: one statement, which can neither commit nor roll back.
            args: what its parameters `$1`, `$2` and so on stand for, of types that the driver takes.

        Raises:
            TransactionFailed: the database refuses it, or the time is up; it is rolled back.
            NotRunning: the step has returned.
        """
        await self._statements.execute(sql, args)

    async def fetch(self, sql: str, *args: object) -> list[Mapping[str, Any]]:
        """Run a statement and give all of its rows, each by the names of its columns.

        Rows come in the statement's order; it may write as well (`insert ... returning`).

        Raises:
            TransactionFailed: the database refuses it, or the time is up; it is rolled back.
            NotRunning: the step has returned.
        """
        return await self._statements.fetch(sql, args)

    async def connection(self) -> Any:
        """Give the driver's own connection, within this transaction; on PostgreSQL alone.

        It is an `asyncpg.Connection`, and `async with connection.transaction():` on it is a savepoint.
        It is the step's until the step returns. Leave the transaction itself to Bide, and await one
        thing at a time on it. Once it was asked for, `transaction_idle_ms` bounds nothing any more.

        Raises:
            NonRetryable: the store is no PostgreSQL.
            NotRunning: the step has returned.
        """
        return await self._statements.connection()

    def session(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a SQLAlchemy session within this transaction; on PostgreSQL, with `bide[sqlalchemy]`.

        `async with tx.session() as session:` flushes and keeps what was done when the body ends. A
        `commit` or `rollback` of the session is one of a savepoint; the transaction stays the step's
        segment's. A commit leaves objects loaded. What `connection` says holds here as well.

        Raises:
            NonRetryable: the store is no PostgreSQL, or SQLAlchemy is not installed.
            NotRunning: the step has returned.
        """
        return self._statements.session()
