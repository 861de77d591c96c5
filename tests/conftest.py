"""What every test shares."""

from collections.abc import Iterator

import pytest

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
