"""`Publication` and `Subscription`: what one pipeline publishes, and another makes an execution of.

Both are data, and neither names the other: they meet by the publication's name. What can be checked
without the pipeline is checked here; types are read when an app is made of pipelines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Generic, overload

from typing_extensions import TypeVar

from bide.authoring.awaits import Key, key_fields
from bide.authoring.names import check_id, check_name, id_of_name
from bide.authoring.secrets import Secret
from bide.authoring.transports import check_topic
from bide.authoring.urls import parse_url
from bide.errors import DefinitionError

A = TypeVar("A")
#: What a mapper gives. Invariant, so that it has to be the pipeline's very input: what may vary,
#: checkers widen until anything fits.
In = TypeVar("In")


class Unmapped:
    """Stands in the types of a subscription without a mapper."""


@dataclass(frozen=True, slots=True)
class Destination:
    """How another deployment is reached that takes a publication; each kind is a class of its own."""


@dataclass(frozen=True, slots=True)
class Deployment(Destination):
    """Another deployment of Bide, reached at its HTTP API.

    Args:
        url: where its API is: what `bide serve` says, or where `app.asgi()` is mounted.
        api_key: what it knows this one by, with the role `submit`; None where it asks nobody.
        trusted_network: the address may be `http://`, though others could listen.

    Raises:
        DefinitionError: the address could never work, or what is sent there could be read by
            others: only this machine is reached by `http://` without `trusted_network=True`.
    """

    url: str
    _: KW_ONLY
    api_key: Secret | None = None
    trusted_network: bool = False

    def __post_init__(self) -> None:
        url = parse_url("Deployment: url", self.url)
        if "?" in url.target:
            raise DefinitionError(f"Deployment: url is {self.url!r}; leave its query out.")
        here = url.host == "localhost" or (url.address is not None and url.address.is_loopback)
        if url.scheme != "https" and not here and not self.trusted_network:
            raise DefinitionError(
                f"Deployment: url is {self.url!r}, on whose way others could read; write https://,"
                " or trusted_network=True where nobody can."
            )
        if self.api_key is not None and not isinstance(self.api_key, Secret):
            raise DefinitionError(
                "Deployment: api_key is no Secret; secrets do not stand in code. "
                'Write api_key=Secret(env="DELIVERY_KEY").'
            )


@dataclass(frozen=True, slots=True)
class Topic(Destination):
    """A Kafka topic by which another deployment takes what is published, and tells of it by another.

    Both sides write the same: the publishing one as `to=`, the taking one as `remote=`. Whoever may
    write to the topic can have executions made, and whoever may write to the receipts can settle
    publications: the brokers' access control is what guards the two.

    Args:
        topic: where publications are written to, each under its handoff key.
        receipts: the topic where the taking side says what became of each; without it the topic's
            name and `.receipts`.
        group: the consumer group of all processes that take from it; without it `bide.` and the
            topic's name.
        tenants: those whose publications it carries; the default one if none is named.
        dead_letters: where records go, as they came, of which no publication can be made; without
            it the topic's name and `.dead-letters`.

    Raises:
        DefinitionError: a topic or a name could never work, or one topic is used for two things.
    """

    topic: str
    _: KW_ONLY
    receipts: str | None = None
    group: str | None = None
    tenants: Sequence[str] = ()
    dead_letters: str | None = None

    @property
    def receipt_topic(self) -> str:
        """Where the taking side says what became of each publication."""
        return self.receipts or f"{self.topic}.receipts"

    @property
    def dead_letter_topic(self) -> str:
        """Where records go of which no publication can be made."""
        return self.dead_letters or f"{self.topic}.dead-letters"

    @property
    def group_id(self) -> str:
        """The consumer group that takes from it."""
        return self.group or f"bide.{self.topic}"

    def __post_init__(self) -> None:
        check_topic("Topic: topic", self.topic)
        check_topic("Topic: receipts", self.receipt_topic)
        check_topic("Topic: dead_letters", self.dead_letter_topic)
        if len({self.topic, self.receipt_topic, self.dead_letter_topic}) < 3:
            raise DefinitionError(
                f"Topic: {self.topic!r}, its receipts and its dead letters are three topics; "
                "name each otherwise."
            )
        if isinstance(self.tenants, str):
            raise DefinitionError(
                f"Topic: tenants is the text {self.tenants!r}; write tenants=[{self.tenants!r}]."
            )
        object.__setattr__(self, "tenants", tuple(self.tenants))
        for name in (*self.tenants, *([] if self.group is None else [self.group])):
            check_name("Topic", name)


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Publication:
    """What a pipeline publishes: its result, or what one of its steps or awaits gives.

    Each pipeline of the same app that subscribes to the name owns an execution of its own from then
    on, made in the very commit that ends the publishing segment (the finish, or the next park).
    With `to=`, another deployment is offered it as well, until it has taken it.

    Args:
        name: what people call it; its slug is the id by which subscriptions find it.
        idempotent_on: what makes two publications the same: fields of what is published, or a
            function of it. A subscriber takes one execution under each key; the same key with
            another payload is refused, and leaves a dead letter.
        after: the id of the step or await whose value is published; None: the pipeline's result.
        to: the other deployment that takes it; there, a pipeline subscribes with `remote=True`.

    Raises:
        DefinitionError: the name or the key cannot be used.
    """

    name: str
    id: str
    idempotent_on: tuple[str, ...] | Callable[..., str]
    after: str | None
    to: Destination | None

    def __init__(
        self,
        name: str,
        *,
        idempotent_on: Key | Callable[[Any], str],
        after: str | None = None,
        to: Destination | None = None,
    ) -> None:
        what = f"publication {check_name('publication', name)!r}"
        key = key_fields(f"{what}: idempotent_on", idempotent_on)
        if not key:
            raise DefinitionError(
                f"{what}: idempotent_on names nothing, so that no repeat could be known. "
                'Write idempotent_on="field", a list of fields, or a function.'
            )
        if after is not None:
            check_id(f"{what}: after", after)
        if to is not None and not isinstance(to, Destination):
            raise DefinitionError(f"{what}: to is {to!r}; write to=Deployment(...) or Topic(...).")
        values = {
            "name": name,
            "id": id_of_name(what, name),
            "idempotent_on": key,
            "after": after,
            "to": to,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Subscription(Generic[In]):
    """Which publication a pipeline makes executions of.

    Args:
        publication: the publication's name or id.
        mapper: makes the pipeline's input of what was published; without it, that is the input.
            Pure and not async: it is called whenever a publication is admitted. What it cannot map,
            the publication is refused for.
        remote: it is published by another deployment, which offers it over the wire: `True` over
            HTTP, a `Topic` by that topic as well.

    Raises:
        DefinitionError: the name cannot be used, the mapper is no function, or `remote` is neither.
    """

    publication: str
    mapper: Callable[[Any], Any] | None
    remote: bool | Topic

    @overload
    def __init__(
        self: Subscription[A],
        publication: str,
        *,
        mapper: Callable[[Any], A],
        remote: bool | Topic = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Subscription[Unmapped], publication: str, *, remote: bool | Topic = False
    ) -> None: ...
    def __init__(
        self,
        publication: str,
        *,
        mapper: Callable[[Any], Any] | None = None,
        remote: bool | Topic = False,
    ) -> None:
        what = f"subscription to {check_name('subscription', publication)!r}"
        if mapper is not None and not callable(mapper):
            raise DefinitionError(f"{what}: mapper is {mapper!r}, which is no function.")
        if not isinstance(remote, bool | Topic):
            raise DefinitionError(f"{what}: remote is {remote!r}; write True or Topic(...).")
        object.__setattr__(self, "publication", id_of_name(what, publication))
        object.__setattr__(self, "mapper", mapper)
        object.__setattr__(self, "remote", remote)
