"""Canonical JSON: equal values have one text."""

import json
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bide.planning.canonical import canonical, decimal_text, dumps, loads

BIG = 2**200
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(PLAIN, st.randoms())
def test_the_order_of_keys_does_not_count(value: object, random: object) -> None:
    """Whatever order and spacing JSON came in, its text is the same."""

    def turned(part: object) -> object:
        if isinstance(part, dict):
            return {key: turned(part[key]) for key in reversed(part)}
        return [turned(each) for each in part] if isinstance(part, list) else part

    assert canonical(value) == canonical(turned(value))
    assert canonical(value) == canonical(loads(json.dumps(value, indent=1).encode()))


@given(PLAIN)
def test_the_canonical_text_is_the_value(value: object) -> None:
    """Nothing is lost: not a digit of a long integer, not a bit of a float."""
    assert value == json.loads(canonical(value))
    assert value == loads(dumps(value))


@given(PLAIN)
def test_long_integers_change_no_other_text(value: object) -> None:
    """What orjson writes and what is written here obey one rule."""
    assert canonical([value, BIG]) == b"[%s,%d]" % (canonical(value), BIG)
    assert canonical({"a": value, "b": BIG}) == b'{"a":%s,"b":%d}' % (canonical(value), BIG)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("21.50", "21.5"),
        ("100", "100"),
        ("1E+2", "100"),
        ("-0.00", "0"),
        ("0E+9", "0"),
        ("-1.10", "-1.1"),
        ("0.000", "0"),
        ("1E+999", "1E+999"),
        ("10E+998", "1E+999"),
        (
            "1234567890123456789012345678901234567890.10",
            "1234567890123456789012345678901234567890.1",
        ),
    ],
)
def test_decimals_have_no_trailing_zeros(number: str, expected: str) -> None:
    """Equal numbers have equal texts, and no digit that counts is rounded away."""
    assert expected == decimal_text(Decimal(number))


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 20))
def test_zeros_at_the_end_do_not_count(number: Decimal, zeros: int) -> None:
    """A decimal and the same with more zeros are one value."""
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    longer = Decimal((sign, (*digits, *[0] * zeros), exponent - zeros))

    assert decimal_text(number) == decimal_text(longer)
    assert Decimal(decimal_text(number)) == number


def test_python_values_are_written_by_the_same_rules() -> None:
    """Sets are ordered by their texts; decimals and ids may be keys."""
    value = {"s": {"b", "a"}, Decimal("1.0"): UUID(int=1), 2: (b"\xff", frozenset({3, 1, 2}))}

    expected = b'{"1":"00000000-0000-0000-0000-000000000001","2":["ff",[1,2,3]],"s":["a","b"]}'
    assert expected == canonical(value)
    assert canonical({BIG, 1}) == b"[1,%d]" % BIG
