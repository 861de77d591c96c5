"""What librdkafka is configured with: read, checked and put together; pure but for one file.

Everything that a cluster asks for (TLS, SASL, timeouts) goes through under librdkafka's own names.
What the promises of this transport rest on cannot be changed. No value is ever repeated in a
message: any of them may be a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from bide.errors import DefinitionError
from bide.planning.json_limits import MalformedJson, strict_loads
from bide.settings import Settings

#: What a promise rests on, and which one.
_OWN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bootstrap.servers": "it is the setting BIDE_KAFKA_SERVERS",
        "metadata.broker.list": "it is the setting BIDE_KAFKA_SERVERS",
        "group.id": "an await names its group: Kafka(..., group=...)",
        "group.instance.id": "one value for all processes would have them fence each other",
        "group.protocol": "answers are taken by the classic protocol, cooperatively",
        "partition.assignment.strategy": "partitions are handed over cooperatively",
        "enable.auto.commit": "an offset is committed only behind a durable admission",
        "auto.commit.interval.ms": "an offset is committed only behind a durable admission",
        "enable.auto.offset.store": "an offset is committed only behind a durable admission",
        "auto.offset.reset": "answers from before the first look must be read",
        "enable.partition.eof": "the end of a partition is no answer",
        "enable.idempotence": "a retry must not write a request twice",
        "acks": "a request counts as sent once all replicas have it",
        "request.required.acks": "a request counts as sent once all replicas have it",
        "transactional.id": "requests are sent without Kafka's transactions",
        "message.timeout.ms": "it is the setting BIDE_KAFKA_TIMEOUT_MS",
        "delivery.timeout.ms": "it is the setting BIDE_KAFKA_TIMEOUT_MS",
        "allow.auto.create.topics": "topics are made by whoever knows their partitions",
    }
)
#: Properties of one kind of client, by how they begin; the other kind would complain of them.
_OF_CONSUMERS: Final = (
    "auto.offset.", "check.crcs", "coordinator.", "fetch.", "group.", "heartbeat.", "isolation.",
    "max.poll.", "queued.", "session.",
)  # fmt: skip
_OF_PRODUCERS: Final = (
    "batch.", "compression.", "linger.", "message.send.", "queue.buffering.", "retries", "sticky.",
)  # fmt: skip

Properties = Mapping[str, str]


def read_properties(settings: Settings) -> Properties:
    """What every client of this process is made with, the brokers included.

    Raises:
        DefinitionError: no brokers are named, or the properties are none or not to be set.
    """
    if not settings.kafka_servers:
        raise DefinitionError("no Kafka brokers are named; set BIDE_KAFKA_SERVERS=host:port")
    given, path = settings.kafka_config, settings.kafka_config_file
    if given is not None and path is not None:
        raise DefinitionError(
            "BIDE_KAFKA_CONFIG and BIDE_KAFKA_CONFIG_FILE are both set; unset one"
        )
    properties: Properties = {}
    if path is not None:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise DefinitionError(f"BIDE_KAFKA_CONFIG_FILE: {path} cannot be read: {why}") from None
        properties = parse_properties(text, f"BIDE_KAFKA_CONFIG_FILE ({path})")
    elif given is not None:
        properties = parse_properties(given.get_secret_value(), "BIDE_KAFKA_CONFIG")
    return {**properties, "bootstrap.servers": ",".join(settings.kafka_servers)}


def parse_properties(text: str, where: str) -> Properties:
    """Read properties from a JSON object, or from `name=value` lines with `#` comments.

    Raises:
        DefinitionError: it is neither, or names what is not to be set; quotes no value.
    """
    found = _from_json(text, where) if text.lstrip().startswith("{") else _from_lines(text, where)
    for name in found:
        if name in _OWN:
            raise DefinitionError(f"{where}: {name} cannot be set: {_OWN[name]}")
    return found


def _from_json(text: str, where: str) -> dict[str, str]:
    try:
        value = strict_loads(text.encode("utf-8", "replace"))
    except MalformedJson as error:
        raise DefinitionError(f"{where}: {error}") from None
    found: dict[str, str] = {}
    for name, each in cast("dict[str, object]", value).items():
        if isinstance(each, bool):
            found[name] = "true" if each else "false"
        elif isinstance(each, str | int | float):
            found[name] = str(each)
        else:
            raise DefinitionError(f"{where}: {name} is neither a text nor a number")
    return found


def _from_lines(text: str, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        name, sign, value = bare.partition("=")
        name = name.strip()
        if not sign or not name:
            raise DefinitionError(f"{where}, line {number}: write name=value")
        if name in found:
            raise DefinitionError(f"{where}, line {number}: {name} is set twice")
        found[name] = value.strip()
    return found


def producer_config(properties: Properties, timeout_ms: int) -> dict[str, str]:
    """What requests and dead letters are sent with: all replicas have them, and once."""
    return {
        # A batch is awaited as a whole, so nothing is gained by holding its messages back.
        "linger.ms": "1",
        # A topic that is not there is told of soon, and not when a record's whole time is up.
        "topic.metadata.propagation.max.ms": "3000",
        **_without(properties, _OF_CONSUMERS),
        "enable.idempotence": "true",
        "acks": "all",
        "message.timeout.ms": str(timeout_ms),
    }


def consumer_config(properties: Properties, group: str) -> dict[str, str]:
    """What answers are taken with: nothing is committed but by us."""
    return {
        # A topic that was made after the start is found soon.
        "topic.metadata.refresh.interval.ms": "10000",
        **_without(properties, _OF_PRODUCERS),
        "group.id": group,
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "cooperative-sticky",
    }


def _without(properties: Properties, beginnings: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in properties.items() if not name.startswith(beginnings)}


def is_in_clear(properties: Properties) -> bool:
    """Whether records go over the network unencrypted."""
    return not properties.get("security.protocol", "plaintext").lower().endswith("ssl")
