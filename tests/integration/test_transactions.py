"""Transactional steps: what they write and what their execution does next are one commit."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bide import (
    App,
    Await,
    Context,
    DefinitionError,
    ExecutionFailed,
    Inbox,
    NonRetryable,
    NotRunning,
    Pipeline,
    RejectItem,
    Retry,
    Transaction,
    TransactionFailed,
    branch,
    step,
)
from tests.integration.support import Gate, eventually, quick, until_status
from tests.integration.test_trouble import faults_of

SOON = Retry(attempts=3, first="1ms", longest="2ms")
INSERT = "insert into bookings (number, attempt) values ($1, $2)"
TABLE = "create table if not exists bookings (number integer primary key, attempt integer not null)"

decide = Await("Decide", int, int, via=Inbox(), timeout="1h")


async def lay_table(number: int, tx: Transaction) -> int:
    await tx.execute(TABLE)
    await tx.execute("delete from bookings")
    return number


async def look(_: int, tx: Transaction) -> list[list[int]]:
    rows = await tx.fetch("select number, attempt from bookings order by number")
    return [[row["number"], row["attempt"]] for row in rows]


async def book(number: int, ctx: Context, tx: Transaction) -> int:
    await tx.execute(INSERT, number, ctx.attempt)
    [row] = await tx.fetch("select count(*) as count from bookings")
    return int(row["count"])


@step(id="book-again")
async def book_again(number: int, ctx: Context, tx: Transaction) -> int:
    return await book(number, ctx, tx)


def increment(number: int) -> int:
    return number + 1


laying = Pipeline("laying", int).then(lay_table)
looking = Pipeline("looking", int).then(look)


@pytest.fixture
def made(shared: str) -> Callable[..., App]:
    """An app on a store with SQL, with the two pipelines that make the table and look at it."""

    def make(*pipelines: Any, **settings: Any) -> App:
        return App(*pipelines, laying, looking, store=shared, settings=quick(**settings))

    return make


async def laid(app: App) -> None:
    await (await app.submit(laying, 0)).result(timeout=60)


async def booked(app: App) -> list[list[int]]:
    """The numbers and attempts that are in the table."""
    return await (await app.submit(looking, 0)).result(timeout=60)


async def test_rows_and_result_are_there_together(made: Callable[..., App]) -> None:
    """A step's rows and its execution's result are one commit, and it gets what else it asks for."""
    bookings = Pipeline("bookings", int).then(increment).then(book)
    app = made(bookings)
    async with app.running():
        await laid(app)

        count = await (await app.submit(bookings, 6)).result(timeout=60)

        assert count == 1
        assert await booked(app) == [[7, 1]]


async def test_rows_and_wait_are_there_together(made: Callable[..., App]) -> None:
    """A question is open as soon as the rows are there, and its answer goes on behind them."""
    asking = Pipeline("asking", int).then(book).wait(decide).then(book_again)
    app = made(asking)
    async with app.running():
        await laid(app)
        execution = await app.submit(asking, 6)

        [question] = await execution.parked(decide, timeout=60)
        before = await booked(app)
        await app.complete(question, 8)

        assert question.request == 1
        assert before == [[6, 1]]
        assert await execution.result(timeout=60) == 2
        assert await booked(app) == [[6, 1], [8, 1]]


async def test_without_a_statement(made: Callable[..., App]) -> None:
    """A step that runs no statement begins no transaction, and ends as any other."""

    async def decline(number: int, tx: Transaction) -> int:
        return -number

    declining = Pipeline("declining", int).then(decline)
    app = made(declining)
    async with app.running():
        assert await (await app.submit(declining, 6)).result(timeout=60) == -6


async def test_a_retry_starts_clean(made: Callable[..., App]) -> None:
    """What a failed try wrote is gone, in place and after a rest; only the last one's rows stay."""
    tries: list[int] = []

    @step(retry=Retry(attempts=4, first="1ms", longest="2ms"))
    async def unlucky(number: int, ctx: Context, tx: Transaction) -> int:
        tries.append(ctx.attempt)
        await tx.execute(INSERT, number, ctx.attempt)
        if ctx.attempt < 4:
            raise OSError("not yet")
        return number

    for in_place_ms in (1_000, 0):
        tries.clear()
        trying = Pipeline("trying", int).then(unlucky)
        app = made(trying, retry_in_place_ms=in_place_ms)
        async with app.running():
            await laid(app)

            assert await (await app.submit(trying, 6)).result(timeout=60) == 6

            assert tries == [1, 2, 3, 4]
            assert await booked(app) == [[6, 4]]


async def test_a_refused_statement_is_the_steps_failure(made: Callable[..., App]) -> None:
    """It counts as a try, whatever the step does about it; in the end it is in the dead letter."""
    tries: list[int] = []

    @step(retry=SOON)
    async def careless(number: int, ctx: Context, tx: Transaction) -> int:
        tries.append(ctx.attempt)
        await tx.execute(INSERT, number, ctx.attempt)
        with suppress(TransactionFailed):
            await tx.execute(INSERT, number, ctx.attempt)
        return number

    trying = Pipeline("careless", int).then(careless)
    app = made(trying)
    async with app.running():
        await laid(app)
        execution = await app.submit(trying, 6)

        with pytest.raises(ExecutionFailed) as failed:
            await execution.result(timeout=60)

        assert failed.value.code == "transaction-failed"
        assert (failed.value.step_id, failed.value.attempts) == ("careless", 3)
        assert "constraint" in str(failed.value)
        assert tries == [1, 2, 3]
        assert await booked(app) == []


@pytest.mark.parametrize(
    ("error", "status"), [(NonRetryable("no"), "DLQ"), (RejectItem("bad"), "FAILED")]
)
async def test_a_step_that_gives_up(
    made: Callable[..., App], error: Exception, status: str
) -> None:
    """A step that raises after it wrote leaves no row, and its execution ends as it said."""

    async def refuse(number: int, tx: Transaction) -> int:
        await tx.execute(INSERT, number, 1)
        raise error

    refusing = Pipeline("refusing", int).then(refuse)
    app = made(refusing)
    async with app.running():
        await laid(app)
        execution = await app.submit(refusing, 6)

        await until_status(execution, status)

        assert await booked(app) == []


async def test_a_result_that_does_not_fit(made: Callable[..., App]) -> None:
    """A result that cannot be stored takes the step's rows with it."""

    async def lie(number: int, tx: Transaction) -> int:
        await tx.execute(INSERT, number, 1)
        return "no number"  # type: ignore[return-value]  # the mistake under test

    lying = Pipeline("lying", int).then(lie)
    app = made(lying)
    async with app.running():
        await laid(app)
        execution = await app.submit(lying, 6)

        await until_status(execution, "DLQ")

        assert await booked(app) == []


async def test_a_step_that_takes_too_long(made: Callable[..., App]) -> None:
    """A step's own timeout rolls back what it wrote, and nobody waits for it."""
    gate = Gate()

    @step(timeout="100ms", retry=Retry(attempts=1))
    async def hang(number: int, tx: Transaction) -> int:
        await tx.execute(INSERT, number, 1)
        await gate.pause()
        return number

    hanging = Pipeline("hanging", int).then(hang)
    app = made(hanging)
    async with app.running():
        await laid(app)
        execution = await app.submit(hanging, 6)

        await until_status(execution, "DLQ")

        assert await booked(app) == []


async def test_a_step_that_awaits_something_else(made: Callable[..., App]) -> None:
    """Whoever awaits what needs the database itself is rolled back, told why, and tried again."""
    others: list[Any] = []

    @step(retry=SOON)
    async def tangled(number: int, ctx: Context, tx: Transaction) -> int:
        await tx.execute(INSERT, number, ctx.attempt)
        if ctx.attempt == 1:
            with suppress(TransactionFailed):
                while not others:  # in a file, a submit waits for this very transaction
                    await asyncio.sleep(0.3)
                    others.append(await app.submit(other, 1))
                await tx.execute(INSERT, 1, 1)
        return number

    other = Pipeline("other", int).then(increment)
    tangling = Pipeline("tangling", int).then(tangled)
    app = made(tangling, other, transaction_idle_ms=100)
    async with app.running():
        await laid(app)
        execution = await app.submit(tangling, 6)

        assert await execution.result(timeout=60) == 6

        assert await booked(app) == [[6, 2]]
        assert await others[0].result(timeout=60) == 2


async def test_statements_take_turns(made: Callable[..., App]) -> None:
    """Tasks of a step share its transaction; their statements come one after another."""

    async def spread(number: int, tx: Transaction) -> int:
        await asyncio.gather(*(tx.execute(INSERT, each, 1) for each in range(number)))
        return number

    spreading = Pipeline("spreading", int).then(spread)
    app = made(spreading)
    async with app.running():
        await laid(app)

        await (await app.submit(spreading, 20)).result(timeout=60)

        assert len(await booked(app)) == 20


async def test_a_statement_that_was_given_up(made: Callable[..., App]) -> None:
    """A statement that the step stops waiting for fails it: nobody knows whether it took place."""
    tries: list[int] = []

    @step(retry=SOON)
    async def hasty(number: int, ctx: Context, tx: Transaction) -> int:
        tries.append(ctx.attempt)
        if ctx.attempt == 1:
            statement = asyncio.ensure_future(tx.execute(INSERT, number, 1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            statement.cancel()
            await asyncio.wait([statement])
        else:
            await tx.execute(INSERT, number, ctx.attempt)
        return number

    hurrying = Pipeline("hurrying", int).then(hasty)
    app = made(hurrying)
    async with app.running():
        await laid(app)

        assert await (await app.submit(hurrying, 6)).result(timeout=60) == 6

        assert tries == [1, 2]
        assert await booked(app) == [[6, 2]]


async def test_after_the_step_has_returned(made: Callable[..., App]) -> None:
    """A statement that comes after the step is refused with a clear error, and writes nothing."""
    kept: list[Transaction] = []

    async def leak(number: int, tx: Transaction) -> int:
        kept.append(tx)
        await tx.execute(INSERT, number, 1)
        return number

    leaking = Pipeline("leaking", int).then(leak)
    app = made(leaking)
    async with app.running():
        await laid(app)
        await (await app.submit(leaking, 6)).result(timeout=60)

        with pytest.raises(NotRunning, match="step 'leak' has ended"):
            await kept[0].execute(INSERT, 7, 1)

        assert await booked(app) == [[6, 1]]


async def test_cancelled_meanwhile(made: Callable[..., App]) -> None:
    """Of a cancel and a step's commit one wins: rows are there if and only if it has succeeded."""
    gate = Gate()

    async def wait(number: int, tx: Transaction) -> int:
        await tx.execute(INSERT, number, 1)
        await gate.pause()
        return number

    waiting = Pipeline("waiting", int).then(wait)
    app = made(waiting)
    async with app.running():
        await laid(app)
        execution = await app.submit(waiting, 6)
        await eventually(lambda: gate.arrived)

        cancelling = asyncio.ensure_future(execution.cancel("not wanted"))
        await asyncio.sleep(0.05)
        gate.open()
        await asyncio.wait([cancelling])

        ended = (await execution.status()).status.name
        assert await booked(app) == ([[6, 1]] if ended == "SUCCEEDED" else [])
        assert ended in {"SUCCEEDED", "CANCELLED"}
        if not cancelling.exception():
            assert ended == "CANCELLED"


async def test_branches_and_kept_variants(made: Callable[..., App]) -> None:
    """A branch may write; a variant that passes without, and one that waits behind, go their way."""

    class Odd(BaseModel):
        number: int

    class Even(BaseModel):
        number: int

    def sort(number: int) -> Odd | Even:
        return Odd(number=number) if number % 2 else Even(number=number)

    async def book_odd(odd: Odd, tx: Transaction) -> Odd:
        await tx.execute(INSERT, odd.number, 1)
        return odd

    sorting = Pipeline("sorting", int).then(sort).then(branch(book_odd).keep(Even))
    app = made(sorting)
    async with app.running():
        await laid(app)

        results = [await (await app.submit(sorting, n)).result(timeout=60) for n in (1, 2, 3)]

        assert [each.number for each in results] == [1, 2, 3]
        assert await booked(app) == [[1, 1], [3, 1]]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_an_outcome_that_is_lost(made: Callable[..., App], *, after: bool) -> None:
    """It is looked up: only a step whose commit did not take place is called again, and no try is
    counted for that.
    """
    tries: list[int] = []

    async def unlucky(number: int, ctx: Context, tx: Transaction) -> int:
        tries.append(ctx.attempt)
        await tx.execute(INSERT, number, ctx.attempt)
        if len(tries) == 1:
            faults_of(app).fail_next_commit(after=after)
        return number

    losing = Pipeline("losing", int).then(unlucky)
    app = made(losing)
    async with app.running():
        await laid(app)

        assert await (await app.submit(losing, 6)).result(timeout=60) == 6

        assert tries == ([1] if after else [1, 1])
        assert await booked(app) == [[6, 1]]


async def test_a_worker_that_stops(made: Callable[..., App]) -> None:
    """What a stop cuts off is rolled back and given back; the next worker does it."""
    tries: list[int] = []

    async def slow(number: int, tx: Transaction) -> int:
        tries.append(number)
        await tx.execute(INSERT, number, 1)
        if len(tries) == 1:
            await asyncio.sleep(3_600)
        return number

    stopping = Pipeline("stopping", int).then(slow)
    app = made(stopping, stop_timeout_ms=1)
    async with app.running():
        await laid(app)
        execution = await app.submit(stopping, 6)
        await eventually(lambda: tries)
    async with app.running():
        assert await app.execution(stopping, execution.execution_id).result(timeout=60) == 6

        assert tries == [6, 6]
        assert await booked(app) == [[6, 1]]


async def test_a_key_that_is_taken(made: Callable[..., App]) -> None:
    """Where the wait behind it cannot be opened, the execution fails there, without the rows."""
    keyed = Await(
        "Keyed", int, int, via=Inbox(), timeout="1h", correlate_on=lambda number: f"key-{number}"
    )
    asking = Pipeline("keyed", int).then(book).wait(keyed)
    app = made(asking)
    async with app.running():
        await laid(app)
        await (await app.submit(asking, 6)).parked(keyed, timeout=60)
        await laid(app)
        second = await app.submit(asking, 7)

        with pytest.raises(ExecutionFailed) as failed:
            await second.result(timeout=60)

        assert (failed.value.code, failed.value.step_id) == ("correlation-taken", "keyed")
        assert await booked(app) == []


# --- where there is none --------------------------------------------------------------------------


async def test_a_store_without_sql() -> None:
    """An app with a transactional step does not start over memory, and says what to use."""
    app = App(Pipeline("bookings", int).then(book), store="memory://")

    with pytest.raises(DefinitionError, match=r"step 'book' of pipeline 'bookings' .* sqlite:///"):
        await app.start()


async def test_inline() -> None:
    """In memory there is no transaction: a clear error, before the first step."""
    calls: list[int] = []

    def first(number: int) -> int:
        calls.append(number)
        return number

    with pytest.raises(DefinitionError, match="step 'book' of pipeline 'bookings' takes a Transac"):
        await Pipeline("bookings", int).then(first).then(book).run_inline(1)

    assert calls == []


# --- Bide's own tables -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("update executions set status = 3", "table executions is Bide's own"),
        ("DELETE FROM Journal", "table journal is Bide's own"),
        ("insert into paused values ('x', 1)", "table paused is Bide's own"),
        ("drop table units", "table units is Bide's own"),
        ("alter table units add column mine", "table units is Bide's own"),
        ("create trigger mine after insert on units begin select 1; end", "units is Bide's own"),
        ("pragma journal_mode = delete", "pragmas are Bide's"),
        ("attach 'other.db' as other", "cannot attach"),
    ],
)
async def test_a_file_guards_what_is_bides(tmp_path: Path, sql: str, reason: str) -> None:
    """In a file, steps may read Bide's tables and write any but those."""

    @step(retry=Retry(attempts=1))
    async def meddle(number: int, tx: Transaction) -> int:
        await tx.execute("create table jobs (results integer, units integer)")
        await tx.execute("update jobs set results = 1, units = 2")
        assert await tx.fetch("select count(*) as n from executions") == [{"n": 1}]
        await tx.execute(sql)
        return number

    meddling = Pipeline("meddling", int).then(meddle)
    app = App(meddling, store=f"sqlite:///{tmp_path}/bide.db", settings=quick())
    async with app.running():
        execution = await app.submit(meddling, 1)

        with pytest.raises(ExecutionFailed, match=reason) as failed:
            await execution.result(timeout=60)

        assert failed.value.code == "transaction-failed"
