"""Leases, take-overs and stops; several apps over one store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from bide import (
    App,
    Await,
    Context,
    ExecutionCancelled,
    ExecutionFailed,
    Inbox,
    Pipeline,
)
from bide.spi.store import LeaseKey
from tests.integration.support import (
    PATIENCE_S,
    Gate,
    answer_all,
    eventually,
    quick,
    until_status,
)

#: Longer than any test: leases are not renewed.
NEVER_MS = 3_600_000

ask = Await("Ask", int, int, via=Inbox(), timeout="1h")


def app_on(shared: str, *pipelines: Any, **settings: Any) -> App:
    return App(*pipelines, store=shared, settings=quick(**settings))


async def told(app: App, execution_id: str) -> list[str]:
    return [each.what for each in await app.service.timeline("default", execution_id)]


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
async def test_a_lost_lease_is_taken_over_and_the_zombie_refused(
    shared: str, gate: Gate, kind: str
) -> None:
    """Another worker takes over with the next attempt; what the first one does late is nothing."""
    attempts: list[int] = []
    finished: list[int] = []

    def plain(number: int, context: Context) -> int:
        attempts.append(context.attempt)
        attempt = len(attempts)
        if attempt == 1:
            gate.wait()
        finished.append(attempt)
        return number * 10 + attempt

    async def asynchronous(number: int, context: Context) -> int:
        attempts.append(context.attempt)
        attempt = len(attempts)
        if attempt == 1:
            await gate.pause()
        finished.append(attempt)
        return number * 10 + attempt

    chosen: Any = plain if kind == "plain" else asynchronous
    pipeline: Any = Pipeline("zombie", int).then(chosen)
    first = app_on(shared, pipeline, lease_ms=200, lease_renew_ms=NEVER_MS)
    await first.start(concurrency=1)
    try:
        execution = await first.submit(pipeline, 1)
        await eventually(lambda: attempts)
        async with app_on(shared, pipeline).running() as second:
            seen = second.execution(pipeline, execution.execution_id)
            assert await seen.result(timeout=20) == 12
            gate.open()
            await eventually(lambda: len(finished) == 2)
            # Its move has been refused once it takes something else.
            other = await first.submit(pipeline, 2)
            assert await other.result(timeout=20) == 23

            assert attempts[:2] == [1, 2]
            assert await execution.result(timeout=10) == 12
            facts = await told(second, execution.execution_id)
            assert facts.count("taken over after a lost lease") == 1
            assert facts.count("succeeded") == 1
    finally:
        await first.stop()


async def test_a_zombie_that_reads_a_source_stores_nothing(shared: str, gate: Gate) -> None:
    """Two workers read the same source, one too late: items are stored once."""
    runs: list[int] = []

    async def source(number: int) -> AsyncIterator[int]:
        runs.append(number)
        zombie = len(runs) == 1
        for item in range(number):
            if zombie and item == 10:
                await gate.pause()
            yield item

    pipeline: Any = Pipeline("zombie-source", int).then(source).wait(ask)
    first = app_on(shared, pipeline, lease_ms=200, lease_renew_ms=NEVER_MS, page_items=5)
    await first.start(concurrency=1)
    try:
        execution = await first.submit(pipeline, 23)
        await eventually(lambda: runs)
        async with app_on(shared, pipeline, page_items=5).running() as second:
            seen = second.execution(pipeline, execution.execution_id)
            assert len(await seen.parked(ask, timeout=20)) == 23
            gate.open()
            assert await answer_all(second, ask, lambda number: number) == 23

            assert await seen.result(timeout=20) == list(range(23))
            assert len(runs) == 2
    finally:
        await first.stop()


async def test_take_overs_are_bounded(shared: str, gate: Gate) -> None:
    """An execution that costs worker after worker its lease ends in the DLQ."""

    def poisonous(number: int) -> int:
        gate.wait()
        return number

    pipeline = Pipeline("poisonous", int).then(poisonous)
    settings = {"lease_ms": 100, "lease_renew_ms": NEVER_MS, "lease_takeovers_max": 2}
    async with app_on(shared, pipeline, **settings).running() as app:
        execution = await app.submit(pipeline, 1)
        with pytest.raises(ExecutionFailed, match="lost their lease") as caught:
            await execution.result(timeout=25)

        assert caught.value.code == "worker-lost"
        assert (await execution.status()).status.name == "DLQ"
        facts = await told(app, execution.execution_id)
        assert facts.count("taken over after a lost lease") == 2
        assert gate.arrived == 3
        gate.open()


async def test_leases_are_renewed(shared: str, gate: Gate) -> None:
    """A step that runs for many leases keeps its execution, while another worker looks for one."""

    def slow(number: int) -> int:
        gate.wait()
        return number

    pipeline = Pipeline("slow", int).then(slow)
    first = app_on(shared, pipeline, lease_ms=2_000, lease_renew_ms=20)
    async with first.running(), app_on(shared, pipeline).running() as second:
        execution = await first.submit(pipeline, 1)
        await eventually(lambda: gate.arrived)
        before = await _lease_end(second, execution.execution_id)
        await eventually(lambda: _later(second, execution.execution_id, before + 2_500))
        gate.open()

        assert await execution.result(timeout=10) == 1
        assert gate.arrived == 1


async def test_a_renewal_that_came_too_late_stops_nobody(shared: str, gate: Gate) -> None:
    """A refusal of an old claim does not cut off what goes on here under a newer one."""
    first, later = gate, Gate()

    async def before(number: int) -> int:
        await first.pause()
        return number

    async def after(number: int) -> int:
        await later.pause()
        return number

    pipeline = Pipeline("twice", int).then(before).wait(ask).then(after)
    app = app_on(shared, pipeline, lease_ms=60_000, lease_renew_ms=20)
    async with app.running():
        renew = app._open.store.renew
        asked: list[Any] = []
        refused = asyncio.Event()

        async def slow_renew(leases: Sequence[LeaseKey], lease_ms: int) -> list[bool]:
            asked.append(leases)
            await eventually(lambda: later.arrived)
            kept = await renew(leases, lease_ms)
            if not all(kept):
                refused.set()
            return kept

        app._open.store.renew = slow_renew  # type: ignore[method-assign]  # a store that is slow
        execution = await app.submit(pipeline, 1)
        await eventually(lambda: first.arrived and asked)
        first.open()
        [question] = await execution.parked(ask, timeout=10)
        await app.complete(question, 2)
        await asyncio.wait_for(refused.wait(), PATIENCE_S)
        later.open()

        assert await execution.result(timeout=10) == 2


async def _lease_end(app: App, execution_id: str) -> int:
    view = await app.service.execution("default", execution_id)
    assert view is not None
    return view.next_due_at_ms or 0


async def _later(app: App, execution_id: str, than: int) -> bool:
    return await _lease_end(app, execution_id) > than


# --- stopping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
async def test_a_stop_gives_back_what_does_not_finish(shared: str, gate: Gate, kind: str) -> None:
    """Past its patience a stop gives executions back at once, and the attempt does not count."""
    attempts: list[int] = []
    cleaned: list[str] = []

    def plain(number: int, context: Context) -> int:
        attempts.append(context.attempt)
        if len(attempts) == 1:
            gate.wait()
        return number

    async def asynchronous(number: int, context: Context) -> int:
        attempts.append(context.attempt)
        if len(attempts) == 1:
            try:
                await gate.pause()
            finally:
                cleaned.append("yes")
        return number

    chosen: Any = plain if kind == "plain" else asynchronous
    pipeline: Any = Pipeline("given-back", int).then(chosen)
    async with app_on(shared, pipeline, stop_timeout_ms=50).running() as app:
        execution = await app.submit(pipeline, 7)
        await eventually(lambda: attempts)
    assert cleaned == (["yes"] if kind == "asynchronous" else [])
    async with app_on(shared, pipeline).running() as app:
        again = app.execution(pipeline, execution.execution_id)
        # Not after the lease has run out, which would be a take-over.
        assert await again.result(timeout=20) == 7
        assert attempts == [1, 1]
        facts = await told(app, execution.execution_id)
        assert "given back" in facts
        assert "taken over after a lost lease" not in facts


async def test_a_stop_lets_running_segments_finish(shared: str, gate: Gate) -> None:
    """What runs when a stop begins is finished and committed before it ends."""

    async def slow(number: int) -> int:
        await gate.pause()
        return number

    pipeline = Pipeline("finishing", int).then(slow)
    app = app_on(shared, pipeline)
    await app.start()
    executions = [await app.submit(pipeline, number) for number in range(20)]
    await eventually(lambda: gate.arrived == 20)
    stopping = asyncio.ensure_future(app.stop())
    await asyncio.sleep(0)
    gate.open()
    await stopping
    async with app_on(shared, pipeline).running(workers=False) as reader:
        seen = [reader.execution(pipeline, each.execution_id) for each in executions]
        assert [await each.result(timeout=10) for each in seen] == list(range(20))


async def test_stops_at_any_moment_leave_no_claim_behind(shared: str) -> None:
    """Whenever a worker stops, nothing of it is RUNNING; the next one goes on where it stood."""

    def double(number: int) -> int:
        return number * 2

    async def later(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    pipeline = Pipeline("stopping", int).then(double).wait(ask).then(later)
    async with app_on(shared, pipeline).running(workers=False) as edge:
        executions = [await edge.submit(pipeline, number) for number in range(200)]
        for pause in range(12):
            worker = app_on(shared, pipeline)
            await worker.start(concurrency=20)
            for _ in range(pause * 4):
                await asyncio.sleep(0.001)
                questions = await edge.pending(ask, limit=5)
                await edge.complete_many((each, each.request) for each in questions)
            await worker.stop()
            counts = await edge.status()
            assert {status.name for status in counts} <= {
                "QUEUED", "WAITING_EXTERNAL", "SUCCEEDED",
            }  # fmt: skip
        async with app_on(shared, pipeline).running():

            async def done() -> bool:
                await answer_all(edge, ask, lambda number: number)
                return {status.name for status in await edge.status()} == {"SUCCEEDED"}

            await eventually(done)
        results = [await each.result(timeout=10) for each in executions]
        assert results == [number * 2 + 1 for number in range(200)]
        facts = [await told(edge, each.execution_id) for each in executions]
        assert all(each.count("parked") == each.count("resumed") == 1 for each in facts)
        assert not any("taken over after a lost lease" in each for each in facts)


# --- two apps -----------------------------------------------------------------------------------


async def test_one_app_submits_and_another_runs(shared: str) -> None:
    """What one process commits, the other sees: parks, answers, ends."""

    def double(number: int) -> int:
        return number * 2

    pipeline = Pipeline("shared", int).then(double).wait(ask)
    edge = app_on(shared, pipeline)
    async with edge.running(workers=False), app_on(shared, pipeline).running():
        executions = [await edge.submit(pipeline, number) for number in range(30)]
        for execution in executions:
            [question] = await execution.parked(ask, timeout=20)
            await edge.complete(question, question.request + 1)
        results = [await each.result(timeout=20) for each in executions]

        assert results == [number * 2 + 1 for number in range(30)]
        check = next(each for each in await edge.service.checks() if each.name == "worker")
        assert "no steps" in check.message


async def test_what_moved_on_elsewhere_is_not_shown_as_it_was(shared: str) -> None:
    """A process that saw an execution park learns that another one answered or cancelled it."""
    pipeline = Pipeline("elsewhere", int).wait(ask)
    async with app_on(shared, pipeline).running() as one, app_on(shared, pipeline).running() as two:
        answered, cancelled = await one.submit(pipeline, 1), await one.submit(pipeline, 2)
        [question] = await answered.parked(ask, timeout=10)
        assert await cancelled.parked(ask, timeout=10)
        await two.complete(question, 5)
        await two.execution(pipeline, cancelled.execution_id).cancel("no")
        assert await two.execution(pipeline, answered.execution_id).result(timeout=10) == 5

        assert await answered.parked(ask, timeout=10) == []
        with pytest.raises(ExecutionCancelled):
            await cancelled.parked(ask, timeout=10)
        for execution in (answered, cancelled):
            view = await one.service.wait("default", execution.execution_id, 10, parked=True)
            assert view is not None
            assert view.status.is_terminal


async def test_workers_share_the_work(shared: str) -> None:
    """Each execution is run by one of the workers, once."""
    ran: list[int] = []

    async def note(number: int) -> int:
        await asyncio.sleep(0.001)
        ran.append(number)
        return number

    pipeline = Pipeline("sharing", int).then(note)
    edge = app_on(shared, pipeline)
    one, two = app_on(shared, pipeline), app_on(shared, pipeline)
    async with edge.running(workers=False):
        executions = [await edge.submit(pipeline, number) for number in range(300)]
        async with one.running(), two.running():
            await asyncio.gather(*(each.result(timeout=25) for each in executions))

        assert sorted(ran) == list(range(300))


async def test_a_worker_leaves_what_it_does_not_know(shared: str) -> None:
    """A worker claims only pipelines of its app, and of those only the ones it was started for."""

    def same(number: int) -> int:
        return number

    mine, other = Pipeline("mine", int).then(same), Pipeline("others", int).then(same)
    edge = app_on(shared, mine, other)
    async with edge.running(workers=False):
        left = await edge.submit(other, 1)
        taken = await edge.submit(mine, 2)
        async with app_on(shared, mine).running():
            assert await taken.result(timeout=20) == 2
        choosy = app_on(shared, mine, other)
        await choosy.start(pipelines=["mine"])
        assert await (await edge.submit(mine, 3)).result(timeout=20) == 3
        await choosy.stop()
        assert (await left.status()).status.name == "QUEUED"
        async with app_on(shared, other).running():
            await until_status(left, "SUCCEEDED")
