"""Streams whose source is still read, fails half way, or does not repeat itself."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bide import (
    AlreadyEnded,
    App,
    Await,
    CompletionLate,
    ExecutionCancelled,
    ExecutionFailed,
    Inbox,
    Pipeline,
    Retry,
    step,
)
from tests.integration.support import Gate, answer_all, eventually, until_status

Apps = Callable[..., App]

each = Await("Each", int, int, via=Inbox(), timeout="1h")
keyed = Await(
    "Keyed", tuple[int, str], int, via=Inbox(), timeout="1h", idempotent_on=lambda pair: str(pair[0])
)  # fmt: skip


async def test_answers_are_admitted_while_the_source_is_read(app_of: Apps, gate: Gate) -> None:
    """Items can be seen and answered from their page on, and count when the source ends."""

    def source(number: int) -> Iterator[int]:
        yield from range(number)
        gate.wait()
        yield number

    pipeline = Pipeline("early", int).then(source).wait(each)
    async with app_of(pipeline, page_items=4).running() as app:
        execution = await app.submit(pipeline, 8)
        questions: Any = []

        async def two_pages() -> bool:
            questions[:] = await app.pending(each)
            return len(questions) == 8

        await eventually(two_pages)
        receipts = await app.complete_many((one, one.request * 10) for one in questions)
        assert {receipt.outcome for receipt in receipts} == {"applied"}
        assert (await execution.status()).status.name == "RUNNING"
        gate.open()
        [last] = await execution.parked(each, timeout=10)
        assert (last.request, last.item_index) == (8, 8)
        await app.complete(last, 80)

        assert await execution.result(timeout=10) == [n * 10 for n in range(9)]


async def test_all_answers_may_be_there_before_the_source_ends(app_of: Apps, gate: Gate) -> None:
    """When nothing is open at the end of the source, the execution goes on without parking."""

    def source(number: int) -> Iterator[int]:
        yield from range(number)
        gate.wait()

    pipeline = Pipeline("over", int).then(source).wait(each)
    async with app_of(pipeline, page_items=4).running() as app:
        execution = await app.submit(pipeline, 4)

        async def appended() -> int:
            return await answer_all(app, each, lambda number: number)

        assert await eventually(appended) == 4
        gate.open()

        assert await execution.result(timeout=10) == [0, 1, 2, 3]
        told = [e.what for e in await app.service.timeline("default", execution.execution_id)]
        assert "parked" not in told


async def test_a_source_that_fails_half_way_goes_on_from_what_is_stored(app_of: Apps) -> None:
    """Read again, it asks nothing twice: stored items are recognised, answered ones too."""
    runs: list[int] = []

    @step(retry=Retry(3, first="1ms"))
    def source(number: int) -> Iterator[int]:
        runs.append(number)
        for item in range(number):
            if item == 9 and len(runs) < 3:
                raise ConnectionError("lost the file")
            yield item

    pipeline = Pipeline("half-way", int).then(source).wait(each)
    async with app_of(pipeline, page_items=4).running() as app:
        execution = await app.submit(pipeline, 12)
        questions = await execution.parked(each, timeout=10)
        assert [question.request for question in questions] == list(range(12))
        await answer_all(app, each, lambda number: number + 1)

        assert await execution.result(timeout=10) == list(range(1, 13))
        assert len(runs) == 3
        [unit] = await app.service.units("default", execution.execution_id)
        assert (unit.appended, unit.total, unit.settled) == (12, 12, 12)


@pytest.mark.parametrize("replay", ["other", "fewer", "none"])
async def test_a_source_that_does_not_repeat_itself_ends_in_the_dead_letter_queue(
    app_of: Apps, replay: str
) -> None:
    """Other items than are stored, or fewer, are a mismatch that names the await's item."""
    runs: list[int] = []

    @step(retry=Retry(3, first="1ms"))
    def source(number: int) -> Iterator[int]:
        runs.append(number)
        if len(runs) == 1:
            yield from range(number)
            raise ConnectionError("lost")
        if replay == "other":
            yield from range(1, number + 1)
        elif replay == "fewer":
            yield from range(number - 1)

    pipeline = Pipeline("other", int).then(source).wait(each)
    async with app_of(pipeline, page_items=4).running() as app:
        execution = await app.submit(pipeline, 8)
        with pytest.raises(ExecutionFailed, match="source") as caught:
            await execution.result(timeout=10)

        assert caught.value.code == "replay-mismatch"
        assert (await execution.status()).status.name == "DLQ"
        assert len(runs) == 2
        assert await app.pending(each) == []


async def test_a_business_key_is_what_a_replay_is_compared_by(app_of: Apps) -> None:
    """With `idempotent_on` the rest of a request may differ; the stored one stays."""
    runs: list[int] = []

    @step(retry=Retry(3, first="1ms"))
    def source(number: int) -> Iterator[tuple[int, str]]:
        runs.append(number)
        for item in range(number):
            yield item, f"run {len(runs)}"
        if len(runs) == 1:
            raise ConnectionError("lost")

    pipeline = Pipeline("keyed", int).then(source).wait(keyed)
    async with app_of(pipeline, page_items=2).running() as app:
        execution = await app.submit(pipeline, 4)
        questions = await execution.parked(keyed, timeout=10)

        assert [tuple(one.request) for one in questions] == [(n, "run 1") for n in range(4)]
        await answer_all(app, keyed, lambda pair: pair[0])
        assert await execution.result(timeout=10) == [0, 1, 2, 3]


async def test_cancel_while_the_source_is_read(app_of: Apps, gate: Gate) -> None:
    """The cancel binds at once: what the source still gives is not stored, answers are late."""

    def source(number: int) -> Iterator[int]:
        yield from range(number)
        gate.wait()
        yield from range(number)

    pipeline = Pipeline("cancelled", int).then(source).wait(each)
    async with app_of(pipeline, page_items=4).running() as app:
        execution = await app.submit(pipeline, 4)

        async def first_page() -> Any:
            return await app.pending(each)

        questions = await eventually(first_page)
        await execution.cancel("changed my mind")
        gate.open()

        with pytest.raises(ExecutionCancelled, match="changed my mind"):
            await execution.result(timeout=10)
        with pytest.raises(CompletionLate):
            await app.complete(questions[0], 1)
        assert await app.pending(each) == []
        with pytest.raises(ExecutionCancelled):
            await execution.parked(each, timeout=10)
        with pytest.raises(AlreadyEnded, match="CANCELLED"):
            await execution.cancel()

        async def closed_behind() -> bool:
            [unit] = await app.service.units("default", execution.execution_id)
            return unit.settled == unit.appended == 4

        await eventually(closed_behind)


async def test_a_failed_item_fails_the_execution(app_of: Apps) -> None:
    """The first failed item of a stream ends unit and execution; the others are closed."""

    def source(number: int) -> Iterator[int]:
        yield from range(number)

    pipeline = Pipeline("failing", int).then(source).wait(each)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 3)
        questions = await execution.parked(each, timeout=10)
        await app.complete(questions[0], 1)
        receipt = await app.fail(questions[1], "declined", "no funds", actor="bank")

        assert receipt.outcome == "applied"
        with pytest.raises(ExecutionFailed, match="no funds") as caught:
            await execution.result(timeout=10)
        assert (caught.value.code, caught.value.step_id) == ("declined", "each")
        await until_status(execution, "FAILED")
        with pytest.raises(CompletionLate):
            await app.complete(questions[2], 1)
