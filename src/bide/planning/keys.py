"""The keys that an await derives from its request: the business key and the correlation id.

An author names fields of the request, or gives a function of it. Fields are checked when the
pipeline is defined, so that a typing mistake is not found by the first customer.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast, get_origin

from pydantic import BaseModel
from typing_extensions import get_type_hints, is_typeddict

from bide.errors import DefinitionError, PayloadError
from bide.planning.canonical import canonical
from bide.planning.codec import Codec
from bide.planning.typeforms import bare, type_text, variants

KeyFunction: TypeAlias = Callable[[Any], str | None]

#: Keys go into indexes and partners' headers.
KEY_CHARACTERS_MAX: Final = 1_000


def key_function(
    selector: tuple[str, ...] | Callable[..., str], request: Codec[Any], what: str
) -> KeyFunction:
    """Make the function from a request to its key; of no fields, one that gives None."""
    if callable(selector):
        return _checked(selector, what)
    if not selector:
        return _no_key
    if request.many:
        raise DefinitionError(
            f"{what} names fields, but the request is {type_text(request.form)}. "
            "Give a function of the stream: lambda items: ..."
        )
    for variant in variants(request.form):
        _check_fields(selector, variant, what)
    if len(selector) == 1:
        [field] = selector
        return _checked(lambda request: _text(_field(request, field)), what)
    return _checked(
        lambda request: canonical([_field(request, field) for field in selector]).decode(), what
    )


def _no_key(_: object) -> None:
    return None


def _check_fields(names: tuple[str, ...], form: object, what: str) -> None:
    known = _fields_of(form)
    if known is None:
        raise DefinitionError(
            f"{what} names fields, but {type_text(form)} has none. "
            "Give a function of the request: lambda request: ..."
        )
    for name in names:
        if name not in known:
            raise DefinitionError(
                f"{what} names '{name}', which {type_text(form)} does not have.\n"
                f"  It has: {', '.join(known)}"
            )


def _fields_of(form: object) -> tuple[str, ...] | None:
    form = bare(form)
    if is_typeddict(form):
        return tuple(get_type_hints(form))
    cls = get_origin(form) or form
    if isinstance(cls, type) and issubclass(cls, BaseModel):
        return tuple(cls.model_fields)
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    return None


def _field(request: object, name: str) -> object:
    if isinstance(request, Mapping):
        return cast("Mapping[str, object]", request).get(name)
    return getattr(request, name)


def _text(value: object) -> str | None:
    """Write one field as people write it: texts and ids as they are, 21.5, true."""
    if value is None or isinstance(value, str):
        return value
    written: object = json.loads(canonical(value))
    return written if isinstance(written, str) else canonical(value).decode()


def _checked(function: Callable[[Any], object], what: str) -> KeyFunction:
    """Refuse keys that could not be indexed or sent."""

    def key(request: object) -> str | None:
        found = function(request)
        if found is None:
            return None
        if not isinstance(found, str) or not found.strip():
            raise PayloadError(f"{what} gave {type(found).__name__}; a key is text and not blank")
        if len(found) > KEY_CHARACTERS_MAX or "\0" in found:
            raise PayloadError(
                f"{what} gave a key of {len(found):,} characters; "
                f"at most {KEY_CHARACTERS_MAX:,} and no NUL are allowed"
            )
        return found

    return key
