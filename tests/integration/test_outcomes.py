"""What a unit over a stream comes to, from end to end: missing items, and a deadline of its own."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from bide import (
    Answered,
    App,
    Await,
    Collect,
    CompletionLate,
    ExecutionCancelled,
    ExecutionFailed,
    Inbox,
    Missing,
    Pipeline,
    branch,
)
from bide.runtime.clock import system_clock
from bide.stores.postgres.store import PostgresStore
from tests.integration.support import Gate, eventually, quick, until_status

Apps = Callable[..., App]
HOUR = 3_600_000


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the clock of the stores forward, by so many milliseconds."""
    ahead = [0]

    def clock() -> int:
        return system_clock() + ahead[0]

    monkeypatch.setattr("bide.wiring.system_clock", clock)
    on_postgres = partial(PostgresStore, clock=clock)
    monkeypatch.setattr("bide.stores.postgres.store.PostgresStore", on_postgres)

    def forward(ms: int) -> None:
        ahead[0] += ms

    return forward


class Row(BaseModel):
    number: int


class Verdict(BaseModel):
    ok: bool


class Line(BaseModel):
    index: int
    said: str


def rows(count: int) -> Iterator[Row]:
    return (Row(number=number) for number in range(count))


def said(given: Answered[Verdict] | Missing) -> Line:
    if isinstance(given, Missing):
        return Line(index=given.item_index, said=given.reason)
    return Line(index=given.item_index, said="yes" if given.value.ok else "no")


def lines(given: Iterator[Line]) -> list[str]:
    return [f"{line.index}:{line.said}" for line in given]


def asking(*, timeout: str = "1h", **options: Any) -> Await[Row, Verdict, Any]:
    return Await("Check the row", Row, Verdict, via=Inbox(), timeout=timeout, **options)


def collecting(check: Await[Row, Verdict, Any]) -> Pipeline[int, list[str]]:
    return Pipeline("check-rows", int).then(rows).wait(check).then(said).then(lines)


async def test_failed_items_are_missing(app_of: Apps) -> None:
    """Items that are reported failed leave gaps in item order, as many as are tolerated."""
    check = asking(items=Collect(tolerate=2))
    checked = collecting(check)
    async with app_of(checked).running() as app:
        execution = await app.submit(checked, 5)
        questions = await execution.parked(check, timeout=10)

        await app.fail(questions[3], "unreadable", "the scan is black", actor="ada")
        for item in (4, 0, 2):
            await app.complete(questions[item], Verdict(ok=item != 2))
        [unit] = await app.service.units("default", execution.execution_id)
        await app.fail(questions[1], "unreadable")

        expected = ["0:yes", "1:unreadable", "2:no", "3:unreadable", "4:yes"]
        assert (unit.status.name, unit.settled, unit.missing) == ("WAITING_EXTERNAL", 4, 1)
        assert await execution.result(timeout=10) == expected


async def test_more_missing_than_tolerated(app_of: Apps) -> None:
    """One more than is tolerated fails the execution for that, with a dead letter, at once."""
    check = asking(items=Collect(tolerate="20%"))
    checked = collecting(check)
    async with app_of(checked).running() as app:
        execution = await app.submit(checked, 10)
        questions = await execution.parked(check, timeout=10)
        for item in (1, 2):
            await app.fail(questions[item], "unreadable")
        assert (await execution.status()).status.name == "WAITING_EXTERNAL"

        await app.fail(questions[0], "unreadable")

        with pytest.raises(ExecutionFailed, match="3 of 10 items") as failure:
            await execution.result(timeout=10)
        assert failure.value.code == "too-many-missing"
        with pytest.raises(CompletionLate):
            await app.complete(questions[9], Verdict(ok=True))
        letter = await app.service.dead_letter("default", execution.execution_id)
        assert letter is not None
        assert (letter.code, letter.step_id) == ("too-many-missing", "check-the-row")


async def test_items_that_nobody_answers_are_missing(app_of: Apps) -> None:
    """An item whose time is over is missing; the others have their own time."""
    check = asking(timeout="300ms", items=Collect(tolerate="100%"))
    checked = collecting(check)
    async with app_of(checked).running() as app:
        execution = await app.submit(checked, 3)

        assert await execution.result(timeout=20) == ["0:timed-out", "1:timed-out", "2:timed-out"]


async def test_missing_items_may_be_routed(app_of: Apps) -> None:
    """`Answered` and `Missing` are variants like any other: each may have a step of its own."""
    check = asking(items=Collect(tolerate=3))

    def found(given: Answered[Verdict]) -> str:
        return f"{given.item_index} is {'good' if given.value.ok else 'bad'}"

    def lost(given: Missing) -> str:
        return f"{given.item_index} is lost"

    def joined(given: Iterator[str]) -> str:
        return ", ".join(given)

    routed = (
        Pipeline("routed", int).then(rows).wait(check).then(branch(found).branch(lost)).then(joined)
    )
    async with app_of(routed).running() as app:
        execution = await app.submit(routed, 3)
        first, second, third = await execution.parked(check, timeout=10)
        await app.fail(second, "unreadable")
        await app.complete_many([(third, Verdict(ok=False)), (first, Verdict(ok=True))])

        assert await execution.result(timeout=10) == "0 is good, 1 is lost, 2 is bad"


async def test_a_collected_stream_as_a_result(app_of: Apps) -> None:
    """An await that collects may come last; its gaps are then in the result."""
    check = asking(items=Collect(tolerate=1))
    last = Pipeline("last", int).then(rows).wait(check)
    async with app_of(last).running() as app:
        execution = await app.submit(last, 2)
        first, second = await execution.parked(check, timeout=10)
        await app.fail(first, "unreadable")
        await app.complete(second, Verdict(ok=True))

        assert await execution.result(timeout=10) == [
            Missing(0, "unreadable"), Answered(Verdict(ok=True), 1),
        ]  # fmt: skip
        shown = await app.service.result("default", execution.execution_id)
        assert json.loads(json.dumps(shown))[1]["Answered"]["value"] == {"ok": True}


async def test_collecting_from_an_empty_stream(app_of: Apps) -> None:
    """Nothing asked, nothing missing: an empty stream does not wait."""
    check = asking(items=Collect(), unit_timeout="1h")
    checked = collecting(check)
    async with app_of(checked).running() as app:
        assert await (await app.submit(checked, 0)).result(timeout=10) == []


async def test_collecting_goes_on_elsewhere(shared: str) -> None:
    """What is missing is in the store: another process resumes with the same gaps."""
    check = asking(items=Collect(tolerate=1))
    checked = collecting(check)
    async with App(checked, store=shared, settings=quick()).running() as app:
        execution = await app.submit(checked, 2)
        first, second = await execution.parked(check, timeout=10)
        await app.fail(first, "unreadable")
    async with App(checked, store=shared, settings=quick()).running(workers=False) as app:
        await app.complete(second, Verdict(ok=True))
    async with App(checked, store=shared, settings=quick()).running() as app:
        resumed = app.execution(checked, execution.execution_id)

        assert await resumed.result(timeout=10) == ["0:unreadable", "1:yes"]


async def test_a_unit_deadline_collects_what_is_there(
    app_of: Apps, jump: Callable[[int], None]
) -> None:
    """At the unit's deadline the unanswered are missing, and the execution goes on."""
    check = asking(timeout="2h", items=Collect(tolerate=2), unit_timeout="1h")
    checked = collecting(check)
    async with app_of(checked).running() as app:
        execution = await app.submit(checked, 3)
        questions = await execution.parked(check, timeout=10)
        await app.complete(questions[1], Verdict(ok=True))
        jump(HOUR + 1)

        assert await execution.result(timeout=20) == ["0:timed-out", "1:yes", "2:timed-out"]
        [unit] = await app.service.units("default", execution.execution_id)
        assert (unit.status.name, unit.missing) == ("COMPLETED", 2)
        assert unit.deadline_ms == unit.created_at_ms + HOUR
        assert round(questions[0].deadline.timestamp() * 1_000) == unit.deadline_ms
        with pytest.raises(CompletionLate):
            await app.complete(questions[0], Verdict(ok=True))


async def test_a_unit_deadline_gives_fallbacks(app_of: Apps, jump: Callable[[int], None]) -> None:
    """At the unit's deadline an unanswered item gets what `on_timeout` made of its request."""
    check = Await(
        "Check the row", Row, Verdict, via=Inbox(), timeout="2h", unit_timeout="1h",
        on_timeout=lambda row: Verdict(ok=row.number == 2),
    )  # fmt: skip

    def told(given: Iterator[Verdict]) -> list[bool]:
        return [verdict.ok for verdict in given]

    checked = Pipeline("check-rows", int).then(rows).wait(check).then(told)
    async with app_of(checked).running() as app:
        execution = await app.submit(checked, 4)
        questions = await execution.parked(check, timeout=10)
        await app.complete(questions[0], Verdict(ok=True))
        jump(HOUR + 1)

        assert await execution.result(timeout=20) == [True, False, True, False]


async def test_a_unit_deadline_fails_otherwise(app_of: Apps, jump: Callable[[int], None]) -> None:
    """Without a tolerance or a fallback, an unanswered item fails the unit at its deadline."""
    check = asking(timeout="2h", unit_timeout="1h")
    checked = Pipeline("check-rows", int).then(rows).wait(check)
    async with app_of(checked).running() as app:
        execution = await app.submit(checked, 2)
        await execution.parked(check, timeout=10)
        jump(HOUR + 1)

        with pytest.raises(ExecutionFailed, match="were not answered in time") as failure:
            await execution.result(timeout=20)

        assert failure.value.code == "await-timed-out"
        [unit] = await app.service.units("default", execution.execution_id)
        assert unit.status.name == "TIMED_OUT"


async def test_a_unit_deadline_stops_a_source(app_of: Apps, gate: Gate) -> None:
    """A source that is still read at the unit's deadline is given up, whatever may be missing."""

    def endless(count: int) -> Iterator[Row]:
        for number in range(count):
            yield Row(number=number)
        gate.wait()

    check = asking(items=Collect(tolerate="100%"), unit_timeout="300ms")
    checked = Pipeline("check-rows", int).then(endless).wait(check).then(said).then(lines)
    async with app_of(checked, page_items=1).running() as app:
        execution = await app.submit(checked, 2)

        with pytest.raises(ExecutionFailed, match="still being read") as failure:
            await execution.result(timeout=20)

        assert failure.value.code == "await-timed-out"
        gate.open()


@pytest.mark.parametrize("end", ["cancel", "failure"])
async def test_the_end_of_a_large_unit_binds_at_once(app_of: Apps, end: str) -> None:
    """Nothing of an ended unit is listed or admitted, before its items are closed as after."""
    check = asking()
    checked = Pipeline("check-rows", int).then(rows).wait(check)
    # Nobody sweeps here until a worker runs: what is seen is the unit's end alone.
    async with app_of(checked, sweep_interval_ms=600_000).running() as app:
        execution = await app.submit(checked, 1_200)
        questions = await execution.parked(check, timeout=20)
        if end == "cancel":
            await execution.cancel("not wanted")
        else:
            await app.fail(questions[7], "unreadable")

        with pytest.raises(ExecutionCancelled if end == "cancel" else ExecutionFailed):
            await execution.result(timeout=10)
        shown = await app.service.interaction("default", questions[0].interaction_id)
        [unit] = await app.service.units("default", execution.execution_id)
        assert shown is not None
        assert shown.status.name == "CANCELLED"
        assert unit.settled == (0 if end == "cancel" else 1)
        assert await app.pending(check) == []
        with pytest.raises(CompletionLate):
            await app.complete(questions[0], Verdict(ok=True))


async def test_an_ended_unit_is_closed_behind(app_of: Apps) -> None:
    """The items of an ended unit are closed in batches until none is left open."""
    check = asking()
    checked = Pipeline("check-rows", int).then(rows).wait(check)
    async with app_of(checked, batch_rows=100).running() as app:
        execution = await app.submit(checked, 1_200)
        [first, *_] = await execution.parked(check, timeout=20)
        await app.complete(first, Verdict(ok=True))
        await execution.cancel()
        await until_status(execution, "CANCELLED")

        async def closed() -> bool:
            [unit] = await app.service.units("default", execution.execution_id)
            return unit.settled == 1_200

        await eventually(closed)
        unit_id = first.interaction_id.rpartition("_")[0]
        last = await app.service.interaction("default", f"{unit_id}_1199")
        assert last is not None
        assert last.status.name == "CANCELLED"
