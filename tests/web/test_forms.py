"""Forms of an answer's schema, and the answers that come back in them."""

import enum
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, Tag

from bide import Await, Inbox, Pipeline
from bide.planning.pipeline import plan_of
from bide.web.forms import Form, Unreadable, forms_of, read_answer


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Inner(BaseModel):
    a: int


class Everything(BaseModel):
    text: str
    note: str = ""
    remark: str | None = None
    count: int
    share: float = 0.5
    price: Decimal
    good: bool
    maybe: bool | None = None
    size: Size
    kind: Literal["x", "y"] = "x"
    day: date
    inner: Inner
    many: list[int] = Field(default_factory=list)


class Yes(BaseModel):
    note: str = ""


class No(BaseModel):
    why: str


@dataclass
class Pair:
    left: int
    right: str


def forms(answer: Any) -> list[Form]:
    """The forms of an await's answer."""
    pipeline: Any = Pipeline("p", str)
    boundary = Await("Ask", str, answer, via=Inbox(), timeout="1h")
    [place] = plan_of(pipeline.wait(boundary)).awaits()
    return forms_of(place.answer.schema())


def read(form: Form, **values: str) -> Any:
    return read_answer(form, {f"answer.{name}": value for name, value in values.items()})


FILLED = {
    "text": "a\r\nb", "note": "", "remark": "", "count": "3", "share": "", "price": "1.20",
    "good": "true", "maybe": "", "size": "1", "kind": "", "day": "2026-11-22", "inner": '{"a": 1}',
    "many": "",
}  # fmt: skip


def test_every_kind_has_its_field() -> None:
    """Simple types get fields of their own, the rest a field for JSON."""
    [form] = forms(Everything)

    assert {field.name: field.kind for field in form.fields} == {
        "text": "text", "note": "text", "remark": "text", "count": "integer", "share": "number",
        "price": "text", "good": "boolean", "maybe": "boolean", "size": "choice", "kind": "choice",
        "day": "text", "inner": "json", "many": "json",
    }  # fmt: skip


def test_a_filled_form_is_the_answer() -> None:
    """Each kind is read as itself; what is left blank and may be left out is left out."""
    [form] = forms(Everything)
    answer = read(form, **FILLED)

    assert answer == {
        "text": "a\nb", "count": 3, "price": "1.20", "good": True, "size": "large",
        "day": "2026-11-22", "inner": {"a": 1},
    }  # fmt: skip
    assert Everything.model_validate(answer).price == Decimal("1.20")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("count", "", "is needed"),
        ("count", "three", "a number"),
        ("count", "0x3", "a number"),
        ("count", "1e", "a number"),
        ("count", "NaN", "a number"),
        ("good", "", "is needed"),
        ("good", "on", "one of the choices"),
        ("size", "2", "one of the choices"),
        ("size", "-1", "one of the choices"),
        ("size", "²", "one of the choices"),
        ("inner", "{", "not JSON"),
        ("inner", '{"a": 1, "a": 2}', "twice|duplicate"),
    ],
)
def test_what_cannot_be_read_names_its_field(field: str, value: str, why: str) -> None:
    """The person is told which field, and what it takes."""
    [form] = forms(Everything)
    label = next(each.label for each in form.fields if each.name == field)

    with pytest.raises(Unreadable, match=rf"{label}: .*({why})"):
        read(form, **{**FILLED, field: value})


def test_a_union_has_a_form_for_each_variant() -> None:
    """The button says which; the answer is tagged with it."""
    yes, no = forms(Annotated[Yes, Tag("accepted")] | Annotated[No, Tag("declined")])

    assert (yes.title, no.title) == ("accepted", "declined")
    assert read(yes, note="") == {"accepted": {}}
    assert read(no, why="full") == {"declined": {"why": "full"}}


@pytest.mark.parametrize(
    ("answer", "kind", "given", "read_as"),
    [
        (bool, "boolean", "false", False),
        (str, "text", "hello", "hello"),
        (str, "text", "", ""),
        (int, "integer", "7", 7),
        (Size, "choice", "0", "small"),
        (list[int], "json", "[1, 2]", [1, 2]),
        (dict[str, int], "json", '{"a": 1}', {"a": 1}),
        (Any, "json", "null", None),
    ],
)
def test_an_answer_that_is_no_object_has_one_field(
    answer: Any, kind: str, given: str, read_as: Any
) -> None:
    """A plain value is asked for by itself."""
    [form] = forms(answer)
    [field] = form.fields

    assert field.kind == kind
    assert read(form, value=given) == read_as


def test_dataclasses_are_objects() -> None:
    """Whatever has fields gets fields."""
    [form] = forms(Pair)

    assert read(form, left="1", right="x") == {"left": 1, "right": "x"}


def test_schemas_that_are_none_of_ours_do_no_harm() -> None:
    """References that lead nowhere or in a circle end in a field for JSON."""
    circle = {
        "$ref": "#/$defs/A",
        "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}},
    }

    for schema in (circle, {"$ref": "#/$defs/Nowhere"}, {}, {"type": ["string", "null"]}):
        [form] = forms_of(schema)
        assert form.fields[0].kind == "json"
