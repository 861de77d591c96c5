"""Fitting: what surely cannot be read, by step id, shape and required fields; the rest may be."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from bide import Await, Inbox, Many, Pipeline
from bide.model.records import StoredBoundary
from bide.planning.fitting import boundaries_of, misfit
from bide.planning.pipeline import plan_of
from bide.planning.plan import Plan


class Base(BaseModel):
    a: int


class Wider(BaseModel):
    a: int
    b: int = 0


class Needy(BaseModel):
    a: int
    b: int


class Aliased(BaseModel):
    a: int = Field(alias="c")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Upgrading(Needy):
    @model_validator(mode="before")
    @classmethod
    def upgrade(cls, value: Any) -> Any:
        return value


class Holding(BaseModel):
    inner: Base


class HoldingNeedy(BaseModel):
    inner: Needy


class Tree(BaseModel):
    children: "list[Tree]" = []


class NeedyTree(BaseModel):
    children: "list[NeedyTree]" = []
    name: str


def plan(answer: Any, name: str = "Decide", **options: Any) -> Plan:
    boundary: Any = Await(name, str, answer, via=Inbox(), timeout="1h")
    return plan_of(Pipeline("p", str, **options).wait(boundary))


def stored(of: Plan) -> StoredBoundary:
    """The await of a plan, as a store keeps it."""
    return next(each for each in boundaries_of(of) if each.step_id)


@pytest.mark.parametrize(
    ("old", "new", "lacking"),
    [
        (Base, Wider, None),
        (Needy, Base, None),
        (Base, Needy, "'b'"),
        (Base, Aliased, "'c'"),
        (Open, Needy, None),
        (Base, Upgrading, None),
        (Holding, HoldingNeedy, "'inner.b'"),
        (Base, int, None),
        (str, Base, None),
        (Base | None, Needy, None),
        (Base, Needy | Wider, None),
        (dict[str, int], Needy, None),
        (list[Base], list[Needy], None),
        (Tree, NeedyTree, "'name'"),
    ],
)
def test_answers(old: Any, new: Any, lacking: str | None) -> None:
    """Only a field that every new value has and no old one can have is sure."""
    reason = misfit(stored(plan(old)), plan(new))

    assert (reason is None) == (lacking is None)
    assert lacking is None or lacking in str(reason)


def test_the_step_has_to_be_there() -> None:
    """By its id, or by the one that it was renamed to."""
    old = stored(plan(Base))

    assert "any more" in str(misfit(old, plan(Base, "Judge")))
    assert misfit(old, plan(Base, "Judge", renamed={"decide": "judge"})) is None


def test_the_shape_has_to_be_the_same() -> None:
    """One question an item is not one question about all."""

    def split(text: str) -> Iterator[str]:
        yield from text

    each: Any = Await("Decide", str, Base, via=Inbox(), timeout="1h")
    whole: Any = Await("Decide", Many[str], Base, via=Inbox(), timeout="1h")
    per_item = plan_of(Pipeline("p", str).then(split).wait(each))
    at_once = plan_of(Pipeline("p", str).then(split).wait(whole))

    assert "per item" in str(misfit(stored(per_item), at_once))
    assert misfit(stored(at_once), per_item) is not None
    assert misfit(stored(plan(Base)), per_item) is not None


def test_inputs_are_compared_as_well() -> None:
    """Before the first boundary it is the input that has to be read."""
    [old] = [each for each in boundaries_of(plan_of(Pipeline("p", Base))) if not each.step_id]

    assert misfit(old, plan_of(Pipeline("p", Wider))) is None
    assert "the input" in str(misfit(old, plan_of(Pipeline("p", Needy))))
    assert "the input was ONE" in str(misfit(old, plan_of(Pipeline("p", Many[Base]))))


def test_what_is_stored_of_a_boundary_stands_under_its_fingerprint() -> None:
    """Each fingerprint of the plan, and no other."""
    of = plan(Base)

    assert {each.fingerprint for each in boundaries_of(of)} == {
        of.fingerprint, *(each.fingerprint for each in of.awaits()),
    }  # fmt: skip
