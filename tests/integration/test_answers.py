"""Submitting and answering: keys, receipts, deadlines, projections, cancellation."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from bide import (
    AlreadyEnded,
    Answer,
    App,
    Await,
    CompletionConflict,
    CompletionLate,
    CompletionRejected,
    DefinitionError,
    ExecutionCancelled,
    ExecutionFailed,
    Inbox,
    InvalidInput,
    LimitExceeded,
    Many,
    NotFinished,
    NotRunning,
    Pipeline,
    Retry,
    SubmitConflict,
    UnknownExecution,
    UnknownInteraction,
    UnknownPipeline,
    step,
)
from tests.integration.support import Gate, eventually, until_status

Apps = Callable[..., App]


class Verdict(BaseModel):
    approve: bool
    note: str = ""


ask = Await("Ask", str, Verdict, via=Inbox(group="desk"), timeout="1h")
asking = Pipeline("asking", str).wait(ask)


# --- submitting ---------------------------------------------------------------------------------


async def test_a_submit_key_names_one_execution(app_of: Apps) -> None:
    """The same key and input give the same execution; another input is a conflict."""
    async with app_of(asking).running() as app:
        first = await app.submit(asking, "a", idempotency_key="k")
        again = await app.submit(asking, "a", idempotency_key="k")
        elsewhere = await app.submit(asking, "b", idempotency_key="k", tenant="other")
        unnamed = await app.submit(asking, "a")

        assert (first.duplicate, again.duplicate) == (False, True)
        assert again.execution_id == first.execution_id
        assert len({first.execution_id, elsewhere.execution_id, unnamed.execution_id}) == 3
        with pytest.raises(SubmitConflict, match=first.execution_id):
            await app.submit(asking, "b", idempotency_key="k")


async def test_submit_keys_hold_among_concurrent_submits(app_of: Apps) -> None:
    """Of many at once under one key exactly one is new, and other inputs are conflicts."""
    async with app_of(asking).running() as app:
        same = [app.submit(asking, "a", idempotency_key="k") for _ in range(50)]
        made = await asyncio.gather(*same)
        assert len({each.execution_id for each in made}) == 1
        assert sum(not each.duplicate for each in made) == 1

        mixed = [app.submit(asking, str(n % 2), idempotency_key="m") for n in range(50)]
        outcomes = await asyncio.gather(*mixed, return_exceptions=True)
        conflicts = [each for each in outcomes if isinstance(each, SubmitConflict)]
        assert len(conflicts) == 25
        assert sum((await app.status()).values()) == 2


async def test_a_thousand_concurrent_submits(app_of: Apps) -> None:
    """All are stored, parked and answered once, past the bound of pending moves too."""
    async with app_of(asking, pending_rows=50, batch_rows=20).running() as app:
        texts = [str(number) for number in range(1_000)]
        executions = await asyncio.gather(*(app.submit(asking, text) for text in texts))
        found = await asyncio.gather(*(each.parked(ask, timeout=30) for each in executions))
        assert [question.request for [question] in found] == texts
        await asyncio.gather(
            *(
                app.complete(question, Verdict(approve=True, note=question.request))
                for [question] in found
            )
        )
        results = await asyncio.gather(*(each.result(timeout=30) for each in executions))
        assert [each.note for each in results] == texts


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, 7),
        ({}, "half \ud800"),
        ({"idempotency_key": " "}, "a"),
        ({"idempotency_key": "k" * 256}, "a"),
        ({"idempotency_key": "a\0b"}, "a"),
        ({"tenant": ""}, "a"),
    ],
)
async def test_bad_submissions_are_refused(
    app_of: Apps, options: dict[str, Any], value: Any
) -> None:
    """A value or a key that cannot be kept is invalid input, and nothing is stored."""
    async with app_of(asking).running() as app:
        with pytest.raises(InvalidInput):
            await app.submit(asking, value, **options)
        assert sum((await app.status()).values()) == 0


async def test_unknown_names_and_ids(app_of: Apps) -> None:
    """What does not exist, is another tenant's, or is no part of the app gets an error at once."""
    other = Pipeline("other", str)
    unused = Await("Unused", str, str, via=Inbox(), timeout="1h")
    async with app_of(asking).running() as app:
        execution = await app.submit("asking", "a")
        foreign = app.execution(asking, execution.execution_id, tenant="foreign")
        absent = app.execution(asking, "01900000-0000-7000-8000-000000000000")
        garbled = app.execution(asking, "what?")
        for nobody in (foreign, absent, garbled):
            with pytest.raises(UnknownExecution):
                await nobody.status()
            with pytest.raises(UnknownExecution):
                await nobody.result(timeout=60)
            with pytest.raises(UnknownExecution):
                await nobody.parked(ask, timeout=60)
            with pytest.raises(UnknownExecution):
                await nobody.cancel()
        with pytest.raises(UnknownPipeline, match="asking"):
            await app.submit("nothing", "a")
        with pytest.raises(DefinitionError, match="other"):
            await app.submit(other, "a")
        with pytest.raises(DefinitionError, match="Unused"):
            await execution.parked(unused, timeout=1)
        with pytest.raises(TimeoutError):
            await execution.result(timeout=0.01)
        assert await app.execution(asking, execution.execution_id).parked(ask, timeout=10)


async def test_too_large_an_input_is_refused(app_of: Apps) -> None:
    """An input over the guard is refused with the setting's name."""
    async with app_of(asking, payload_max_bytes=100).running() as app:
        with pytest.raises(LimitExceeded, match="payload_max_bytes"):
            await app.submit(asking, "a" * 100)


async def test_verbs_need_an_open_app(app_of: Apps) -> None:
    """Before it is opened, and after it was closed, an app says how to open it."""
    app = app_of(asking)
    with pytest.raises(NotRunning, match="running"):
        await app.submit(asking, "a")
    async with app.running():
        waiting = asyncio.ensure_future((await app.submit(asking, "a")).result())
        await asyncio.sleep(0)
    with pytest.raises(NotRunning):
        await waiting
    with pytest.raises(NotRunning):
        await app.pending()
    await app.stop()


# --- answering ----------------------------------------------------------------------------------


async def test_receipts(app_of: Apps) -> None:
    """Applied, duplicate, conflict, late, unknown and rejected, each as `complete` shows it."""
    async with app_of(asking).running() as app:
        execution = await app.submit(asking, "a")
        [question] = await execution.parked(ask, timeout=10)
        yes, no = Verdict(approve=True), Verdict(approve=False)

        with pytest.raises(CompletionRejected) as rejected:
            await app.complete(question.interaction_id, {"approve": "perhaps"})
        assert rejected.value.receipt.outcome == "rejected"
        assert [error["path"] for error in rejected.value.errors] == ["/approve"]
        with pytest.raises(CompletionRejected):
            await app.complete(question, "yes")  # type: ignore[arg-type]  # that is the mistake
        with pytest.raises(CompletionRejected):
            await app.complete(question, yes, actor=" ")
        with pytest.raises(UnknownInteraction) as unknown:
            await app.complete(question, yes, tenant="other")
        assert unknown.value.receipt.outcome == "unknown"
        for absent in ("no id", f"{execution.execution_id}_9_0", f"{execution.execution_id}_1_5"):
            with pytest.raises(UnknownInteraction):
                await app.complete(absent, yes)
            with pytest.raises(UnknownInteraction):
                await app.fail(absent, "code")

        assert (await app.complete(question, yes, actor="ada")).outcome == "applied"
        assert (await app.complete(question, yes, actor="bob")).outcome == "duplicate"
        again = await app.complete(question.interaction_id, {"note": "", "approve": True})
        assert again.outcome == "duplicate"
        with pytest.raises(CompletionConflict) as conflict:
            await app.complete(question, no)
        assert conflict.value.receipt.outcome == "conflict"
        with pytest.raises(CompletionConflict):
            await app.fail(question, "declined")
        assert await execution.result(timeout=10) == yes
        assert (await app.complete(question, yes)).outcome == "duplicate"

        cancelled = await app.submit(asking, "b")
        [late] = await cancelled.parked(ask, timeout=10)
        await cancelled.cancel()
        with pytest.raises(CompletionLate) as caught:
            await app.complete(late, yes)
        assert caught.value.receipt.outcome == "late"


async def test_many_answers_get_a_receipt_each(app_of: Apps) -> None:
    """`complete_many` raises for none, keeps the order, and tells repeats within one batch."""
    async with app_of(asking).running() as app:
        executions = [await app.submit(asking, str(number)) for number in range(3)]
        found = [(await each.parked(ask, timeout=10))[0] for each in executions]
        await executions[2].cancel()
        yes, no = Verdict(approve=True), Verdict(approve=False)
        receipts = await app.complete_many(
            [(found[0], yes), (found[0], yes), (found[0], no), (found[1], no), (found[2], yes)]
        )

        outcomes = [receipt.outcome for receipt in receipts]
        assert outcomes == ["applied", "duplicate", "conflict", "applied", "late"]
        assert [each.interaction_id for each in receipts][3:] == [
            found[1].interaction_id, found[2].interaction_id,
        ]  # fmt: skip
        assert await app.complete_many([]) == []


async def test_concurrent_answers_have_one_winner(app_of: Apps) -> None:
    """Of different answers at once exactly one is applied, and the result is that one."""
    async with app_of(asking).running() as app:
        execution = await app.submit(asking, "a")
        [question] = await execution.parked(ask, timeout=10)
        tries = [app.complete(question, Verdict(approve=True, note=str(n))) for n in range(40)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        [winner] = [n for n, each in enumerate(outcomes) if not isinstance(each, Exception)]

        assert sum(isinstance(each, CompletionConflict) for each in outcomes) == 39
        assert (await execution.result(timeout=10)).note == str(winner)


async def test_a_reported_failure_ends_the_execution(app_of: Apps) -> None:
    """`fail` ends it FAILED with the actor's code, and a repeat is a duplicate."""
    async with app_of(asking).running() as app:
        execution = await app.submit(asking, "a")
        [question] = await execution.parked(ask, timeout=10)
        assert (await app.fail(question, "closed", "on holiday")).outcome == "applied"
        assert (await app.fail(question, "closed", "on holiday")).outcome == "duplicate"
        with pytest.raises(ExecutionFailed, match="on holiday") as caught:
            await execution.result(timeout=10)

        assert (caught.value.code, caught.value.step_id) == ("closed", "ask")
        assert (await execution.status()).status.name == "FAILED"
        assert caught.value.dead_letter_id is not None
        with pytest.raises(CompletionConflict):
            await app.complete(question, Verdict(approve=True))


async def test_guards_on_answers(app_of: Apps) -> None:
    """An answer over a guard is rejected and the question stays open."""
    listing = Await("List", str, Many[int], via=Inbox(), timeout="1h")
    pipeline = Pipeline("listing", str).wait(listing)
    settings = {"payload_max_bytes": 60, "await_aggregate_max_output_items": 5}
    async with app_of(pipeline, **settings).running() as app:
        execution = await app.submit(pipeline, "a")
        [question] = await execution.parked(listing, timeout=10)
        with pytest.raises(CompletionRejected, match="await_aggregate_max_output_items"):
            await app.complete(question, list(range(6)))
        with pytest.raises(CompletionRejected, match="payload_max_bytes"):
            await app.complete(question, [10**15] * 5)
        await app.complete(question, [1, 2])
        assert await execution.result(timeout=10) == [1, 2]


async def test_filters_of_pending(app_of: Apps) -> None:
    """Open questions are listed by await, its name or id, group, assignee, tenant and number."""
    mine = Await("Mine", str, str, via=Inbox(assignee="ada"), timeout="30m")
    pipeline = Pipeline("mine", str).wait(mine)
    async with app_of(asking, pipeline).running() as app:
        for number in range(3):
            await (await app.submit(asking, str(number))).parked(ask, timeout=10)
        await (await app.submit(pipeline, "m")).parked(mine, timeout=10)

        assert [each.request for each in await app.pending()] == ["m", "0", "1", "2"]
        assert len(await app.pending("Ask")) == len(await app.pending("ask")) == 3
        assert len(await app.pending(ask, group="desk")) == 3
        assert await app.pending(ask, group="kitchen") == []
        assert [each.step_id for each in await app.pending(assignee="ada")] == ["mine"]
        assert len(await app.pending(ask, limit=2)) == 2
        assert await app.pending(ask, tenant="other") == []


# --- deadlines ----------------------------------------------------------------------------------


async def test_nobody_answers(app_of: Apps) -> None:
    """Past its deadline an interaction is TIMED_OUT and the execution FAILED; answers are late."""
    short = Await("Short", str, Verdict, via=Inbox(), timeout="30ms")
    pipeline = Pipeline("short", str).wait(short)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, "a")
        with pytest.raises(ExecutionFailed) as caught:
            await execution.result(timeout=20)

        assert (caught.value.code, caught.value.step_id) == ("await-timed-out", "short")
        assert (await execution.status()).status.name == "FAILED"
        id_ = f"{execution.execution_id}_1_0"
        interaction = await app.service.interaction("default", id_)
        assert interaction is not None
        assert interaction.status.name == "TIMED_OUT"
        [unit] = await app.service.units("default", execution.execution_id)
        assert unit.status.name == "TIMED_OUT"
        with pytest.raises(CompletionLate):
            await app.complete(id_, {"approve": True})


async def test_a_deadline_binds_before_anybody_sweeps(app_of: Apps) -> None:
    """An answer after the deadline is late, whether or not the sweeper has come by."""
    short = Await("Short", str, Verdict, via=Inbox(), timeout="30ms")
    pipeline = Pipeline("short", str).wait(short)
    async with app_of(pipeline, sweep_interval_ms=3_600_000).running() as app:
        execution = await app.submit(pipeline, "a")
        await until_status(execution, "WAITING_EXTERNAL")
        id_ = f"{execution.execution_id}_1_0"
        interaction = await app.service.interaction("default", id_)
        assert interaction is not None
        deadline = interaction.deadline_ms

        async def passed() -> bool:
            return await app._open.store.now() > deadline

        await eventually(passed)
        with pytest.raises(CompletionLate, match="deadline"):
            await app.complete(id_, {"approve": True})


@pytest.mark.parametrize("per_item", [False, True])
async def test_a_fallback_takes_the_place_of_an_answer(app_of: Apps, *, per_item: bool) -> None:
    """With `on_timeout` the execution goes on with the typed default; answers are late then."""
    calls: list[str] = []

    def unknown(text: str) -> Verdict:
        calls.append(text)
        return Verdict(approve=False, note=f"nobody saw {text}")

    short = Await("Short", str, Verdict, via=Inbox(), timeout="30ms", on_timeout=unknown)
    pipeline: Any = Pipeline("short", Many[str] if per_item else str).wait(short)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, ["a", "b"] if per_item else "a")
        result = await execution.result(timeout=20)

        if per_item:
            assert [each.note for each in result] == ["nobody saw a", "nobody saw b"]
        else:
            assert result == Verdict(approve=False, note="nobody saw a")
        assert calls == (["a", "b"] if per_item else ["a"])  # once, when it parked
        facts = await app.service.timeline("default", execution.execution_id)
        assert [each.what for each in facts][-2:] == ["resumed", "succeeded"]
        with pytest.raises(CompletionLate):
            await app.complete(f"{execution.execution_id}_1_0", {"approve": True})
        interaction = await app.service.interaction("default", f"{execution.execution_id}_1_0")
        assert interaction is not None
        assert interaction.status.name == "TIMED_OUT"


async def test_a_fallback_that_fails_ends_in_the_dead_letter_queue(app_of: Apps) -> None:
    """`on_timeout` is computed at the park: what is wrong with it shows there, by the await's id."""

    def broken(text: str) -> Verdict:
        raise KeyError(text)

    ill = Await("Ill", str, Verdict, via=Inbox(), timeout="1h", on_timeout=broken)
    pipeline = Pipeline("ill", str).wait(ill)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, "a")
        with pytest.raises(ExecutionFailed, match="KeyError") as caught:
            await execution.parked(ill, timeout=10)
        assert caught.value.step_id == "ill"


# --- projections --------------------------------------------------------------------------------


class Signed(BaseModel):
    text: str
    by: str


async def test_a_projection_makes_what_the_next_step_takes(app_of: Apps) -> None:
    """Request, answer and who answered make the output; one that fails leaves the question open."""

    def project(text: str, verdict: Verdict, answer: Answer) -> Signed:
        if verdict.note == "bad":
            raise ValueError("cannot sign that")
        assert answer.source == "person"
        return Signed(text=f"{text} {verdict.approve}", by=answer.actor)

    sign = Await("Sign", str, Verdict, project=project, via=Inbox(), timeout="1h")

    def shout(signed: Signed) -> str:
        return f"{signed.text} {signed.by}".upper()

    pipeline = Pipeline("signing", str).wait(sign).then(shout)
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, "a")
        [question] = await execution.parked(sign, timeout=10)
        with pytest.raises(CompletionRejected, match="cannot sign that") as caught:
            await app.complete(question, Verdict(approve=True, note="bad"))
        assert caught.value.receipt.outcome == "rejected"
        assert len(await execution.parked(sign, timeout=10)) == 1

        assert (
            await app.complete(question, Verdict(approve=True), actor="ada")
        ).outcome == "applied"
        # Equality is that of answers before their projection, whoever gave them.
        repeat = await app.complete(question, Verdict(approve=True), actor="bob")
        assert repeat.outcome == "duplicate"
        assert await execution.result(timeout=10) == "A TRUE ADA"


# --- cancelling ---------------------------------------------------------------------------------


async def test_cancel_wherever_it_stands(app_of: Apps, gate: Gate) -> None:
    """Queued, running, resting before a retry or parked, a cancel ends it, once."""

    @step(retry=Retry(5, first="1h", longest="1h"))
    def work(text: str) -> str:
        if text == "flaky":
            raise ValueError(text)
        if text == "slow":
            gate.wait()
        return text

    pipeline = Pipeline("cancelling", str).then(work).wait(ask)
    async with app_of(pipeline).running() as app:
        running = await app.submit(pipeline, "slow")
        await eventually(lambda: gate.arrived)
        resting = await app.submit(pipeline, "flaky")
        await until_status(resting, "WAIT_RETRY")
        parked = await app.submit(pipeline, "quick")
        [question] = await parked.parked(ask, timeout=10)
        for execution in (running, resting, parked):
            await execution.cancel("enough")
            with pytest.raises(ExecutionCancelled, match="enough") as caught:
                await execution.result(timeout=10)
            assert caught.value.reason == "enough"
            with pytest.raises(AlreadyEnded):
                await execution.cancel()
        gate.open()
        with pytest.raises(CompletionLate):
            await app.complete(question, Verdict(approve=True))
        assert await app.pending() == []
        assert await app.service.dead_letters("default") == []

    async with app_of(pipeline).running(workers=False) as app:
        queued = await app.submit(pipeline, "never")
        await queued.cancel()
        with pytest.raises(ExecutionCancelled):
            await queued.parked(ask, timeout=10)


async def test_results_before_the_end(app_of: Apps) -> None:
    """A streaming result cannot be read before the execution has succeeded."""
    pipeline = Pipeline("numbers", Many[int]).wait(
        Await("Number", int, int, via=Inbox(), timeout="1h")
    )
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, [1])
        await until_status(execution, "WAITING_EXTERNAL")
        with pytest.raises(NotFinished, match="WAITING_EXTERNAL"):
            [item async for item in execution.results()]
