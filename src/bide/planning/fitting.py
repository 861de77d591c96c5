"""Whether what was stored under another fingerprint can be read here: surely not, or perhaps.

A deployment changes types, and executions wait for longer than deployments live. Of each boundary
the store keeps what its fingerprint stands for. Here that is compared with a plan: the boundary is
looked up by its step id (`renamed=` included), its shape must be the same, and what the next step
takes may ask for nothing that the stored values cannot have. Whatever is not sure counts as
fitting, since the stored bytes have the last word: they are validated before a step sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import orjson

from bide.model.records import StoredBoundary
from bide.planning.codec import Codec
from bide.planning.plan import Plan, PlanAwait

Schema = Mapping[str, Any]

#: Types that hold themselves are followed so far.
_DEPTH_MAX: Final = 16


def boundaries_of(plan: Plan) -> Iterator[StoredBoundary]:
    """The input and the awaits of a plan, as a store keeps them."""
    shape = "MANY" if plan.input.many else "ONE"
    yield _stored(plan, plan.fingerprint, "", shape, plan.input)
    for boundary in plan.awaits():
        codecs = (boundary.request, boundary.answer, boundary.output)
        yield _stored(plan, boundary.fingerprint, boundary.id, boundary.shape, *codecs)


def _stored(
    plan: Plan, fingerprint: str, step_id: str, shape: str, *codecs: Codec[Any]
) -> StoredBoundary:
    schemas = orjson.dumps([codec.schema() for codec in codecs]).decode()
    return StoredBoundary(fingerprint, plan.pipeline, step_id, shape, schemas)


def place_of(stored: StoredBoundary, plan: Plan) -> PlanAwait | None:
    """The await that has that step id now; None for the input, and where there is none."""
    return plan.await_by_id(stored.step_id) if stored.step_id else None


def misfit(stored: StoredBoundary, plan: Plan) -> str | None:
    """Say why what is stored surely cannot be read by this plan; None if it may be."""
    boundary = place_of(stored, plan)
    if stored.step_id and boundary is None:
        return f"pipeline {plan.pipeline!r} has no await {stored.step_id!r} any more"
    shape = boundary.shape if boundary else "MANY" if plan.input.many else "ONE"
    what = f"await {stored.step_id!r}" if boundary else "the input"
    if shape != stored.shape:
        return f"{what} was {stored.shape} and is {shape}"
    codec = boundary.output if boundary else plan.input
    if any(part.reshapes for part in codec.parts):
        return None
    old: Schema = orjson.loads(stored.schemas)[-1]
    new = codec.schema()
    lacking = _lacking(old, new, old, new, _DEPTH_MAX)
    if lacking is None:
        return None
    return f"{what} now needs {lacking!r}, which what is stored cannot have"


def _lacking(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, depth: int
) -> str | None:
    """A field that every new value has and no old value can have, as a path."""
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    if not _is_plain_object(old) or not _is_plain_object(new) or depth == 0:
        return None
    known = cast("Mapping[str, Schema]", old["properties"])
    for name in new.get("required", ()):
        if name not in known:
            return str(name)
    for name, part in cast("Mapping[str, Schema]", new["properties"]).items():
        if name in known:
            inner = _lacking(known[name], part, old_root, new_root, depth - 1)
            if inner is not None:
                return f"{name}.{inner}"
    return None


def _is_plain_object(schema: Schema) -> bool:
    """Fields with names and no others: what was written has those and nothing else."""
    return "properties" in schema and not schema.get("additionalProperties")


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
        return schema
    definitions = cast("Mapping[str, Schema]", root.get("$defs", {}))
    return definitions.get(reference.removeprefix("#/$defs/"), {})
