"""`Publication` and `Subscription`: what one pipeline publishes, and another makes an execution of.

Both are data, and neither names the other: they meet by the publication's name. What can be checked
without the pipeline is checked here; types are read when an app is made of pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Generic, overload

from typing_extensions import TypeVar

from bide.authoring.awaits import Key, key_fields
from bide.authoring.names import check_id, check_name, id_of_name
from bide.authoring.secrets import Secret
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
            raise DefinitionError(f"{what}: to is {to!r}; write to=Deployment(...).")
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
        remote: it is published by another deployment, which offers it over the wire.

    Raises:
        DefinitionError: the name cannot be used, or the mapper is no function.
    """

    publication: str
    mapper: Callable[[Any], Any] | None
    remote: bool

    @overload
    def __init__(
        self: Subscription[A],
        publication: str,
        *,
        mapper: Callable[[Any], A],
        remote: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Subscription[Unmapped], publication: str, *, remote: bool = False
    ) -> None: ...
    def __init__(
        self,
        publication: str,
        *,
        mapper: Callable[[Any], Any] | None = None,
        remote: bool = False,
    ) -> None:
        what = f"subscription to {check_name('subscription', publication)!r}"
        if mapper is not None and not callable(mapper):
            raise DefinitionError(f"{what}: mapper is {mapper!r}, which is no function.")
        object.__setattr__(self, "publication", id_of_name(what, publication))
        object.__setattr__(self, "mapper", mapper)
        object.__setattr__(self, "remote", remote)
