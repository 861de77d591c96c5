"""What JSON may be, at every door and in every store.

JSON comes from strangers, is kept for months and is read by other machines. So each reading is the
only reading: no duplicate keys, no NaN or infinity, no NUL and no half of a surrogate pair; and
each document is small enough to be walked. The same rules hold for what we write ourselves
(`refuse_unfit`), since a value that we could store but not read back would be lost.

Cost: a document that cannot break a rule is recognised from its bytes, in well under a microsecond.
Only a suspect is walked, and only a refused one is read again to say where it is wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn, TypeAlias, cast

DEPTH_MAX: Final = 64
NODES_MAX: Final = 100_000
STRING_BYTES_MAX: Final = 256 * 1024
NUMBER_DIGITS_MAX: Final = 64

_Path: TypeAlias = tuple[str | int, ...]

_DIGITS_AS_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
#: A number is at most an integer part, a fraction and an exponent: of more than 64 digits, one part
#: has 22 or more.
_SUSPICIOUS_RUN: Final = b"0" * (NUMBER_DIGITS_MAX // 3 + 1)
#: A value takes at least a character and a comma.
_PLAIN_BYTES_MAX: Final = 2 * NODES_MAX
#: It never goes back, and takes a string without an end as well: linear in whatever it is given.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STRINGS_MAX: Final = 2 * NODES_MAX
_CROWD: Final = f"more than {NODES_MAX:,} values"


class MalformedJson(ValueError):
    """This is no JSON, or not of the kind that we take; the message says what and where."""


def strict_loads(data: bytes) -> object:
    """Read JSON that has exactly one meaning, or raise `MalformedJson`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJson(f"not UTF-8: byte {error.start} is {data[error.start]:#04x}") from None
    _refuse_crowd(data)
    long = _may_hold_long_number(data)
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_long_float if long else _float,
            parse_int=_int if long else None,
        )
    except _DuplicateKey:
        raise MalformedJson(_duplicate(text)) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedJson(f"not JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise MalformedJson(f"deeper than {DEPTH_MAX} levels") from None
    if not _is_plain(data):
        _refuse_in_tree(value)
    return value


def refuse_unfit(data: bytes) -> None:
    """Raise `MalformedJson` if JSON of our own making breaks a rule of size or of characters."""
    if not _is_plain(data) or _may_hold_long_number(data):
        strict_loads(data)


def pointer(path: Iterable[object]) -> str:
    """Write a path as a JSON pointer (RFC 6901); "" is the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _is_plain(data: bytes) -> bool:
    """Say whether no rule of a tree can be broken, judging by the bytes alone."""
    return (
        len(data) <= _PLAIN_BYTES_MAX  # nodes, and string bytes with them
        and b"\\u" not in data  # NUL and half surrogates can only be written escaped
        and data.count(b"{") + data.count(b"[") <= DEPTH_MAX
    )


def _refuse_crowd(data: bytes) -> None:
    """Refuse too many values before they are made: one of three bytes takes sixty in memory.

    Outside of strings each comma has a value before it and each bracket begins one, and a value has
    at most its own string and its key's. So no count is over its bound in a document that is not, and
    what passes has at most twice as many values as are allowed.
    """
    if len(data) <= _PLAIN_BYTES_MAX:
        return
    bare, strings = _STRING.subn(b"", data, count=_STRINGS_MAX + 1)
    containers = bare.count(b"[") + bare.count(b"{")
    if strings > _STRINGS_MAX or bare.count(b",") >= NODES_MAX or containers > NODES_MAX:
        raise MalformedJson(_CROWD)


def _may_hold_long_number(data: bytes) -> bool:
    return _SUSPICIOUS_RUN in data.translate(_DIGITS_AS_ZEROS)


def _refuse_in_tree(root: object) -> None:
    """Walk the tree once, with a stack of our own: a hostile document must not exhaust Python's."""
    nodes = 0
    waiting: list[tuple[object, _Path]] = [(root, ())]
    while waiting:
        value, path = waiting.pop()
        nodes += 1
        if nodes > NODES_MAX:
            raise MalformedJson(_CROWD)
        if isinstance(value, str):
            _refuse_string(value, path)
        elif isinstance(value, dict | list):
            if len(path) >= DEPTH_MAX:
                raise MalformedJson(f"deeper than {DEPTH_MAX} levels, at {pointer(path[:4])}/...")
            waiting.extend(_children(cast("dict[str, object] | list[object]", value), path))


def _children(
    value: dict[str, object] | list[object], path: _Path
) -> Iterator[tuple[object, _Path]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield item, (*path, index)
        return
    for key, item in value.items():
        _refuse_string(key, path)
        yield item, (*path, key)


def _refuse_string(text: str, path: _Path) -> None:
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise MalformedJson(f"half of a surrogate pair{_at(path)}") from None
    if size > STRING_BYTES_MAX:
        raise MalformedJson(f"a string of {size:,} bytes (at most {STRING_BYTES_MAX:,}){_at(path)}")
    if "\0" in text:
        raise MalformedJson(f"a NUL character{_at(path)}")


def _at(path: _Path) -> str:
    return f" at {pointer(path)}" if path else ""


class _DuplicateKey(Exception):
    pass


class _Pairs(list[tuple[str, Any]]):
    """An object read without folding equal keys, to tell where one is repeated."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _DuplicateKey
    return value


def _duplicate(text: str) -> str:
    """Find the repeated key again, this time with its path."""
    waiting: list[tuple[object, _Path]] = [(json.loads(text, object_pairs_hook=_Pairs), ())]
    while waiting:
        value, path = waiting.pop()
        if isinstance(value, _Pairs):
            seen: set[str] = set()
            for key, item in value:
                if key in seen:
                    return f"the key {key[:80]!r} stands twice in one object{_at(path)}"
                seen.add(key)
                waiting.append((item, (*path, key)))
        elif isinstance(value, list):
            waiting.extend(_children(cast("list[object]", value), path))
    return "a key stands twice in one object"


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise MalformedJson(f"the number {text[:20]} is too large")
    return value


def _long_float(text: str) -> float:
    _refuse_long(text)
    return _float(text)


def _int(text: str) -> int:
    _refuse_long(text)
    return int(text)


def _refuse_long(text: str) -> None:
    digits = sum(map(str.isdigit, text))
    if digits > NUMBER_DIGITS_MAX:
        raise MalformedJson(f"a number of {digits:,} digits (at most {NUMBER_DIGITS_MAX})")
