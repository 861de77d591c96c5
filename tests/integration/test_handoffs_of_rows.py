"""A transactional step that publishes: its rows, its segment's end, the publication and its target."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bide import (
    App,
    Await,
    Context,
    Execution,
    ExecutionFailed,
    Inbox,
    Pipeline,
    Publication,
    Retry,
    Subscription,
    Transaction,
    step,
)
from tests.integration.support import Gate, eventually, quick, until_status
from tests.integration.test_transactions import INSERT, booked, laid, laying, looking
from tests.integration.test_trouble import faults_of

AT_END = Publication("booked", idempotent_on=str)
#: What a step gives, published with whatever ends its segment.
BEHIND = Publication("booked", idempotent_on=str, after="book")
confirm = Await("Confirm", int, int, via=Inbox(), timeout="1h")


async def book(number: int, ctx: Context, tx: Transaction) -> int:
    await tx.execute(INSERT, number, ctx.attempt)
    return number


async def seen(number: int, tx: Transaction) -> bool:
    """Whether the row is there as soon as the target runs."""
    return bool(await tx.fetch("select number from bookings where number = $1", number))


told = Pipeline("told", int, subscribes=Subscription("booked")).then(seen)

at_end = Pipeline("bookings", int, publishes=AT_END).then(book)
behind_end = Pipeline("bookings", int, publishes=BEHIND).then(book)
behind_wait = Pipeline("bookings", int, publishes=BEHIND).then(book).wait(confirm)
shapes = pytest.mark.parametrize(
    "source",
    [at_end, behind_end, behind_wait],
    ids=["end", "after, at the end", "after, at a wait"],
)


@pytest.fixture
def made(shared: str) -> Callable[..., Any]:
    """An app on a store with SQL, that runs, with an empty table."""

    @asynccontextmanager
    async def make(*pipelines: Any, **settings: Any) -> AsyncIterator[App]:
        everything = (*pipelines, told, laying, looking)
        app = App(*everything, store=shared, settings=quick(**settings))
        async with app.running():
            await laid(app)
            yield app

    return make


async def targets(app: App) -> int:
    return sum((await app.service.counts("default", "told")).values())


async def committed(source: Execution[Any]) -> None:
    """Wait until the segment has ended, by its result or by its wait."""

    async def has_ended() -> bool:
        status = (await source.status()).status
        return status.is_terminal or status.name == "WAITING_EXTERNAL"

    await eventually(has_ended)


async def taken(app: App, source: Execution[Any]) -> bool:
    """What the one target that a source has made has seen."""
    [handoff] = (await app.service.lineage("default", source.execution_id)).published
    assert handoff.status == "admitted"
    return await app.execution(told, str(handoff.execution_id)).result(timeout=60)


async def nothing_is_left(app: App, source: Execution[Any]) -> None:
    """No row, no publication and no target."""
    assert (await app.service.lineage("default", source.execution_id)).published == []
    assert await targets(app) == 0
    assert await booked(app) == []


@shapes
async def test_rows_and_publication_are_there_together(
    made: Any, source: Pipeline[int, int]
) -> None:
    """The target is made once, and finds the row that its source has written with it."""
    async with made(source) as app:
        execution = await app.submit(source, 6)
        await committed(execution)

        assert await taken(app, execution)
        assert await booked(app) == [[6, 1]]
        assert await targets(app) == 1


@shapes
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_an_outcome_that_is_lost(
    made: Any, source: Pipeline[int, int], *, after: bool
) -> None:
    """It is looked up: a step that is called again publishes again, and there is one of all."""
    tries: list[int] = []

    @step(id="book")
    async def unlucky(number: int, ctx: Context, tx: Transaction) -> int:
        tries.append(ctx.attempt)
        await tx.execute(INSERT, number, ctx.attempt)
        if len(tries) == 1:
            faults_of(app).fail_next_commit(after=after)
        return number

    losing = Pipeline("bookings", int, publishes=source._plan.publishes).then(unlucky)
    flow = losing.wait(confirm) if source is behind_wait else losing
    async with made(flow) as app:
        execution = await app.submit(flow, 6)
        await committed(execution)

        assert tries == ([1] if after else [1, 1])
        assert await taken(app, execution)
        assert await booked(app) == [[6, 1]]
        assert await targets(app) == 1


async def test_a_step_that_fails_first(made: Any) -> None:
    """What a try that failed would have published is gone with its rows; the last one's stays."""

    @step(id="book", retry=Retry(attempts=2, first="1ms", longest="2ms"))
    async def unlucky(number: int, ctx: Context, tx: Transaction) -> int:
        await tx.execute(INSERT, number, ctx.attempt)
        if ctx.attempt == 1:
            raise OSError("not yet")
        return number

    trying = Pipeline("bookings", int, publishes=AT_END).then(unlucky)
    async with made(trying) as app:
        execution = await app.submit(trying, 6)
        await execution.result(timeout=60)

        assert await taken(app, execution)
        assert await booked(app) == [[6, 2]]
        assert await targets(app) == 1


async def test_an_end_that_is_refused(made: Any) -> None:
    """Of a cancel and the step's commit one wins, and takes the publication along."""
    gate = Gate()

    @step(id="book")
    async def wait(number: int, tx: Transaction) -> int:
        await tx.execute(INSERT, number, 1)
        await gate.pause()
        return number

    waiting = Pipeline("bookings", int, publishes=AT_END).then(wait)
    async with made(waiting) as app:
        execution = await app.submit(waiting, 6)
        await eventually(lambda: gate.arrived)

        cancelling = asyncio.ensure_future(execution.cancel("not wanted"))
        await asyncio.sleep(0.05)
        gate.open()
        await asyncio.wait([cancelling])

        await committed(execution)
        if (await execution.status()).status.name == "CANCELLED":
            await nothing_is_left(app, execution)
        else:
            assert await taken(app, execution)
            assert await booked(app) == [[6, 1]]


async def test_an_end_that_fails(made: Any) -> None:
    """Where the wait behind the step cannot be opened, nothing was published."""
    keyed = Await("Keyed", int, int, via=Inbox(), timeout="1h", correlate_on=lambda _: "the key")
    asking = Pipeline("bookings", int, publishes=BEHIND).then(book).wait(keyed)
    async with made(asking) as app:
        await (await app.submit(asking, 5)).parked(keyed, timeout=60)
        second = await app.submit(asking, 6)

        with pytest.raises(ExecutionFailed) as failed:
            await second.result(timeout=60)

        assert failed.value.code == "correlation-taken"
        assert (await app.service.lineage("default", second.execution_id)).published == []
        assert await booked(app) == [[5, 1]]
        assert await targets(app) == 1


def no_key(number: int) -> None:
    return None


@pytest.mark.parametrize("after", ["book", None])
async def test_what_cannot_be_published(made: Any, after: str | None) -> None:
    """A value without a key is published by nobody, and its step's rows are undone."""
    keyless = Publication("booked", idempotent_on=no_key, after=after)  # type: ignore[arg-type]  # the mistake under test
    careless = Pipeline("bookings", int, publishes=keyless).then(book)
    async with made(careless) as app:
        execution = await app.submit(careless, 6)
        await until_status(execution, "DLQ")

        await nothing_is_left(app, execution)


def modulo(number: int) -> str:
    return str(number % 2)


async def test_a_target_that_refuses(made: Any) -> None:
    """Another payload under a known key touches neither the rows nor the source, and is told."""
    colliding = Publication("booked", idempotent_on=modulo)
    source = Pipeline("bookings", int, publishes=colliding).then(book)
    async with made(source) as app:
        for number in (1, 3):
            execution = await app.submit(source, number)
            await execution.result(timeout=60)

        [handoff] = (await app.service.lineage("default", execution.execution_id)).published
        [letter] = await app.service.dead_letters("default")
        assert (handoff.status, letter.code) == ("refused", "handoff-conflict")
        assert await booked(app) == [[1, 1], [3, 1]]
        assert await targets(app) == 1


async def test_many_under_a_few_keys(made: Any) -> None:
    """Steps that publish at the same time, several of them the same, make each target once."""

    @step(id="book")
    async def book_numbered(text: str, tx: Transaction) -> int:
        number, key = map(int, text.split())
        await tx.execute(INSERT, number, key)
        return key

    source = Pipeline("bookings", str, publishes=AT_END).then(book_numbered)
    async with made(source) as app:
        sources = [await app.submit(source, f"{number} {number % 5}") for number in range(40)]
        for each in sources:
            await each.result(timeout=60)

        assert await targets(app) == 5
        assert len(await booked(app)) == 40
        for each in sources:
            await taken(app, each)
