"""What a worker must agree on to run a segment: a short digest of a boundary's contract.

It covers the pipeline's and the boundary's id, the shape and the schemas of what is stored. It does
not cover function bodies, titles, descriptions, defaults or the order of fields: whoever changes
those may still run what is parked.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, cast

from bide.planning.canonical import canonical
from bide.planning.codec import Codec

_HEX_DIGITS: Final = 16
#: What JSON Schema says for readers; it admits and refuses nothing.
_ANNOTATIONS: Final = frozenset(
    {
        "$comment",
        "default",
        "deprecated",
        "description",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
    }
)
#: Keywords whose value maps names that people chose to schemas.
_NAMED_SCHEMAS: Final = frozenset({"$defs", "dependentSchemas", "patternProperties", "properties"})


def fingerprint(pipeline: str, step_id: str, shape: str, *codecs: Codec[Any]) -> str:
    """Digest a boundary; `step_id` is empty for a pipeline's input."""
    contract = [pipeline, step_id, shape, [_essence(codec.schema()) for codec in codecs]]
    return sha256(canonical(contract)).hexdigest()[:_HEX_DIGITS]


def _essence(schema: object) -> object:
    """Leave of a JSON Schema what decides whether a value fits."""
    if isinstance(schema, list):
        return [_essence(part) for part in cast("list[object]", schema)]
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, object] = {}
    for keyword, value in cast("Mapping[str, object]", schema).items():
        if keyword in _NAMED_SCHEMAS:
            named = cast("Mapping[str, object]", value)
            kept[keyword] = {name: _essence(part) for name, part in named.items()}
        elif keyword == "required":
            kept[keyword] = sorted(cast("list[str]", value))
        elif keyword in {"const", "enum"}:
            kept[keyword] = value
        elif keyword not in _ANNOTATIONS:
            kept[keyword] = _essence(value)
    return kept
