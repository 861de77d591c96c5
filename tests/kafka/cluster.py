"""Topics of a cluster as the other side sees them: what is in one, and a partner that answers."""

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, Self

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.servers.kafka import BrokerMissing, KafkaBroker, jars

PATIENCE_S = 60.0
_numbers = itertools.count(1)


def require_broker() -> None:
    """Skip the test where no real broker can be had; in CI that is a failure."""
    try:
        jars()
    except BrokerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI tries Kafka on a real broker: {missing}")
        pytest.skip(f"no real broker: {missing}")


class Cluster(Protocol):
    """What a test needs of one."""

    is_real: bool

    @property
    def servers(self) -> str: ...
    def create_topic(self, name: str, partitions: int) -> None: ...


class RealCluster:
    """A broker and how topics are made on it."""

    is_real = True

    def __init__(self, broker: KafkaBroker) -> None:
        self.broker = broker

    @property
    def servers(self) -> str:
        return self.broker.servers

    def create_topic(self, name: str, partitions: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.servers})
        made = admin.create_topics(
            [NewTopic(name, num_partitions=partitions, replication_factor=1)]
        )
        made[name].result(PATIENCE_S)


class Topics(NamedTuple):
    """The topics of one test."""

    requests: str
    responses: str
    letters: str


def topics(cluster: Cluster, *, partitions: int = 3) -> Topics:
    """Make three topics that no other test has."""
    name = f"test-{next(_numbers)}"
    made = Topics(f"{name}.requests", f"{name}.results", f"{name}.results.dead-letters")
    for topic in made:
        cluster.create_topic(topic, partitions)
    return made


class Seen(NamedTuple):
    """One record, as whoever reads the topic sees it."""

    key: str | None
    value: bytes | None
    headers: dict[str, str]
    partition: int
    offset: int

    @property
    def json(self) -> Any:
        return json.loads(self.value or b"null")


def seen(message: Message) -> Seen:
    key, headers = message.key(), message.headers() or []
    listed = {name: (value or b"").decode() for name, value in headers}
    return Seen(
        key.decode() if key is not None else None,
        message.value(),
        listed,
        message.partition() or 0,
        message.offset() or 0,
    )


class Tap:
    """Reads a topic from its beginning, and goes on from where it was."""

    def __init__(self, servers: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": servers, "group.id": f"tap-{next(_numbers)}"}
        )
        numbers = self._consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        self.all: list[Seen] = []

    def until(self, count: int) -> list[Seen]:
        """Wait until so many records were seen in all; gives them."""
        until = time.monotonic() + PATIENCE_S
        while len(self.all) < count:
            assert time.monotonic() < until, f"{len(self.all)} of {count} records came"
            self._read(0.2)
        return self.all

    def now(self) -> list[Seen]:
        """What is there once nothing more comes for a while."""
        while self._read(1.0):
            pass
        return self.all

    def _read(self, seconds: float) -> bool:
        message = self._consumer.poll(seconds)
        if message is None:
            return False
        assert message.error() is None, message.error()
        self.all.append(seen(message))
        return True

    def close(self) -> None:
        self._consumer.close()


def write(
    servers: str,
    topic: str,
    records: Iterable[tuple[str | None, Any]],
    *,
    headers: dict[str, str] | None = None,
) -> None:
    """Write records by key; a value that is no bytes is written as JSON."""
    producer = Producer({"bootstrap.servers": servers, "acks": "all"})
    failed: list[str] = []

    def told(error: Any, _: Message) -> None:
        if error is not None:
            failed.append(error.str())

    for key, value in records:
        body = value if isinstance(value, bytes | None) else json.dumps(value).encode()
        producer.produce(topic, body, key, headers=list((headers or {}).items()), on_delivery=told)
        producer.poll(0)
    assert producer.flush(PATIENCE_S) == 0
    assert not failed


def completion(request: Any, payload: Any, **more: Any) -> dict[str, Any]:
    """The documented answer to a request."""
    return {
        "tenantId": request["tenantId"],
        "correlationId": request["correlationId"],
        "resumeToken": request["resumeToken"],
        "responsePayload": payload,
        **more,
    }


Answering = Callable[[Any], Sequence[Any]]


class Partner:
    """Answers each request of a topic, on a thread, until the block ends; knows no more of Bide.

    `answering` gives the values to write for one request; bytes are written as they are.
    """

    def __init__(self, servers: str, topics: Topics, answering: Answering) -> None:
        self._servers = servers
        self._topics = topics
        self._answering = answering
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partner", daemon=True)
        self.requests: list[Seen] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": f"partner-{self._topics.requests}",
                "auto.offset.reset": "earliest",
            }
        )
        producer = Producer({"bootstrap.servers": self._servers, "enable.idempotence": True})
        consumer.subscribe([self._topics.requests])
        try:
            while not self._stop.is_set():
                for message in consumer.consume(500, 0.05):
                    if message.error() is not None:
                        continue
                    request = seen(message)
                    self.requests.append(request)
                    for value in self._answering(request.json):
                        body = value if isinstance(value, bytes) else json.dumps(value).encode()
                        producer.produce(self._topics.responses, body, request.key)
                producer.poll(0)
        finally:
            producer.flush(PATIENCE_S)
            consumer.close()


def lag(servers: str, group: str, topic: str) -> int:
    """How many records of a topic the group has not committed."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group})
    try:
        numbers = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in numbers]
        behind = 0
        for place in consumer.committed(places, timeout=PATIENCE_S):
            low, high = consumer.get_watermark_offsets(place, timeout=PATIENCE_S)
            behind += high - max(place.offset, low)
        return behind
    except KafkaException:  # its coordinator is on its way
        return -1
    finally:
        consumer.close()
