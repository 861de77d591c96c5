"""Response topics, and what is known of each: the awaits behind it, its group, its tenants; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from bide.authoring.transports import Kafka
from bide.authoring.transports import Transport as Via
from bide.errors import DefinitionError
from bide.model.ids import ExecutionId, compose_execution_id
from bide.spi.receiving import Arrival, Completion, Unreadable
from bide.transports.kafka.envelope import Headers, read_completion

DEFAULT_TENANT: Final = "default"
_TIME_MAX: Final = 2**48 - 1


class Record(NamedTuple):
    """One record of a response topic, as its consumer gives it."""

    topic: str
    partition: int
    offset: int
    #: Unix milliseconds, as the topic keeps them; whatever the sender likes.
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None = None

    @property
    def place(self) -> str:
        """Where it lies, for people."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Channel:
    """One response topic."""

    topic: str
    group: str
    dead_letters: str
    awaits: frozenset[Kafka]
    #: Those whom it is bound to, in the order in which the awaits name them.
    tenants: tuple[str, ...]

    def arrival(self, record: Record) -> Arrival:
        """What a record says, and which awaits it may answer.

        A token says itself whose it is. Without one, `tenantId` is only a claim, so an await is
        answered only by the tenants that it names. (One that needs a token may be found, to be told
        that.)
        """
        tenant, said = read_completion(record.value, record.headers)
        answers: frozenset[Via] = frozenset(self.awaits)
        if isinstance(said, Completion) and said.resume_token is None:
            answers = frozenset(
                via for via in self.awaits if via.needs_token or tenant in _tenants(via)
            )
            if not answers:
                said = Unreadable("not-allowed", "the topic carries no answers of that tenant")
        return Arrival(
            id=arrival_id(self.group, record),
            place=record.place,
            tenant=tenant,
            keeper=tenant if tenant in self.tenants else self.tenants[0],
            answers=answers,
            said=said,
            body=record.value or b"",
        )


def arrival_id(group: str, record: Record) -> ExecutionId:
    """The same each time that the record is read, by whichever process of the group."""
    named = "\0".join([group, *map(str, record[:4])])
    bits = int.from_bytes(sha256(named.encode()).digest()[:8], "big")
    at = min(max(record.timestamp, 0), _TIME_MAX)
    return compose_execution_id(at, bits & 0xFFF, bits >> 12)


def channels_of(awaits: Mapping[str, Kafka]) -> dict[str, Channel]:
    """The response topics of an app's awaits, by name.

    Raises:
        DefinitionError: awaits that share a topic disagree about it, or one reads what another
            writes.
    """
    by_topic: dict[str, dict[str, Kafka]] = {}
    for name, via in awaits.items():
        by_topic.setdefault(via.response, {})[name] = via
    for name, via in awaits.items():
        for what, topic in (("request", via.request), ("dead_letters", via.dead_letter_topic)):
            if topic in by_topic:
                reader = next(iter(by_topic[topic]))
                raise DefinitionError(
                    f"{name} writes to its {what} topic {topic!r}, and {reader} takes its answers"
                    " from there; name another one"
                )
    return {topic: _channel(topic, sharing) for topic, sharing in by_topic.items()}


def _channel(topic: str, sharing: Mapping[str, Kafka]) -> Channel:
    (first, one), *others = sharing.items()
    for name, other in others:
        for what, mine, theirs in (
            ("group", one.group_id, other.group_id),
            ("dead_letters", one.dead_letter_topic, other.dead_letter_topic),
        ):
            if mine != theirs:
                raise DefinitionError(
                    f"{first} and {name} share the response topic {topic!r} and name two for"
                    f" {what}: {mine!r} and {theirs!r}; every answer is taken once, so name one"
                )
    tenants = dict.fromkeys(tenant for via in sharing.values() for tenant in _tenants(via))
    awaits = frozenset(sharing.values())
    return Channel(topic, one.group_id, one.dead_letter_topic, awaits, tuple(tenants))


def _tenants(via: Kafka) -> tuple[str, ...]:
    return tuple(via.tenants) or (DEFAULT_TENANT,)
