"""A form of a JSON Schema, and the answer that comes back in it.

One form an answer's variant. Simple kinds (texts, numbers, yes or no, a choice) get a field each;
whatever else there is gets a field for JSON. The form is a convenience: what it gives is fitted to
the answer's type like any other completion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from bide.planning.json_limits import MalformedJson, strict_loads

Schema: TypeAlias = Mapping[str, Any]
Kind: TypeAlias = Literal["text", "integer", "number", "boolean", "choice", "json"]

#: The name of the one field of an answer that is no object.
VALUE: Final = "value"
_PREFIX: Final = "answer."
_FIELDS_MAX: Final = 50
_KINDS: Final[Mapping[str, Kind]] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
}
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Unreadable(Exception):
    """A field holds what is none of its kind; says which and what it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form."""

    #: As the form sends it, and as the answer has it.
    name: str
    label: str
    kind: Kind
    #: Left blank it is left out of the answer; or it is null, where it may be.
    required: bool = True
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    default: Any = None
    help: str = ""

    @property
    def key(self) -> str:
        """Its name in the form: apart from the form's own fields, whatever the type calls it."""
        return _PREFIX + self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way to answer."""

    #: What the button says.
    title: str
    fields: tuple[Field, ...]
    #: The variant's tag; None where there is but one.
    tag: str | None = None
    #: The answer is the value of its one field and not an object.
    is_value: bool = False


def forms_of(schema: Schema) -> list[Form]:
    """The forms of an answer: one a variant of a union, else one."""
    definitions = cast("Schema", schema.get("$defs", {}))
    resolved = _resolved(schema, definitions)
    variants = [_tagged(each, definitions) for each in resolved.get("oneOf", ())]
    if variants and all(variants):
        return [
            _form(tag, inner, definitions, tag=tag)
            for tag, inner in cast("list[tuple[str, Schema]]", variants)
        ]
    return [_form("Send", resolved, definitions)]


def read_answer(form: Form, given: Mapping[str, str]) -> Any:
    """The answer that a filled form holds, a JSON value.

    Raises:
        Unreadable: a field holds what is none of its kind.
    """
    values = {
        field.name: value
        for field in form.fields
        if (value := _value(field, given.get(field.key, ""))) is not _ABSENT
    }
    answer: Any = values.get(VALUE) if form.is_value else values
    return answer if form.tag is None else {form.tag: answer}


_ABSENT: Final = object()


def _form(title: str, schema: Schema, definitions: Schema, tag: str | None = None) -> Form:
    properties = cast("Mapping[str, Schema]", schema.get("properties", {}))
    is_open = schema.get("additionalProperties", False) is not False
    if schema.get("type") == "object" and len(properties) <= _FIELDS_MAX and not is_open:
        required = cast("Sequence[str]", schema.get("required", ()))
        fields = tuple(
            _field(name, each, definitions, required=name in required)
            for name, each in properties.items()
        )
        return Form(title=title, fields=fields, tag=tag)
    only = _field(VALUE, {"title": "Answer", **schema}, definitions, required=True)
    return Form(title=title, fields=(only,), tag=tag, is_value=True)


def _field(name: str, schema: Schema, definitions: Schema, *, required: bool) -> Field:
    said = schema
    schema = _resolved(schema, definitions)
    options = [_resolved(each, definitions) for each in schema.get("anyOf", ())]
    present = [each for each in options if each.get("type") != "null"]
    nullable = len(present) < len(options)
    if len(present) == 1:
        schema = {**schema, **present[0]}
    choices = _choices(schema)
    return Field(
        name=name,
        label=str(said.get("title") or schema.get("title") or name),
        kind="choice" if choices else _kind(schema, present),
        required=required,
        nullable=nullable,
        choices=choices,
        default=said.get("default", schema.get("default")),
        help=str(said.get("description") or ""),
    )


def _kind(schema: Schema, options: Sequence[Schema]) -> Kind:
    if len(options) > 1:
        # A decimal: a number, or the text of one, which loses no digit.
        kinds = {each.get("type") for each in options}
        return "text" if kinds == {"number", "string"} else "json"
    return _KINDS.get(str(schema.get("type")), "json")


def _choices(schema: Schema) -> tuple[Any, ...]:
    found = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return tuple(found)


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """The schema, with its reference followed; a chain of them ends by their number."""
    for _ in range(len(definitions) + 1):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            break
        target = definitions.get(reference.rpartition("/")[2], {})
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _tagged(schema: Schema, definitions: Schema) -> tuple[str, Schema] | None:
    """A variant's tag and what stands under it, if it is written that way."""
    schema = _resolved(schema, definitions)
    properties = cast("Mapping[str, Schema]", schema.get("properties", {}))
    if len(properties) != 1 or schema.get("additionalProperties") is not False:
        return None
    [(tag, inner)] = properties.items()
    return tag, _resolved(inner, definitions)


def _value(field: Field, text: str) -> Any:
    """The value of one field; `_ABSENT` where it was left blank and may be left out."""
    if field.kind == "text":
        text = text.replace("\r\n", "\n")
        if text or (field.required and not field.nullable):
            return text
        return None if field.required else _ABSENT
    text = text.strip()
    if not text:
        if field.required and not field.nullable:
            raise Unreadable(f"{field.label}: it is needed")
        return None if field.required else _ABSENT
    match field.kind:
        case "boolean" if text in {"true", "false"}:
            return text == "true"
        case "choice" if text.isascii() and text.isdigit() and int(text[:9]) < len(field.choices):
            return field.choices[int(text[:9])]
        case "integer" | "number" if not _NUMBER.fullmatch(text):
            raise Unreadable(f"{field.label}: a number is needed")
        case "integer" | "number" | "json":
            return _json(field, text)
        case _:
            raise Unreadable(f"{field.label}: one of the choices is needed")


def _json(field: Field, text: str) -> Any:
    try:
        return strict_loads(text.encode("utf-8", "surrogatepass"))
    except MalformedJson as error:
        raise Unreadable(f"{field.label}: {error}") from None
