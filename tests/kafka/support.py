"""Apps whose awaits go over Kafka, and what a test does with them from the event loop."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from bide import App, Await, Kafka, Pipeline
from bide.security.keyring import Key, Keyring
from bide.settings import Settings
from tests.integration.support import eventually, quick
from tests.kafka.cluster import Cluster, Seen, Tap, Topics, lag, write

KEYRING = Keyring.of(Key.of("k1", bytes(range(32)), datetime(2026, 1, 1, tzinfo=UTC)))


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def joined(texts: Iterator[str]) -> str:
    return ",".join(texts)


def settings(servers: str, **more: Any) -> Settings:
    keyring = SecretStr(KEYRING.render().decode())
    # A member of the group that dies is missed soon.
    config = SecretStr('{"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}')
    usual = {"kafka_servers": servers, "keyring": keyring, "kafka_config": config}
    return quick(**(usual | more))


def via_of(names: Topics, **more: Any) -> Kafka:
    return Kafka(request=names.requests, response=names.responses, **more)


class Checks:
    """A pipeline that asks about each number of a stream."""

    def __init__(self, via: Kafka, *, timeout: str = "5m", **more: Any) -> None:
        self.ask = Await("Check", int, str, via=via, timeout=timeout, **more)
        self.pipeline = Pipeline("checks", int).then(numbers).wait(self.ask).then(joined)

    def app(self, cluster: Cluster, store: str, **more: Any) -> App:
        return App(self.pipeline, store=store, settings=settings(cluster.servers, **more))


async def all_taken_in(cluster: Cluster, names: Topics, group: str | None = None) -> None:
    """Wait until the group has committed everything that is on the response topic."""
    of = group or f"bide.{names.responses}"

    async def none_left() -> bool:
        return await asyncio.to_thread(lag, cluster.servers, of, names.responses) == 0

    await eventually(none_left)


async def read(cluster: Cluster, topic: str, count: int) -> list[Seen]:
    """Wait for so many records of a topic, and give all that are there by then."""
    tap = Tap(cluster.servers, topic)
    try:
        await asyncio.to_thread(tap.until, count)
        return await asyncio.to_thread(tap.now)
    finally:
        tap.close()


async def put(
    cluster: Cluster, topic: str, *records: Any, headers: dict[str, str] | None = None
) -> None:
    """Write values under one key, so into one partition."""
    pairs = [("k", record) for record in records]
    await asyncio.to_thread(write, cluster.servers, topic, pairs, headers=headers)
