"""Awaits that ask with a stream or are answered with one: in chains, as branches, over restarts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from bide import App, Await, ExecutionFailed, Inbox, Many, Pipeline, branch
from tests.integration.support import answer_all, quick

Apps = Callable[..., App]


class Part(BaseModel):
    size: int


class Total(BaseModel):
    size: int


def parts(count: int) -> Iterator[Part]:
    return (Part(size=size) for size in range(count))


def doubled(part: Part) -> Part:
    return Part(size=2 * part.size)


def described(total: Total) -> str:
    return f"{total.size} in all"


expand = Await("Expand", int, Many[Part], via=Inbox(), timeout="1h")
rank = Await("Rank", Many[Part], Many[Part], via=Inbox(), timeout="1h")
add = Await("Add", Many[Part], Total, via=Inbox(), timeout="1h")
weigh = Await("Weigh", Part, Part, via=Inbox(), timeout="1h")

chain = (
    Pipeline("chain", int)
    .wait(expand)
    .wait(weigh)
    .then(doubled)
    .wait(rank)
    .wait(add)
    .then(described)
)


@pytest.mark.parametrize("count", [0, 1, 5])
async def test_every_shape_after_another(app_of: Apps, count: int) -> None:
    """Each shape hands on what the next one asks with, in order, whatever the number."""
    async with app_of(chain, page_items=2).running() as app:
        execution = await app.submit(chain, count)
        [asked] = await execution.parked(expand, timeout=10)
        assert (asked.request, asked.item_index) == (count, None)
        await app.complete(asked, [Part(size=size) for size in range(count)])
        if count:
            weighed = await execution.parked(weigh, timeout=10)
            assert [each.item_index for each in weighed] == list(range(count))
            await answer_all(app, weigh, lambda part: Part(size=part.size + 1))
        [unranked] = await execution.parked(rank, timeout=10)
        assert [part.size for part in unranked.request] == [2 * n for n in range(1, count + 1)]
        await app.complete(unranked, list(reversed(unranked.request)))
        [ranked] = await execution.parked(add, timeout=10)
        assert [part.size for part in ranked.request] == [2 * n for n in range(count, 0, -1)]
        await app.complete(ranked, Total(size=sum(part.size for part in ranked.request)))

        assert await execution.result(timeout=10) == f"{count * (count + 1)} in all"
        units = await app.service.units("default", execution.execution_id)
        assert [(unit.per_item, unit.total) for unit in units] == [
            (False, 1), (True, count), (False, 1), (False, 1),
        ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 3])
async def test_each_half_in_a_process_of_its_own(shared: str, count: int) -> None:
    """Aggregates are parked by one process, answered through another and resumed by a third."""

    def app() -> App:
        return App(chain, store=shared, settings=quick())

    answers: list[tuple[Any, Callable[[Any], Any]]] = [
        (expand, lambda wanted: [Part(size=size) for size in range(wanted)]),
        (weigh, lambda part: part),
        (rank, lambda ranked: ranked),
        (add, lambda ranked: Total(size=len(ranked))),
    ]
    async with app().running() as first:
        id_ = (await first.submit(chain, count)).execution_id
    for boundary, answer in answers:
        if boundary is weigh and not count:
            continue
        async with app().running() as worker:
            await worker.execution(chain, id_).parked(boundary, timeout=10)
        async with app().running(workers=False) as door:
            assert await answer_all(door, boundary, answer) == (count if boundary is weigh else 1)
    async with app().running() as last:
        assert await last.execution(chain, id_).result(timeout=10) == f"{count} in all"


class Job(BaseModel):
    parts: int


class Ready(BaseModel):
    parts: int


def sorted_out(parts: int) -> Job | Ready:
    return Job(parts=parts) if parts > 2 else Ready(parts=parts)


def at_once(ready: Ready) -> Iterator[Part]:
    return parts(ready.parts)


async def test_an_expanding_await_as_a_branch(app_of: Apps) -> None:
    """An await that is answered with a stream may be a branch beside a function that yields one."""
    plan = Await("Plan", Job, Many[Part], via=Inbox(), timeout="1h")
    routed = (
        Pipeline("routed", int)
        .then(sorted_out)
        .then(branch(plan).branch(at_once))
        .wait(add)
        .then(described)
    )
    async with app_of(routed).running() as app:
        small, large = await app.submit(routed, 2), await app.submit(routed, 3)
        [planning] = await large.parked(plan, timeout=10)
        await app.complete(planning, [Part(size=70)])
        for execution in (small, large):
            [adding] = await execution.parked(add, timeout=10)
            await app.complete(adding, Total(size=sum(part.size for part in adding.request)))

        assert await small.result(timeout=10) == "1 in all"
        assert await large.result(timeout=10) == "70 in all"
        assert await small.parked(plan, timeout=10) == []


async def test_fallbacks_of_aggregates(app_of: Apps) -> None:
    """Nobody answers: a stream may be the default, and a default may be made from a whole stream."""
    guess = Await(
        "Guess", int, Many[Part], via=Inbox(), timeout="30ms",
        on_timeout=lambda count: Many([Part(size=7)] * count),
    )  # fmt: skip
    estimate = Await(
        "Estimate", Many[Part], Total, via=Inbox(), timeout="30ms",
        on_timeout=lambda given: Total(size=sum(part.size for part in given)),
    )  # fmt: skip
    guessed = Pipeline("guessed", int).wait(guess).then(doubled).wait(estimate).then(described)
    async with app_of(guessed).running() as app:
        assert await (await app.submit(guessed, 3)).result(timeout=20) == "42 in all"


async def test_a_reported_failure_of_an_aggregate(app_of: Apps) -> None:
    """A failure that is reported for the one question about a stream ends its execution."""
    adding = Pipeline("adding", int).then(parts).wait(add)
    async with app_of(adding).running() as app:
        execution = await app.submit(adding, 3)
        [question] = await execution.parked(add, timeout=10)
        await app.fail(question, "unclear", "which unit?")

        with pytest.raises(ExecutionFailed, match="which unit") as failure:
            await execution.result(timeout=10)
        assert (failure.value.code, failure.value.step_id) == ("unclear", "add")


async def test_the_source_of_an_aggregate_is_read_once(app_of: Apps) -> None:
    """What an aggregate asks with is stored when it parks: its source is not read again."""
    read: list[int] = []

    def counted(count: int) -> Iterator[Part]:
        for size in range(count):
            read.append(size)
            yield Part(size=size)

    adding = Pipeline("adding", int).then(counted).wait(add).then(described)
    async with app_of(adding).running() as app:
        execution = await app.submit(adding, 4)
        [question] = await execution.parked(add, timeout=10)
        await app.complete(question, Total(size=6))
        assert await execution.result(timeout=10) == "6 in all"
        assert read == [0, 1, 2, 3]
