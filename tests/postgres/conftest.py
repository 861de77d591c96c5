"""Connections to databases with the store's tables in them."""

from collections.abc import AsyncIterator

import pytest

from bide.stores.postgres.connection import Connection, connect


@pytest.fixture
async def db(postgres_store: str) -> AsyncIterator[Connection]:
    """A connection to a new database, of its owner."""
    made = await connect(postgres_store)
    yield made
    await made.close()
