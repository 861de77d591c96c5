"""Awaits are checked where they are written."""

from typing import Any

import pytest

from bide import Await, Collect, DefinitionError, Inbox


def make(name: str = "Ship it?", **options: Any) -> Await[str, bool, bool]:
    given: dict[str, Any] = {"via": Inbox(), "timeout": "1d", **options}
    return Await(name, str, bool, **given)


def test_an_await_keeps_what_was_said_in_one_form() -> None:
    """Durations are milliseconds, keys are tuples of fields, the id is the name's slug."""
    boundary = make(idempotent_on="order_id", correlate_on=["a", "b"], unit_timeout="2d")

    assert (boundary.name, boundary.id) == ("Ship it?", "ship-it")
    assert (boundary.timeout_ms, boundary.unit_timeout_ms) == (86_400_000, 172_800_000)
    assert (boundary.idempotent_on, boundary.correlate_on) == (("order_id",), ("a", "b"))
    assert make(id="approval").id == "approval"


def test_awaits_are_values_of_their_own() -> None:
    """Two awaits are two boundaries however equal they look, and none can be changed."""
    boundary = make()

    assert boundary != make()
    with pytest.raises(AttributeError):
        boundary.timeout_ms = 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "\0"}, r"await: the name '\\x00' holds U\+0000"),
        ({"id": "a b"}, r"await 'Ship it\?': the id 'a b' is not made of"),
        ({"timeout": 30}, r"await 'Ship it\?': timeout is 30, and a bare number"),
        ({"timeout": None}, "timeout is no duration"),
        ({"unit_timeout": 1.5}, "unit_timeout is 1.5, and a bare number"),
        ({"via": "inbox"}, r"via is 'inbox'; write via=Inbox"),
        ({"items": 3}, r"items is 3; write items=Collect"),
        ({"project": 3}, "project is 3, which is no function"),
        ({"on_timeout": True}, "on_timeout is True, which is no function"),
        ({"idempotent_on": 3}, "write a field name, a list of them or a function"),
        ({"idempotent_on": ["a", ""]}, "the name is blank"),
        ({"correlate_on": ["a", "a"]}, "names a field twice: a, a"),
        ({"correlate_in": "orders"}, "no key is unique in it"),
        ({"correlate_on": "a", "correlate_in": ""}, "correlate_in: the name is blank"),
    ],
)
def test_mistakes_are_refused_with_what_to_write(options: dict[str, Any], message: str) -> None:
    """Each message names the await and the option."""
    with pytest.raises(DefinitionError, match=message):
        make(**options)


def test_functions_are_keys_too() -> None:
    """A key may be computed where a field is not enough."""
    boundary = make(idempotent_on=str.upper, items=Collect(tolerate=3))

    assert boundary.idempotent_on is str.upper
    assert boundary.collect == Collect(tolerate=3)
