"""The brokers of the tests and of developers."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.integration.support import eventually
from tests.kafka.cluster import RealCluster, Tap, require_broker, topics, write
from tests.processes import ROOT, Process
from tests.servers.kafka import POM, KafkaBroker, free_port


@pytest.mark.slow
def test_a_broker_keeps_what_it_has(broker: KafkaBroker) -> None:
    """Stopped or killed and started again, it is where it was, with what it was given."""
    names = topics(RealCluster(broker), partitions=1)
    for number, kill in enumerate([True, False]):
        write(broker.servers, names.requests, [("k", number)])
        broker.restart(kill=kill)

    tap = Tap(broker.servers, names.requests)
    try:
        assert [each.json for each in tap.until(2)] == [0, 1]
    finally:
        tap.close()


@pytest.mark.process
@pytest.mark.slow
async def test_a_developers_broker_says_how_it_is_reached(tmp_path: Path) -> None:
    """`make kafka` prints the setting, and ends with nothing left when it is told to."""
    require_broker()
    port = free_port()
    command = [sys.executable, "-m", "tests.servers.kafka", "--port", str(port)]

    with Process(command, log=tmp_path / "kafka.log") as broker:
        await eventually(lambda: "BIDE_KAFKA_SERVERS" in broker.output())
        write(f"127.0.0.1:{port}", "made-in-passing", [("k", 1)])
        ended = broker.stop()

    assert f"export BIDE_KAFKA_SERVERS=127.0.0.1:{port}" in broker.output()
    assert ended == 0


def test_users_and_tests_have_the_same_broker() -> None:
    """`compose.yaml` names the version that the tests run, and listens on this machine alone."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    tried = re.search(r"kafka_2\.13</artifactId>\s*<version>([^<]+)<", POM.read_text())

    assert tried
    assert services["kafka"]["image"] == f"apache/kafka:{tried[1]}"
    assert all(
        port.startswith("127.0.0.1:") for each in services.values() for port in each["ports"]
    )
