"""The compiler: a plan and one more element give the next plan, or a definition error.

It runs with the builder, call by call, so the traceback of a mistake ends at the author's own line.
It is pure: it reads types, names and signatures, and calls none of the author's functions. Each
kind of element has a module of its own: `functions`, `boundaries`, `routes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar, cast

from bide.authoring.awaits import Await
from bide.authoring.branches import Branches
from bide.authoring.many import Many
from bide.authoring.names import check_id, check_name, id_of_name
from bide.authoring.publications import Publication, Subscription
from bide.errors import DefinitionError
from bide.planning.boundaries import await_at
from bide.planning.codec import Codec, ManyCodec
from bide.planning.codec_of import Unfit, codec_of
from bide.planning.fingerprint import fingerprint
from bide.planning.functions import step_at
from bide.planning.place import Place, label
from bide.planning.plan import Plan, PlanElement, PlanKeep, PlanRoute, PlanStep
from bide.planning.publications import points_of, subscriptions_of
from bide.planning.routes import route_at
from bide.planning.shapes import step_gives_stream
from bide.planning.typeforms import generic, type_text

T = TypeVar("T")


def begin(
    name: object,
    input: object,
    renamed: Mapping[str, str],
    publishes: Publication | Sequence[Publication] = (),
    subscribes: Subscription[Any] | Sequence[Subscription[Any]] = (),
) -> Plan:
    """Give the plan of a pipeline that has no step yet: its result is its input."""
    title = check_name("pipeline", name)
    what = f"pipeline '{title}'"
    pipeline = id_of_name(what, title)
    for old, new in renamed.items():
        check_id(f"{what}: renamed", old)
        check_id(f"{what}: renamed", new)
    try:
        codec = codec_of(input)
    except Unfit as unfit:
        raise DefinitionError(
            f"{what} takes {type_text(input)}, which cannot be stored:\n  {unfit}."
        ) from unfit
    return Plan(
        pipeline=pipeline,
        title=title,
        input=codec,
        output=codec,
        fingerprint=fingerprint(pipeline, "", "MANY" if codec.many else "ONE", codec),
        renamed=MappingProxyType(dict(renamed)),
        publishes=_several(publishes, Publication, f"{what}: publishes"),
        subscribes=_several(subscribes, Subscription, f"{what}: subscribes"),
    )


def _several(given: T | Sequence[T], kind: type[T], what: str) -> tuple[T, ...]:
    """One or several of a kind, as several."""
    several = cast("Sequence[object]", given if isinstance(given, tuple | list) else (given,))
    for each in several:
        if not isinstance(each, kind):
            name = kind.__name__
            raise DefinitionError(f"{what} is {each!r}; write {name}(...) or a list of them.")
    return cast("tuple[T, ...]", tuple(several))


def with_step(plan: Plan, fn: Callable[..., Any]) -> Plan:
    """Add a function."""
    step = step_at(_end(plan, fn), fn)
    stream = step_gives_stream(stream=plan.output.many, consumes=step.consumes, yields=step.yields)
    return _grown(plan, step, step.output, stream=stream)


def with_await(plan: Plan, boundary: Await[Any, Any, Any]) -> Plan:
    """Add a boundary."""
    added = await_at(_end(plan, boundary), boundary)
    return _grown(plan, added, added.gives, stream=added.yields)


def with_branches(plan: Plan, branches: Branches[Any, Any]) -> Plan:
    """Add a division of a union, whose branches must cover each variant exactly once."""
    route = route_at(_end(plan, branches), branches)
    return _grown(plan, route, route.output, stream=route.per_item or route.yields)


def check_complete(plan: Plan) -> None:
    """Refuse what can only be seen when nothing more is added: an app calls this."""
    if not plan.elements:
        raise DefinitionError(
            f"pipeline '{plan.title}' has no step. Add one: .then(<function>) or .wait(<await>)"
        )
    points_of(plan)
    subscriptions_of(plan)
    ids = [part.id for part in plan.positions]
    for old, new in plan.renamed.items():
        if new not in ids:
            raise DefinitionError(
                f"pipeline '{plan.title}' renames '{old}' to '{new}', which it does not have.\n"
                f"  It has: {', '.join(ids)}"
            )
        if old in ids:
            raise DefinitionError(
                f"pipeline '{plan.title}' renames '{old}', which it still has. "
                "Leave it out of renamed=, or give that step another id."
            )


def _end(plan: Plan, added: object) -> Place:
    return Place(
        pipeline=plan.title,
        pipeline_id=plan.pipeline,
        name=label(added),
        taken=tuple(part.id for part in plan.positions),
        before=_last(plan),
        arriving=plan.output.item,
        stream=plan.output.many,
        holder=_holder(plan),
    )


def _holder(plan: Plan) -> str | None:
    """Name the transactional step that some value has passed since it last waited."""
    for element in reversed(plan.elements):
        branches = element.branches if isinstance(element, PlanRoute) else (element,)
        for part in branches:
            if isinstance(part, PlanStep) and part.transaction is not None:
                return part.id
        if not any(isinstance(part, PlanKeep) for part in branches):
            return None
    return None


def _last(plan: Plan) -> str | None:
    """Name what a plan ends with: a step, an await, or the branches of a union."""
    if not plan.elements:
        return None
    element = plan.elements[-1]
    if not isinstance(element, PlanRoute):
        return element.id
    return "', '".join(part.id for part in element.branches if not isinstance(part, PlanKeep))


def _grown(plan: Plan, element: PlanElement, gives: Codec[Any], *, stream: bool) -> Plan:
    output: Codec[Any] = ManyCodec(generic(Many, gives.form), gives) if stream else gives
    return replace(plan, elements=(*plan.elements, element), output=output)
