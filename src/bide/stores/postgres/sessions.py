"""SQLAlchemy sessions within transactions that steps hold; the one module that imports SQLAlchemy.

A session works on the very connection of the transaction: an engine is made to connect by borrowing
it, and gives it back instead of closing it. What the session takes for its own transaction is a
savepoint there, since the driver nests; so its `commit` and `rollback` do what their caller expects,
within the step, and the segment's end decides about all of it.
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from bide.stores.postgres.connection import Connection

_lent: ContextVar[Connection] = ContextVar("bide_lent_connection")


class _Borrowed:
    """A connection that is not its borrower's to close."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def close(self, **_: object) -> None:
        """Give it back."""

    def terminate(self) -> None:
        """Give it back: what is wrong with it shows at the transaction's end."""


async def _borrow(*_: object, **__: object) -> _Borrowed:
    return _Borrowed(_lent.get())


class Sessions:
    """Makes sessions; its engine learns once about the server, and never connects by itself."""

    def __init__(self) -> None:
        self._engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=_borrow,
            poolclass=NullPool,
            # Behind a pooler others prepare statements in the same server session, under names too.
            connect_args={
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": lambda: f"bide_{secrets.token_hex(8)}",
            },
        )

    @asynccontextmanager
    async def on(self, db: Connection) -> AsyncGenerator[AsyncSession]:
        """A session on `db`, in whose transaction its work stays when the body ends well."""
        token = _lent.set(db)
        try:
            connection = await self._engine.connect()
        finally:
            _lent.reset(token)
        try:
            async with AsyncSession(connection, expire_on_commit=False) as session:
                yield session
                await session.commit()
        finally:
            await connection.close()
