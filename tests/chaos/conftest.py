"""How much of it: a few seconds in `make test`, a minute and more in `make chaos`."""

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest

from bide import App
from bide.settings import Settings
from tests.chaos.shop import app
from tests.servers.postgres import PostgresServer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long form, with its figures")


class Scale(NamedTuple):
    """How much is done, and how much goes wrong meanwhile."""

    is_long: bool
    orders: int
    #: Workers killed by SIGKILL, one a second.
    kills: int
    restarts: int
    backend_kills: int
    cuts: int
    #: Workers killed in the midst of their transactional steps, on each store.
    transaction_kills: int


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    if request.config.getoption("--long", default=False):
        return Scale(
            True,
            orders=10_000,
            kills=60,
            restarts=10,
            backend_kills=200,
            cuts=1_000,
            transaction_kills=200,
        )
    return Scale(
        False, orders=500, kills=5, restarts=3, backend_kills=15, cuts=60, transaction_kills=15
    )


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A server of these tests' own, to be stopped and killed, which syncs every commit."""
    with PostgresServer(durable=True) as started:
        yield started


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[str]:
    """A new database with the store's tables, by its address."""
    with server.database() as url:
        await app.using(store=url).migrate()
        yield url


def shop_at(url: str) -> App:
    """The shop on a database, for clients."""
    return app.using(store=url, settings=Settings(poll_max_ms=200))
