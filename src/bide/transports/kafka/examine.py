"""Looks at a cluster: does it answer, are the topics there, how far behind are the groups.

A client is made for each look and closed again; it reads nothing and joins no group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from bide.spi.transport import Problem
from bide.transports.kafka.channels import Channel
from bide.transports.kafka.config import Properties, consumer_config
from bide.transports.kafka.sender import made

#: How long one question may take.
_ANSWER_S: Final = 2.0


class Expected(NamedTuple):
    """What has to be there."""

    #: From topics to the awaits that need them, in words.
    topics: Mapping[str, str]
    channels: Sequence[Channel]
    #: How many answers may wait; 0: no bound.
    lag_max: int


def look(properties: Properties, expected: Expected) -> list[Problem]:
    """Look once; blocks, for seconds when nobody answers."""
    missing: dict[str, Problem] = {}
    late: list[Problem] = []
    for channel in expected.channels:
        config = consumer_config(properties, channel.group)
        with closing(made(Consumer, config, config)) as client:
            try:
                known = client.list_topics(timeout=_ANSWER_S).topics
                for name, awaits in expected.topics.items():
                    if name not in known or known[name].error is not None:
                        missing[name] = _missing(name, awaits)
                if channel.topic not in missing:
                    behind = lag(client, channel.topic, list(known[channel.topic].partitions))
                    if expected.lag_max and behind > expected.lag_max:
                        late.append(_late(channel, behind, expected.lag_max))
            except KafkaException as error:
                servers = properties["bootstrap.servers"]
                text = f"no broker answers ({error.args[0].str()}); nothing is sent or taken in"
                return [Problem(f"Kafka at {servers}", text, is_fatal=True)]
    return [*missing.values(), *late]


def lag(client: Consumer, topic: str, numbers: Sequence[int]) -> int:
    """How many records of a topic the client's group has not committed yet.

    Raises:
        KafkaException: the cluster does not say.
    """
    places = [TopicPartition(topic, number) for number in numbers]
    behind = 0
    for place in client.committed(places, timeout=_ANSWER_S):
        low, high = client.get_watermark_offsets(place, timeout=_ANSWER_S)
        behind += max(0, high - max(place.offset, low))
    return behind


def _missing(name: str, awaits: str) -> Problem:
    text = f"it is not there, or may not be seen, and {awaits} needs it; create it"
    return Problem(f"topic {name}", text, is_fatal=True)


def _late(channel: Channel, behind: int, lag_max: int) -> Problem:
    text = (
        f"{behind:,} answers wait on {channel.topic}, more than BIDE_KAFKA_LAG_MAX ({lag_max:,});"
        " start more workers, or look at the store"
    )
    return Problem(f"group {channel.group}", text, is_fatal=False)
