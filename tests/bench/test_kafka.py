"""`make bench-kafka` measures what it says."""

import json
import os
import subprocess
import sys

import pytest

from tests.processes import ROOT
from tests.servers.kafka import KafkaBroker


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(200)
def test_both_ways_give_the_same_bytes(broker: KafkaBroker) -> None:
    """Sixty rows over Kafka and over HTTP: timed both, and equal to the byte."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.kafka", "--rows", "60", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=180,
        env={**os.environ, "BIDE_KAFKA_SERVERS": broker.servers},
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(ran.stdout)
    assert found["rows"] == 60
    assert found["sameBytes"]
    assert found["kafkaSeconds"] > 0
    assert found["httpSeconds"] > 0
