"""The CSV payments over Kafka: the same bytes come out as over HTTP."""

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bide import App, Pipeline, load
from examples.csv_payments import broker as example_broker
from examples.csv_payments.messages import CsvPaymentsInputFile
from examples.csv_payments.over_kafka import payments, via
from examples.csv_payments.proof import write_payments
from examples.csv_payments.provider import KafkaProvider
from tests.examples.test_csv_payments import GOLDEN_12
from tests.kafka.cluster import RealCluster, Topics
from tests.kafka.support import all_taken_in, settings
from tests.processes import ROOT
from tests.servers.kafka import KafkaBroker


class Provide:
    """The example's provider on a thread, until the block ends."""

    def __init__(self, servers: str) -> None:
        self.provider = KafkaProvider(servers)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.provider.run, args=[self._stop], daemon=True)

    def __enter__(self) -> KafkaProvider:
        self._thread.start()
        return self.provider

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


DECLARED = load(ROOT / "examples" / "csv_payments" / "flow.kafka.yaml", packages=["examples"])


@pytest.mark.slow
@pytest.mark.parametrize("payments", [payments, DECLARED], ids=["code", "yaml"])
async def test_payments_over_kafka_come_out_as_over_http(
    broker: KafkaBroker, tmp_path: Path, payments: Pipeline[Any, Any]
) -> None:
    """The output of twelve payments has the same SHA-256 as that of the service over HTTP."""
    await asyncio.to_thread(example_broker.make_topics, broker.servers)
    write_payments(tmp_path / "payments.csv", 12)
    app = App(payments, store=f"sqlite:///{tmp_path}/bide.db", settings=settings(broker.servers))
    with Provide(broker.servers) as provider:
        async with app.running():
            file = CsvPaymentsInputFile(filepath=Path("payments.csv"), csv_folder_path=tmp_path)
            execution = await app.submit(payments, file)
            await execution.result(timeout=60)
            names = Topics(via.request, via.response, via.dead_letter_topic)
            await all_taken_in(RealCluster(broker), names, "csv-payments-orchestrator")
            letters = await app.service.dead_letters("default")

    output = (tmp_path / "payments.out.csv").read_bytes()
    assert hashlib.sha256(output).hexdigest() == GOLDEN_12
    assert len(provider.tally.sent) == 12
    assert letters == []


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_demo_over_kafka_finishes_every_payment_once(
    broker: KafkaBroker, tmp_path: Path
) -> None:
    """A thousand payments through a kill: 907 and 93, nothing twice, nothing refused."""
    ran = subprocess.run(
        [sys.executable, "-m", "examples.csv_payments.demo", "--kafka", "--seconds", "4",
         "--folder", tmp_path / "demo"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=180,
        env={**os.environ, "COLUMNS": "100", "BIDE_KAFKA_SERVERS": broker.servers},
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "907 approved, 93 unapproved" in ran.stdout
    assert "killed the service" in ran.stdout
    for line in ("rows out 1000", "duplicates 0", "answers that were refused 0"):
        assert line in " ".join(ran.stdout.split())
