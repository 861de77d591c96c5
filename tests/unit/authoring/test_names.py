"""Names and the ids made of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bide.authoring.names import check_id, check_name, id_of_name, slug, slug_of_class
from bide.errors import DefinitionError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Await Restaurant Decision", "await-restaurant-decision"),
        ("create_pending", "create-pending"),
        ("Ship it?", "ship-it"),
        ("  --x--  ", "x"),
        ("Prüfung Nr. 2", "prüfung-nr-2"),
        ("承認", "承認"),
        ("???", ""),
    ],
)
def test_slugs(name: str, expected: str) -> None:
    """Letters and digits stay, everything between them is one hyphen."""
    assert expected == slug(name)


def test_class_names_are_cut_at_their_humps() -> None:
    """A callable object is named by its class."""
    assert slug_of_class("SendReceipt") == "send-receipt"


@given(st.text(max_size=50))
def test_a_slug_of_a_slug_is_itself(name: str) -> None:
    """An id that is written down again makes the same id."""
    assert slug(name) == slug(slug(name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the name is blank"),
        (" \u00a0", "the name is blank"),
        ("a" * 201, "has 201 characters"),
        ("a\0b", r"holds U\+0000"),
        ("a\nb", r"holds U\+000A"),
        ("a\ud800b", r"holds U\+D800"),
        (7, "a name is text, not int"),
    ],
)
def test_unusable_names_are_refused(name: object, message: str) -> None:
    """What cannot be shown, stored or typed is refused where it is written."""
    with pytest.raises(DefinitionError, match=message):
        check_name("pipeline", name)


def test_a_name_without_letters_needs_an_id() -> None:
    """No id is made up."""
    with pytest.raises(DefinitionError, match="Give one: id='a-few-words'"):
        id_of_name("await '???'", "???")


@pytest.mark.parametrize("id", ["a", "order-42", "orders.v2", "Order_Approval", "承認"])
def test_ids_that_urls_can_carry(id: str) -> None:
    """A pinned id is kept as it is."""
    assert id == check_id("step", id)


@pytest.mark.parametrize("id", ["a b", "a/b", "-a", ".", "a?b", "..", "a\u200bb"])
def test_other_ids_are_refused_with_a_better_one(id: str) -> None:
    """The message holds an id that would do."""
    with pytest.raises(DefinitionError, match="Write id='"):
        check_id("step", id)
