"""`Publication` and `Subscription`: what one pipeline publishes, and another makes an execution of.

Both are data, and neither names the other: they meet by the publication's name. What can be checked
without the pipeline is checked here; types are read when an app is made of pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, overload

from typing_extensions import TypeVar

from bide.authoring.awaits import Key, key_fields
from bide.authoring.names import check_id, check_name, id_of_name
from bide.errors import DefinitionError

A = TypeVar("A")
#: What a mapper gives. Invariant, so that it has to be the pipeline's very input: what may vary,
#: checkers widen until anything fits.
In = TypeVar("In")


class Unmapped:
    """Stands in the types of a subscription without a mapper."""


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Publication:
    """What a pipeline publishes: its result, or what one of its steps or awaits gives.

    Each pipeline of the same app that subscribes to the name owns an execution of its own from then
    on, made in the very commit that ends the publishing segment (the finish, or the next park).

    Args:
        name: what people call it; its slug is the id by which subscriptions find it.
        idempotent_on: what makes two publications the same: fields of what is published, or a
            function of it. A subscriber takes one execution under each key; the same key with
            another payload is refused, and leaves a dead letter.
        after: the id of the step or await whose value is published; None: the pipeline's result.

    Raises:
        DefinitionError: the name or the key cannot be used.
    """

    name: str
    id: str
    idempotent_on: tuple[str, ...] | Callable[..., str]
    after: str | None

    def __init__(
        self,
        name: str,
        *,
        idempotent_on: Key | Callable[[Any], str],
        after: str | None = None,
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
        values = {"name": name, "id": id_of_name(what, name), "idempotent_on": key, "after": after}
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

    Raises:
        DefinitionError: the name cannot be used, or the mapper is no function.
    """

    publication: str
    mapper: Callable[[Any], Any] | None

    @overload
    def __init__(
        self: Subscription[A], publication: str, *, mapper: Callable[[Any], A]
    ) -> None: ...
    @overload
    def __init__(self: Subscription[Unmapped], publication: str) -> None: ...
    def __init__(self, publication: str, *, mapper: Callable[[Any], Any] | None = None) -> None:
        what = f"subscription to {check_name('subscription', publication)!r}"
        if mapper is not None and not callable(mapper):
            raise DefinitionError(f"{what}: mapper is {mapper!r}, which is no function.")
        object.__setattr__(self, "publication", id_of_name(what, publication))
        object.__setattr__(self, "mapper", mapper)
