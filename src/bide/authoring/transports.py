"""How an interaction leaves and its answer comes back, as data.

These are descriptions: what carries them out lives in the transports, above. Each says on the wire
what it is (`kind`), and refuses at once what could never work.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar, Final, Literal

from bide.authoring.names import check_name
from bide.authoring.retry import Retry
from bide.errors import DefinitionError

#: A host, perhaps with a port, behind no credentials; what follows is the partner's business.
_URL: Final = re.compile(r"https?://(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?(?:[/?][^\s#]*)?")
_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}")
_DISPATCH_ATTEMPTS: Final = 8


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
    """Send the request to `url`; the answer comes to the callback that goes with it.

    `max_in_flight` bounds the unanswered interactions over all workers. `trusted_network` says that
    answers may come without the signed token that went with the request.
    """

    kind: ClassVar[str] = "webhook"

    url: str
    _: KW_ONLY
    retry: Retry = field(default_factory=lambda: Retry(_DISPATCH_ATTEMPTS))
    max_in_flight: int | None = None
    callback: str | None = None
    trusted_network: bool = False

    @property
    def needs_token(self) -> bool:
        """Yes, unless the network is trusted."""
        return not self.trusted_network

    def __post_init__(self) -> None:
        _check_url("Webhook: url", self.url)
        if self.callback is not None:
            _check_url("Webhook: callback", self.callback)
        if self.max_in_flight is not None and self.max_in_flight < 1:
            raise DefinitionError(
                f"Webhook: max_in_flight is {self.max_in_flight}; write 1 or more, or leave it out."
            )


@dataclass(frozen=True, slots=True)
class Kafka(Transport):
    """Send the request to one topic and take the answer from another.

    `group` is the consumer group, `key` what the records are keyed by, and `tenants` those whose
    answers the response topic may carry (the default one if none is named).
    """

    kind: ClassVar[str] = "kafka"

    _: KW_ONLY
    request: str
    response: str
    group: str | None = None
    key: Literal["correlationId", "interactionId"] = "correlationId"
    tenants: Sequence[str] = ()
    trusted_network: bool = False

    @property
    def needs_token(self) -> bool:
        """Yes, unless the network is trusted."""
        return not self.trusted_network

    def __post_init__(self) -> None:
        for name, topic in (("request", self.request), ("response", self.response)):
            if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
                raise DefinitionError(
                    f"Kafka: {name} is {topic!r}, which is no topic name: "
                    "1 to 249 letters, digits, '.', '_' and '-'."
                )
        if self.request == self.response:
            raise DefinitionError(
                f"Kafka: request and response are both {self.request!r}; "
                "requests would be read as answers. Name two topics."
            )
        if self.key not in {"correlationId", "interactionId"}:
            raise DefinitionError(
                f"Kafka: key is {self.key!r}; write 'correlationId' or 'interactionId'."
            )
        if isinstance(self.tenants, str):
            raise DefinitionError(
                f"Kafka: tenants is the text {self.tenants!r}; write tenants=[{self.tenants!r}]."
            )
        object.__setattr__(self, "tenants", tuple(self.tenants))
        for name in (*self.tenants, *([] if self.group is None else [self.group])):
            check_name("Kafka", name)


def _check_url(what: str, url: object) -> None:
    if not isinstance(url, str) or not _URL.fullmatch(url):
        raise DefinitionError(
            f"{what} is {url!r}; write an absolute http:// or https:// address "
            "without credentials and fragment."
        )
