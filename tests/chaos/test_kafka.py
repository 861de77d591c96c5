"""Rows over Kafka while brokers and workers are killed and a partner misbehaves: each counts once."""

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer
from pydantic import SecretStr

from bide import App
from bide.security.files import write_key_file
from bide.settings import Settings
from tests.chaos.conftest import Scale
from tests.chaos.kafka_shop import LETTERS, REQUESTS, RESULTS, app, checks, via
from tests.kafka.cluster import PATIENCE_S, RealCluster, Topics, completion, seen
from tests.kafka.support import KEYRING, all_taken_in, read
from tests.processes import BIDE, IMPATIENT, Process
from tests.servers.kafka import KafkaBroker

NAMES = Topics(REQUESTS, RESULTS, LETTERS)
#: What a dead member of a group costs at least, seconds: as little as the broker lets it.
QUICK = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}


class Mischief:
    """A partner that answers each request, in any order, one in ten twice, and writes poison.

    Every hundredth record is poison: no JSON, a forged token, or an answer that does not fit.
    """

    def __init__(self, servers: str, *, seed: int, per_second: float) -> None:
        self._servers = servers
        self._chance = random.Random(seed)
        self._pace_s = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mischief", daemon=True)
        self.rows: Counter[int] = Counter()
        self.duplicates = 0
        #: By cause: what the broker has told that it has.
        self.poison: Counter[str] = Counter()
        self._written = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        common = {"bootstrap.servers": self._servers}
        quick = {**QUICK, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        consumer = Consumer({**common, **quick, "group.id": "mischief"})
        self._producer = Producer({**common, "enable.idempotence": True})
        consumer.subscribe([REQUESTS])
        try:
            while not self._stop.is_set():
                taken = [each for each in consumer.consume(50, 0.2) if each.error() is None]
                if taken:
                    self._stop.wait(self._pace_s * len(taken))
                    self._answer([seen(each).json for each in taken])
        finally:
            self._producer.flush(PATIENCE_S)
            consumer.close()

    def _answer(self, requests: list[Any]) -> None:
        answers = []
        for request in requests:
            self.rows[request["requestPayload"]] += 1
            answers.append(completion(request, f"<{request['requestPayload']}>"))
            if self._chance.random() < 0.1:
                self.duplicates += 1
                answers.append(answers[-1])
        self._chance.shuffle(answers)
        for answer in answers:
            self._write(json.dumps(answer).encode())
            if self._written % 100 == 0:
                self._poison(requests[0])

    def _poison(self, request: Any) -> None:
        cause, value = self._chance.choice(
            [
                ("malformed", b"no JSON " + str(self._written).encode()),
                (
                    "invalid-token",
                    completion(request, "x", resumeToken=request["resumeToken"][:-9]),
                ),
                ("invalid-answer", completion(request, self._written)),
            ]
        )
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self._write(body, cause)

    def _write(self, value: bytes, cause: str | None = None) -> None:
        def told(error: KafkaError | None, _: Message) -> None:
            if error is None and cause is not None:
                self.poison[cause] += 1

        self._written += 1
        self._producer.produce(RESULTS, value, str(self._written), on_delivery=told)
        self._producer.poll(0)


@asynccontextmanager
async def workers(store: str, folder: Path, servers: str) -> AsyncIterator[list[Process]]:
    """Two `bide worker`, by their processes."""
    keyring = folder / "keyring.json"
    write_key_file(keyring, KEYRING.render())
    env = {
        **IMPATIENT,
        "BIDE_KAFKA_SERVERS": servers,
        "BIDE_KAFKA_CONFIG": json.dumps(QUICK),
        "BIDE_KAFKA_TIMEOUT_MS": "5000",
        "BIDE_KEYRING_FILE": str(keyring),
        "BIDE_DISPATCH_BREAKER_LONGEST_MS": "1000",
    }
    command = [str(BIDE), "worker", "tests.chaos.kafka_shop:app", "--store", store]
    made = [Process(command, log=folder / f"worker-{name}.log", env=env) for name in "ab"]
    try:
        yield [each.start() for each in made]
    finally:
        for each in made:
            each.kill()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_every_row_counts_once(
    broker: KafkaBroker, scale: Scale, tmp_path: Path, seed: int
) -> None:
    """Brokers restarted and killed, workers killed by SIGKILL, answers shuffled, one in ten twice,
    poison among them: every row is there once, dead letters are exactly the poison, nothing is left.
    """
    rows, rounds = (1_000, 3) if scale.is_long else (240, 1)
    cluster = RealCluster(broker)
    for topic in NAMES:
        await asyncio.to_thread(cluster.create_topic, topic, 6)
    store = f"sqlite:///{tmp_path}/bide.db"
    keyring = SecretStr(KEYRING.render().decode())
    client = app.using(store=store, settings=Settings(poll_max_ms=50, keyring=keyring))
    per_second = rows / (20 * rounds)
    with Mischief(broker.servers, seed=seed, per_second=per_second) as partner:
        async with client.running(workers=False), workers(store, tmp_path, broker.servers) as both:
            execution = await client.submit(checks, rows)
            for number in range(4 * rounds):
                await _until_settled(client, execution.execution_id, rows * number // (4 * rounds))
                await _mishap(number, broker, both)
            result = await execution.result(timeout=300)
            await all_taken_in(cluster, NAMES, via.group_id)
            table = await client.service.dead_letters("default", limit=1_000)
    letters = await read(cluster, LETTERS, sum(partner.poison.values()))

    print(f"{rows} rows, {partner.duplicates} twice, {partner.poison} poison, {4 * rounds} mishaps")
    assert result == ",".join(f"<{number}>" for number in range(rows))
    assert partner.duplicates > 0
    assert sum(partner.poison.values()) > 0
    assert Counter(each.code for each in table) == partner.poison
    by_source = {each.headers["bide-source"]: each.headers["bide-cause"] for each in letters}
    assert Counter(by_source.values()) == partner.poison


async def _until_settled(client: App, execution_id: str, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S * 5):
        while True:
            units = await client.service.units("default", execution_id)
            if sum(unit.settled for unit in units) >= count:
                return
            await asyncio.sleep(0.05)


async def _mishap(number: int, broker: KafkaBroker, both: list[Process]) -> None:
    """A worker, the broker, the other worker, the broker in another way, and again."""
    if number % 2 == 0:
        worker = both[number // 2 % 2]
        worker.kill()
        worker.start()
    else:
        await asyncio.to_thread(broker.restart, kill=number % 4 == 1)


@pytest.fixture
def seed() -> int:
    """Printed with a failure, so that it can be had again."""
    chosen = random.SystemRandom().randrange(1_000_000)
    print(f"seed {chosen}")
    return chosen
