"""Types as values: how they read and whether one fits another."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NewType, Protocol

import pytest
from pydantic import BaseModel, Tag
from typing_extensions import TypeAliasType, TypedDict

from bide import Many
from bide.planning.codec_of import codec_of
from bide.planning.typeforms import bare, fits, runtime_class, type_text, union, variants


class Base(BaseModel):
    pass


class Derived(Base):
    pass


class Closes(Protocol):
    def close(self) -> None: ...


class Street(TypedDict):
    street: str


class Address(Street):
    city: str


UserId = NewType("UserId", str)
Named = TypeAliasType("Named", Annotated[Base | int, "said"])


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (Base, "Base"),
        (None, "None"),
        (Base | None, "Base | None"),
        (Annotated[Base, Tag("base")] | int, "Base | int"),
        (Named, "Base | int"),
        (list[Base], "list[Base]"),
        (dict[str, Any], "dict[str, Any]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Iterator[Base], "Iterator[Base]"),
        (Many[Base | int], "Many[Base | int]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (UserId, "UserId"),
        (Any, "Any"),
    ],
)
def test_types_read_as_they_are_written(form: Any, expected: str) -> None:
    """Messages show names and no modules."""
    assert expected == type_text(form)


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        (Derived, Base, True),
        (Base, Derived, False),
        (Base, object, True),
        (Base, Any, True),
        (Any, Base, False),
        (Any, object, True),
        (Base | Derived, Base, True),
        (Base | int, Base, False),
        (Base, Base | int, True),
        (Named, Base | int, True),
        (bool, int, True),
        (int, float, True),
        (float, int, False),
        (None, Base | None, True),
        (None, Base, False),
        (Literal["a"], str, True),
        (Literal["a"], Literal["a", "b"], True),
        (Literal["a", "c"], Literal["a", "b"], False),
        (str, Literal["a"], False),
        (UserId, str, True),
        (str, UserId, False),
        (list[int], list[int], True),
        (list[int], Sequence[int], True),
        (list[int], list[str], False),
        (list[int], list[Any], True),
        (list[int], list, True),
        (dict[str, int], Mapping[str, int], True),
        (tuple[int, str], tuple[int, str], True),
        (tuple[int, str], tuple[int, int], False),
        (tuple[int, str], tuple[int, ...], True),
        (Address, Street, True),
        (Street, Address, False),
        (Address, Mapping[str, object], True),
        (Base, Address, False),
        (Derived, Closes, True),
    ],
)
def test_what_fits_where(given: Any, wanted: Any, *, expected: bool) -> None:
    """It follows the type checkers, and is lenient where it cannot know."""
    assert expected == fits(given, wanted)


def test_variants_keep_what_is_said_about_them() -> None:
    """A union is flattened; literals alone are one text."""
    tagged = Annotated[Base, Tag("base")]

    assert variants(tagged | int) == (tagged, int)
    assert variants(Named) == (Base, int)
    assert variants(Literal["a", "b"]) == (Literal["a", "b"],)
    assert union((Base, Base)) is Base
    assert bare(Annotated[Named, "more"]) == Base | int


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (Base, Base),
        (list[int], list),
        (Address, dict),
        (UserId, str),
        (None, type(None)),
        (Literal["a", "b"], str),
        (Literal["a", 1], None),
        (Any, None),
        (object, None),
    ],
)
def test_runtime_classes(form: Any, expected: type | None) -> None:
    """What values of a type are instances of, where that says something."""
    assert expected == runtime_class(form)


def test_an_alias_that_knows_its_name_names_the_union() -> None:
    """A client reads the name that the author gave the union, and not the list of its variants."""
    decision = TypeAliasType("Decision", Annotated[Base, Tag("base")] | int)

    assert codec_of(decision).name == "Decision"
    assert codec_of(Base | int).name == "Base | int"
