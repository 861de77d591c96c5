"""The Kafka adapter: requests go to one topic, answers come from another.

Both halves stand here and do little: the `Sender` writes, an `Intake` for each consumer group reads.
Nothing is kept here. A request whose delivery was not heard of is sent again, an answer whose offset
was not committed is read again, and both are known by their ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer

from bide.authoring.transports import Kafka
from bide.authoring.transports import Transport as Via
from bide.errors import DefinitionError
from bide.settings import Settings
from bide.spi.receiving import Door
from bide.spi.transport import Delivery, Outgoing, Problem, Route
from bide.transports.kafka.channels import Channel, channels_of
from bide.transports.kafka.config import (
    Properties,
    consumer_config,
    is_in_clear,
    producer_config,
    read_properties,
)
from bide.transports.kafka.deliveries import delivery_of
from bide.transports.kafka.envelope import headers_of, key_of, request_of
from bide.transports.kafka.examine import Expected, look
from bide.transports.kafka.intake import Intake
from bide.transports.kafka.sender import Sender, ToWrite, made

#: What `send` takes beyond its records' own time: being told of them.
_TELLING_MS: Final = 2_000
#: How old an answer about the cluster may be, and how long a new one is waited for; seconds.
_FRESH_S: Final = 5.0
_WAIT_S: Final = 0.9
_LOOPBACK: Final = ("localhost", "127.", "[::1]")


class KafkaTransport:
    """Carries the interactions of awaits with `via=Kafka(...)`, and takes their answers in.

    Args:
        awaits: every one of the app, by what messages call its await.
        settings: the brokers, what they ask for, how long they are waited for.

    Raises:
        DefinitionError: awaits that share a topic disagree about it.
    """

    def __init__(self, awaits: Mapping[str, Kafka], settings: Settings) -> None:
        self._awaits = awaits
        self._settings = settings
        self._channels = channels_of(awaits)
        self._sender: Sender | None = None
        self._intakes: list[Intake] = []
        self._looking: asyncio.Task[list[Problem]] | None = None
        self._seen: list[Problem] = []
        self._seen_at = float("-inf")

    async def open(self) -> None:
        """Make the producer; connects to nobody yet.

        Raises:
            DefinitionError: no brokers are named, or librdkafka does not take what is set.
        """
        properties = read_properties(self._settings)
        self._check(properties)
        self._sender = Sender(producer_config(properties, self._settings.kafka_timeout_ms))
        self._sender.open()

    async def close(self) -> None:
        """Stop reading and writing; safe to call twice and before `open`."""
        await self.unlisten()
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.close()
        looking, self._looking = self._looking, None
        if looking is not None:
            await asyncio.wait([looking])

    # --- requests -----------------------------------------------------------------------------

    def route(self, via: Via) -> Route:
        """Requests to one topic share a circuit breaker and a batch."""
        kafka = _kafka(via)
        return Route(
            endpoint=f"topic {kafka.request}",
            retry=kafka.retry,
            timeout_ms=self._settings.kafka_timeout_ms + _TELLING_MS,
            max_in_flight=kafka.max_in_flight,
            at_once=self._settings.batch_rows,
        )

    async def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
        """Write a batch; each is delivered once all replicas have it."""
        assert self._sender is not None, "nothing is sent before open"
        written = await self._sender.write([_to_write(each) for each in batch])
        return [delivery_of(error, detail) for error, detail in written]

    # --- answers ------------------------------------------------------------------------------

    def listen(self, door: Door) -> None:
        """Begin to read the response topics, one consumer a group."""
        assert self._sender is not None, "nothing is read before open"
        properties = read_properties(self._settings)
        groups: dict[str, dict[str, Channel]] = {}
        for topic, channel in self._channels.items():
            groups.setdefault(channel.group, {})[topic] = channel
        for group, channels in groups.items():
            config = consumer_config(properties, group)
            rows = self._settings.batch_rows
            intake = Intake(group, channels, config, self._sender, door, rows=rows)
            self._intakes.append(intake)
            intake.start()

    async def unlisten(self) -> None:
        """Bring what is in hand to its end, commit, and leave the groups."""
        intakes, self._intakes = self._intakes, []
        await asyncio.gather(*(intake.stop() for intake in intakes))

    # --- how it is ----------------------------------------------------------------------------

    async def problems(self) -> list[Problem]:
        """What keeps requests from leaving and answers from coming in, and what is left open."""
        if not self._awaits:
            return []
        try:
            properties = read_properties(self._settings)
            self._check(properties)
        except DefinitionError as error:
            return [Problem(next(iter(self._awaits)), str(error), is_fatal=True)]
        found = _left_open(properties, self._awaits)
        for intake in self._intakes:
            found += intake.problems()
        return found + await self._look(properties)

    def _check(self, properties: Properties) -> None:
        """Refuse what librdkafka does not take, where that can be told without connecting."""
        group = next(iter(self._channels.values())).group
        made(Consumer, config := consumer_config(properties, group), config).close()

    async def _look(self, properties: Properties) -> list[Problem]:
        """What the cluster says; asked at most once in a while, and waited for only a moment."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._seen_at < _FRESH_S:
            return self._seen
        if self._looking is None:
            asking = asyncio.to_thread(look, properties, self._expected())
            self._looking = loop.create_task(asking)
        done, _ = await asyncio.wait([self._looking], timeout=_WAIT_S)
        if not done:
            text = f"the brokers ({properties['bootstrap.servers']}) have not answered yet"
            return [*self._seen, Problem("Kafka", text, is_fatal=not self._was_well(loop.time()))]
        looking, self._looking = self._looking, None
        self._seen, self._seen_at = looking.result(), loop.time()
        return self._seen

    def _was_well(self, now: float) -> bool:
        """Whether the cluster answered not long ago: a slow answer is then no alarm."""
        return now - self._seen_at < 4 * _FRESH_S

    def _expected(self) -> Expected:
        topics: dict[str, str] = {}
        for name, via in self._awaits.items():
            for topic in (via.request, via.response, via.dead_letter_topic):
                topics.setdefault(topic, name)
        return Expected(topics, list(self._channels.values()), self._settings.kafka_lag_max)


def _to_write(outgoing: Outgoing) -> ToWrite:
    via = _kafka(outgoing.via)
    return ToWrite(
        via.request, key_of(via, outgoing), request_of(outgoing), headers_of(via, outgoing)
    )


def _left_open(properties: Properties, awaits: Mapping[str, Kafka]) -> list[Problem]:
    """A warning for whatever lets strangers read or answer."""
    found: list[Problem] = []
    servers = properties["bootstrap.servers"]
    if is_in_clear(properties) and not all(
        each.startswith(_LOOPBACK) for each in servers.split(",")
    ):
        text = "records and their tokens go over the network in clear; set security.protocol"
        found.append(Problem("BIDE_KAFKA_CONFIG", text, is_fatal=False))
    for name, via in awaits.items():
        if via.trusted_network:
            text = f"whoever can write to {via.response} can answer it (trusted_network)"
            found.append(Problem(name, text, is_fatal=False))
    return found


def _kafka(via: Via) -> Kafka:
    assert isinstance(via, Kafka), f"{type(via).__name__} is not the Kafka adapter's"
    return via
