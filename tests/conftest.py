"""What every test shares."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bide.wiring import store_of
from tests.kafka.cluster import Cluster, RealCluster, require_broker
from tests.servers.kafka import BrokerMissing, KafkaBroker
from tests.servers.kafka_mock import MockCluster
from tests.servers.postgres import PostgresServer

# No test's output may show a token or a key: the whole suite is what is searched.
pytest_plugins = ["tests.planted"]

# Its asserts are in a package that is not a test module; a failing one has to say what it saw.
pytest.register_assert_rewrite("bide.testing.store_contract")

#: Why Kafka was tried on a mock cluster alone.
_LEFT_OUT = pytest.StashKey[str]()

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


@pytest.fixture(scope="session")
def _cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    try:
        broker = KafkaBroker(tmp_path_factory.mktemp("kafka")).start()
    except BrokerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI tries Kafka on a real broker: {missing}")
        request.config.stash[_LEFT_OUT] = str(missing)
        with MockCluster() as mock:
            yield mock
        return
    try:
        yield RealCluster(broker)
    finally:
        broker.kill()


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """A cluster that every test shares; each has topics of its own."""
    return _cluster


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real broker of the test's own, to be stopped and killed."""
    require_broker()
    with KafkaBroker(tmp_path_factory.mktemp("kafka")) as started:
        yield started


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say in one line what was left out."""
    missing = config.stash.get(_LEFT_OUT, None)
    if missing is not None:
        terminalreporter.write_line(
            f"Kafka was tried on a mock cluster alone, without restarts and kills: {missing}"
        )
