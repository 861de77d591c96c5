"""How steps run: every kind of function, retries, timeouts, and what they may ask for."""

import asyncio
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from bide import (
    App,
    Await,
    Context,
    ExecutionFailed,
    Inbox,
    Many,
    NonRetryable,
    Pipeline,
    Retry,
    step,
)
from bide.runtime.pool import StepPool
from tests.integration.support import Gate, eventually, until_status

Apps = Callable[..., App]

SOON = Retry(attempts=3, first="1ms", longest="2ms")


def up_to(number: int) -> Iterator[int]:
    yield from range(number)


async def up_to_async(number: int) -> AsyncIterator[int]:
    for item in range(number):
        yield item


def increment(number: int) -> int:
    return number + 1


async def increment_async(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


def twice(number: int) -> Iterator[int]:
    yield number
    yield number


async def twice_async(number: int) -> AsyncIterator[int]:
    yield number
    yield number


def pairs(numbers: Iterator[int]) -> Iterator[int]:
    for number in numbers:
        yield number + next(numbers, 0)


async def pairs_async(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
    async for number in numbers:
        yield number + await anext(numbers, 0)


def total(numbers: Iterator[int]) -> int:
    return sum(numbers)


async def total_async(numbers: AsyncIterator[int]) -> int:
    return sum([number async for number in numbers])


@pytest.mark.parametrize(
    "steps",
    [
        [up_to, increment, twice, pairs, total],
        [up_to_async, increment_async, twice_async, pairs_async, total_async],
        [up_to, increment_async, twice, pairs_async, total],
        [up_to_async, increment, twice_async, pairs, total_async],
    ],
)
async def test_every_kind_of_step(app_of: Apps, steps: list[Any]) -> None:
    """Functions and async ones that yield, map, flatten, transform and consume mix freely."""
    pipeline: Any = Pipeline("mixed", int)
    for each in steps:
        pipeline = pipeline.then(each)
    async with app_of(pipeline, page_items=7).running() as app:
        execution = await app.submit(pipeline, 100)

        assert await execution.result(timeout=20) == 2 * sum(range(1, 101))


async def test_many_consumers_do_not_starve_their_own_sources(app_of: Apps) -> None:
    """More executions than threads feed functions that consume: none takes the thread of its feed."""
    pipeline = Pipeline("feeding", int).then(up_to).then(increment).then(pairs).then(total)
    async with app_of(pipeline, page_items=5, step_threads=2).running() as app:
        executions = [await app.submit(pipeline, 20) for _ in range(30)]

        assert [await each.result(timeout=30) for each in executions] == [210] * 30


# --- retries ------------------------------------------------------------------------------------


class Flaky:
    """Fails the first tries and notes what each was told."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or ValueError("not yet")
        self.seen: list[tuple[int, str]] = []

    def __call__(self, context: Context) -> None:
        self.seen.append((context.attempt, context.idempotency_key))
        if len(self.seen) <= self.failures:
            raise self.error

    @property
    def attempts(self) -> list[int]:
        return [attempt for attempt, _ in self.seen]


def flaky_step(flaky: Flaky, kind: str, retry: Retry) -> Any:
    @step(id="flaky", retry=retry)
    def plain(number: int, context: Context) -> int:
        flaky(context)
        return number + 1

    @step(id="flaky", retry=retry)
    async def asynchronous(number: int, context: Context) -> int:
        flaky(context)
        return number + 1

    return plain if kind == "plain" else asynchronous


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
@pytest.mark.parametrize("in_place", [True, False])
async def test_a_failing_step_is_tried_again(app_of: Apps, kind: str, *, in_place: bool) -> None:
    """In place or given back, attempts count up and the idempotency key stays the same."""
    flaky = Flaky(2)
    pipeline: Any = Pipeline("flaky", int).then(increment).then(flaky_step(flaky, kind, SOON))
    async with app_of(pipeline, retry_in_place_ms=1_000 if in_place else 0).running() as app:
        execution = await app.submit(pipeline, 1)

        assert await execution.result(timeout=10) == 3
        assert flaky.attempts == [1, 2, 3]
        assert {key for _, key in flaky.seen} == {f"{execution.execution_id}/flaky"}
        told = [e.what for e in await app.service.timeline("default", execution.execution_id)]
        assert told.count("retry scheduled") == (0 if in_place else 2)


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
async def test_tries_in_place_count_when_the_segment_is_given_back(app_of: Apps, kind: str) -> None:
    """Back-off grows past the bound for waiting in place: the count goes on across the claim."""
    flaky = Flaky(4)
    retry = Retry(attempts=5, first="2ms", longest="40ms")
    pipeline: Any = Pipeline("growing", int).then(flaky_step(flaky, kind, retry))
    async with app_of(pipeline, retry_in_place_ms=5).running() as app:
        execution = await app.submit(pipeline, 1)

        assert await execution.result(timeout=10) == 2
        assert flaky.attempts == [1, 2, 3, 4, 5]
        told = [e.what for e in await app.service.timeline("default", execution.execution_id)]
        assert "retry scheduled" in told


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
@pytest.mark.parametrize("in_place", [True, False])
async def test_exhausted_attempts_end_in_the_dead_letter_queue(
    app_of: Apps, kind: str, *, in_place: bool
) -> None:
    """After its last attempt the execution is in the DLQ, its dead letter beside it."""
    flaky = Flaky(99)
    pipeline: Any = Pipeline("hopeless", int).then(increment).then(flaky_step(flaky, kind, SOON))
    async with app_of(pipeline, retry_in_place_ms=1_000 if in_place else 0).running() as app:
        execution = await app.submit(pipeline, 1)
        with pytest.raises(ExecutionFailed, match="not yet") as caught:
            await execution.result(timeout=10)

        failed = caught.value
        assert (failed.code, failed.step_id, failed.attempts) == ("step-failed", "flaky", 3)
        assert flaky.attempts == [1, 2, 3]
        view = await execution.status()
        assert (view.status.name, view.step) == ("DLQ", "plain" if kind == "plain" else kind)
        assert failed.dead_letter_id is not None
        letter = await app.service.dead_letter("default", failed.dead_letter_id)
        assert letter is not None
        assert (letter.status.name, letter.code, letter.attempts) == ("DLQ", "step-failed", 3)
        assert letter.message == "ValueError: not yet"


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
async def test_non_retryable_ends_at_once(app_of: Apps, kind: str) -> None:
    """A step that says another attempt cannot help gets none."""
    flaky = Flaky(99, NonRetryable("no such account"))
    pipeline: Any = Pipeline("final", int).then(flaky_step(flaky, kind, SOON))
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 1)
        with pytest.raises(ExecutionFailed, match="no such account") as caught:
            await execution.result(timeout=10)

        assert (caught.value.code, caught.value.step_id) == ("non-retryable", "flaky")
        assert flaky.attempts == [1]


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
@pytest.mark.parametrize("in_place", [True, False])
async def test_one_bad_item_of_a_stream_is_tried_its_attempts(
    app_of: Apps, kind: str, *, in_place: bool
) -> None:
    """An item behind others in its page exhausts its attempts, and no more than those."""
    tries: list[int] = []

    @step(id="picky", retry=SOON)
    def plain(number: int, context: Context) -> int:
        if number == 12:
            tries.append(context.attempt)
            raise ValueError(number)
        return number

    @step(id="picky", retry=SOON)
    async def asynchronous(number: int, context: Context) -> int:
        return plain(number, context)

    chosen: Any = plain if kind == "plain" else asynchronous
    pipeline: Any = Pipeline("picky", int).then(up_to).then(chosen)
    settings = {"page_items": 10, "retry_in_place_ms": 1_000 if in_place else 0}
    async with app_of(pipeline, **settings).running() as app:
        execution = await app.submit(pipeline, 30)
        with pytest.raises(ExecutionFailed) as caught:
            await execution.result(timeout=10)

        assert (caught.value.step_id, caught.value.attempts) == ("picky", 3)
        assert tries == [1, 2, 3]


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
async def test_items_are_retried_in_place_without_their_neighbours(app_of: Apps, kind: str) -> None:
    """A retried item of a page keeps its key, and items that are done are not done again."""
    calls: list[tuple[int, int, str]] = []

    @step(id="noted", retry=SOON)
    def plain(number: int, context: Context) -> int:
        calls.append((number, context.attempt, context.idempotency_key))
        if number == 3 and context.attempt == 1:
            raise ValueError(number)
        assert context.item_index == number
        return number

    @step(id="noted", retry=SOON)
    async def asynchronous(number: int, context: Context) -> int:
        return plain(number, context)

    chosen: Any = plain if kind == "plain" else asynchronous
    pipeline: Any = Pipeline("noted", int).then(up_to).then(chosen)
    async with app_of(pipeline, page_items=4).running() as app:
        execution = await app.submit(pipeline, 6)

        assert await execution.result(timeout=10) == list(range(6))
        assert sorted(n for n, _, _ in calls) == [0, 1, 2, 3, 3, 4, 5]
        assert {key for n, _, key in calls if n == 3} == {f"{execution.execution_id}/noted/3"}
        assert sorted(attempt for n, attempt, _ in calls if n == 3) == [1, 2]


class Odd(BaseException):
    """No `Exception`."""


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), Odd("odd"), asyncio.CancelledError(), StopIteration(1), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("kind", ["plain", "item"])
async def test_whatever_a_step_raises_is_a_failed_try(
    app_of: Apps, kind: str, error: BaseException
) -> None:
    """Exceptions that are no `Exception` fail the step, and neither thread nor execution hangs."""

    @step(retry=Retry(1))
    def raising(number: int) -> int:
        raise error

    pipeline: Any = Pipeline("raising", int)
    pipeline = pipeline.then(raising) if kind == "plain" else pipeline.then(up_to).then(raising)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 1)
        with pytest.raises(ExecutionFailed) as caught:
            await execution.result(timeout=10)

        assert (caught.value.step_id, caught.value.code) == ("raising", "step-failed")


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), asyncio.CancelledError(), StopAsyncIteration(1)],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("kind", ["plain", "item"])
async def test_whatever_an_async_step_raises_is_a_failed_try(
    app_of: Apps, kind: str, error: BaseException
) -> None:
    """An async step that exits, or awaits what was cancelled, fails; the worker goes on."""

    @step(retry=Retry(1))
    async def raising(number: int) -> int:
        raise error

    pipeline: Any = Pipeline("raising", int)
    pipeline = pipeline.then(raising) if kind == "plain" else pipeline.then(up_to).then(raising)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 1)
        with pytest.raises(ExecutionFailed) as caught:
            await execution.result(timeout=10)

        assert (caught.value.step_id, caught.value.code) == ("raising", "step-failed")


# --- what does not fit --------------------------------------------------------------------------


class Money(BaseModel):
    cents: int


ask = Await("Ask", Money, Money, via=Inbox(), timeout="1h")


def as_money(number: int) -> Money:
    return {1: "a text", 2: Money.model_construct(cents="x"), 3: Money(cents=3)}[number]  # type: ignore[return-value]  # that is the mistake


def to_number(number: int) -> float:
    return float("nan") if number else 0.0


def many_money(number: int) -> Iterator[Money]:
    yield as_money(3)
    yield as_money(number)


@pytest.mark.parametrize(
    "pipeline",
    [
        Pipeline("wrong-request", int).then(as_money).wait(ask),
        Pipeline("wrong-result", int).then(as_money),
        Pipeline("no-json", int).then(to_number),
        Pipeline("wrong-item", int).then(many_money).wait(ask),
        Pipeline("wrong-result-item", int).then(many_money),
    ],
    ids=lambda pipeline: pipeline.id,
)
@pytest.mark.parametrize("number", [1, 2])
async def test_a_value_that_does_not_fit_ends_in_the_dead_letter_queue(
    app_of: Apps, pipeline: Any, number: int
) -> None:
    """What does not fit the declared type, or has no JSON form, crosses no boundary."""
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, number)
        with pytest.raises(ExecutionFailed) as caught:
            await execution.result(timeout=10)

        assert caught.value.code == "invalid-payload"
        assert (await execution.status()).status.name == "DLQ"
        assert await app.pending() == []


rank = Await("Rank", Many[int], int, via=Inbox(), timeout="1h")


def ten(number: int) -> Iterator[int]:
    yield from range(10)


@pytest.mark.parametrize(
    ("guard", "pipeline"),
    [
        ("payload_max_bytes", Pipeline("large-request", int).then(as_money).wait(ask)),
        ("result_max_bytes", Pipeline("large-result", int).then(as_money)),
        ("payload_max_bytes", Pipeline("large-item", int).then(many_money).wait(ask)),
        ("payload_max_bytes", Pipeline("large-result-item", int).then(many_money)),
        ("await_aggregate_max_input_items", Pipeline("large-list", int).then(ten).wait(rank)),
    ],
    ids=lambda value: getattr(value, "id", None),
)
async def test_guards_keep_out_what_is_too_large(app_of: Apps, guard: str, pipeline: Any) -> None:
    """What goes over a guard ends in the DLQ, and the message names the setting."""
    async with app_of(pipeline, **{guard: 5}).running() as app:
        execution = await app.submit(pipeline, 3)
        with pytest.raises(ExecutionFailed, match=guard) as caught:
            await execution.result(timeout=10)

        assert caught.value.code == "limit-exceeded"


# --- timeouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "item", "yields", "consumes"])
async def test_a_hung_step_is_abandoned(app_of: Apps, gate: Gate, kind: str) -> None:
    """A thread that hangs is left behind, the execution moves on, and what it does late is nothing."""
    attempts: list[int] = []
    late: list[str] = []
    options: Any = {"retry": SOON, "timeout": "100ms"}

    def hang_once(context: Context) -> None:
        attempts.append(context.attempt)
        if context.attempt == 1:
            gate.wait()
            late.append("back")

    @step(**options)
    def plain(number: int, context: Context) -> int:
        hang_once(context)
        return number * 10 * context.attempt

    @step(**options)
    def item(number: int, context: Context) -> int:
        if number == 1:
            hang_once(context)
        return number * 10 * context.attempt

    @step(**options)
    def yields(number: int, context: Context) -> Iterator[int]:
        yield 0
        hang_once(context)
        yield number * 10 * context.attempt

    @step(**options)
    def consumes(numbers: Iterator[int], context: Context) -> int:
        found = list(numbers)
        hang_once(context)
        return found[0] * context.attempt

    calls_after: list[Any] = []

    def after(value: int) -> int:
        calls_after.append(value)
        return value

    begun: Any = Pipeline("hanging", int)
    pipeline = {
        "plain": begun.then(plain),
        "item": begun.then(up_to).then(item),
        "yields": begun.then(yields),
        "consumes": begun.then(up_to).then(increment).then(consumes),
    }[kind].then(after)
    async with app_of(pipeline, step_threads=2, page_items=500).running() as app:
        execution = await app.submit(pipeline, 2)
        result = await execution.result(timeout=20)
        seen = list(calls_after)
        gate.open()
        await eventually(lambda: late)

        expected: Any = {"plain": 40, "item": [0, 20], "yields": [0, 40], "consumes": 2}[kind]
        assert result == expected
        assert attempts == [1, 2]
        await eventually(lambda: not any_at_work())
        assert calls_after == seen
        assert (await execution.status()).status.name == "SUCCEEDED"
        assert await execution.result(timeout=10) == expected


async def test_a_hung_thread_does_not_go_on_to_the_next_step(app_of: Apps, gate: Gate) -> None:
    """A thread that was abandoned in one step begins none of those that follow."""
    after: list[int] = []
    back = threading.Event()

    @step(retry=Retry(1), timeout="50ms")
    def hangs(number: int) -> int:
        gate.wait()
        back.set()
        return number

    def follows(number: int) -> int:
        after.append(number)
        return number

    pipeline = Pipeline("hung", int).then(hangs).then(follows)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 1)
        with pytest.raises(ExecutionFailed) as caught:
            await execution.result(timeout=10)
        assert caught.value.step_id == "hangs"
        gate.open()
        await eventually(back.is_set)
        # The thread is free for others once it is back from what it hung in.
        await eventually(lambda: not any_at_work())

        assert after == []
        assert (await execution.status()).status.name == "DLQ"


def any_at_work() -> bool:
    """Tell whether any thread of the pool runs a job, be it one that was given up."""
    return any(
        frame.f_code is StepPool._draw.__code__
        for current in sys._current_frames().values()
        for frame, _ in traceback.walk_stack(current)
    )


@pytest.mark.parametrize("kind", ["plain", "item", "yields", "consumes"])
async def test_a_slow_async_step_is_cut_off(app_of: Apps, kind: str) -> None:
    """An async step over its bound is cancelled and tried again."""
    attempts: list[int] = []
    cancelled: list[int] = []
    options: Any = {"retry": SOON, "timeout": "50ms"}

    async def slow_once(context: Context) -> None:
        attempts.append(context.attempt)
        if context.attempt == 1:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                cancelled.append(1)
                raise

    @step(**options)
    async def plain(number: int, context: Context) -> int:
        await slow_once(context)
        return number

    @step(**options)
    async def item(number: int, context: Context) -> int:
        if number == 1:
            await slow_once(context)
        return number

    @step(**options)
    async def yields(number: int, context: Context) -> AsyncIterator[int]:
        yield 0
        await slow_once(context)
        yield 1

    @step(**options)
    async def consumes(numbers: AsyncIterator[int], context: Context) -> int:
        found = [number async for number in numbers]
        await slow_once(context)
        return len(found)

    begun: Any = Pipeline("slow", int)
    pipeline = {
        "plain": begun.then(plain),
        "item": begun.then(up_to).then(item),
        "yields": begun.then(yields),
        "consumes": begun.then(up_to).then(consumes),
    }[kind]
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 2)

        expected: Any = {"plain": 2, "item": [0, 1], "yields": [0, 1], "consumes": 2}[kind]
        assert await execution.result(timeout=10) == expected
        assert (attempts, cancelled) == ([1, 2], [1])


async def test_a_bound_holds_for_each_item_and_not_for_all(app_of: Apps) -> None:
    """A function that yields may take longer in all than its bound for an item."""

    @step(timeout="400ms", retry=Retry(1))
    async def ticking(number: int) -> AsyncIterator[int]:
        for item in range(number):
            await asyncio.sleep(0.02)
            yield item

    pipeline = Pipeline("ticking", int).then(ticking)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 30)

        assert await execution.result(timeout=20) == list(range(30))


async def test_sleepers_delay_nobody(app_of: Apps, gate: Gate) -> None:
    """While one execution in a hundred blocks its thread, all others get through."""

    def work(number: int) -> int:
        if number % 100 == 0:
            gate.wait()
        return number

    pipeline = Pipeline("sleepers", int).then(work)
    async with app_of(pipeline).running() as app:
        executions = [await app.submit(pipeline, number) for number in range(1_000)]
        quick = [each for number, each in enumerate(executions) if number % 100]
        results = await asyncio.gather(*(each.result(timeout=25) for each in quick))
        assert results == [number for number in range(1_000) if number % 100]
        # Every sleeper is still asleep: the others have waited for none of them.
        sleepers = [each for number, each in enumerate(executions) if number % 100 == 0]
        assert {(await each.status()).status.name for each in sleepers} == {"RUNNING"}
        gate.open()
        await asyncio.gather(*(each.result(timeout=25) for each in sleepers))


# --- what steps may ask for ---------------------------------------------------------------------


class Client:
    def __init__(self, name: str) -> None:
        self.name = name


def greet(number: int, client: Client) -> str:
    return f"{client.name} {number}"


async def greet_later(text: str, client: Client, context: Context) -> str:
    assert Context.current() is context
    return f"{text} {client.name}"


async def test_resources_are_opened_once_and_closed_at_the_end(app_of: Apps) -> None:
    """One object serves all steps of a process, from before the first to after the last."""
    life: list[str] = []

    @asynccontextmanager
    async def client() -> AsyncIterator[Client]:
        life.append("opened")
        yield Client("ada")
        life.append("closed")

    pipeline = Pipeline("greeting", int).then(greet).then(greet_later)
    app = app_of(pipeline, resources=[client])
    assert life == []
    async with app.running():
        executions = [await app.submit(pipeline, number) for number in range(5)]
        assert [await each.result(timeout=10) for each in executions] == [
            f"ada {number} ada" for number in range(5)
        ]
        assert life == ["opened"]
    assert life == ["opened", "closed"]

    async with app.using(resources={Client: Client("fake")}).running() as copy:
        execution = await copy.submit(pipeline, 7)
        assert await execution.result(timeout=10) == "fake 7 fake"
    assert life == ["opened", "closed"]


async def test_a_resource_that_cannot_be_opened_leaves_nothing_open(app_of: Apps) -> None:
    """Starting fails with the resource's own error, and the app can be started again."""
    trouble = [ConnectionError("no network")]
    closed: list[str] = []

    @asynccontextmanager
    async def sound() -> AsyncIterator[int]:
        yield 1
        closed.append("sound")

    @asynccontextmanager
    async def client() -> AsyncIterator[Client]:
        if trouble:
            raise trouble.pop()
        yield Client("ada")

    pipeline = Pipeline("greeting", int).then(greet)
    app = app_of(pipeline, resources=[sound, client])
    with pytest.raises(ConnectionError, match="no network"):
        await app.start()
    async with app.running():
        execution = await app.submit(pipeline, 7)
        assert await execution.result(timeout=10) == "ada 7"


async def test_what_a_step_knows(app_of: Apps) -> None:
    """The context tells ids, tenant, attempt and time; deeper code finds it by `current`."""
    seen: list[Context] = []

    def look(number: int, context: Context) -> int:
        assert Context.current() is context
        seen.append(context)
        return number

    def items(number: int) -> Iterator[int]:
        assert Context.current().step_id == "items"
        for item in range(number):
            assert Context.current().step_id == "items"
            yield item

    @step(id="look-each")
    async def look_each(number: int) -> int:
        seen.append(Context.current())
        return number

    pipeline = Pipeline("looking", int).then(look).then(items).then(look_each)
    async with app_of(pipeline, page_items=2).running() as app:
        execution = await app.submit(pipeline, 3, tenant="acme")
        await execution.result(timeout=10)

    first, *rest = seen
    assert (first.execution_id, first.step_id) == (execution.execution_id, "look")
    assert (first.tenant, first.attempt, first.item_index) == ("acme", 1, None)
    assert first.now().utcoffset() == timedelta()
    assert isinstance(first.now(), datetime)
    assert sorted(each.item_index or 0 for each in rest) == [0, 1, 2]
    assert len({each.idempotency_key for each in seen}) == 4


async def test_a_step_shows_where_it_stands(app_of: Apps, gate: Gate) -> None:
    """While a step runs, the execution is RUNNING; a rest before a retry is WAIT_RETRY."""
    flaky = Flaky(1)

    @step(retry=Retry(3, first="50ms"))
    def held(number: int, context: Context) -> int:
        gate.wait()
        flaky(context)
        return number

    pipeline = Pipeline("held", int).then(held)
    async with app_of(pipeline, retry_in_place_ms=0).running() as app:
        execution = await app.submit(pipeline, 1)
        await eventually(lambda: gate.arrived)
        await until_status(execution, "RUNNING")
        gate.open()
        await execution.result(timeout=10)
        told = [e.what for e in await app.service.timeline("default", execution.execution_id)]

        assert told == ["submitted", "retry scheduled", "claimed", "succeeded"]
