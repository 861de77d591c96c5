"""What every test shares."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bide.wiring import store_of
from tests.servers.postgres import PostgresServer

# No test's output may show a token or a key: the whole suite is what is searched.
pytest_plugins = ["tests.planted"]

# Its asserts are in a package that is not a test module; a failing one has to say what it saw.
pytest.register_assert_rewrite("bide.testing.store_contract")

_EMPTIED = """
do $$ declare name text; begin
    for name in select tablename from pg_tables where schemaname = 'bide' and tablename <> 'migrations'
    loop execute format('delete from bide.%I', name); end loop;
    perform setval('bide.clock', 0);
end $$
"""


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
    # On a thread, since a test's own event loop may be running on this one.
    with ThreadPoolExecutor(1) as thread:
        url = postgres_server.url(template)
        thread.submit(lambda: asyncio.run(store_of(url).migrate())).result()
    return template


@pytest.fixture
def postgres_store(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A new database with all tables, empty."""
    with postgres_server.database(template=postgres_template) as url:
        yield url


@pytest.fixture(scope="session")
def _postgres_shared(postgres_server: PostgresServer, postgres_template: str) -> str:
    return postgres_server.url(postgres_server.create_database(template=postgres_template))


@pytest.fixture
def postgres_tables(postgres_server: PostgresServer, _postgres_shared: str) -> str:
    """A database that tests take turns with, with all tables, empty: quicker than a new one."""
    postgres_server.execute(_EMPTIED, url=_postgres_shared)
    return _postgres_shared
