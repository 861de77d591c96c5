"""Redriving executions and rejects, from end to end on both stores."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from bide import (
    App,
    Await,
    Collect,
    CompletionLate,
    ExecutionFailed,
    Inbox,
    InvalidInput,
    NonRetryable,
    NotRedrivable,
    Pipeline,
    RejectItem,
    StoreUnavailable,
    SubmitConflict,
    UnknownExecution,
    branch,
)
from bide.engine.moves import TakeOver
from tests.integration.support import answer_all, eventually, quick

ABSENT = "018f2c3a-7d11-7abc-8def-0123456789ab"


def each(count: int) -> Iterator[int]:
    yield from range(count)


def total(numbers: Iterator[int]) -> int:
    return sum(numbers)


async def failed(execution: Any) -> ExecutionFailed:
    """How it failed."""
    with pytest.raises(ExecutionFailed) as caught:
        await execution.result(timeout=30)
    return caught.value


class Switch:
    """A fault that a test repairs."""

    def __init__(self) -> None:
        self.broken = True

    def pass_on(self, value: Any) -> Any:
        if self.broken:
            raise NonRetryable("broken")
        return value


async def test_from_the_start(app_of: Callable[..., App]) -> None:
    """The input runs again as a new execution, which the submit key does not name."""
    switch = Switch()

    def double(number: int) -> int:
        return 2 * int(switch.pass_on(number))

    pipeline = Pipeline("doubles", int).then(double)
    async with app_of(pipeline).running() as app:
        first = await app.submit(pipeline, 21, idempotency_key="k")
        await failed(first)
        switch.broken = False

        again = await app.redrive(first.execution_id)

        assert await again.result(timeout=30) == 42
        assert (await again.status()).redriven_from == first.execution_id
        assert (await app.submit(pipeline, 21, idempotency_key="k")).duplicate
        assert (await first.status()).status.name == "DLQ"


async def test_a_single_answer_is_asked_once(app_of: Callable[..., App]) -> None:
    """When a later step failed, the await's answer is taken over and nobody is asked."""
    switch = Switch()
    decide = Await("Decide", int, str, via=Inbox(), timeout="1d")

    def after(answer: str) -> str:
        return str(switch.pass_on(answer))

    pipeline = Pipeline("one", int).wait(decide).then(after)
    async with app_of(pipeline).running() as app:
        first = await app.submit(pipeline, 1)
        [question] = await first.parked(decide, timeout=30)
        await app.complete(question, "yes", actor="ada")
        await failed(first)
        switch.broken = False

        again = await app.redrive(first.execution_id, from_="await")

        assert await again.result(timeout=30) == "yes"
        assert await app.pending(decide) == []


async def test_many_pages(app_of: Callable[..., App]) -> None:
    """Pages of answers are taken over; what has none is asked, and all come in order."""
    ask = Await("Ask", int, int, via=Inbox(), timeout="1d")

    def check(numbers: Iterator[int]) -> int:
        got = list(numbers)
        assert got == list(range(2_500))
        return len(got)

    pipeline = Pipeline("many", int).then(each).wait(ask).then(check)
    async with app_of(pipeline, page_items=100).running() as app:
        first = await app.submit(pipeline, 2_500)
        await first.parked(ask, timeout=30)
        questions = await app.pending(ask, limit=1_000)
        await app.complete_many([(each, each.request) for each in questions[1:]])
        await app.fail(questions[0], "lost")
        await failed(first)

        again = await app.redrive(first.execution_id, from_="await")
        await again.parked(ask, timeout=30)

        assert await answer_all(app, ask, lambda number: number) == 1_501
        assert await again.result(timeout=30) == 2_500


async def test_twice_is_once(app_of: Callable[..., App]) -> None:
    """A repeat gives the same execution, one from elsewhere a conflict, `again` another one."""
    ask = Await("Ask", int, int, via=Inbox(), timeout="1d")
    waits = Pipeline("waits", int).wait(ask)
    async with app_of(waits).running() as app:
        first = await app.submit(waits, 1)
        [question] = await first.parked(ask, timeout=30)
        await app.fail(question, "no")
        await failed(first)

        made = await app.redrive(first.execution_id, from_="await")
        same = await app.redrive(first.execution_id, from_="await")
        with pytest.raises(SubmitConflict, match=made.execution_id):
            await app.redrive(first.execution_id, from_="start")
        other = await app.redrive(first.execution_id, from_="start", again=True)

        assert (made.duplicate, same.duplicate, other.duplicate) == (False, True, False)
        assert same.execution_id == made.execution_id != other.execution_id


async def test_what_is_not_redriven(app_of: Callable[..., App]) -> None:
    """What runs, succeeded, was cancelled or never was; and an await where there was none."""
    ask = Await("Ask", int, int, via=Inbox(), timeout="1d")

    def refuse(number: int) -> int:
        raise NonRetryable("no")

    waits, refuses = Pipeline("waits", int).wait(ask), Pipeline("refuses", int).then(refuse)
    async with app_of(waits, refuses).running() as app:
        waiting = await app.submit(waits, 1)
        cancelled = await app.submit(waits, 2)
        await cancelled.cancel()
        refused = await app.submit(refuses, 1)
        await failed(refused)

        for execution in (waiting, cancelled):
            with pytest.raises(NotRedrivable):
                await app.redrive(execution.execution_id)
        with pytest.raises(NotRedrivable, match="no await"):
            await app.redrive(refused.execution_id, from_="await")
        for id in (ABSENT, "nonsense", f"{ABSENT}_r0_0"):
            with pytest.raises(UnknownExecution):
                await app.redrive(id)
        with pytest.raises(UnknownExecution):
            await app.redrive(refused.execution_id, tenant="globex")


async def test_an_input_that_fits_no_more(shared: str) -> None:
    """Nothing is made of an input that the pipeline does not take any more."""

    def refuse(value: Any) -> Any:
        raise NonRetryable("no")

    old = Pipeline("shop", str).then(refuse)
    async with App(old, store=shared).running() as app:
        first = await app.submit(old, "seven")
        await failed(first)

    async with App(Pipeline("shop", int).then(refuse), store=shared).running() as app:
        with pytest.raises(InvalidInput):
            await app.redrive(first.execution_id)


async def test_an_item_is_asked_again(app_of: Callable[..., App]) -> None:
    """A failed item of an open await is asked again in place; its older asking is late."""
    ask = Await("Ask", int, int, via=Inbox(), timeout="1d", items=Collect(tolerate=1))

    def answers(items: Iterator[Any]) -> list[bool]:
        return [hasattr(item, "value") for item in items]

    pipeline = Pipeline("some", int).then(each).wait(ask).then(answers)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 2)
        first, second = await execution.parked(ask, timeout=30)
        await app.fail(first, "busy")

        again = await app.ask_again(first)

        assert again == f"{first.interaction_id}_1"
        with pytest.raises(CompletionLate):
            await app.complete(first, 1)
        with pytest.raises(NotRedrivable):
            await app.ask_again(second)
        await app.complete(again, 1)
        await app.complete(second, 2)
        assert len(await execution.result(timeout=30)) == 2


# --- rejects ----------------------------------------------------------------------------------


def picky(number: int) -> int:
    if number % 3 == 2:
        raise RejectItem(f"{number} is one too many")
    return number


async def picky_async(number: int) -> int:
    return picky(number)


def picky_many(number: int) -> Iterator[int]:
    yield number
    if number % 3 == 2:
        raise RejectItem(f"{number} is one too many")


async def picky_many_async(number: int) -> AsyncIterator[int]:
    for made in picky_many(number):
        yield made


PICKY = [picky, picky_async, picky_many, picky_many_async]


@pytest.mark.parametrize("step", PICKY)
async def test_items_are_left_out(app_of: Callable[..., App], step: Any) -> None:
    """What a step rejects is recorded with its place and reason, and the others go on."""
    pipeline = Pipeline("picky", int).then(each).then(step)
    async with app_of(pipeline, page_items=4).running() as app:
        execution = await app.submit(pipeline, 9)

        assert await execution.result(timeout=30) == [0, 1, 3, 4, 6, 7]
        rejects = await app.service.rejects("default")
        assert [(row.item_index, row.reason) for row in rejects] == [
            (number, f"{number} is one too many") for number in (2, 5, 8)
        ]
        whole = await app.service.reject("default", rejects[1].reject_id)
        assert whole is not None
        assert (whole.item, whole.execution_id) == (5, execution.execution_id)


@pytest.mark.parametrize("step", PICKY)
async def test_inline(step: Any) -> None:
    """In memory they are left out as well."""
    pipeline = Pipeline("picky", int).then(each).then(step)

    # One value at a time makes a page: what was yielded before is given already.
    if step in PICKY[:2]:
        assert await pipeline.run_inline(4) == [0, 1, 3]
    with pytest.raises(RejectItem):
        await Pipeline("single", int).then(picky).run_inline(2)


async def test_a_single_value_fails(app_of: Callable[..., App]) -> None:
    """There is nothing to go on with: the execution ends FAILED with `item-rejected`."""
    pipeline = Pipeline("single", int).then(picky)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 2)

        assert (await failed(execution)).code == "item-rejected"
        assert (await execution.status()).status.name == "FAILED"
        assert await app.service.rejects("default") == []


async def test_a_reject_again(app_of: Callable[..., App]) -> None:
    """It starts at the step that left it out, alone, and goes through the rest, awaits included."""
    switch = Switch()
    before: list[int] = []

    def note(number: int) -> int:
        before.append(number)
        return number

    def choose(number: int) -> int:
        if switch.broken and number == 1:
            raise RejectItem("not now")
        return 10 * number

    ask = Await("Ask", int, int, via=Inbox(), timeout="1d")
    pipeline = Pipeline("r", int).then(each).then(note).then(choose).wait(ask).then(total)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 3)
        await execution.parked(ask, timeout=30)
        assert await answer_all(app, ask, lambda number: number) == 2
        assert await execution.result(timeout=30) == 20
        [reject] = await app.service.rejects("default")
        switch.broken = False

        again = await app.redrive(reject.reject_id)
        assert (await app.redrive(reject.reject_id)).execution_id == again.execution_id
        await again.parked(ask, timeout=30)
        await answer_all(app, ask, lambda number: number + 1)

        assert await again.result(timeout=30) == 11
        assert (await again.status()).redriven_from == execution.execution_id
        assert before == [0, 1, 2]


async def test_in_a_branch_behind_an_await(app_of: Callable[..., App]) -> None:
    """A branch rejects its variant's items, and a redrive starts at that branch."""
    switch = Switch()
    ask = Await("Ask", int, int | str, via=Inbox(), timeout="1d")

    def number(value: int) -> str:
        if switch.broken:
            raise RejectItem("no numbers")
        return f"number {value}"

    def text(value: str) -> str:
        return f"text {value}"

    routes = branch(number).branch(text)
    pipeline = Pipeline("routes", int).then(each).wait(ask).then(routes)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 3)
        questions = await execution.parked(ask, timeout=30)
        answers: list[int | str] = ["a", 7, "c"]
        for question, answer in zip(questions, answers, strict=True):
            await app.complete(question, answer)
        assert await execution.result(timeout=30) == ["text a", "text c"]
        [reject] = await app.service.rejects("default")
        switch.broken = False

        again = await app.redrive(reject.reject_id)

        assert await again.result(timeout=30) == ["number 7"]


async def test_a_failed_redrive_of_a_reject_starts_there_again(
    app_of: Callable[..., App],
) -> None:
    """A redrive of a redrive from its start is the same item at the same step."""
    faults = ["reject", "break"]

    def choose(number: int) -> int:
        if number == 1 and faults:
            fault = faults.pop(0)
            raise RejectItem("later") if fault == "reject" else NonRetryable("broken")
        return number

    pipeline = Pipeline("twice", int).then(each).then(choose)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 3)
        assert await execution.result(timeout=30) == [0, 2]
        [reject] = await app.service.rejects("default")
        second = await app.redrive(reject.reject_id)
        await failed(second)

        third = await app.redrive(second.execution_id)

        assert await third.result(timeout=30) == [1]


def test_blocking(store: str) -> None:
    """The verbs are there for code that is not async."""
    switch = Switch()
    pipeline = Pipeline("plain", int).then(lambda_free(switch))
    with App(pipeline, store=store).blocking() as app:
        execution = app.submit(pipeline, 3)
        with pytest.raises(ExecutionFailed):
            execution.result(timeout=30)
        switch.broken = False

        assert app.redrive(execution.execution_id).result(timeout=30) == 3


def lambda_free(switch: Switch) -> Callable[[int], int]:
    """A typed step that is broken as long as the switch is."""

    def pass_on(number: int) -> int:
        return int(switch.pass_on(number))

    return pass_on


async def test_a_crash_in_the_middle(shared: str) -> None:
    """A worker that dies while it takes answers over is followed by one that goes on after them."""
    switch = Switch()
    ask = Await("Ask", int, int, via=Inbox(), timeout="1d")

    def check(numbers: Iterator[int]) -> list[int]:
        return list(switch.pass_on(list(numbers)))

    pipeline = Pipeline("many", int).then(each).wait(ask).then(check)
    settings = quick(page_items=10, lease_ms=300, lease_renew_ms=100, stop_timeout_ms=1)
    async with App(pipeline, store=shared, settings=settings).running() as app:
        first = await app.submit(pipeline, 95)
        await first.parked(ask, timeout=30)
        await answer_all(app, ask, lambda number: number)
        await failed(first)
    switch.broken = False
    async with App(pipeline, store=shared, settings=settings).running() as app:
        store, moves = app._open.store, app._open.store.transact
        taken = 0

        async def dying(batch: Any, handover: Any = None) -> Any:
            nonlocal taken
            taken += any(isinstance(move, TakeOver) for move in batch)
            if taken > 3:
                raise StoreUnavailable("the machine is gone")
            return await moves(batch, handover)

        store.transact = dying  # type: ignore[method-assign]  # a store that dies
        again = await app.redrive(first.execution_id, from_="await")
        await eventually(lambda: taken > 3)
        store.transact = moves  # type: ignore[method-assign]  # it lives again

    async with App(pipeline, store=shared, settings=settings).running() as app:
        resumed = app.execution(pipeline, again.execution_id)

        assert await resumed.result(timeout=30) == list(range(95))
        [unit] = await app.service.units("default", again.execution_id)
        assert (unit.appended, unit.settled, unit.total) == (95, 95, 95)


async def test_answers_by_a_key_follow(app_of: Callable[..., App]) -> None:
    """An answer that names the correlation key goes to whoever asks last: here, the redrive."""
    ask = Await("Ask", str, int, via=Inbox(), timeout="1d", correlate_on=lambda text: text)
    pipeline = Pipeline("keyed", str).wait(ask)
    async with app_of(pipeline).running() as app:
        first = await app.submit(pipeline, "A-1")
        [question] = await first.parked(ask, timeout=30)
        await app.fail(question, "busy")
        await failed(first)

        again = await app.redrive(first.execution_id, from_="await")
        await again.parked(ask, timeout=30)
        await app.complete(ask, 7, correlation_id="A-1")

        assert await again.result(timeout=30) == 7
