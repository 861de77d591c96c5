"""Types as values: how they read, what a union is made of, and whether one fits another.

The type checkers judge a pipeline exactly, before it runs. This is the second look, at run time,
for those who run none and for what a checker cannot see. It is therefore lenient where the two
could disagree (bare generics, protocols) and never refuses what a checker accepts.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from inspect import isclass
from typing import Annotated, Any, Final, Literal, NewType, Union, cast, get_args, get_origin

import typing_extensions
from typing_extensions import TypeAliasType, get_type_hints, is_typeddict

_NONE: Final = type(None)
#: What says nothing about a value.
_EVERYTHING: Final[tuple[object, ...]] = (Any, object)
_UNIONS: Final = (Union, types.UnionType)
#: `type X = ...` makes one class, `typing_extensions.TypeAliasType(...)` another before 3.14.
_ALIASES: Final = tuple({TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType)})
#: What PEP 484 lets a number pass as.
_PROMOTIONS: Final[Mapping[object, frozenset[type]]] = {
    float: frozenset({int}),
    complex: frozenset({int, float}),
}


def bare(form: Any) -> Any:
    """Take off `Annotated` and type aliases: what the value is, without what is said about it."""
    while True:
        if isinstance(form, _ALIASES):
            form = form.__value__
        elif isinstance(get_origin(form), _ALIASES):
            form = get_origin(form).__value__[get_args(form)]
        elif get_origin(form) is Annotated:
            form = get_args(form)[0]
        else:
            return _NONE if form is None else form


def alias_name(form: object) -> str | None:
    """Give the name of a type alias that knows it (`type X = ...`, `TypeAliasType`)."""
    return cast("Any", form).__name__ if isinstance(form, _ALIASES) else None


def metadata(form: object) -> tuple[object, ...]:
    """Give what `Annotated` says about a type, the innermost first."""
    if isinstance(form, _ALIASES):
        return metadata(cast("Any", form).__value__)
    if get_origin(form) is Annotated:
        inner, *said = get_args(form)
        return (*metadata(inner), *said)
    return ()


def variants(form: object) -> tuple[object, ...]:
    """Give the members of a union, each with its annotations; of any other type, itself.

    Literals alone are no union: `Literal["a"] | Literal["b"]` is one text.
    """
    inner = bare(form)
    if get_origin(inner) not in _UNIONS:
        return (form,)
    members = tuple(member for arg in get_args(inner) for member in variants(arg))
    if all(get_origin(bare(member)) is Literal for member in members):
        return (form,)
    return members


def union(members: tuple[object, ...]) -> object:
    """Make the union of some types; equal ones count once, and one alone is itself."""
    return Union[members]  # noqa: UP007 - members are values, which `|` cannot join in a loop


def generic(cls: type, item: object) -> object:
    """Make `cls[item]` of types that are values."""
    return cast("Any", cls)[item]


def type_text(form: object) -> str:
    """Write a type as people write it: `Approved | Unapproved`, `list[Row]`, `None`."""
    form = bare(form)
    if form is _NONE:
        return "None"
    origin, args = get_origin(form), get_args(form)
    if origin in _UNIONS:
        return " | ".join(dict.fromkeys(map(type_text, args)))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin is not None:
        inside = ", ".join("..." if arg is Ellipsis else _argument_text(arg) for arg in args)
        return f"{_name(origin)}[{inside}]" if inside else _name(origin)
    return _name(form)


def type_name(value: object) -> str:
    """Name the class of a value."""
    return type(value).__name__


def runtime_class(form: object) -> type | None:
    """Give the class that values of this type are instances of; None where there is not one."""
    form = bare(form)
    if isinstance(form, NewType):
        return runtime_class(form.__supertype__)
    if is_typeddict(form):
        return dict
    origin = get_origin(form)
    if origin is Literal:
        classes: set[type] = {type(value) for value in get_args(form)}
        return classes.pop() if len(classes) == 1 else None
    found: object = form if origin is None else origin
    return found if isclass(found) and found not in _EVERYTHING else None


def fits(given: object, wanted: object) -> bool:
    """Say whether every value of one type may be passed where the other is asked for."""
    given, wanted = bare(given), bare(wanted)
    if wanted is Any or wanted is object or given == wanted:
        return True
    if given is Any:
        return False
    if get_origin(given) in _UNIONS:
        return all(fits(member, wanted) for member in get_args(given))
    if get_origin(wanted) in _UNIONS:
        return any(fits(given, member) for member in get_args(wanted))
    if get_origin(given) is Literal:
        return _literal_fits(given, wanted)
    if isinstance(given, NewType):
        return fits(given.__supertype__, wanted)
    if is_typeddict(given):
        return _typeddict_fits(given, wanted)
    return _class_fits(given, wanted)


def _literal_fits(given: object, wanted: object) -> bool:
    if get_origin(wanted) is Literal:
        return set(get_args(given)) <= set(get_args(wanted))
    return all(fits(cast("object", type(value)), wanted) for value in get_args(given))


def _typeddict_fits(given: object, wanted: object) -> bool:
    if not is_typeddict(wanted):
        return get_origin(wanted) in {None, Mapping} and _class_fits(dict, wanted)
    have, need = get_type_hints(given), get_type_hints(wanted)
    return all(name in have and fits(have[name], form) for name, form in need.items())


def _class_fits(given: object, wanted: object) -> bool:
    given_class, wanted_class = get_origin(given) or given, get_origin(wanted) or wanted
    if not isclass(given_class) or not isclass(wanted_class) or is_typeddict(wanted_class):
        return False
    if given_class in _PROMOTIONS.get(wanted_class, frozenset()):
        return True
    try:
        if not issubclass(given_class, wanted_class):
            return False
    except TypeError:  # a protocol that cannot be checked at run time
        return True
    have, need = get_args(given), get_args(wanted)
    if len(have) != len(need) or given_class is tuple:
        return given_class is not tuple or _tuple_fits(have, need)
    return all(_argument_fits(a, b) for a, b in zip(have, need, strict=True))


def _tuple_fits(have: tuple[object, ...], need: tuple[object, ...]) -> bool:
    if not have or not need or Ellipsis in have or Ellipsis in need or len(have) != len(need):
        return not (have and need) or Ellipsis in have or Ellipsis in need
    return all(_argument_fits(a, b) for a, b in zip(have, need, strict=True))


def _argument_fits(given: object, wanted: object) -> bool:
    open_ended = (Any, object, Ellipsis)
    if given in open_ended or wanted in open_ended:
        return True
    return isinstance(given, typing_extensions.TypeVar | typing.TypeVar) or fits(given, wanted)


def _argument_text(arg: object) -> str:
    if isinstance(arg, list):
        return f"[{', '.join(map(type_text, cast('list[object]', arg)))}]"
    return type_text(arg)


def _name(form: object) -> str:
    name = getattr(form, "__name__", None)
    return name if isinstance(name, str) else str(form).removeprefix("typing.")
