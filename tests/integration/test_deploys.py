"""Deploys: workers of several versions on one store, what they claim, and what is held."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, model_validator

from bide import App, Await, Context, Execution, Inbox, NotReleasable, Pipeline
from bide.errors import CompletionRejected
from bide.runtime.views import ExecutionView
from bide.settings import Settings
from tests.integration.support import eventually, quick


def fast(**changes: Any) -> Settings:
    """Workers say often that they are there, and are soon missed."""
    return quick(**({"lease_ms": 1_500, "lease_renew_ms": 50} | changes))


class Order(BaseModel):
    id: int


class Verdict(BaseModel):
    ok: bool


class LongerVerdict(BaseModel):
    ok: bool
    note: str = ""


class StricterVerdict(BaseModel):
    ok: bool
    signed_by: str


class Done(BaseModel):
    text: str


def pipeline(verdict: Any, version: str, *, step: str = "Decide", **options: Any) -> Any:
    """The pipeline `orders` as some version has it: its await, and the pipeline."""
    decide: Any = Await(step, Order, verdict, via=Inbox(), timeout="1d")

    def close(answer: Any) -> Done:
        return Done(text=f"{version}: {answer.ok}")

    close.__annotations__["answer"] = verdict
    return decide, Pipeline("orders", Order, **options).wait(decide).then(close)


def app_on(store: str, *pipelines: Any, **options: Any) -> App:
    return App(*pipelines, store=store, settings=fast(), **options)


async def park(app: App, pipeline: Any, decide: Any, count: int) -> list[Execution[Any]]:
    started = [await app.submit(pipeline, Order(id=number)) for number in range(count)]
    for execution in started:
        await execution.parked(decide, timeout=30)
    return started


async def view_of(app: App, execution: Execution[Any]) -> ExecutionView:
    found = await app.service.execution("default", execution.execution_id)
    assert found is not None
    return found


async def held(app: App) -> set[str]:
    return {view.execution_id for view in await app.service.executions("default", held=True)}


async def test_what_fits_goes_on_in_the_next_version(shared: str) -> None:
    """Executions parked by one version are answered and finished by the next one."""
    old_decide, old = pipeline(Verdict, "v1")
    new_decide, new = pipeline(LongerVerdict, "v2")
    async with app_on(shared, old).running() as app:
        [parked] = await park(app, old, old_decide, 1)

    async with app_on(shared, new).running() as app:
        execution = app.execution(new, parked.execution_id)
        [question] = await execution.parked(new_decide, timeout=30)
        await app.complete(question, LongerVerdict(ok=True, note="late"))

        assert (await execution.result(timeout=30)).text == "v2: True"


async def test_a_rolling_deploy(shared: str) -> None:
    """Two versions side by side: what fits either goes on, what does not is held and not lost."""
    v1_decide, v1 = pipeline(Verdict, "v1")
    v2_decide, v2 = pipeline(StricterVerdict, "v2")
    old_app, new_app = app_on(shared, v1), app_on(shared, v2)
    async with old_app.running():
        old = await park(old_app, v1, v1_decide, 6)
        async with new_app.running():
            new = await park(new_app, v2, v2_decide, 6)
            for execution in old[:2]:
                [question] = await execution.parked(v1_decide, timeout=30)
                await old_app.complete(question, Verdict(ok=True))
            ran = [await each.result(timeout=30) for each in old[:2]]
            # Refused here, since nobody could say who has signed: the question stays open.
            with pytest.raises(CompletionRejected):
                unit = f"{old[2].execution_id}_1_0"
                await new_app.complete(unit, {"ok": True, "signed_by": "ada"})
        assert [each.text.endswith("True") for each in ran] == [True, True]
        # The first version can read what the second one's answers hold, so it takes its own.
        await old_app.complete(f"{new[5].execution_id}_1_0", {"ok": True})
        done = await old_app.execution(v1, new[5].execution_id).result(timeout=30)
        assert done.text == "v1: True"
    async with app_on(shared, v1).running(workers=False) as door:
        for execution in old[2:4]:
            await door.complete(f"{execution.execution_id}_1_0", {"ok": False})

    async with new_app.running():
        for execution in new[:3]:
            [question] = await new_app.execution(v2, execution.execution_id).parked(
                v2_decide, timeout=30
            )
            await new_app.complete(question, StricterVerdict(ok=True, signed_by="ada"))
            done = await new_app.execution(v2, execution.execution_id).result(timeout=30)
            assert done.text == "v2: True"
        stuck = {execution.execution_id for execution in old[2:4]}
        assert await eventually(lambda: _is(held(new_app), stuck))
        before = [await view_of(new_app, each) for each in old[2:4]]
        await asyncio.sleep(0.3)
        after = [await view_of(new_app, each) for each in old[2:4]]
        assert [each.version for each in before] == [each.version for each in after]
        assert all("signed_by" in (each.held or "") for each in after)
        assert not await new_app.service.dead_letters("default")

    async with app_on(shared, v2, retired=[v1]).running() as app:
        for execution in old[2:4]:
            again = app.execution(v1, execution.execution_id)
            assert (await again.result(timeout=30)).text == "v1: False"
        assert await held(app) == set()
        for execution in old[4:]:
            await app.complete(f"{execution.execution_id}_1_0", {"ok": True})
            assert (await app.execution(v1, execution.execution_id).result(timeout=30)).text == (
                "v1: True"
            )
        for execution in new[3:5]:
            await app.complete(f"{execution.execution_id}_1_0", {"ok": True, "signed_by": "bo"})
            assert (await app.execution(v2, execution.execution_id).result(timeout=30)).text == (
                "v2: True"
            )
        assert not await app.service.dead_letters("default")


async def _is(found: Any, wanted: Any) -> bool:
    return await found == wanted


async def test_a_renamed_await_is_found(shared: str) -> None:
    """`renamed=` leads what was parked at the old id to the new one, in lists as well."""
    old_decide, old = pipeline(Verdict, "v1", step="Decide")
    async with app_on(shared, old).running() as app:
        [parked] = await park(app, old, old_decide, 1)

    decide, new = pipeline(Verdict, "v2", step="Judge", renamed={"decide": "judge"})
    async with app_on(shared, new).running() as app:
        [question] = await app.pending(decide)
        assert question.execution_id == parked.execution_id
        assert [each.interaction_id for each in await app.pending("Judge")] == [
            question.interaction_id
        ]
        await app.complete(question, Verdict(ok=True))
        execution = app.execution(new, parked.execution_id)
        assert (await execution.result(timeout=30)).text == "v2: True"


async def test_an_await_that_is_gone_holds_what_waits_there(shared: str) -> None:
    """Without `renamed=` nothing is guessed: neither answers nor claims are taken."""
    old_decide, old = pipeline(Verdict, "v1")
    async with app_on(shared, old).running() as app:
        [parked] = await park(app, old, old_decide, 1)

    _, new = pipeline(Verdict, "v2", step="Judge")
    async with app_on(shared, new).running() as app:
        assert await app.pending() == []
        with pytest.raises(CompletionRejected, match="does not know"):
            await app.complete(f"{parked.execution_id}_1_0", {"ok": True})
        [check] = [each for each in await app.service.examine() if each.name == "deploy"]
        assert not check.ok
        assert check.warning
        assert "1 parked at 'decide'" in check.message
        assert "no await 'decide' any more" in check.message


class Positive(BaseModel):
    ok: bool

    @model_validator(mode="after")
    def is_ok(self) -> "Positive":
        if not self.ok:
            raise ValueError("only good news")
        return self


async def test_stored_bytes_have_the_last_word(shared: str) -> None:
    """What does not validate is given back uncounted and its fingerprint dropped: no circles."""
    old_decide, old = pipeline(LongerVerdict, "v1")
    async with app_on(shared, old).running() as app:
        [bad] = await park(app, old, old_decide, 1)
    async with app_on(shared, old).running(workers=False) as app:
        await app.complete(f"{bad.execution_id}_1_0", {"ok": False})

    _, new = pipeline(Positive, "v2")
    async with app_on(shared, new).running() as app:
        view = await eventually(lambda: _held_view(app, bad))
        assert view.status.name == "QUEUED"
        assert view.attempt == 0
        await asyncio.sleep(0.3)
        assert (await view_of(app, bad)).version == view.version
        with pytest.raises(NotReleasable, match="only good news"):
            await app.release(bad, (await fingerprint(app, "decide")))

    async with app_on(shared, old).running() as app:
        assert (await app.execution(old, bad.execution_id).result(timeout=30)).text == "v1: False"


async def _held_view(app: App, execution: Execution[Any]) -> ExecutionView | None:
    view = await view_of(app, execution)
    return view if view.held else None


async def fingerprint(app: App, step_id: str) -> str:
    [pipeline] = await app.service.pipeline_views()
    return pipeline.fingerprints[step_id]


async def test_release_lets_it_go_on_as_another_boundary(shared: str) -> None:
    """Released as a boundary that its answer validates at, a held execution finishes there."""
    old_decide, old = pipeline(Verdict, "v1")
    async with app_on(shared, old).running() as app:
        answered, waiting = await park(app, old, old_decide, 2)
    async with app_on(shared, old).running(workers=False) as app:
        await app.complete(f"{answered.execution_id}_1_0", {"ok": True})

    _, new = pipeline(Verdict, "v2", step="Judge")
    async with app_on(shared, new).running() as app:
        judge = await fingerprint(app, "judge")
        with pytest.raises(NotReleasable, match="not an answer"):
            await app.release(answered, await fingerprint(app, ""))
        with pytest.raises(NotReleasable, match="no boundary"):
            await app.release(answered, "0000")
        await eventually(lambda: _held_view(app, answered))

        await app.release(answered, judge, by="ada")
        await app.release(waiting, judge)

        first = app.execution(new, answered.execution_id)
        assert (await first.result(timeout=30)).text == "v2: True"
        await app.complete(f"{waiting.execution_id}_1_0", {"ok": False})
        second = app.execution(new, waiting.execution_id)
        assert (await second.result(timeout=30)).text == "v2: False"
        facts = await app.service.timeline("default", answered.execution_id)
        assert [each.detail for each in facts if each.what == "released"] == [f"as {judge} by ada"]


async def test_no_worker_no_claim(shared: str) -> None:
    """What is due is held while no worker runs, and says so; a stopped worker counts no more."""
    _, orders = pipeline(Verdict, "v1")
    async with app_on(shared, orders).running():
        pass
    async with app_on(shared, orders).running(workers=False) as app:
        execution = await app.submit(orders, Order(id=1))

        assert (await view_of(app, execution)).held == "no worker is running"
        assert await held(app) == {execution.execution_id}


async def test_a_paused_pipeline_waits(shared: str) -> None:
    """Its claims and hand-overs stop in every process; submissions and answers are taken in."""
    decide, orders = pipeline(Verdict, "v1")

    def double(number: int) -> int:
        return 2 * number

    doubles = Pipeline("doubles", int).then(double)
    worker, door = app_on(shared, orders, doubles), app_on(shared, orders, doubles)
    async with worker.running(), door.running(workers=False):
        [parked] = await park(worker, orders, decide, 1)
        await door.pause(orders)
        await eventually(lambda: not _claims(worker) & _of(worker, "orders"))

        fresh = await worker.submit(orders, Order(id=2))
        await worker.complete(f"{parked.execution_id}_1_0", {"ok": True})

        assert await (await worker.submit(doubles, 21)).result(timeout=30) == 42
        assert (await fresh.status()).status.name == "QUEUED"
        assert (await parked.status()).status.name == "QUEUED"
        assert (await parked.status()).held == "pipeline 'orders' is paused"
        assert await held(door) == {fresh.execution_id, parked.execution_id}
        assert [each.pipeline for each in await door.service.pipeline_views() if each.paused] == [
            "orders"
        ]
        assert "paused" in {each.name for each in await door.service.examine()}

        await door.resume(orders)

        assert (await parked.result(timeout=30)).text == "v1: True"
        await fresh.parked(decide, timeout=30)


def _claims(app: App) -> frozenset[str]:
    return app._open.deploys.claims


def _of(app: App, pipeline: str) -> frozenset[str]:
    return app._open.plans.of_pipelines([pipeline])


async def test_a_retired_version_of_the_same_name_takes_nothing_new(shared: str) -> None:
    """With the same input, what is submitted goes through the current version's code."""

    def old(order: Order) -> Done:
        return Done(text="old")

    def new(order: Order) -> Done:
        return Done(text="new")

    v1, v2 = Pipeline("orders", Order).then(old), Pipeline("orders", Order).then(new)
    async with app_on(shared, v2, retired=[v1]).running() as app:
        assert (await (await app.submit(v2, Order(id=1))).result(timeout=30)).text == "new"


async def test_steps_put_in_before_an_await_do_not_hide_it(shared: str) -> None:
    """Everything before the boundary may change: its position says nothing."""
    decide: Any = Await("Decide", Order, Verdict, via=Inbox(), timeout="1d")

    def close(verdict: Verdict, ctx: Context) -> Done:
        return Done(text=f"{verdict.ok}")

    def check(order: Order) -> Order:
        return order

    v1 = Pipeline("orders", Order).wait(decide).then(close)
    async with app_on(shared, v1).running() as app:
        [parked] = await park(app, v1, decide, 1)
    v2 = Pipeline("orders", Order).then(check).wait(decide).then(close)
    async with app_on(shared, v2).running() as app:
        execution = app.execution(v2, parked.execution_id)
        [question] = await execution.parked(decide, timeout=30)
        await app.complete(question, Verdict(ok=True))
        assert (await execution.result(timeout=30)).text == "True"


def test_the_blocking_verbs(shared: str) -> None:
    """What people do about deploys and questions is there for code that is not async, too."""
    decide, orders = pipeline(Verdict, "v1")
    with app_on(shared, orders).blocking() as app:
        execution = app.submit(orders, Order(id=1))
        [question] = execution.parked(decide, timeout=30)
        app.claim(question, by="ada")
        app.unclaim(question, by="ada")
        app.assign(question, "bo")
        assert [each.interaction_id for each in app.pending(assignee="bo")] == [
            question.interaction_id
        ]
        app.pause(orders)
        app.complete(question, Verdict(ok=True))
        assert execution.status().held == "pipeline 'orders' is paused"
        released = app.release(execution, execution.status().fingerprint)
        assert released.status.name == "QUEUED"
        app.resume(orders)
        assert execution.result(timeout=30).text == "v1: True"
