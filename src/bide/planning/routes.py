"""Branches as one element of a plan: each variant of a union to exactly one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bide.authoring.awaits import Await, is_await
from bide.authoring.branches import Arm, Branches, Keep
from bide.authoring.steps import name_of
from bide.planning import boundaries, diagnostics, functions
from bide.planning.codec import Codec
from bide.planning.codec_of import codec_of_variants
from bide.planning.place import Place
from bide.planning.plan import PlanAwait, PlanBranch, PlanKeep, PlanRoute, PlanStep
from bide.planning.typeforms import fits, type_text, union, variants


def route_at(place: Place, branches: Branches[Any, Any]) -> PlanRoute:
    """Compile the arms one after another; each finds the variants that it takes."""
    if not place.arriving.variants:
        raise diagnostics.needs_union(place.naming(branches.arms[0]))
    compiled: list[PlanBranch] = []
    by_tag: dict[str, PlanBranch] = {}
    owners: dict[str, str] = {}
    here = last = place
    for arm in branches.arms:
        here = last = here.naming(arm)
        tags = _claim(here, arm, owners)
        arriving = codec_of_variants([place.arriving.variants[tag] for tag in tags])
        branch = _arm(here, arm, arriving)
        compiled.append(branch)
        by_tag |= dict.fromkeys(tags, branch)
        if not isinstance(branch, PlanKeep):
            here = here.behind(branch.id)
    left = [codec.form for tag, codec in place.arriving.variants.items() if tag not in by_tag]
    if left:
        raise diagnostics.variants_left(last, _written(branches), left)
    return _joined(place, compiled, by_tag)


def _joined(place: Place, compiled: list[PlanBranch], by_tag: dict[str, PlanBranch]) -> PlanRoute:
    """Bring the branches together again: what they give is one union."""
    streams = [_title(branch) for branch in compiled if _yields(branch)]
    singles = [_title(branch) for branch in compiled if not _yields(branch)]
    if streams and singles:
        raise diagnostics.branches_disagree(place, streams, singles)
    outputs = dict.fromkeys(
        variant for branch in compiled for variant in variants(_gives(branch).form)
    )
    return PlanRoute(
        position=place.position,
        given=place.arriving,
        branches=tuple(compiled),
        by_tag=by_tag,
        per_item=place.stream,
        yields=bool(streams),
        output=place.codec(union(tuple(outputs)), "gives"),
    )


def _claim(place: Place, arm: Arm, owners: dict[str, str]) -> list[str]:
    """Find the variants that an arm takes, and see that no other takes them."""
    takes = _takes(place, arm)
    tags = [tag for tag, codec in place.arriving.variants.items() if fits(codec.form, takes)]
    if not tags:
        raise diagnostics.takes_no_variant(place, takes)
    for tag in tags:
        if tag in owners:
            variant = place.arriving.variants[tag].form
            raise diagnostics.variant_taken_twice(place, variant, owners[tag])
        owners[tag] = place.name
    return tags


def _takes(place: Place, arm: Arm) -> object:
    if isinstance(arm, Keep):
        return arm.type
    if isinstance(arm, Await):
        return arm.request_type
    return functions.signature_at(place, arm).takes


def _arm(place: Place, arm: Arm, arriving: Codec[Any]) -> PlanBranch:
    if isinstance(arm, Keep):
        return PlanKeep(input=arriving, output=arriving)
    if is_await(arm):
        if place.stream:
            raise diagnostics.no_place_for_branch(place, "an await")
        request = place.codec(arm.request_type, "asks with")
        return boundaries.compiled(
            place, arm, request, place.codec(arm.answer_type, "is answered with")
        )
    found = functions.signature_at(place, arm)
    if found.consumes:
        raise diagnostics.no_place_for_branch(place, "taking a whole stream")
    if found.yields and place.stream:
        raise diagnostics.no_place_for_branch(place, "yielding")
    return functions.compiled(place, arm, found, arriving)


def _gives(branch: PlanBranch) -> Codec[Any]:
    return branch.gives if isinstance(branch, PlanAwait) else branch.output


def _yields(branch: PlanBranch) -> bool:
    return isinstance(branch, PlanStep | PlanAwait) and branch.yields


def _title(branch: PlanBranch) -> str:
    return "keep" if isinstance(branch, PlanKeep) else branch.id


def _written(branches: Branches[Any, Any]) -> str:
    """Write the branches as their author wrote them, to add to."""
    calls: Sequence[str] = [
        f"keep({type_text(arm.type)})"
        if isinstance(arm, Keep)
        else f"branch({f'<{arm.id}>' if isinstance(arm, Await) else name_of(arm)})"
        for arm in branches.arms
    ]
    return ".".join(calls)
