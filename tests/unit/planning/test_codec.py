"""Codecs: what is stored, what comes back, what is refused, what is equal."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    Tag,
)
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType, TypedDict

from bide import Answered, Many, Missing, PayloadError
from bide.planning.codec_of import Unfit, codec_of


class Colour(Enum):
    RED = "red"


class Order(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    order_id: UUID
    total_amount: Decimal
    placed_at: datetime | None = None


class Accepted(BaseModel):
    note: str = ""


class Declined(BaseModel):
    note: str = ""


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    name: str


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    id: UUID
    when: datetime


class Node(BaseModel):
    children: list["Node"] = []


class Measured(BaseModel):
    value: float | None


@dataclass(frozen=True)
class Point:
    x: int
    y: Decimal


class Address(TypedDict):
    street: str


class Left(TypedDict):
    side: Literal["left"]
    n: int


class Right(TypedDict):
    side: Literal["right"]
    n: int


Tagged = Annotated[Accepted, Tag("accepted")] | Annotated[Declined, Tag("declined")]
Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
Named = TypeAliasType("Named", Accepted | Declined)
UserId = NewType("UserId", str)

ORDER = Order(order_id=UUID(int=1), total_amount=Decimal("21.50"))


@pytest.mark.parametrize(
    ("form", "value", "stored"),
    [
        (
            Order,
            ORDER,
            b'{"orderId":"00000000-0000-0000-0000-000000000001","totalAmount":"21.50","placedAt":null}',
        ),
        (Point, Point(1, Decimal("1.0")), b'{"x":1,"y":"1.0"}'),
        (Address, {"street": "Via Roma"}, b'{"street":"Via Roma"}'),
        (list[int], [1, 2], b"[1,2]"),
        (str, "é", '"é"'.encode()),
        (bool, True, b"true"),
        (None, None, b"null"),
        (Colour, Colour.RED, b'"red"'),
        (Literal["a", "b"], "a", b'"a"'),
        (UserId, UserId("ada"), b'"ada"'),
        (dict[str, Any], {"a": [1, None]}, b'{"a":[1,null]}'),
        (Tagged, Declined(note="full"), b'{"declined":{"note":"full"}}'),
        (Named, Accepted(), b'{"Accepted":{"note":""}}'),
        (Pet, Dog(name="Rex"), b'{"dog":{"kind":"dog","name":"Rex"}}'),
        (Order | None, None, b'{"None":null}'),
        (int | str, "3", b'{"str":"3"}'),
        (Left | Right, {"side": "right", "n": 1}, b'{"right":{"side":"right","n":1}}'),
        (Many[Tagged], Many([Accepted()]), b'[{"accepted":{"note":""}}]'),
        (Many[str], Many(["a,b", '"]']), b'["a,b","\\"]"]'),
        (Many[int], Many([]), b"[]"),
        (
            Answered[Tagged] | Missing,
            Answered(Accepted(), 3),
            b'{"Answered":{"itemIndex":3,"value":{"accepted":{"note":""}}}}',
        ),
        (
            Answered[int] | Missing,
            Missing(item_index=3, reason="timed-out"),
            b'{"Missing":{"item_index":3,"reason":"timed-out"}}',
        ),
    ],
)
def test_what_is_written_is_read_again(form: Any, value: object, stored: bytes) -> None:
    """The bytes are those of the wire, and the value comes back from them and from JSON."""
    codec = codec_of(form)

    assert stored == codec.encode(value)
    assert value == codec.decode(stored)
    assert value == codec.parse(json.loads(stored))
    assert codec.digest(value, stored) == codec.digest(codec.parse(json.loads(stored)), stored)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (Order, "Order"),
        (Annotated[Order, Tag("order")], "order"),
        (Tagged, "accepted | declined"),
        (Pet, "cat | dog"),
        (list[Order], "list[Order]"),
        (Many[Order], "Many[Order]"),
        (None, "None"),
        (UserId, "UserId"),
    ],
)
def test_names_are_declared_names(form: Any, name: str) -> None:
    """A tag, a literal or a class name; never an import path."""
    assert name == codec_of(form).name


def test_a_union_is_routed_by_tag_and_never_by_shape() -> None:
    """Two variants with equal fields stay two, in both directions."""
    codec = codec_of(Tagged)
    declined = codec.decode(codec.encode(Declined()))

    assert type(declined) is Declined
    assert (codec.tag_of(declined), codec.tag_of("x")) == ("declined", None)
    assert list(codec.variants) == ["accepted", "declined"]


def test_a_subclass_goes_to_its_nearest_variant() -> None:
    """An instance of a subclass is an instance of the class."""

    class Delighted(Accepted):
        pass

    assert codec_of(Tagged).tag_of(Delighted()) == "accepted"
    assert codec_of(int | bool).tag_of(True) == "bool"


def test_a_literal_discriminates_from_outside() -> None:
    """Clients that know the discriminator need no tag; the stored form has it."""
    codec = codec_of(Pet)

    assert codec.encode(codec.parse({"kind": "cat", "name": "Tom"})) == (
        b'{"cat":{"kind":"cat","name":"Tom"}}'
    )
    assert codec.parse({"cat": {"name": "Tom"}}) == Cat(name="Tom")


@pytest.mark.parametrize(
    ("form", "value", "errors"),
    [
        (Order, {"orderId": "x"}, [("/orderId", "valid UUID"), ("/totalAmount", "required")]),
        (Tagged, {"note": ""}, [("", 'expected {"accepted": ...} or {"declined": ...}')]),
        (Tagged, {"accepted": {}, "declined": {}}, [("", "expected")]),
        (Tagged, {"accepted": {"note": 3}}, [("/accepted/note", "valid string")]),
        (Tagged, None, [("", "expected")]),
        (Pet, {"kind": "cow", "name": "x"}, [("", 'or an object with "kind"')]),
        (Many[int], [1, "x"], [("/1", "valid integer")]),
        (Many[int], {"0": 1}, [("", "expected a list")]),
        (Answered[int] | Missing, {"Answered": {"itemIndex": 1}}, [("/Answered", "itemIndex")]),
        (list[int], ["x"] * 100, [("/0", "valid integer")] * 50),
    ],
)
def test_what_does_not_fit_says_where(
    form: Any, value: object, errors: list[tuple[str, str]]
) -> None:
    """Each mistake has a JSON pointer and a sentence; at most fifty of them."""
    with pytest.raises(PayloadError) as caught:
        codec_of(form).parse(value)

    assert len(errors) == len(caught.value.errors)
    for (path, message), error in zip(errors, caught.value.errors, strict=False):
        assert message in error["message"]
        assert error["path"].startswith(path.rstrip("0"))


def test_refusals_repeat_no_values() -> None:
    """Payloads do not belong into logs."""
    codec = codec_of(Order)
    wrong = ORDER.model_copy(update={"total_amount": ["4111 1111 1111 1111"]})

    with pytest.raises(PayloadError) as parsed:
        codec.parse({"orderId": "4111 1111 1111 1111"})
    with pytest.raises(PayloadError) as encoded:
        codec.encode(wrong)
    assert "4111" not in f"{parsed.value}{parsed.value.errors}"
    assert "4111" not in f"{encoded.value}{encoded.value.errors}"


def nested(depth: int) -> Node:
    return Node(children=[nested(depth - 1)] if depth else [])


@pytest.mark.parametrize(
    ("form", "value", "message"),
    [
        (Measured, Measured(value=math.nan), "NaN or infinite at /value"),
        (dict[str, Any], {"a": [math.inf]}, "NaN or infinite at /a/0"),
        (list[float], [1.0, -math.inf], "NaN or infinite at /1"),
        (str, "a\0b", "a NUL character"),
        (str, "\ud800", "surrogates not allowed"),
        (Node, nested(40), "deeper than 64 levels"),
        (list[int], [1] * 100_001, "more than 100,000 values"),
        (str, "x" * 262_145, "a string of 262,145 bytes"),
        (int, 10**64, "a number of 65 digits"),
        (Order, "no order", "valid dictionary or instance of Order"),
        (Tagged, "no decision", "a str is none of accepted | declined"),
        (Many[int], Many([1, "x"]), "valid integer"),
        (Many[int], 3, "expected a list"),
        (Answered[int] | Missing, Answered("x", 1), "valid integer"),
    ],
)
def test_what_would_not_survive_is_refused(form: Any, value: object, message: str) -> None:
    """A value that JSON cannot hold is an error when it is written, not when it is read."""
    with pytest.raises(PayloadError) as caught:
        codec_of(form).encode(value)

    assert message in f"{caught.value}{caught.value.errors}"


class Ranged(BaseModel):
    low: int
    high: int = Field(ge=0)


class Shouting(BaseModel):
    """Has a JSON of its own, which a strict reader would not take."""

    volume: Annotated[int, PlainSerializer(str)]


@pytest.mark.parametrize(
    "value",
    [
        Ranged(low=1, high=2).model_copy(update={"low": "1"}),
        Ranged(low=1, high=2).model_copy(update={"high": -1}),
        Ranged.model_construct(low=1, high="2"),
        Ranged.model_construct(high=2),
    ],
)
def test_a_model_that_no_longer_fits_is_not_written(value: Ranged) -> None:
    """Pydantic takes an instance as it is; one that was changed since could not be read again."""
    with pytest.raises(PayloadError, match="cannot be written as Ranged"):
        codec_of(Ranged).encode(value)


def test_a_type_may_have_a_json_of_its_own() -> None:
    """What its serializer writes and its validator reads is its own business."""
    codec = codec_of(Shouting)

    assert codec.decode(codec.encode(Shouting(volume=11))) == Shouting(volume=11)


def test_none_is_no_lost_float() -> None:
    """A null that was None is fine where a float might have been."""
    assert codec_of(Measured).encode(Measured(value=None)) == b'{"value":null}'


@pytest.mark.parametrize("data", [b"", b"{}", b'{"other":{}}', b"null", b'{"accepted":3}'])
def test_stored_bytes_that_do_not_fit_are_an_error(data: bytes) -> None:
    """Other code may have written them; nothing is guessed."""
    with pytest.raises(PayloadError):
        codec_of(Tagged).decode(data)


def test_a_validator_may_raise_anything() -> None:
    """A bug in a user's validator is a refusal and no crash of whoever admits answers."""

    def broken(value: int) -> int:
        raise KeyError(value)

    with pytest.raises(PayloadError, match="KeyError"):
        codec_of(Annotated[int, AfterValidator(broken)]).parse(3)


def test_a_strict_model_is_read_from_json() -> None:
    """A UUID or a date has no other form in JSON than text."""
    codec = codec_of(Strict)
    value = {"id": str(UUID(int=1)), "when": "2026-01-01T00:00:00Z"}

    assert codec.parse(value).id == UUID(int=1)


EQUAL: list[tuple[Any, Callable[[], tuple[object, object]]]] = [
    (Order, lambda: (ORDER, ORDER.model_copy(update={"total_amount": Decimal("21.5")}))),
    (set[str], lambda: ({"a", "b", "c"}, {"c", "b", "a"})),
    (dict[str, int], lambda: ({"a": 1, "b": 2}, {"b": 2, "a": 1})),
    (dict[str, Decimal], lambda: ({"a": Decimal(1)}, {"a": Decimal("1.00")})),
    (Point | Order, lambda: (Point(1, Decimal("2.0")), Point(1, Decimal("2.00")))),
    (Many[Point], lambda: (Many([Point(1, Decimal(2))]), Many([Point(1, Decimal("2.0"))]))),
    (
        Answered[Point] | Missing,
        lambda: (Answered(Point(1, Decimal(2)), 0), Answered(Point(1, Decimal("2.0")), 0)),
    ),
]


@pytest.mark.parametrize(("form", "make"), EQUAL)
def test_equal_values_have_one_digest(form: Any, make: Callable[[], tuple[object, object]]) -> None:
    """Order of keys and members and trailing zeros are no difference."""
    codec = codec_of(form)
    one, other = make()

    assert codec.digest(one, codec.encode(one)) == codec.digest(other, codec.encode(other))


@given(st.integers(), st.integers())
def test_different_values_have_different_digests(one: int, other: int) -> None:
    """No digit is lost on the way, however long the number."""
    codec = codec_of(dict[str, int])
    digests = [codec.digest(v, json.dumps(v).encode()) for v in ({"a": one}, {"a": other})]

    assert (one == other) == (digests[0] == digests[1])


def test_the_variant_is_part_of_the_digest() -> None:
    """The same fields under another name are another answer."""
    codec = codec_of(Tagged)
    accepted, declined = Accepted(), Declined()

    assert codec.digest(accepted, codec.encode(accepted)) != (
        codec.digest(declined, codec.encode(declined))
    )


def test_the_schema_shows_the_tags_outside() -> None:
    """It describes what a client has to send, with shared definitions once."""
    schema = codec_of(Many[Tagged]).schema()
    variants = schema["items"]["oneOf"]

    assert [variant["required"] for variant in variants] == [["accepted"], ["declined"]]
    assert variants[0]["properties"]["accepted"] == {"$ref": "#/$defs/Accepted"}
    assert sorted(schema["$defs"]) == ["Accepted", "Declined"]
    assert codec_of(Answered[int]).schema()["required"] == ["itemIndex", "value"]
    assert codec_of(Order).schema()["properties"]["orderId"]["format"] == "uuid"


class Uneven(BaseModel):
    name: str = Field(serialization_alias="title")


class Forgetful(BaseModel):
    name: str = Field(exclude=True)


class Choosy(BaseModel):
    name: str = Field(validation_alias=AliasChoices("title", "name"))


class Opaque: ...


class Other:
    class Accepted(BaseModel):
        pass


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (Opaque, "it has no JSON form; make it a model, a dataclass or a TypedDict"),
        (Callable[[int], int], "no JSON"),
        (Uneven, "its field 'name' is written as 'title' but not read as that"),
        (Forgetful, "its field 'name' is required but excluded when written"),
        (list[Uneven], "its field 'name' is written as 'title'"),
        (Accepted | Other.Accepted, r"two of its variants are called 'Accepted'"),
        (list[int] | list[str], "both list at run time"),
        (Address | dict[str, int], "both dict at run time"),
        (Any | int, "is no class; wrap it in a model"),
        (Annotated[int | str, AfterValidator(str)], "put it on a variant"),
        (Many, r"write Many\[T\]"),
        (Many[Many[int]], r"Many\[...\] stands outermost or not at all"),
        (Many[int] | str, r"Many\[...\] stands outermost or not at all"),
        (list[Many[int]], "it has no JSON form"),
        ("Order", "write the type itself"),
    ],
)
def test_types_that_would_lose_something_have_no_codec(form: Any, message: str) -> None:
    """What cannot be stored and read back is refused before there is a value."""
    with pytest.raises(Unfit, match=message):
        codec_of(form)


def test_one_of_several_aliases_is_enough() -> None:
    """A field that is read by the name that it is written with is fine."""
    codec = codec_of(Choosy)

    assert codec.decode(codec.encode(Choosy(title="x"))).name == "x"
