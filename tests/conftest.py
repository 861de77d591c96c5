"""What every test shares."""

import asyncio
from collections.abc import Iterator

import pytest

from bide.wiring import store_of
from tests.servers.postgres import PostgresServer

# Its asserts are in a package that is not a test module; a failing one has to say what it saw.
pytest.register_assert_rewrite("bide.testing.store_contract")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for the whole run; tests that stop or kill one start their own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A new, empty database."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """A database with all tables, to be copied: quicker than to make them for each test."""
    template = postgres_server.create_database()
    asyncio.run(store_of(postgres_server.url(template)).migrate())
    return template


@pytest.fixture
def postgres_store(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A new database with all tables, empty."""
    with postgres_server.database(template=postgres_template) as url:
        yield url
