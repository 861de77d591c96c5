"""Databases with the store's tables in them."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from bide.stores.postgres.connection import Connection, connect, migrate
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a database with empty tables, to be copied."""

    async def make(url: str) -> None:
        db = await connect(url)
        await migrate(db)
        await db.close()

    with postgres_server.database() as url:
        asyncio.run(make(url))
        yield url.rpartition("/")[2]


@pytest.fixture
def url(postgres_server: PostgresServer, migrated: str) -> Iterator[str]:
    """A new database with empty tables."""
    with postgres_server.database(template=migrated) as made:
        yield made


@pytest.fixture
async def db(url: str) -> AsyncIterator[Connection]:
    """A connection to it, of its owner."""
    made = await connect(url)
    yield made
    await made.close()
