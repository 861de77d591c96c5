"""Strict JSON: what is taken, what is refused, and what the message says."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bide.planning.json_limits import (
    DEPTH_MAX,
    NODES_MAX,
    STRING_BYTES_MAX,
    MalformedJson,
    pointer,
    refuse_unfit,
    strict_loads,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"])), inner)
    ),
    max_leaves=30,
)


@given(JSON)
def test_clean_json_is_read_as_it_is(value: object) -> None:
    """Everything within the limits comes back, escaped or not."""
    assert value == strict_loads(json.dumps(value).encode())
    assert value == strict_loads(json.dumps(value, ensure_ascii=False).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No input makes another error than `MalformedJson`, or a value that JSON cannot hold."""
    try:
        value = strict_loads(data)
    except MalformedJson:
        return

    json.dumps(value, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON: Expecting value"),
        (b"{", "not JSON: Expecting property name"),
        (b"[1] 2", r"not JSON: Extra data \(line 1, column 5\)"),
        (b'"\xff"', "not UTF-8: byte 1 is 0xff"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"\xef\xbb\xbf1", "not JSON"),
        ("1".encode("utf-16"), "not UTF-8"),
        (b"NaN", "NaN is no JSON number"),
        (b'{"a":[-Infinity]}', "-Infinity is no JSON number"),
        (b"1e999", "the number 1e999 is too large"),
        (b'{"a":{"b":1,"b":2}}', r"the key 'b' stands twice in one object at /a"),
        (b'[{"a":1,"\\u0061":2}]', r"the key 'a' stands twice in one object at /0"),
        (b'{"a":["x","\\u0000"]}', "a NUL character at /a/1"),
        (b'{"\\u0000":1}', "a NUL character"),
        (b'"\x00"', "not JSON: Invalid control character"),
        (b'"\\ud800"', "half of a surrogate pair"),
        (b'{"a":"\\udc00\\ud800"}', "half of a surrogate pair at /a"),
        (b"[" * 65 + b"]" * 65, "deeper than 64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "deeper than 64 levels"),
        (b"[" * 100_000, "not JSON|deeper than"),
        (b"[" * 1_000_000, "more than 100,000 values"),
        (b"[" * 100_000 + b"]" * 100_000, "deeper than 64 levels"),
        (b"[" + b'"",' * 250_000 + b'""]', "more than 100,000 values"),
        (b'"' + b"\\\\" * 300_000, "not JSON: Unterminated string"),
        (b"[" + b"1," * 100_000 + b"1]", "more than 100,000 values"),
        (b'["' + b"x" * (STRING_BYTES_MAX + 1) + b'"]', "a string of 262,145 bytes .* at /0"),
        (("é" * (STRING_BYTES_MAX // 2 + 1)).join('""').encode(), "a string of 262,146 bytes"),
        (b"1" * 65, "a number of 65 digits"),
        (b"0." + b"1" * 64, "a number of 65 digits"),
        (b"1" * 30 + b"." + b"1" * 30 + b"e00001", "a number of 65 digits"),
        (b"1" * 100_000, "a number of 100,000 digits"),
    ],
)
def test_what_is_refused_says_what_and_where(data: bytes, message: str) -> None:
    """Every door gives the same sentence."""
    with pytest.raises(MalformedJson, match=message):
        strict_loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * DEPTH_MAX + b"]" * DEPTH_MAX,
        b"[" + b"1," * (NODES_MAX - 2) + b"1]",
        b'"' + b"x" * STRING_BYTES_MAX + b'"',
        b"1" * 64,
        b'"' + b"1" * 1_000 + b'"',
        b'["' + b"[,{" * 80_000 + b'"]',
        b'"\\ud83d\\ude00 \\\\u0000 \\\\ud800"',
    ],
    ids=[
        "depth",
        "nodes",
        "string",
        "digits",
        "digits in a string",
        "marks in a string",
        "escapes",
    ],
)
def test_the_bounds_themselves_are_taken(data: bytes) -> None:
    """A limit is the last value that is fine."""
    assert json.loads(data) == strict_loads(data)


def test_what_we_write_keeps_the_same_rules() -> None:
    """A value that could be stored and not read back is refused when it is written."""
    refuse_unfit(b'{"a":["\\u00e9",1]}')

    unfit: list[Callable[[], None]] = [
        lambda: refuse_unfit(b'"\\u0000"'),
        lambda: refuse_unfit(b"[" * 65 + b"]" * 65),
        lambda: refuse_unfit(b"9" * 65),
    ]
    for refuse in unfit:
        with pytest.raises(MalformedJson):
            refuse()


def test_pointers_are_escaped() -> None:
    """A path is a JSON pointer, whatever the keys hold."""
    assert pointer(("a/b", 0, "~")) == "/a~1b/0/~0"
