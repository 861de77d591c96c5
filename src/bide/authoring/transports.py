"""How an interaction leaves and its answer comes back, as data.

These are descriptions: what carries them out lives in the transports, above. Each says on the wire
what it is (`kind`), and refuses at once what could never work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from bide.authoring.names import check_name
from bide.authoring.retry import Retry
from bide.authoring.secrets import Secret
from bide.authoring.urls import parse_url
from bide.errors import DefinitionError

_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}")
_DISPATCH_ATTEMPTS: Final = 8

#: A header's name and value (RFC 9110, section 5); no control character, so none can add a line.
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?")
#: What the transport writes itself, or what would change how the request is read.
_RESERVED_HEADERS: Final = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type",
        "expect", "host", "keep-alive", "te", "traceparent", "tracestate", "trailer",
        "transfer-encoding", "upgrade", "webhook-id", "webhook-signature", "webhook-timestamp",
    }
)  # fmt: skip
_NO_HEADERS: Final[Mapping[str, str | Secret]] = MappingProxyType({})
_NO_TEXTS: Final[Mapping[str, str]] = MappingProxyType({})
_TRACE_HEADERS: Final = frozenset({"traceparent", "tracestate"})
#: Headers that carry a credential; a text in the code would be in the repository as well.
_SECRET_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


class Transport:
    """What an await's `via=` takes: `Inbox`, `Webhook` or `Kafka`."""

    __slots__ = ()

    #: The name on the wire.
    kind: ClassVar[str]

    @property
    def needs_token(self) -> bool:
        """Whether an answer must bring the token that went out with its request."""
        return False


@dataclass(frozen=True, slots=True)
class Inbox(Transport):
    """Show the interaction to people: in the inbox, over the API and on the command line.

    `group` says whose turn it is and `assignee` which person's; both are what lists filter by.
    """

    kind: ClassVar[str] = "interaction-api"

    group: str | None = None
    _: KW_ONLY
    assignee: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("group", self.group), ("assignee", self.assignee)):
            if value is not None:
                check_name(f"Inbox: {name}", value)


@dataclass(frozen=True, slots=True)
class Webhook(Transport):
    """Send the request to `url`, signed; the answer comes to the callback that goes with it.

    Args:
        url: where requests are posted to: `https://`, a host name in ASCII, no credentials.
        retry: how often and how far apart one request is tried.
        max_in_flight: bounds the unanswered interactions over all workers; None: no bound.
        callback: the whole address that partners post answers to; without it, the setting
            `BIDE_CALLBACK_BASE_URL` says where this app is reached.
        secret: what requests are signed with (Standard Webhooks, `whsec_...`); several while one
            is being replaced, each of which signs. Without it, those of the setting
            `BIDE_WEBHOOK_SECRETS`.
        headers: sent with each request; a value is a text or a `Secret`.
        trusted_network: answers may come without the signed token that went with the request.

    Raises:
        DefinitionError: the address, a header or a number could never work.
    """

    kind: ClassVar[str] = "webhook"

    url: str
    _: KW_ONLY
    retry: Retry = field(
        default_factory=lambda: Retry(_DISPATCH_ATTEMPTS, first="2s", longest="10m")
    )
    max_in_flight: int | None = None
    callback: str | None = None
    secret: Secret | Sequence[Secret] = ()
    headers: Mapping[str, str | Secret] = field(default_factory=lambda: _NO_HEADERS, hash=False)
    trusted_network: bool = False

    @property
    def needs_token(self) -> bool:
        """Yes, unless the network is trusted."""
        return not self.trusted_network

    def __post_init__(self) -> None:
        parse_url("Webhook: url", self.url)
        if (
            self.callback is not None
            and parse_url("Webhook: callback", self.callback).target == "/"
        ):
            raise DefinitionError(
                f"Webhook: callback is {self.callback!r}, which names no path; write the whole "
                "address, such as https://bide.example/pipeline/interactions/complete."
            )
        if self.max_in_flight is not None and self.max_in_flight < 1:
            raise DefinitionError(
                f"Webhook: max_in_flight is {self.max_in_flight}; write 1 or more, or leave it out."
            )
        object.__setattr__(self, "secret", _secrets(self.secret))
        object.__setattr__(self, "headers", _headers(self.headers))

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What requests are signed with, the newest first; empty for the app's own."""
        return (self.secret,) if isinstance(self.secret, Secret) else tuple(self.secret)


@dataclass(frozen=True, slots=True)
class Kafka(Transport):
    """Send the request to one topic and take the answer from another.

    Args:
        request: the topic that requests go to.
        response: the topic that answers come from. Several awaits may share one.
        group: the consumer group of all processes that take these answers; without it
            `bide.` and the response topic.
        key: what the records are keyed by, and so which partition they are in.
        tenants: those whose answers the response topic may carry without a token; the default one
            if none is named. A token says itself whose it is.
        trusted_network: answers may come without the signed token that went with the request.
        dead_letters: the topic that refused answers go to as they came; without it the response
            topic's name and `.dead-letters`.
        headers: sent with each request, beside Bide's own.
        retry: how often and how far apart one request is tried.
        max_in_flight: bounds the unanswered interactions over all workers; None: no bound.

    Raises:
        DefinitionError: a topic, a header or a number could never work.
    """

    kind: ClassVar[str] = "kafka"

    _: KW_ONLY
    request: str
    response: str
    group: str | None = None
    key: Literal["correlationId", "interactionId"] = "correlationId"
    tenants: Sequence[str] = ()
    trusted_network: bool = False
    dead_letters: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_TEXTS, hash=False)
    retry: Retry = field(
        default_factory=lambda: Retry(_DISPATCH_ATTEMPTS, first="2s", longest="10m")
    )
    max_in_flight: int | None = None

    @property
    def needs_token(self) -> bool:
        """Yes, unless the network is trusted."""
        return not self.trusted_network

    @property
    def dead_letter_topic(self) -> str:
        """Where refused answers go."""
        return self.dead_letters or f"{self.response}.dead-letters"

    @property
    def group_id(self) -> str:
        """The consumer group that takes the answers."""
        return self.group or f"bide.{self.response}"

    def __post_init__(self) -> None:
        topics = {"request": self.request, "response": self.response}
        for name, topic in topics.items():
            check_topic(f"Kafka: {name}", topic)
        if self.request == self.response:
            raise DefinitionError(
                f"Kafka: request and response are both {self.request!r}; "
                "requests would be read as answers. Name two topics."
            )
        check_topic("Kafka: dead_letters", self.dead_letter_topic)
        if self.dead_letter_topic in topics.values():
            raise DefinitionError(
                f"Kafka: dead_letters is {self.dead_letter_topic!r}, which is the request or the "
                "response topic. Name a third one."
            )
        if self.key not in {"correlationId", "interactionId"}:
            raise DefinitionError(
                f"Kafka: key is {self.key!r}; write 'correlationId' or 'interactionId'."
            )
        if isinstance(self.tenants, str):
            raise DefinitionError(
                f"Kafka: tenants is the text {self.tenants!r}; write tenants=[{self.tenants!r}]."
            )
        if self.max_in_flight is not None and self.max_in_flight < 1:
            raise DefinitionError(
                f"Kafka: max_in_flight is {self.max_in_flight}; write 1 or more, or leave it out."
            )
        object.__setattr__(self, "tenants", tuple(self.tenants))
        object.__setattr__(self, "headers", _record_headers(self.headers))
        for name in (*self.tenants, *([] if self.group is None else [self.group])):
            check_name("Kafka", name)


def check_topic(what: str, topic: object) -> None:
    """Refuse what Kafka takes for no topic's name.

    Raises:
        DefinitionError: it is none; the message begins with `what`.
    """
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
        raise DefinitionError(
            f"{what} is {topic!r}, which is no topic name: "
            "1 to 249 letters, digits, '.', '_' and '-'."
        )


def _record_headers(given: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in given.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            raise DefinitionError(f"Kafka: {name!r} is no name of a header.")
        if name.lower() in _TRACE_HEADERS:
            raise DefinitionError(f"Kafka: the header {name!r} is Bide's own; leave it out.")
        check_header_value(f"Kafka: the header {name!r}", value)
    return MappingProxyType(dict(given))


def _secrets(given: Secret | Sequence[Secret]) -> tuple[Secret, ...]:
    if isinstance(given, Secret):
        return (given,)
    if not isinstance(given, Sequence) or not all(isinstance(each, Secret) for each in given):
        raise DefinitionError(
            "Webhook: secret is no Secret; secrets do not stand in code. "
            'Write secret=Secret(env="PARTNER_SECRET").'
        )
    return tuple(given)


def _headers(given: Mapping[str, str | Secret]) -> Mapping[str, str | Secret]:
    """Check headers where they are written; no value is repeated in a message."""
    for name, value in given.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            raise DefinitionError(f"Webhook: {name!r} is no name of a header.")
        known = name.lower()
        if known in _RESERVED_HEADERS:
            raise DefinitionError(f"Webhook: the header {name!r} is Bide's own; leave it out.")
        if known in _SECRET_HEADERS and not isinstance(value, Secret):
            raise DefinitionError(
                f"Webhook: the header {name!r} carries a secret, which does not stand in code. "
                f'Write headers={{"{name}": Secret(env="PARTNER_KEY")}}.'
            )
        if not isinstance(value, Secret):
            check_header_value(f"Webhook: the header {name!r}", value)
    if len({name.lower() for name in given}) != len(given):
        raise DefinitionError("Webhook: two headers differ in upper and lower case only; keep one.")
    return MappingProxyType(dict(given))


def check_header_value(what: str, value: object) -> str:
    """Give a header's value back if it can be sent as it is; the message does not repeat it."""
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise DefinitionError(
            f"{what} is not made of visible ASCII characters with spaces between them."
        )
    return value
