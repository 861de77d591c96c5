"""What a function takes and gives, read from its signature and type hints.

The first parameter is the item, or the whole stream where it is an iterator; the return type says
whether one value comes or a stream; every other parameter without a default is asked for by its
type. Nothing is called, and no source is read.
"""

from __future__ import annotations

import collections.abc
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import Parameter
from typing import Any, Final, NewType, TypeAlias, cast, get_args, get_origin

from typing_extensions import get_type_hints

from bide.authoring.context import Context
from bide.authoring.many import Many
from bide.authoring.steps import name_of
from bide.authoring.transaction import Transaction
from bide.errors import DefinitionError
from bide.planning.typeforms import bare, type_text, variants

#: What a resource is found by: a class, or a `NewType` (no class, yet used as one) of it where one
#: class serves twice.
ResourceKey: TypeAlias = type[Any]

_SYNC: Final[frozenset[object]] = frozenset({collections.abc.Iterator, collections.abc.Generator})
_ASYNC: Final[frozenset[object]] = frozenset(
    {collections.abc.AsyncIterator, collections.abc.AsyncGenerator}
)
_SYNC_TAKEN: Final = _SYNC | {collections.abc.Iterable}
_ASYNC_TAKEN: Final = _ASYNC | {collections.abc.AsyncIterable}
_AWAITABLES: Final[frozenset[object]] = frozenset(
    {collections.abc.Awaitable, collections.abc.Coroutine}
)
_FILLED_BY_POSITION: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_COLLECTORS: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_UNSAID: Final = Parameter.empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A step's function, as far as the plan is concerned."""

    #: The type of one item.
    takes: object
    #: It takes the whole stream, as an iterator.
    consumes: bool
    gives: object
    #: It gives a stream.
    yields: bool
    is_async: bool
    #: Parameters filled by type: their names, and what they ask for.
    wants: tuple[tuple[str, ResourceKey], ...]
    #: The parameter that takes a `Transaction`; None where none does.
    transaction: str | None = None


def signature_of(fn: Callable[..., Any], what: str) -> Signature:
    """Read a function, or say what is missing from it; `what` opens the message."""
    parameters = _parameters(fn, what)
    hints = _hints(fn, what)
    first = _first_parameter(parameters, fn, what)
    taken = hints.get(first.name, _UNSAID)
    if taken is _UNSAID:
        raise DefinitionError(
            f"{what} does not say what it takes. Write the type: ({first.name}: <Type>)"
        )
    takes, consumes, takes_async = _taken(taken, what)
    gives, yields, gives_async = _given(hints.get("return", _UNSAID), fn, what)
    if consumes and takes_async != gives_async:
        raise DefinitionError(
            f"{what} takes {type_text(taken)} but is {'a sync' if takes_async else 'an async'} "
            f"function. Take {'an Iterator' if takes_async else 'an AsyncIterator'}"
            f"[{type_text(takes)}], or make it {'async' if takes_async else 'sync'}."
        )
    others = parameters[parameters.index(first) + 1 :]
    transaction = _transaction(others, hints, what)
    return Signature(
        takes=takes,
        consumes=consumes,
        gives=gives,
        yields=yields,
        is_async=gives_async,
        wants=_wants([each for each in others if each.name != transaction], hints, what),
        transaction=transaction,
    )


def return_type(fn: Callable[..., Any], what: str) -> object:
    """Give what a callable of an await returns; None where it does not say (a lambda)."""
    return _hints(fn, what).get("return")


def resource_of(factory: Callable[..., Any]) -> ResourceKey:
    """Give the type that a context manager function yields: what its resource is found by."""
    what = f"resource '{name_of(factory)}'"
    returned = bare(_hints(inspect.unwrap(factory), what).get("return", _UNSAID))
    args = get_args(returned)
    if not args:
        raise DefinitionError(
            f"{what} does not say what it opens. Write -> AsyncGenerator[<Type>] on the function."
        )
    return cast("ResourceKey", bare(args[0]))


def _parameters(fn: Callable[..., Any], what: str) -> list[Parameter]:
    if inspect.isclass(fn):
        raise DefinitionError(f"{what} is a class. Write a function that makes one.")
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        raise DefinitionError(
            f"{what} has no signature to read. Wrap it in a function with type hints."
        ) from None


def _function_of(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Give the function behind partials and callable objects, which carries hints and `async`."""
    while isinstance(fn, partial):
        fn = fn.func
    return fn if inspect.isroutine(fn) else cast("Any", type(fn)).__call__


def _hints(fn: Callable[..., Any], what: str) -> Mapping[str, object]:
    """Read the hints with their annotations."""
    try:
        return cast("Mapping[str, object]", get_type_hints(_function_of(fn), include_extras=True))
    except NameError as error:
        raise DefinitionError(
            f"{what} names '{error.name}' in its type hints, which is not known at run time.\n"
            f"  If its import stands under `if TYPE_CHECKING:`, move it out; "
            "if it is a class inside a function, move it to the module."
        ) from error
    except (TypeError, AttributeError) as error:
        raise DefinitionError(f"{what} has type hints that cannot be read: {error}") from error


def _first_parameter(parameters: list[Parameter], fn: Callable[..., Any], what: str) -> Parameter:
    """Find the parameter that the item goes to; those that a partial filled are gone already."""
    if parameters and parameters[0].kind in _FILLED_BY_POSITION:
        return parameters[0]
    raise DefinitionError(
        f"{what} takes nothing by position. Its first parameter is the item: "
        f"def {name_of(fn).strip('<>')}(item: <Type>, ...)"
    )


def _taken(form: object, what: str) -> tuple[object, bool, bool]:
    """Split a first parameter into item type, whether it is a stream, and whether that is async."""
    inner = bare(form)
    origin = get_origin(inner) or inner
    if origin is Many:
        item = type_text(get_args(inner)[0]) if get_args(inner) else "T"
        raise DefinitionError(
            f"{what} takes {type_text(inner)}, the word of awaits. Take Iterator[{item}]."
        )
    if origin not in _SYNC_TAKEN | _ASYNC_TAKEN:
        return form, False, False
    return _argument(inner, what), True, origin in _ASYNC_TAKEN


def _given(form: object, fn: Callable[..., Any], what: str) -> tuple[object, bool, bool]:
    """Split a return type into item type, whether it is a stream, and whether that is async."""
    if form is _UNSAID:
        raise DefinitionError(f"{what} does not say what it gives. Write the type: -> <Type>")
    is_async = inspect.iscoroutinefunction(_function_of(fn))
    inner = bare(form)
    origin = get_origin(inner) or inner
    if not is_async and origin in _AWAITABLES:
        is_async, form = True, get_args(inner)[-1] if get_args(inner) else Any
        inner = bare(form)
        origin = get_origin(inner) or inner
    if origin in _SYNC | _ASYNC:
        if is_async:
            raise DefinitionError(
                f"{what} is awaited and then gives {type_text(inner)}. "
                "Yield inside `async def` instead of returning an iterator."
            )
        return _argument(inner, what), True, origin in _ASYNC
    _refuse_unclear_stream(inner, origin, what)
    return form, False, is_async


def _refuse_unclear_stream(inner: object, origin: object, what: str) -> None:
    if origin is Many or origin in _SYNC_TAKEN | _ASYNC_TAKEN:
        item = type_text(get_args(inner)[0]) if get_args(inner) else "T"
        raise DefinitionError(
            f"{what} gives {type_text(inner)}, which does not say whether it is a stream. "
            f"Write -> Iterator[{item}] for a stream, -> list[{item}] for one value."
        )


def _argument(iterator: object, what: str) -> object:
    args = get_args(iterator)
    if not args:
        raise DefinitionError(f"{what} says {type_text(iterator)} without saying of what.")
    return args[0]


def _wants(
    parameters: list[Parameter], hints: Mapping[str, object], what: str
) -> tuple[tuple[str, ResourceKey], ...]:
    """Say which parameters are filled by type: all without a default, and a `Context` with one."""
    wants: list[tuple[str, ResourceKey]] = []
    for parameter in parameters:
        name = parameter.name
        hint = hints.get(name, _UNSAID)
        if any(bare(variant) is Context for variant in variants(hint)):
            wants.append((name, Context))
            continue
        if parameter.default is not _UNSAID or parameter.kind in _COLLECTORS:
            continue
        if hint is _UNSAID:
            raise DefinitionError(
                f"{what} does not say what '{name}' is. Write its type, by which it is filled, "
                "or give it a default."
            )
        key = bare(hint)
        if not inspect.isclass(key) and not isinstance(key, NewType):
            raise DefinitionError(
                f"{what} asks for '{name}: {type_text(key)}'; only a class can be asked for."
            )
        if parameter.kind is Parameter.POSITIONAL_ONLY:
            raise DefinitionError(
                f"{what} takes '{name}' by position only, and it is filled by name. "
                "Move it behind the '/'."
            )
        wants.append((name, cast("ResourceKey", key)))
    return tuple(wants)


def _transaction(parameters: list[Parameter], hints: Mapping[str, object], what: str) -> str | None:
    """Say which parameter takes the transaction."""
    names = [
        each.name
        for each in parameters
        if any(bare(variant) is Transaction for variant in variants(hints.get(each.name, _UNSAID)))
    ]
    if len(names) > 1:
        raise DefinitionError(
            f"{what} asks for a Transaction as '{names[0]}' and as '{names[1]}'; there is one."
        )
    return names[0] if names else None


def parameter_types(fn: Callable[..., Any], count: int, what: str) -> tuple[object | None, ...]:
    """Give the types of the first parameters of an await's callable; None where none is said."""
    parameters = _parameters(fn, what)
    try:
        inspect.signature(fn).bind(*range(count))
    except TypeError:
        raise DefinitionError(
            f"{what} is called with {count} argument{'s' if count > 1 else ''}, "
            f"and takes ({', '.join(map(str, parameters))})."
        ) from None
    hints = _hints(fn, what)
    taken: list[object | None] = [hints.get(parameter.name) for parameter in parameters[:count]]
    return (*taken, *[None] * (count - len(taken)))
