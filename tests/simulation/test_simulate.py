"""A simulated app: the verbs of an app on a clock that only a test moves, and processes that die."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from bide import (
    App,
    Await,
    CompletionConflict,
    Context,
    ExecutionCancelled,
    ExecutionFailed,
    Inbox,
    Pipeline,
    Retry,
    Webhook,
    step,
)
from bide.spi.transport import Delivered, Delivery, Outgoing, Refused, Unclear
from bide.testing import simulate

ask = Await("Ask", str, str, via=Inbox(group="desk"), timeout="30m")
asking = Pipeline("asking", str).wait(ask)
app = App(asking)

ring = Await(
    "Ring", str, str,
    via=Webhook("https://partner.example/rings", retry=Retry(3, first="2s", longest="2s")),
    timeout="10m",
    on_timeout=lambda request: f"nobody answered {request}",
)  # fmt: skip
ringing = Pipeline("ringing", str).wait(ring)
caller = App(ringing)


async def test_a_verb_returns_when_nothing_is_due() -> None:
    """After a submission the question is there; after its answer the result is."""
    async with simulate(app) as sim:
        execution = await sim.submit(asking, "ready?", idempotency_key="one")
        [question] = await sim.pending(ask, group="desk")
        receipt = await sim.complete(question, "yes", actor="ada")

        assert receipt.outcome == "applied"
        assert (await execution.status()).status.name == "SUCCEEDED"
        assert await execution.result() == "yes"


async def test_a_second_and_different_answer_is_refused() -> None:
    """Receipts are those of an app: the same answer again is a duplicate, another a conflict."""
    async with simulate(app) as sim:
        await sim.submit(asking, "ready?")
        [question] = await sim.pending(ask)
        await sim.advance("29m")
        await sim.complete(question, "yes", actor="ada")

        assert (await sim.complete(question, "yes", actor="ada")).outcome == "duplicate"
        with pytest.raises(CompletionConflict):
            await sim.complete(question, "no", actor="bob")


async def test_time_moves_only_when_it_is_let() -> None:
    """The deadline comes after half an hour of the test's time, and not a moment before."""
    async with simulate(app) as sim:
        began = sim.now
        execution = await sim.submit(asking, "ready?")
        await sim.advance("30m")
        before = await execution.status()
        await sim.advance(timedelta(milliseconds=1))

        assert before.status.name == "WAITING_EXTERNAL"
        assert (await execution.status()).status.name == "FAILED"
        assert sim.now - began == timedelta(minutes=30, milliseconds=1)


async def test_what_falls_due_happens_in_order() -> None:
    """Retries, tries to send and deadlines come at their instants, the earliest first."""
    seen: list[tuple[str, float]] = []

    @step(retry=Retry(3, first="1m", longest="1m"))
    def flaky(value: str, ctx: Context) -> str:
        seen.append((value, (ctx.now() - began).total_seconds()))
        if ctx.attempt < 3:
            raise OSError("not yet")
        return value

    flow = Pipeline("flaky", str).then(flaky)
    async with simulate(App(flow, asking)) as sim:
        began = sim.now
        execution = await sim.submit(flow, "a")
        waiting = await sim.submit(asking, "ready?")
        await sim.advance("1d")

        assert await execution.result() == "a"
        assert [value for value, _ in seen] == ["a", "a", "a"]
        assert seen[0][1] == 0
        assert 30 <= seen[1][1] <= 60 < seen[2][1] <= 120
        with pytest.raises(ExecutionFailed, match="timed-out"):
            await waiting.result()


async def test_waiting_lets_time_pass_up_to_its_timeout() -> None:
    """A result that does not come costs its timeout; one that never could says so at once."""
    async with simulate(app) as sim:
        began = sim.now
        execution = await sim.submit(asking, "ready?")
        with pytest.raises(TimeoutError, match="is WAITING_EXTERNAL and nothing more is due"):
            await execution.result(timeout="5m")

        assert sim.now - began == timedelta(minutes=5)
        assert [each.request for each in await execution.parked(ask, timeout="1m")] == ["ready?"]
        with pytest.raises(ExecutionFailed, match="timed-out"):
            await execution.result()


async def test_what_was_committed_survives_a_crash() -> None:
    """The question is still there, and the answer is read by the next process."""
    async with simulate(app) as sim:
        execution = await sim.submit(asking, "ready?")
        [question] = await sim.pending(ask)
        await sim.crash()
        await sim.complete(question, "yes")
        await sim.crash()

        assert await execution.result() == "yes"


@pytest.mark.parametrize("when", ["before", "after", "late"])
@pytest.mark.parametrize("commit", ["submit", "park", "admit", "finish"])
async def test_a_crash_at_any_commit_is_outlived(commit: str, when: Any) -> None:
    """Whoever was asking asks again, and it ends as without a crash, with one execution."""
    ran: list[str] = []

    def tell(answer: str) -> str:
        ran.append(answer)
        return answer.upper()

    flow = Pipeline("told", str).wait(ask).then(tell)
    async with simulate(App(flow)) as sim:
        sim.crash_at(commit, when)
        execution = await sim.submit(flow, "ready?", idempotency_key="one")
        [question] = await sim.pending(ask)
        await sim.complete(question, "yes")

        assert await execution.result() == "YES"
        assert sum((await sim.status()).values()) == 1
        again = commit == "finish" and when != "after"
        assert ran == ["yes"] * (2 if again else 1)
        names = [each.name for each in sim.commits]
        assert set(names) >= {"submit", "park", "admit", "finish"}
        assert [each.number for each in sim.commits] == list(range(1, len(names) + 1))


async def test_a_step_that_runs_again_has_its_first_key_and_time() -> None:
    """What a crash costs is not seen by steps: neither their key nor their clock."""
    seen: list[tuple[str, object]] = []

    def note(value: str, ctx: Context) -> str:
        seen.append((ctx.idempotency_key, ctx.now()))
        return value

    flow = Pipeline("noted", str).then(note)
    async with simulate(App(flow)) as sim:
        sim.crash_at("finish", "before")
        await sim.submit(flow, "a", idempotency_key="one")
        await sim.settle()

        assert len(seen) == 2
        assert seen[0] == seen[1]


async def test_a_stream_is_answered_in_any_order() -> None:
    """Items wait each for itself, a crash in between loses none, and the order is that of the items."""

    def split(text: str) -> Iterator[str]:
        yield from text.split()

    def join(texts: Iterator[str]) -> str:
        return " ".join(texts)

    flow = Pipeline("words", str).then(split).wait(ask).then(join)
    async with simulate(App(flow)) as sim:
        execution = await sim.submit(flow, "a b c d")
        first, *rest = reversed(await execution.parked(ask, timeout="1s"))
        await sim.complete(first, first.request.upper())
        await sim.crash()
        receipts = await sim.complete_many([(each, each.request.upper()) for each in rest])

        assert [each.outcome for each in receipts] == ["applied"] * 3
        assert await execution.result() == "A B C D"


async def test_what_is_sent_is_caught() -> None:
    """A webhook's request stays in the test, which answers it by its id and token."""
    async with simulate(caller) as sim:
        execution = await sim.submit(ringing, "hello")
        await sim.settle()
        [sent] = sim.sent
        await sim.complete(sent.interaction_id, "hi", resume_token=sent.resume_token)

        assert sent.request == b'"hello"'
        assert sent.via == ring.via
        assert await execution.result() == "hi"


async def test_a_partner_that_is_away_is_tried_again() -> None:
    """Tries follow the await's own `Retry` on the virtual clock, under one id."""
    answers: list[Delivery] = [Unclear("away"), Unclear("away"), Delivered()]
    tried: list[float] = []

    def partner(outgoing: Outgoing) -> Delivery:
        tried.append((sim.now - began).total_seconds())
        return answers[outgoing.attempt - 1]

    async with simulate(caller, partner=partner) as sim:
        began = sim.now
        execution = await sim.submit(ringing, "hello")

        assert await execution.result() == "nobody answered hello"
        assert [each.attempt for each in sim.sent] == [1, 2, 3]
        assert len({each.interaction_id for each in sim.sent}) == 1
        assert tried[0] == 0
        assert all(1 <= later - sooner <= 2 for sooner, later in pairwise(tried))


async def test_a_partner_that_refuses_ends_the_execution() -> None:
    """What the partner says is what the app hears from its transport."""
    async with simulate(caller, partner=lambda _: Refused("http-404", "not here")) as sim:
        execution = await sim.submit(ringing, "hello")

        with pytest.raises(ExecutionFailed, match="http-404"):
            await execution.result()


async def test_a_request_is_sent_again_after_a_crash() -> None:
    """Nobody knows whether it left, so it is sent twice, under one id."""
    async with simulate(caller) as sim:
        sim.crash_at("settle dispatch", "before")
        await sim.submit(ringing, "hello")
        await sim.settle()

        assert len(sim.sent) == 2
        assert len({each.interaction_id for each in sim.sent}) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_verbs_at_the_same_time_outlive_a_crash(when: Any) -> None:
    """Each that the crash cuts off is asked again, and none is lost or doubled."""
    async with simulate(app) as sim:
        sim.crash_at("submit", when)
        executions = await asyncio.gather(
            *(sim.submit(asking, f"ready {n}?", idempotency_key=str(n)) for n in range(5))
        )
        questions = await sim.pending(ask)
        sim.crash_at("admit", when)
        await asyncio.gather(*(sim.complete(each, each.request.upper()) for each in questions))

        assert [await each.result() for each in executions] == [f"READY {n}?" for n in range(5)]


async def test_an_execution_that_is_cancelled_ends_so() -> None:
    """The handle's own verb is one like the others."""
    async with simulate(app) as sim:
        execution = await sim.submit(asking, "ready?")
        await execution.cancel("not needed")

        with pytest.raises(ExecutionCancelled, match="not needed"):
            await execution.result()
        assert await sim.pending() == []


async def test_time_is_skipped_to_what_is_due_next() -> None:
    """From one instant to the next, until somebody has to answer."""
    async with simulate(app) as sim:
        began = sim.now
        assert await sim.skip() is False
        execution = await sim.submit(asking, "ready?")
        assert await sim.skip() is True
        assert sim.now - began == timedelta(minutes=30, milliseconds=1)
        assert (await execution.status()).status.name == "FAILED"


async def test_each_simulation_stands_alone() -> None:
    """Two at the same time share neither rows nor clock, and the app itself is not touched."""
    async with simulate(app) as one, simulate(app) as other:
        await one.submit(asking, "ready?")
        await one.advance("1h")

        assert await other.pending() == []
        assert one.now - other.now == timedelta(hours=1)
    assert app.store != one.store
