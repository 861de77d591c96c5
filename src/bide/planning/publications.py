"""Publications and subscriptions as parts of plans, and whether those of one app fit each other.

Where a pipeline publishes can only be seen when nothing more is added to it, and who takes it when
pipelines are put together: so what is found here is refused when an app is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from bide.authoring.publications import Destination, Publication, Subscription, Topic
from bide.errors import DefinitionError
from bide.planning.codec import Codec
from bide.planning.codec_of import Unfit, codec_of
from bide.planning.hints import parameter_types, return_type
from bide.planning.keys import KeyFunction, key_function
from bide.planning.plan import Plan, PlanAwait
from bide.planning.typeforms import fits, type_text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanPublication:
    """What is published at one point of a plan."""

    id: str
    codec: Codec[Any]
    #: Gives the key under which a subscriber takes one execution; never None for what is published.
    key_of: KeyFunction
    #: The other deployment that takes it, beside the pipelines of this app that do.
    to: Destination | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanSubscription:
    """What a plan makes its input of."""

    #: The id of what is published.
    publication: str
    #: What is published, as this pipeline reads it.
    payload: Codec[Any]
    mapper: Callable[[Any], Any] | None
    #: Another deployment publishes it.
    remote: bool
    #: By which topic it comes, beside HTTP.
    topic: Topic | None


#: By the position of the step or await whose value is published; None for the result.
Points: TypeAlias = Mapping[int | None, Sequence[PlanPublication]]


def points_of(plan: Plan) -> Points:
    """Where a pipeline publishes what.

    Raises:
        DefinitionError: there is no such place, a stream passes there, a key does not fit, or a
            name is used twice.
    """
    points: dict[int | None, list[PlanPublication]] = {}
    taken: set[str] = set()
    for publication in plan.publishes:
        what = _what(plan, publication)
        if publication.id in taken:
            raise DefinitionError(f"{what} is published twice. Give one of them another name.")
        taken.add(publication.id)
        position, codec = _at(plan, publication, what)
        points.setdefault(position, []).append(
            PlanPublication(
                id=publication.id,
                codec=codec,
                key_of=key_function(publication.idempotent_on, codec, f"{what}: idempotent_on"),
                to=publication.to,
            )
        )
    return points


def _what(plan: Plan, publication: Publication) -> str:
    return f"pipeline '{plan.title}', publication '{publication.name}'"


def _at(plan: Plan, publication: Publication, what: str) -> tuple[int | None, Codec[Any]]:
    """The position that is published behind, and what passes there."""
    if publication.after is None:
        if plan.output.many:
            raise DefinitionError(
                f"{what} publishes the result, which is a stream of"
                f" {type_text(plan.output.item.form)}.\n"
                "  Publish one value: end with a step that takes the stream, or name a step before"
                " it with after="
            )
        return None, plan.output
    for part in plan.positions:
        if part.id != publication.after:
            continue
        streams = part.yields if isinstance(part, PlanAwait) else part.yields or part.per_item
        if streams:
            raise DefinitionError(
                f"{what} publishes what '{part.id}' gives, which is a stream.\n"
                "  Publish one value: name a step that takes the stream, or one before it."
            )
        return part.position, part.output
    known = ", ".join(part.id for part in plan.positions) or "none"
    raise DefinitionError(
        f"{what} is to be made after '{publication.after}', which the pipeline does not have.\n"
        f"  It has: {known}"
    )


def subscriptions_of(plan: Plan) -> tuple[PlanSubscription, ...]:
    """What a pipeline makes executions of.

    Raises:
        DefinitionError: a mapper does not say what it takes, is async, or gives another type than
            the pipeline's input.
    """
    found: list[PlanSubscription] = []
    for subscription in plan.subscribes:
        if any(each.publication == subscription.publication for each in found):
            raise DefinitionError(
                f"pipeline '{plan.title}' subscribes to '{subscription.publication}' twice. "
                "Leave one out."
            )
        found.append(_subscription(plan, subscription))
    return tuple(found)


def _subscription(plan: Plan, subscription: Subscription[Any]) -> PlanSubscription:
    what = f"pipeline '{plan.title}', subscription to '{subscription.publication}'"
    mapper, payload = subscription.mapper, plan.input
    if mapper is not None:
        payload = _payload(plan, mapper, f"{what}: mapper")
    return PlanSubscription(
        publication=subscription.publication,
        payload=payload,
        mapper=mapper,
        remote=subscription.remote is not False,
        topic=subscription.remote if isinstance(subscription.remote, Topic) else None,
    )


def _payload(plan: Plan, mapper: Callable[[Any], Any], what: str) -> Codec[Any]:
    """What a mapper takes."""
    if inspect.iscoroutinefunction(mapper):
        raise DefinitionError(
            f"{what} is async, but it is called inside a commit and must be pure. Make it a `def`."
        )
    [form] = parameter_types(mapper, 1, what)
    if form is None:
        raise DefinitionError(
            f"{what} does not say what it takes. "
            "Write a function with hints: def mapper(published: <Type>) -> <Type>"
        )
    returned = return_type(mapper, what)
    if returned is not None and not fits(returned, plan.input.form):
        raise DefinitionError(
            f"{what} gives {type_text(returned)},\nbut the pipeline takes"
            f" {type_text(plan.input.form)}."
            f"\n  Let it give that: -> {type_text(plan.input.form)}"
        )
    try:
        return codec_of(form)
    except Unfit as unfit:
        raise DefinitionError(
            f"{what} takes {type_text(form)}, which cannot be stored:\n  {unfit}."
        ) from unfit


# --- those of one app ---------------------------------------------------------------------------


class _Published(NamedTuple):
    plan: Plan
    publication: PlanPublication


def check_handoffs(plans: Sequence[Plan]) -> None:
    """Check that what the pipelines of an app publish is taken there, once, and by who can.

    Raises:
        DefinitionError: two pipelines publish under one name, a subscription is to what nobody
            publishes, the types do not fit, a publication goes to nobody, or pipelines publish to
            each other in a circle.
    """
    published: dict[str, _Published] = {}
    for plan in plans:
        for publication in (each for group in points_of(plan).values() for each in group):
            if publication.id in published:
                other = published[publication.id].plan
                raise DefinitionError(
                    f"pipelines '{other.title}' and '{plan.title}' both publish"
                    f" '{publication.id}'. Give one of them another name."
                )
            published[publication.id] = _Published(plan, publication)
    local, remote = _by_where(plans)
    for plan, subscription in local:
        _check_taken(plan, subscription, published)
    _check_remote(remote, published)
    taken = {subscription.publication for _, subscription in local}
    for id, (plan, publication) in published.items():
        if id not in taken and publication.to is None:
            raise DefinitionError(
                f"pipeline '{plan.title}' publishes '{id}', and nobody takes it.\n"
                "  Give the app a pipeline that does:    "
                f'Pipeline(..., subscribes=Subscription("{id}"))\n'
                "  or say which other deployment does:   Publication(..., to=Deployment(url))"
            )
    _check_circles(local, published)


_Subscribed: TypeAlias = tuple[Plan, PlanSubscription]


def _by_where(plans: Sequence[Plan]) -> tuple[list[_Subscribed], list[_Subscribed]]:
    """Subscriptions to what this app publishes, and to what other deployments do."""
    found = [(plan, each) for plan in plans for each in subscriptions_of(plan)]
    return [one for one in found if not one[1].remote], [one for one in found if one[1].remote]


def _check_remote(subscribed: Sequence[_Subscribed], published: Mapping[str, _Published]) -> None:
    """See that an offer from elsewhere has one taker, and is not published here as well."""
    takers: dict[str, Plan] = {}
    for plan, subscription in subscribed:
        id = subscription.publication
        if id in published:
            raise DefinitionError(
                f"pipeline '{plan.title}' subscribes to '{id}' with remote=True, and"
                f" '{published[id].plan.title}' of the same app publishes it. Leave remote out."
            )
        if id in takers:
            raise DefinitionError(
                f"pipelines '{takers[id].title}' and '{plan.title}' both subscribe to '{id}' with"
                " remote=True.\n"
                "  What is offered has one taker: let one pipeline take it, and publish it on."
            )
        takers[id] = plan


def _check_taken(
    plan: Plan, subscription: PlanSubscription, published: Mapping[str, _Published]
) -> None:
    found = published.get(subscription.publication)
    if found is None:
        known = ", ".join(published) or "nothing"
        raise DefinitionError(
            f"pipeline '{plan.title}' subscribes to '{subscription.publication}',"
            " which no pipeline of this app publishes.\n"
            f"  Published is: {known}\n"
            "  If another deployment does:   Subscription(..., remote=True)"
        )
    given, wanted = found.publication.codec.form, subscription.payload.form
    if not fits(given, wanted):
        takes = "its mapper takes" if subscription.mapper else "it takes"
        raise DefinitionError(
            f"pipeline '{plan.title}' subscribes to '{subscription.publication}', and {takes}"
            f" {type_text(wanted)},\nbut '{found.plan.title}' publishes {type_text(given)}.\n"
            f"  Give it a mapper:   Subscription(..., mapper=<function taking {type_text(given)},"
            f" giving {type_text(plan.input.form)}>)"
        )


def _check_circles(subscribed: Sequence[_Subscribed], published: Mapping[str, _Published]) -> None:
    """Refuse pipelines that would start each other for ever."""
    sources: dict[str, list[str]] = {}
    for plan, subscription in subscribed:
        source = published[subscription.publication].plan.title
        sources.setdefault(plan.title, []).append(source)
    done: set[str] = set()

    def visit(title: str, path: tuple[str, ...]) -> None:
        if title in path:
            circle = (*path[path.index(title) :], title)
            raise DefinitionError(
                "pipelines publish to each other in a circle: "
                + " -> ".join(f"'{each}'" for each in reversed(circle))
                + "\n  Each execution would lead to another one, without end. Leave one"
                " subscription out."
            )
        if title not in done:
            for source in sources.get(title, ()):
                visit(source, (*path, title))
            done.add(title)

    for title in sources:
        visit(title, ())
