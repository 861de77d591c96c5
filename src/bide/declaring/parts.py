"""Each step's words as what the builder takes: a function, an await, a variant that passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, cast, get_args, get_origin

from pydantic import BaseModel

from bide.authoring.answers import Collect
from bide.authoring.awaits import Await
from bide.authoring.branches import Arm, Keep
from bide.authoring.durations import duration_ms
from bide.authoring.many import Many
from bide.authoring.names import check_id, id_of_name
from bide.authoring.steps import entitled, id_of
from bide.declaring.complaints import did_you_mean
from bide.declaring.document import Path
from bide.declaring.names import Names
from bide.declaring.source import Source
from bide.declaring.transports import transport_of
from bide.declaring.vocabulary import AwaitStep, CallStep, KeepStep
from bide.planning.hints import return_type
from bide.planning.shapes import CARDINALITIES, Cardinality
from bide.planning.typeforms import bare, fits, generic, type_text, variants

#: The other words for a cardinality.
_SYNONYMS: Final[Mapping[str, Cardinality]] = MappingProxyType(
    {"EXPANSION": Cardinality.ONE_TO_MANY, "REDUCTION": Cardinality.MANY_TO_ONE}
)
#: cardinality -> (asks with a stream, is answered with one)
_STREAMS: Final = {cardinality: streams for streams, cardinality in CARDINALITIES.items()}


def streams_of(word: str) -> tuple[bool, bool]:
    """Say whether a cardinality asks with a stream, and whether it is answered with one."""
    return _STREAMS[_SYNONYMS.get(word) or Cardinality(word)]


def item_of(form: object) -> object:
    """Give the type of one item of `Many[T]`; any other type is itself."""
    inner = bare(form)
    return get_args(inner)[0] if get_origin(inner) is Many else form


def arm_of(step: CallStep | AwaitStep | KeepStep, path: Path, source: Source, names: Names) -> Arm:
    """Make what the builder takes of a step at `path`.

    Raises:
        DeclarationError: a name names nothing, or an option could never work.
    """
    match step:
        case CallStep():
            return _function(step, path, source, names)
        case AwaitStep():
            return _await(step, path, source, names)
        case KeepStep():
            with source.at((*path, "keep")):
                return Keep(names.type(step.keep))


def _function(step: CallStep, path: Path, source: Source, names: Names) -> Callable[..., Any]:
    with source.at((*path, "call")):
        function: Callable[..., Any] = names.function(step.call)
        own = id_of(function, f"step {int(path[-1]) + 1}")
    if step.name is None and step.id is None:
        return function
    with source.at((*path, "id" if step.id else "name")):
        title = step.name or ""
        id = check_id("step", step.id) if step.id else id_of_name(f"step {title!r}", title)
        return function if id == own and not title else entitled(function, id=id, name=step.name)


def _await(step: AwaitStep, path: Path, source: Source, names: Names) -> Await[Any, Any, Any]:
    asks, answers = streams_of(step.cardinality)
    with source.at((*path, "input")):
        request = names.type(step.input)
    answer, project = _completion(step, path, source, names)
    on_timeout = None
    if step.on_timeout is not None:
        with source.at((*path, "onTimeout")):
            on_timeout = names.function(step.on_timeout)
    for word, text in (("timeout", step.timeout), ("unitTimeout", step.unit_timeout)):
        with source.at((*path, word)):
            if text is not None:
                duration_ms(text, word)
    with source.at((*path, "items", "tolerate")):
        items = None if step.items is None else Collect(tolerate=step.items.tolerate)
    correlation = step.await_.correlation
    with source.at((*path, "id" if step.id else "name")):
        # Its overloads speak to the checkers of those who write types in code.
        make = cast("Callable[..., Await[Any, Any, Any]]", Await)
        return make(
            step.name,
            generic(Many, request) if asks else request,
            generic(Many, answer) if answers else answer,
            via=transport_of(step.await_, (*path, "await"), source),
            timeout=step.timeout,
            project=project,
            on_timeout=on_timeout,
            idempotent_on=_python_names(_business_key(step, path, source)[0], request),
            correlate_on=_python_names((correlation.fields or []) if correlation else [], request),
            correlate_in=correlation.scope if correlation else None,
            unit_timeout=step.unit_timeout,
            items=items,
            id=step.id,
        )


def _completion(
    step: AwaitStep, path: Path, source: Source, names: Names
) -> tuple[object, Callable[..., Any] | None]:
    """Say what an actor submits, and what makes the output of it where that is something else."""
    with source.at((*path, "output")):
        output = names.type(step.output)
    completion = step.await_.completion
    if completion is None:
        return output, None
    here = (*path, "await", "completion")
    with source.at((*here, "type")):
        answer = output if completion.type is None else names.type(completion.type)
    if completion.projector is None:
        if answer != output:
            raise source.error(
                (*here, "type"),
                f"{type_text(answer)} is submitted and the next step takes {type_text(output)}:"
                " name a projector that makes the one of the other, or leave type out",
            )
        return answer, None
    with source.at((*here, "projector")):
        project = names.function(completion.projector)
        given = return_type(project, f"projector {completion.projector}")
    if given is not None and not fits(item_of(given), output):
        raise source.error(
            (*here, "projector"),
            f"{completion.projector} gives {type_text(given)}, and output is {type_text(output)};"
            f" let it give that, or write output: {written(item_of(given))}",
        )
    return answer, project


def _business_key(step: AwaitStep, path: Path, source: Source) -> tuple[list[str], Path]:
    """Give the fields of the business key, and where they are written."""
    if step.idempotency is None:
        return step.idempotency_key_fields or [], (*path, "idempotencyKeyFields")
    if step.idempotency_key_fields is not None:
        raise source.error(
            (*path, "idempotency"),
            "idempotency and idempotencyKeyFields say the same thing; keep one of the two",
        )
    return step.idempotency.fields, (*path, "idempotency", "fields")


def check_fields(step: AwaitStep, request: object, path: Path, source: Source) -> None:
    """Refuse fields that the request does not have, and any of a whole stream.

    Raises:
        DeclarationError: names the field, and those that there are.
    """
    correlation = step.await_.correlation
    keys = [
        _business_key(step, path, source),
        (
            (correlation.fields or []) if correlation else [],
            (*path, "await", "correlation", "fields"),
        ),
    ]
    for fields, place in keys:
        if fields and item_of(request) is not request:
            raise source.error(place, "a whole stream has no fields; leave them out")
        for index, field in enumerate(fields):
            for model in map(_names_of, variants(request)):
                if model and field not in model and field not in model.values():
                    raise source.error(
                        (*place, index),
                        f"{type_text(request)} has no field {field!r};"
                        f" {did_you_mean(field, [*model])}",
                    )


def _python_names(fields: Sequence[str], request: object) -> tuple[str, ...]:
    """Give fields by their Python names: models may have other names on the wire, and here."""
    known = {own: name for form in variants(request) for own, name in _names_of(form).items()}
    return tuple(known.get(field, field) for field in fields)


def _names_of(form: object) -> Mapping[str, str]:
    """Give the fields of a model, by their names on the wire; nothing of what is none."""
    model = bare(form)
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        return {}
    return {field.alias or name: name for name, field in model.model_fields.items()}


def written(form: object) -> str:
    """Write a type as a file names it, as far as it has a name."""
    form = bare(form)
    if isinstance(form, type) and form.__module__ != "builtins":
        return f"{form.__module__}.{form.__qualname__}"
    return type_text(form)
