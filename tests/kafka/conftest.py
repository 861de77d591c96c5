"""A cluster to try the transport on: a real broker, else librdkafka's mock one."""

import os
from collections.abc import Iterator

import pytest

from tests.kafka.cluster import Cluster, RealCluster
from tests.servers.kafka import BrokerMissing, KafkaBroker
from tests.servers.kafka_mock import MockCluster

_LEFT_OUT = pytest.StashKey[str]()


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
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaBroker]:
    """A real broker of the test's own, to be stopped and killed."""
    try:
        with KafkaBroker(tmp_path_factory.mktemp("kafka")) as started:
            yield started
    except BrokerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI tries Kafka on a real broker: {missing}")
        request.config.stash[_LEFT_OUT] = str(missing)
        pytest.skip(f"no real broker: {missing}")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say in one line what was left out."""
    missing = config.stash.get(_LEFT_OUT, None)
    if missing is not None:
        terminalreporter.write_line(
            f"Kafka was tried on a mock cluster alone, without restarts and kills: {missing}"
        )
