"""One value, one text: the canonical JSON by which answers and inputs are compared.

Keys are sorted, decimals have no trailing zeros, sets have an order. Two values of one type are
equal exactly when their canonical texts are, in every process and after every upgrade, since
digests of these texts are stored. `orjson` does the work; what it cannot (integers beyond 64 bits,
decimals as keys) is written here, to the same rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, cast

import orjson
from pydantic_core import to_jsonable_python

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_DIGITS_AS_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
#: 2**63 has 19 digits; orjson reads longer integers as floats.
_LONG_INTEGER: Final = b"0" * 19
#: A decimal is written plainly up to so many digits, so that business keys read as people expect.
_PLAIN_DIGITS_MAX: Final = 64


def loads(data: bytes) -> Any:
    """Read JSON that was checked before, without losing digits of long integers."""
    if _LONG_INTEGER in data.translate(_DIGITS_AS_ZEROS):
        return json.loads(data)
    return orjson.loads(data)


def dumps(value: object) -> bytes:
    """Write a JSON value, in the order of its keys."""
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def canonical(value: object) -> bytes:
    """Write a value, JSON or with Python's decimals, sets, dates and ids, as canonical JSON."""
    try:
        return orjson.dumps(value, default=_leaf, option=_OPTIONS)
    except TypeError:
        return _written(value)


def decimal_text(value: Decimal) -> str:
    """Write a decimal without trailing zeros: equal numbers have equal texts."""
    if not value:
        return "0"
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return str(value)
    text = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(text)
    stripped = Decimal((sign, tuple(map(int, text)), exponent))
    return f"{stripped:f}" if abs(stripped.adjusted()) <= _PLAIN_DIGITS_MAX else str(stripped)


def _leaf(value: object) -> object:
    """Say what orjson shall write for a type that it does not know."""
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, set | frozenset):
        members = cast("set[object]", value)
        return orjson.Fragment(b"[" + b",".join(sorted(map(canonical, members))) + b"]")
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return to_jsonable_python(value)


def _written(value: object) -> bytes:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        members = sorted((_key(key), _written(item)) for key, item in pairs)
        return b"{" + b",".join(orjson.dumps(key) + b":" + item for key, item in members) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join(map(_written, cast("list[object]", value))) + b"]"
    if type(value) is int:
        return str(value).encode()
    if isinstance(value, set | frozenset):
        return b"[" + b",".join(sorted(map(_written, cast("set[object]", value)))) + b"]"
    return orjson.dumps(value, default=_leaf, option=_OPTIONS)


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, Decimal):
        return decimal_text(key)
    return cast("str", next(iter(orjson.loads(orjson.dumps({key: None}, option=_OPTIONS)))))
