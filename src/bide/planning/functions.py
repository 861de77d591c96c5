"""Functions as elements of a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_origin

from bide.authoring.awaits import Await
from bide.authoring.retry import Retry
from bide.authoring.steps import id_of, name_of, options_of
from bide.errors import DefinitionError
from bide.planning import diagnostics
from bide.planning.codec import Codec
from bide.planning.hints import Signature, signature_of
from bide.planning.place import Place
from bide.planning.plan import PlanStep
from bide.planning.typeforms import bare, fits, type_name, variants


def step_at(place: Place, fn: Callable[..., Any]) -> PlanStep:
    """Compile a function that takes whatever arrives."""
    found = signature_at(place, fn)
    _check_takes(place, fn, found)
    return compiled(place, fn, found, place.arriving)


def signature_at(place: Place, fn: Callable[..., Any]) -> Signature:
    """Read a function's signature, after refusing what is no function."""
    if isinstance(fn, Await):
        raise DefinitionError(f"{place.what} is an await. Write .wait(...) instead of .then(...).")
    if not callable(fn):
        raise DefinitionError(
            f"{place.what} is no function but {type_name(fn)}. Write .then(<function>)."
        )
    id_of(fn, place.what)  # a lambda has nothing else to be read either
    return signature_of(fn, place.what)


def compiled(
    place: Place, fn: Callable[..., Any], found: Signature, arriving: Codec[Any]
) -> PlanStep:
    """Put a step together whose input is known to fit."""
    id = id_of(fn, place.what)
    if id in place.taken:
        raise diagnostics.id_taken(place, id)
    _check_transaction(place, fn, found)
    options = options_of(fn)
    return PlanStep(
        position=place.position,
        id=id,
        name=options.name or name_of(fn),
        function=fn,
        retry=options.retry or Retry(),
        timeout_ms=options.timeout_ms,
        consumes=found.consumes,
        yields=found.yields,
        is_async=found.is_async,
        per_item=place.stream and not found.consumes,
        input=arriving,
        output=place.codec(found.gives, "gives"),
        wants=found.wants,
        transaction=found.transaction,
    )


def _check_takes(place: Place, fn: Callable[..., Any], found: Signature) -> None:
    if found.consumes and not place.stream:
        raise diagnostics.consumes_one_value(place, found.takes)
    if fits(place.given, found.takes):
        return
    left = [variant for variant in variants(place.given) if not fits(variant, found.takes)]
    if 0 < len(left) < len(variants(place.given)) and not found.consumes:
        raise diagnostics.takes_some_variants(place, name_of(fn), found.takes, left)
    if place.stream and not found.consumes and _is_list(found.takes):
        raise diagnostics.takes_list_of_stream(place, found.takes)
    raise diagnostics.does_not_take(place, found.takes, f"def {name_of(fn)}(value: {{}}, ...)")


def _check_transaction(place: Place, fn: Callable[..., Any], found: Signature) -> None:
    """See that a transactional step is one call of an async function, and the segment's last."""
    if place.holder is not None:
        raise diagnostics.runs_after_transaction(place, place.holder)
    if found.transaction is None:
        return
    if found.yields or place.stream:
        raise diagnostics.transaction_over_stream(place, found.takes, yields=found.yields)
    if not found.is_async:
        raise diagnostics.transaction_not_async(place, name_of(fn))


def _is_list(form: object) -> bool:
    origin = get_origin(bare(form)) or bare(form)
    return isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str
