"""Awaits as elements of a plan: shapes, types, and the callables that a boundary calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from bide.authoring.answers import Answer, Answered, Missing
from bide.authoring.awaits import Await
from bide.errors import DefinitionError
from bide.planning import diagnostics
from bide.planning.codec import Codec
from bide.planning.fingerprint import fingerprint
from bide.planning.hints import parameter_types, return_type
from bide.planning.keys import key_function
from bide.planning.place import Place
from bide.planning.plan import PlanAwait, shape_of
from bide.planning.shapes import AWAITS_ALLOWED, CARDINALITIES, Cardinality
from bide.planning.typeforms import fits, generic, type_name, type_text, union, variants


def await_at(place: Place, boundary: Await[Any, Any, Any]) -> PlanAwait:
    """Compile an await that asks with whatever arrives."""
    if not isinstance(boundary, Await):
        raise DefinitionError(
            f"{place.what} is no await but {type_name(boundary)}. "
            "Write .wait(Await(...)); a function goes into .then(...)."
        )
    request = place.codec(boundary.request_type, "asks with")
    answer = place.codec(boundary.answer_type, "is answered with")
    cardinality = CARDINALITIES[request.many, answer.many]
    _check_shape(place, cardinality, request, answer)
    if not fits(place.given, request.item.form):
        raise _mismatch(place, boundary, request)
    return compiled(place, boundary, request, answer)


def compiled(
    place: Place, boundary: Await[Any, Any, Any], request: Codec[Any], answer: Codec[Any]
) -> PlanAwait:
    """Put an await together whose request is known to fit."""
    if boundary.id in place.taken:
        raise diagnostics.id_taken(place, boundary.id)
    cardinality = CARDINALITIES[request.many, answer.many]
    per_item = place.stream and not request.many
    output = _projected(place, boundary, request, answer)
    if per_item and output.many:
        raise diagnostics.expands_each_item(place, request.form, output.item.form)
    _check_timeout_output(place, boundary, request, output)
    _check_stream_options(place, boundary, per_item=per_item)
    collected = boundary.collect is not None
    shape = shape_of(cardinality, per_item=per_item, collected=collected)
    return PlanAwait(
        position=place.position,
        id=boundary.id,
        name=boundary.name,
        boundary=boundary,
        cardinality=cardinality,
        per_item=per_item,
        request=request,
        answer=answer,
        output=output,
        gives=_collected(place, boundary, output),
        yields=per_item or output.many,
        timeout_ms=boundary.timeout_ms,
        unit_timeout_ms=boundary.unit_timeout_ms,
        transport=boundary.via,
        key_of=key_function(boundary.idempotent_on, request, f"{place.what}: idempotent_on"),
        correlation_of=key_function(boundary.correlate_on, request, f"{place.what}: correlate_on"),
        scope=_scope(place, boundary),
        collect=boundary.collect,
        fingerprint=fingerprint(place.pipeline_id, boundary.id, shape, request, answer, output),
    )


def _check_shape(
    place: Place, cardinality: Cardinality, request: Codec[Any], answer: Codec[Any]
) -> None:
    if (place.stream, cardinality) in AWAITS_ALLOWED:
        return
    if request.many:
        raise diagnostics.asks_about_stream_of_one(place, request.item.form)
    raise diagnostics.expands_each_item(place, request.form, answer.item.form)


def _mismatch(place: Place, boundary: Await[Any, Any, Any], request: Codec[Any]) -> DefinitionError:
    taken = request.item.form
    left = [variant for variant in variants(place.given) if not fits(variant, taken)]
    if 0 < len(left) < len(variants(place.given)) and not place.stream:
        return diagnostics.takes_some_variants(place, f"<{boundary.id}>", taken, left)
    request_line = "Await(..., Many[{}], ...)" if request.many else "Await(..., {}, ...)"
    return diagnostics.does_not_take(place, taken, request_line)


def _projected(
    place: Place, boundary: Await[Any, Any, Any], request: Codec[Any], answer: Codec[Any]
) -> Codec[Any]:
    """Give the codec of what is stored: the answer's own, or that of what `project` returns."""
    if boundary.project is None:
        return answer
    what = f"{place.what}: project"
    _check_arguments(boundary.project, (request.form, answer.form, Answer), what)
    returned = return_type(boundary.project, what)
    if returned is None:
        raise DefinitionError(
            f"{what} does not say what it gives. "
            "Write a function with hints: def project(request, answer, meta: Answer) -> <Type>"
        )
    return place.codec(returned, "projects to")


def _check_timeout_output(
    place: Place, boundary: Await[Any, Any, Any], request: Codec[Any], output: Codec[Any]
) -> None:
    if boundary.on_timeout is None:
        return
    what = f"{place.what}: on_timeout"
    _check_arguments(boundary.on_timeout, (request.form,), what)
    returned = return_type(boundary.on_timeout, what)
    if returned is not None and not fits(returned, output.form):
        raise DefinitionError(
            f"{what} gives {type_text(returned)},\nbut the next step takes {type_text(output.form)}."
            f"\n  Let it give that: -> {type_text(output.form)}"
        )


def _check_arguments(fn: Callable[..., Any], forms: Sequence[object], what: str) -> None:
    """Check that a callable of the boundary takes what it is called with."""
    if inspect.iscoroutinefunction(fn):
        raise DefinitionError(
            f"{what} is async, but it is called inside a commit and must be pure. Make it a `def`."
        )
    taken = parameter_types(fn, len(forms), what)
    for wanted, form in zip(taken, forms, strict=True):
        if wanted is not None and not fits(form, wanted):
            raise DefinitionError(
                f"{what} takes {type_text(wanted)},\nbut it is called with {type_text(form)}."
            )


def _check_stream_options(place: Place, boundary: Await[Any, Any, Any], *, per_item: bool) -> None:
    options = {"items": boundary.collect, "unit_timeout": boundary.unit_timeout_ms}
    for option, value in options.items():
        if value is not None and not per_item:
            raise DefinitionError(
                f"{place.what}: {option} is for one question an item of a stream,\n"
                f"but {place.gives}, and this await asks once. Leave {option} out."
            )


def _scope(place: Place, boundary: Await[Any, Any, Any]) -> str | None:
    """Where the await's correlation ids are unique: in what its author names, or in itself."""
    if not boundary.correlate_on:
        return None
    if boundary.project is not None:
        raise DefinitionError(
            f"{place.what}: project and correlate_on do not go together.\n"
            "  An answer that names a correlation id may come before its request exists, and\n"
            "  project makes its result of both. Leave one out; a step after the await can do\n"
            "  what project does."
        )
    # An id has no colon, so that no name an author gives is another await's own scope.
    named = boundary.correlate_in
    return f":{named}" if named is not None else f"{place.pipeline_id}/{boundary.id}"


def _collected(place: Place, boundary: Await[Any, Any, Any], output: Codec[Any]) -> Codec[Any]:
    """Give the codec of what the next step takes of a stream: with gaps, if they are tolerated."""
    if boundary.collect is None:
        return output.item
    answered = generic(Answered, output.form)
    return place.codec(union((answered, Missing)), "gives")
