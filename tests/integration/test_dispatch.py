"""Requests that are sent: through the app's own dispatcher, to a partner behind the contract."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from bide import App, Await, Collect, DefinitionError, ExecutionFailed, Pipeline, Webhook
from bide.authoring.transports import Transport as Via
from bide.model.ids import parse_interaction
from bide.model.status import InteractionStatus
from bide.runtime.views import Check, InteractionView
from bide.security.keyring import Key, Keyring
from bide.spi.transport import Delivered, Delivery, Outgoing, Problem, Refused, Unclear
from tests.integration.partner import Partner, webhook
from tests.integration.support import eventually, quick, until_status

UNCLEAR = Unclear("http-503: busy")
DENIED = Refused("http-404", "Not Found")

ask = Await("Ask", int, str, via=webhook(), timeout="1d")
asking = Pipeline("asking", int).wait(ask)


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def gathered(answers: Iterator[Any]) -> str:
    return ",".join(str(each) for each in answers)


def many(via: Webhook, **options: Any) -> tuple[Await[Any, Any, Any], Pipeline[Any, Any]]:
    """A pipeline that asks once per item."""
    asked: Await[Any, Any, Any] = Await("Ask each", int, str, via=via, timeout="1d", **options)
    return asked, Pipeline("many", int).then(numbers).wait(asked).then(gathered)


@pytest.fixture
def partner() -> Partner:
    return Partner()


@pytest.fixture
def sending(store: str, partner: Partner) -> Callable[..., App]:
    """Make an app whose webhooks go to the partner; keywords are settings."""

    def make(*pipelines: Any, **settings: Any) -> App:
        settings = {"dispatch_breaker_first_ms": 5, "dispatch_breaker_longest_ms": 20} | settings
        return App(
            *pipelines, store=store, settings=quick(**settings), transports={Webhook: partner}
        )

    return make


async def view_of(app: App, id: str) -> InteractionView:
    view = await app.service.interaction("default", id)
    assert view is not None
    return view


def times(outgoing: Outgoing, partner: Partner) -> int:
    """How often an interaction has come, this time included."""
    return partner.ids().count(outgoing.interaction_id)


# --- what goes out ----------------------------------------------------------------------------


async def test_round_trip(sending: Callable[..., App], partner: Partner) -> None:
    """A request goes out with all that a protocol needs; its answer resumes the execution."""
    async with sending(asking).running() as app:
        execution = await app.submit(asking, 7)
        await until_status(execution, "WAITING_EXTERNAL")
        await eventually(lambda: partner.received)
        [out] = partner.received
        view = await view_of(app, out.interaction_id)
        assert out.via is ask.via
        assert (out.tenant, out.pipeline, out.step_id) == ("default", "asking", "ask")
        assert out.interaction_id == f"{execution.execution_id}_1_0"
        assert (out.execution_id, out.unit_id) == (
            execution.execution_id,
            f"{execution.execution_id}_1",
        )
        assert out.item_index is None
        assert out.correlation_id == out.idempotency_key == out.interaction_id
        assert (out.input_type, out.output_type) == ("int", "str")
        assert (out.request, out.attempt) == (b"7", 1)
        assert out.deadline_at == view.deadline_ms

        await app.complete(out.interaction_id, "yes")

        assert await execution.result(timeout=30) == "yes"
    assert partner.ids() == [out.interaction_id]
    assert not partner.is_open


async def test_seen_by_people(sending: Callable[..., App], partner: Partner) -> None:
    """What is out is shown so: its tries, since when, and in the execution's timeline."""
    async with sending(asking).running() as app:
        execution = await app.submit(asking, 7)

        async def out() -> InteractionView | None:
            listed = await app.service.pending("default")
            return (
                listed[0] if listed and listed[0].status is InteractionStatus.DISPATCHED else None
            )

        view = await eventually(out)

        assert view.transport_type == "webhook"
        assert view.dispatch.attempts == 1
        assert view.dispatch.dispatched_ms is not None
        assert view.dispatch.next_attempt_ms is view.dispatch.error is None
        timeline = await app.service.timeline("default", execution.execution_id)
        assert [entry.what for entry in timeline][-2:] == ["parked", "dispatched"]
        assert timeline[-1].detail == "at the first try"


async def test_keys_of_the_author(store: str, partner: Partner) -> None:
    """Business key and correlation id go out as the author chose them: one field is its text,
    several are their canonical JSON.
    """
    one = Await(
        "One", dict[str, Any], str, via=webhook(), timeout="1d",
        idempotent_on=lambda order: str(order["id"]), correlate_on=lambda order: f"c-{order['id']}",
    )  # fmt: skip
    flow = Pipeline("keyed", dict[str, Any]).wait(one)
    app = App(flow, store=store, settings=quick(), transports={Webhook: partner})
    async with app.running():
        await app.submit(flow, {"id": 42})
        await eventually(lambda: partner.received)

    [out] = partner.received
    assert (out.idempotency_key, out.correlation_id) == ("42", "c-42")


async def test_the_right_to_answer(sending: Callable[..., App], partner: Partner) -> None:
    """A request carries a token that answers it, equal on every try; trusted, it carries none."""
    signed = Await("Ask", int, str, via=webhook(trusted=False), timeout="1d")
    flow = Pipeline("asking", int).wait(signed)
    keyring = (
        Keyring.of(Key.of("k1", bytes(range(32)), datetime(2026, 1, 1, tzinfo=UTC)))
        .render()
        .decode()
    )
    partner.reply = lambda out: Delivered() if times(out, partner) == 2 else UNCLEAR
    async with sending(flow, keyring=SecretStr(keyring)).running() as app:
        execution = await app.submit(flow, 7)
        await eventually(lambda: len(partner.received) == 2)
        first, second = (out.resume_token for out in partner.received)
        assert first is not None
        assert first == second
        assert first not in repr(partner.received)

        await app.complete(first, "yes")

        assert await execution.result(timeout=30) == "yes"


async def test_items(sending: Callable[..., App], partner: Partner) -> None:
    """Each item of a stream is sent once, in batches, and says which it is."""
    _, flow = many(webhook())
    async with sending(flow).running() as app:
        execution = await app.submit(flow, 300)
        await eventually(lambda: len(partner.received) == 300)
        assert sorted(out.item_index or 0 for out in partner.received) == list(range(300))
        assert max(partner.batches) > 1
        for out in partner.received:
            await app.complete(out.interaction_id, f"<{out.item_index}>")

        result = await execution.result(timeout=30)

    assert result == ",".join(f"<{item}>" for item in range(300))
    assert set(Counter(partner.ids()).values()) == {1}


# --- what goes wrong --------------------------------------------------------------------------


async def test_unclear_is_tried_again(sending: Callable[..., App], partner: Partner) -> None:
    """What may not have arrived comes again under the same id, with its attempts counted."""
    partner.reply = lambda out: Delivered() if times(out, partner) == 3 else UNCLEAR
    async with sending(asking).running() as app:
        execution = await app.submit(asking, 7)

        async def sent() -> bool:
            listed = await app.service.pending("default")
            return bool(listed) and listed[0].status is InteractionStatus.DISPATCHED

        await eventually(sent)

        assert [out.attempt for out in partner.received] == [1, 2, 3]
        assert len(set(partner.ids())) == 1
        view = await view_of(app, partner.ids()[0])
        assert view.dispatch is not None
        assert (view.dispatch.attempts, view.dispatch.error) == (3, None)
        await app.complete(partner.ids()[0], "yes")
        assert await execution.result(timeout=30) == "yes"


async def test_exhausted(sending: Callable[..., App], partner: Partner) -> None:
    """After its last try it is marked and stays open; an answer still resumes the execution."""
    once = Await("Ask", int, str, via=webhook(attempts=3), timeout="1d")
    flow = Pipeline("asking", int).wait(once)
    partner.reply = lambda _: UNCLEAR
    async with sending(flow).running() as app:
        execution = await app.submit(flow, 7)
        await eventually(lambda: len(partner.received) == 3)
        id_ = partner.ids()[0]

        async def exhausted() -> bool:
            dispatch = (await view_of(app, id_)).dispatch
            return dispatch is not None and dispatch.exhausted

        await eventually(exhausted)

        view = await view_of(app, id_)
        assert view.status is InteractionStatus.WAITING
        assert view.dispatch is not None
        assert view.dispatch.error == "http-503: busy"
        assert view.dispatch.next_attempt_ms is None
        await app.complete(id_, "yes")
        assert await execution.result(timeout=30) == "yes"
    assert len(partner.received) == 3


async def test_refused(sending: Callable[..., App], partner: Partner) -> None:
    """A definite refusal ends unit and execution, and leaves a dead letter."""
    partner.reply = lambda _: DENIED
    async with sending(asking).running() as app:
        execution = await app.submit(asking, 7)

        with pytest.raises(ExecutionFailed) as failed:
            await execution.result(timeout=30)

        assert failed.value.code == "dispatch-refused"
        letter = await app.service.dead_letter("default", execution.execution_id)
        assert letter is not None
        assert letter.message == "http-404: Not Found"
    assert len(partner.received) == 1


async def test_refused_items(sending: Callable[..., App], partner: Partner) -> None:
    """Where items may be missing, the refused ones are, and the rest goes on."""
    _, flow = many(webhook(), items=Collect(tolerate=2))
    partner.reply = lambda out: DENIED if out.item_index in {1, 3} else Delivered()
    async with sending(flow).running() as app:
        execution = await app.submit(flow, 5)
        await eventually(lambda: len(partner.received) == 5)
        for out in partner.received:
            if out.item_index not in {1, 3}:
                await app.complete(out.interaction_id, "yes")

        result = await execution.result(timeout=30)

    assert result.count("Answered") == 3
    assert result.count("dispatch-refused") == 2


async def test_asked_again(sending: Callable[..., App], partner: Partner) -> None:
    """A refused item that is asked again goes out under its next generation's id."""
    _, flow = many(webhook(), items=Collect(tolerate=1))
    partner.reply = lambda out: DENIED if out.interaction_id.endswith("_1_0") else Delivered()
    async with sending(flow).running() as app:
        execution = await app.submit(flow, 2)
        first = f"{execution.execution_id}_1_0"

        async def refused() -> bool:
            view = await app.service.interaction("default", first)
            return view is not None and view.status is InteractionStatus.FAILED

        await eventually(refused)
        again = await app.ask_again(first)
        await eventually(lambda: again in partner.ids())

        assert again == f"{first}_1"
        for id_ in (again, f"{execution.execution_id}_1_1"):
            await app.complete(id_, "yes")
        assert (await execution.result(timeout=30)).count("Answered") == 2


async def test_an_answer_overtakes(sending: Callable[..., App], partner: Partner) -> None:
    """An answer that comes while its request is still being sent is admitted, and stays."""
    answered = asyncio.Event()

    async def reply(out: Outgoing) -> Delivery:
        await app.complete(out.interaction_id, "yes")
        answered.set()
        await asyncio.sleep(0)
        return UNCLEAR

    partner.reply = reply
    async with sending(asking).running() as app:
        execution = await app.submit(asking, 7)

        assert await execution.result(timeout=30) == "yes"

        assert answered.is_set()
        view = await view_of(app, partner.ids()[0])
        assert view.status is InteractionStatus.COMPLETED
    assert len(partner.received) == 1


async def test_a_transport_that_breaks_its_duties(
    sending: Callable[..., App], partner: Partner, caplog: pytest.LogCaptureFixture
) -> None:
    """A transport that raises, or answers too few, costs a try and nothing else."""

    async def breaks(batch: Any) -> list[Delivery]:
        partner.received += batch
        if len(partner.received) == 1:
            raise RuntimeError("a defect")
        return [] if len(partner.received) == 2 else [Delivered() for _ in batch]

    partner.send = breaks  # type: ignore[method-assign]  # a partner of its own
    async with sending(asking).running() as app:
        execution = await app.submit(asking, 7)
        await eventually(lambda: len(partner.received) == 3)
        await app.complete(partner.ids()[0], "yes")

        assert await execution.result(timeout=30) == "yes"
    assert "a transport failed in a way that none should" in caplog.text
    assert len(set(partner.ids())) == 1


# --- how much, and to whom --------------------------------------------------------------------


async def test_max_in_flight(sending: Callable[..., App], partner: Partner) -> None:
    """No more are unanswered at once than the await allows; answers let the next ones out."""
    _, flow = many(webhook(max_in_flight=4))
    async with sending(flow).running() as app:
        execution = await app.submit(flow, 20)
        answered: set[str] = set()

        def unseen() -> set[str]:
            return set(partner.ids()) - answered

        while len(answered) < 20:
            unanswered = await eventually(unseen)
            assert len(unanswered) <= 4
            for id_ in unanswered:
                await app.complete(id_, "yes")
            answered |= unanswered

        assert (await execution.result(timeout=30)).count("yes") == 20


async def test_room_at_one_endpoint(sending: Callable[..., App], partner: Partner) -> None:
    """A process has no more in hand at an endpoint than its setting says."""
    _, flow = many(webhook())
    gate = asyncio.Event()

    async def reply(_: Outgoing) -> Delivery:
        await gate.wait()
        return Delivered()

    partner.reply = reply
    async with sending(flow, dispatch_rows=5).running() as app:
        await app.submit(flow, 30)
        await eventually(lambda: partner.under_way == 5)
        gate.set()
        await eventually(lambda: len(partner.received) == 30)

    assert partner.most == 5


async def test_a_slow_endpoint_delays_no_other(store: str, partner: Partner) -> None:
    """While one endpoint does not answer, requests to another go out."""
    gate = asyncio.Event()

    async def reply(out: Outgoing) -> Delivery:
        if out.step_id == "slow":
            await gate.wait()
        return Delivered()

    partner.reply = reply
    slow = Await("Slow", int, str, via=replace(webhook(), url="https://slow.test/"), timeout="1d")
    fast = Await("Fast", int, str, via=replace(webhook(), url="https://fast.test/"), timeout="1d")
    flows = Pipeline("one", int).wait(slow), Pipeline("other", int).wait(fast)
    app = App(*flows, store=store, settings=quick(dispatch_rows=2), transports={Webhook: partner})
    async with app.running():
        for number in range(4):
            await app.submit(flows[0], number)
        await eventually(lambda: partner.under_way == 2)
        for number in range(4):
            await app.submit(flows[1], number)

        await eventually(lambda: sum(out.step_id == "fast" for out in partner.received) == 4)
        gate.set()


async def test_a_failing_endpoint_is_left_alone(
    sending: Callable[..., App], partner: Partner
) -> None:
    """While its breaker is open nothing is claimed for it, so a long outage costs few tries."""
    down = True
    partner.reply = lambda _: UNCLEAR if down else Delivered()
    _, flow = many(webhook(attempts=8))
    settings = {"dispatch_breaker_first_ms": 60_000, "dispatch_breaker_longest_ms": 60_000}
    async with sending(flow, dispatch_rows=4, **settings).running() as app:
        await app.submit(flow, 40)

        async def opened() -> list[Check]:
            return [each for each in await app.service.checks() if each.name == "dispatch"]

        [check] = await eventually(opened)
        listed = await app.service.pending("default", limit=100)

        assert "partner.test" in check.message
        assert "http-503: busy" in check.message
        assert (check.ok, check.warning) == (False, True)
        tries = [view.dispatch.attempts for view in listed if view.dispatch]
        # Five failures in a row open it; a batch was under way.
        assert sum(tries) <= 8
        assert tries.count(0) >= 32


async def test_an_endpoint_that_comes_back(sending: Callable[..., App], partner: Partner) -> None:
    """After an outage one request goes first; when that is answered, the rest follows."""
    answers = iter([UNCLEAR] * 12)
    partner.reply = lambda _: next(answers, Delivered())
    _, flow = many(webhook(attempts=20))
    async with sending(flow, dispatch_rows=4).running() as app:
        execution = await app.submit(flow, 40)

        async def all_out() -> bool:
            listed = await app.service.pending("default", limit=100)
            return len(listed) == 40 and all(
                view.status is InteractionStatus.DISPATCHED for view in listed
            )

        await eventually(all_out)

        assert len(partner.received) == 52
        for id_ in set(partner.ids()):
            await app.complete(id_, "yes")
        assert (await execution.result(timeout=30)).count("yes") == 40
        assert not [each for each in await app.service.checks() if each.name == "dispatch"]


async def test_retry_after(sending: Callable[..., App], partner: Partner) -> None:
    """The rest that a partner asks for is kept, however short the await's own would be."""
    partner.reply = lambda _: Unclear("http-429: slow down", retry_after_ms=3_000_000)
    async with sending(asking).running() as app:
        await app.submit(asking, 7)
        await eventually(lambda: partner.received)

        async def postponed() -> bool:
            dispatch = (await view_of(app, partner.ids()[0])).dispatch
            return dispatch is not None and dispatch.error is not None

        await eventually(postponed)
        view = await view_of(app, partner.ids()[0])  # as it is since

        assert view.dispatch is not None
        assert view.dispatch.next_attempt_ms is not None
        assert view.dispatch.next_attempt_ms - view.updated_at_ms == 3_000_000
    assert len(partner.received) == 1


# --- who sends --------------------------------------------------------------------------------


async def test_two_processes_share_the_work(shared: str) -> None:
    """Two dispatchers on one store send every request once between them."""
    _, flow = many(webhook())
    partners = Partner(), Partner()
    apps = [
        App(flow, store=shared, settings=quick(dispatch_rows=8), transports={Webhook: each})
        for each in partners
    ]
    async with apps[0].running(), apps[1].running():
        await apps[0].submit(flow, 200)
        await eventually(lambda: sum(len(each.received) for each in partners) >= 200)

        async def settled() -> bool:
            listed = await apps[0].service.pending("default", limit=1_000)
            return {view.status for view in listed} == {InteractionStatus.DISPATCHED}

        await eventually(settled)

    counted = Counter(partners[0].ids() + partners[1].ids())
    assert len(counted) == 200
    assert set(counted.values()) == {1}


async def test_a_lost_dispatcher(shared: str) -> None:
    """What a process had in hand when it died is sent by another, under the same id."""
    flow = asking
    stuck = asyncio.Event()

    async def never(_: Outgoing) -> Delivery:
        stuck.set()
        await asyncio.Event().wait()
        raise AssertionError

    dying, living = Partner(never), Partner()
    settings = quick(lease_ms=200, lease_renew_ms=50, stop_timeout_ms=0)
    first = App(flow, store=shared, settings=settings, transports={Webhook: _short(dying)})
    await first.start()
    execution = await first.submit(flow, 7)
    await stuck.wait()
    # It dies without a word: nothing of what it was doing is recorded.
    assert first._runtime is not None
    assert first._runtime.dispatcher is not None
    first._runtime.dispatcher._record = lambda *_: None  # type: ignore[method-assign]  # it is dead
    await first.stop()
    second = App(flow, store=shared, settings=settings, transports={Webhook: _short(living)})
    async with second.running():
        await eventually(lambda: living.received)
        assert living.ids() == dying.ids()
        assert living.received[0].attempt == 2
        await second.complete(living.ids()[0], "yes")
        again = second.execution(flow, execution.execution_id)
        assert await again.result(timeout=30) == "yes"


def _short(partner: Partner) -> Partner:
    """A partner whose tries take no time, so that leases are as short as the settings say."""
    route = partner.route
    partner.route = lambda via: route(via)._replace(timeout_ms=1)  # type: ignore[method-assign]  # a partner of its own
    return partner


async def test_a_stop_lets_it_finish(sending: Callable[..., App], partner: Partner) -> None:
    """A stop waits for what is being sent and records it; nothing goes out afterwards."""
    gate = asyncio.Event()

    async def reply(_: Outgoing) -> Delivery:
        await gate.wait()
        return Delivered()

    partner.reply = reply
    app = sending(asking)
    await app.start()
    await app.submit(asking, 7)
    await eventually(lambda: partner.under_way)
    runtime = app._runtime
    stopping = asyncio.create_task(app.stop())
    await asyncio.sleep(0)
    gate.set()
    await stopping

    assert len(partner.received) == 1
    assert not partner.is_open
    if app.store.startswith("memory"):
        assert runtime is not None
        id_ = parse_interaction(partner.ids()[0])
        assert id_ is not None
        [dispatch] = await runtime.store.dispatches("default", [id_])
        assert dispatch is not None
        assert dispatch.dispatched_at is not None


async def test_a_cancelled_execution_sends_nothing(
    sending: Callable[..., App], partner: Partner
) -> None:
    """What was cancelled between two tries is not tried again."""
    partner.reply = lambda _: Unclear("busy", retry_after_ms=500)
    async with sending(asking).running() as app:
        execution = await app.submit(asking, 7)
        await eventually(lambda: partner.received)
        await execution.cancel("not wanted")

        async def closed() -> bool:
            view = await view_of(app, partner.ids()[0])
            dispatch = view.dispatch
            return dispatch is not None and dispatch.next_attempt_ms is None

        await eventually(closed)

    assert len(partner.received) == 1


# --- what is checked --------------------------------------------------------------------------


class Pigeon(Via):
    """A transport that nobody has written."""

    kind = "pigeon"


def test_what_nothing_carries_is_refused() -> None:
    """An await whose `via=` no transport carries is refused when the app is built."""
    pigeon = Await("P", int, str, via=Pigeon(), timeout="1d")

    with pytest.raises(DefinitionError, match=r"await 'P' of pipeline 'p' says via=Pigeon"):
        App(Pipeline("p", int).wait(pigeon), store="memory://")


async def test_problems_are_shown(sending: Callable[..., App], partner: Partner) -> None:
    """What a transport says of itself stands among the checks, fatal or a warning."""
    partner.found = [
        Problem("await 'Ask'", "has no secret; set BIDE_X", is_fatal=True),
        Problem("BIDE_Y", "lets everything through", is_fatal=False),
    ]
    async with sending(asking).running() as app:
        checks = [each for each in await app.service.checks() if each.name == "transport"]

    assert [(each.ok, each.warning) for each in checks] == [(False, False), (False, True)]
    assert checks[0].message == "await 'Ask': has no secret; set BIDE_X"


async def test_an_app_without_workers_sends_nothing(
    sending: Callable[..., App], partner: Partner
) -> None:
    """A process that only takes submissions and answers opens no transport."""
    async with sending(asking).running(workers=False) as app:
        await app.submit(asking, 7)

        assert not partner.is_open
