"""A step that is not idempotent is named, whatever kind of step it is."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import fields
from itertools import count
from typing import Any

import pytest

from bide import App, Pipeline, branch
from bide.runtime.plans import Stretch
from bide.testing import Simulation, explore
from bide.testing.ledger import Ledger, WatchedPlans

_calls = count()


def one(value: int) -> int:
    return value + next(_calls)


async def one_async(value: int) -> int:
    return value + next(_calls)


def split(value: int) -> Iterator[int]:
    yield from (value, next(_calls))


async def split_async(value: int) -> AsyncIterator[int]:
    for each in (value, next(_calls)):
        yield each


def join(values: Iterator[int]) -> int:
    return sum(values) + next(_calls)


async def join_async(values: AsyncIterator[int]) -> int:
    return sum([value async for value in values]) + next(_calls)


def through(values: Iterator[int]) -> Iterator[int]:
    for value in values:
        yield value + next(_calls)


async def through_async(values: AsyncIterator[int]) -> AsyncIterator[int]:
    async for value in values:
        yield value + next(_calls)


def pair(value: int) -> Iterator[int]:
    yield from (value, value + 1)


def text_of(value: int) -> int | str:
    return value


def spell(value: str) -> int:
    return len(value)


def flow_of(step: Callable[..., Any]) -> Pipeline[Any, Any]:
    """A flow in which the step stands where its kind fits."""
    flow: Pipeline[Any, Any] = Pipeline("flow", int)
    if step in {join, join_async, through, through_async}:
        flow = flow.then(pair)
    return flow.then(step)


async def played(sim: Simulation) -> None:
    """Somebody submits a number."""
    execution = await sim.submit("flow", 7, idempotency_key="one")
    await execution.result()


STEPS = [one, one_async, split, split_async, join, join_async, through, through_async]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_it_is_named(step: Callable[..., Any]) -> None:
    """Sync or async, one value or a stream, given or taken."""
    with pytest.raises(AssertionError) as found:
        explore(App(flow_of(step)), played)

    name = step.__name__.replace("_", "-")
    assert str(found.value).startswith(f"step {name!r} is not idempotent, found with seed 0")


def test_a_branch_is_named() -> None:
    """Also where a union is divided."""
    flow = Pipeline("flow", int).then(text_of).then(branch(one).branch(spell))

    with pytest.raises(AssertionError, match=r"^step 'one' is not idempotent"):
        explore(App(flow), played)


def test_each_item_of_a_stream_has_its_own_calls() -> None:
    """Two items that give two things are no contradiction."""

    def triple(value: int) -> int:
        return 3 * value

    explored = explore(App(Pipeline("flow", int).then(pair).then(triple)), played)

    assert explored.repeated == {"pair": 2, "triple": 2}


def test_a_step_that_fails_at_first_is_no_contradiction() -> None:
    """What it gave when it succeeded is all there is."""
    tries = count(1)

    def flaky(value: int) -> int:
        if next(tries) % 2:
            raise OSError("not yet")
        return value

    assert explore(App(Pipeline("flow", int).then(flaky)), played).repeated["flaky"] >= 2


def test_watching_changes_nothing_but_the_steps() -> None:
    """What else a worker must know of a stretch is there, whatever that comes to be."""
    plain = App(Pipeline("flow", int).then(one))._plans
    watched = WatchedPlans(plain, Ledger())
    [fingerprint] = plain.fingerprints

    one_of, other = plain.stretch(fingerprint), watched.stretch(fingerprint)

    differing = [
        each.name
        for each in fields(Stretch)
        if getattr(one_of, each.name) != getattr(other, each.name)
    ]
    assert differing == ["elements"]
