"""What pydantic will do with a type, read from its core schema once, when a codec is made.

Two things decide how a type is encoded and compared: whether it may hold floats (NaN must not turn
into null in silence) and whether it holds decimals or sets (equal values with unequal texts). And
one is refused: a field that is written under one name and read under another would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

#: Where a float may turn up, plainly or because anything may.
_FLOATS: Final = frozenset(
    {"float", "any", "function-plain", "function-wrap", "is-instance", "json"}
)
_UNORDERED: Final = frozenset({"decimal", "set", "frozenset"})
#: Where the type's own code looks at a value before its fields are read, and may change it.
_RESHAPING: Final = frozenset({"function-before", "function-wrap", "function-plain"})
#: Parts of a schema that hold no schemas.
_NO_SCHEMAS: Final = frozenset({"config", "default", "metadata"})


class Traits(NamedTuple):
    """What is worth knowing about a type before its first value comes."""

    may_hold_floats: bool
    #: Equal values may have unequal texts: decimals, sets.
    texts_vary: bool
    #: Sentences about fields that would not survive storage.
    lost_fields: tuple[str, ...]
    #: It may take values that its JSON Schema does not tell of.
    reshapes: bool = False


def traits_of(core_schema: Mapping[str, Any]) -> Traits:
    """Walk a core schema once."""
    kinds: set[str] = set()
    lost: list[str] = []
    for node, by_name in _nodes(core_schema, by_name=False):
        kinds.add(node["type"])
        if node["type"] in {"model-fields", "typed-dict"}:
            fields = cast("Mapping[str, Mapping[str, Any]]", node["fields"])
            lost.extend(_lost(name, field, by_name=by_name) for name, field in fields.items())
        elif node["type"] == "dataclass-args":
            dataclass_fields = cast("list[Mapping[str, Any]]", node["fields"])
            lost.extend(_lost(field["name"], field, by_name=by_name) for field in dataclass_fields)
    return Traits(
        may_hold_floats=not kinds.isdisjoint(_FLOATS),
        texts_vary=not kinds.isdisjoint(_UNORDERED),
        lost_fields=tuple(filter(None, lost)),
        reshapes=not kinds.isdisjoint(_RESHAPING),
    )


def _nodes(tree: object, *, by_name: bool) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Give every schema in the tree, with whether its fields may be read by their own names."""
    if isinstance(tree, list | tuple):
        for part in cast("list[object]", tree):
            yield from _nodes(part, by_name=by_name)
    if not isinstance(tree, Mapping):
        return
    node = cast("Mapping[str, Any]", tree)
    # A mapping of fields is no schema of its own, even if one of them is called "type".
    is_schema = isinstance(node.get("type"), str)
    if is_schema:
        config: Mapping[str, Any] = node.get("config") or {}
        by_name = by_name or bool(config.get("populate_by_name") or config.get("validate_by_name"))
        yield node, by_name
    for key, part in node.items():
        if not (is_schema and key in _NO_SCHEMAS):
            yield from _nodes(part, by_name=by_name)


def _lost(name: str, field: Mapping[str, Any], *, by_name: bool) -> str:
    """Say why what is written of a field could not be read again; "" if it can."""
    inner = cast("Mapping[str, Any]", field.get("schema", {}))
    if field.get("serialization_exclude") and inner.get("type") != "default":
        return f"its field '{name}' is required but excluded when written; give it a default"
    written = field.get("serialization_alias", name)
    alias = field.get("validation_alias")
    if written in _read_as(alias, name) or (by_name and written == name):
        return ""
    return f"its field '{name}' is written as '{written}' but not read as that; give it one alias"


def _read_as(alias: Any, name: str) -> set[object]:
    """Give the keys under which a field is read: its name, its alias, or one of several paths."""
    if alias is None or isinstance(alias, str):
        return {alias or name}
    paths: list[list[object]] = alias if isinstance(alias[0], list) else [alias]
    return {path[0] for path in paths if len(path) == 1}
