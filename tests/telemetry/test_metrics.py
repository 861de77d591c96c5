"""Every gate is counted, by labels whose number does not grow with the traffic."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest
from pydantic import BaseModel

from bide import App, Await, Collect, Deployment, Inbox, Pipeline, Publication, Webhook
from bide.errors import BideError
from bide.settings import Settings
from bide.spi.handoff import Answer, Offer
from bide.spi.transport import Delivered, Delivery, Outgoing, Refused, Unclear
from bide.telemetry import catalogue
from bide.telemetry.catalogue import METRICS, Kind
from bide.testing.carrier import Handing, admits_all
from bide.web.app import create_asgi
from tests.integration.partner import Partner, webhook
from tests.integration.support import eventually, quick, until_status
from tests.telemetry.reading import Metrics, metrics_of

RECEIPTS = ("applied", "duplicate", "conflict", "late", "buffered", "rejected", "unknown")
COMPLETE = "/pipeline/interactions/complete"
BATCH = "/api/v1/interactions/complete-batch"


class Order(BaseModel):
    number: str


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def same(number: int) -> int:
    return number


def total(items: Iterator[object]) -> int:
    return sum(1 for _ in items)


decide = Await("Decide", Order, bool, via=Inbox("kitchen"), timeout="1h", correlate_on="number")
orders = Pipeline("orders", Order).wait(decide)
plain = Await("Decide", int, bool, via=Inbox(), timeout="1h")
others = Pipeline("others", int).wait(plain)


def app_on(*pipelines: Pipeline[object, object], **changes: object) -> App:
    settings = quick(metrics=True, **changes)
    return App(*pipelines, store="memory://", settings=settings)


def client_of(app: App) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_asgi(app))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def ask(client: httpx.AsyncClient, number: str, tenant: str = "") -> str:
    """Submit an order and give the id of its question."""
    headers = {"x-tenant-id": tenant}
    ran = await client.post("/pipeline/run", json={"number": number}, headers=headers)
    execution = ran.json()["executionId"]
    pending = await client.get("/pipeline/interactions/pending", headers=headers)
    [found] = [one for one in pending.json() if one["executionId"] == execution]
    return str(found["interactionId"])


async def test_receipts_balance() -> None:
    """What was received equals the sum of the seven receipts, over every way in."""
    async with app_on(orders, others).running() as app, client_of(app) as client:
        one, two, gone = [await ask(client, f"n-{n}") for n in range(3)]
        await client.post(f"/api/v1/executions/{gone.split('_', 1)[0]}/cancel", json={})
        singles = [
            {"interactionId": one, "responsePayload": True},
            {"interactionId": one, "responsePayload": True},
            {"interactionId": one, "responsePayload": False},
            {"interactionId": two, "responsePayload": ["no"]},
            {"interactionId": gone, "responsePayload": True},
            {"correlationId": "early", "responsePayload": True},
            {"interactionId": "nobody's", "responsePayload": True},
            {"interactionId": two, "resumeToken": "bide1.x", "responsePayload": True},
            {"responsePayload": True},  # malformed: an answer and no receipt
        ]
        for body in singles:
            await client.post(COMPLETE, json=body)
        lines = [*singles, {"interactionId": two, "failure": {"code": "broken"}}]
        content = "\n".join(map(json.dumps, lines)) + "\n{broken\n"
        await client.post(BATCH, content=content, headers={"content-type": "application/x-ndjson"})
        with pytest.raises(BideError):
            await app.complete("nobody's", True)

        found = await metrics_of(app.service)

    by_outcome = {each: found.of("bide_receipts_total", outcome=each) for each in RECEIPTS}
    assert by_outcome == {
        "applied": 2, "duplicate": 3 + 1, "conflict": 2, "late": 2, "buffered": 1,
        "rejected": 2 * 2, "unknown": 3,
    }  # fmt: skip
    assert found.of("bide_completions_received_total") == sum(by_outcome.values()) == 8 + 9 + 1
    assert found.of("bide_receipts_total") == sum(by_outcome.values())
    assert found.of("bide_receipts_total", reason="invalid-answer", step="decide") == 2
    assert found.of("bide_receipts_total", reason="invalid-token") == 2


async def test_what_a_failing_store_left_unanswered_is_not_received(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`unavailable` is no receipt: neither side of the balance counts it."""
    async with app_on(orders).running() as app, client_of(app) as client:
        question = await ask(client, "n-1")
        store = app._open.store

        async def fail(*_: object) -> None:
            raise OSError("the disk is gone")

        with monkeypatch.context() as broken:
            broken.setattr(store, "transact", fail)
            body = {"interactionId": question, "responsePayload": True}
            assert (await client.post(COMPLETE, json=body)).status_code == 503
        assert (await client.post(COMPLETE, json=body)).status_code == 200
        found = await metrics_of(app.service)

    assert found.of("bide_commit_failures_total") >= 1
    assert found.of("bide_completions_received_total") == found.of("bide_receipts_total") == 1


async def test_each_gate(tmp_path: Path) -> None:
    """Submission, completion, release, unit and execution are counted once each, by their await."""
    async with app_on(orders, others).running() as app:
        await app.submit(orders, Order(number="1"), idempotency_key="k")
        await app.submit(orders, Order(number="1"), idempotency_key="k")
        first = await app.submit(others, 1)
        cancelled = await app.submit(others, 2)
        [question] = await first.parked(plain, timeout=30)
        await cancelled.parked(plain, timeout=30)
        await app.complete(question, True)
        await first.result(timeout=30)
        await cancelled.cancel()
        found = await metrics_of(app.service)

    names = {"pipeline": "others", "step": "decide", "transport": "interaction-api"}
    assert found.of("bide_submissions_total", pipeline="orders", outcome="created") == 1
    assert found.of("bide_submissions_total", pipeline="orders", outcome="duplicate") == 1
    assert found.of("bide_items_completed_total", **names, outcome="answered") == 1
    assert found.of("bide_units_ended_total", **names, outcome="completed") == 1
    assert found.of("bide_units_ended_total", **names, outcome="cancelled") == 1
    assert found.of("bide_resumes_released_total", **names) == 1
    assert found.of("bide_completion_latency_seconds_count", **names) == 1
    assert found.of("bide_unit_duration_seconds_count", **names) == 2
    ended = {"succeeded", "cancelled"}
    for outcome in ended:
        assert found.of("bide_executions_ended_total", outcome=outcome) == 1
    assert found.of("bide_executions_ended_total") == len(ended)
    assert found.of("bide_commit_seconds_count") == found.of("bide_commit_moves_count") > 0
    assert found.of("bide_commit_moves_sum") >= 7


async def test_dispatch() -> None:
    """Every try is counted by what came of it, and what waits for one is shown."""
    replies: Iterator[Delivery] = iter([Unclear("busy"), Refused("http-404", "no"), Delivered()])

    def reply(_: Outgoing) -> Delivery:
        return next(replies)

    each = Await("Each", int, int, via=webhook(), timeout="1d", items=Collect(tolerate=1))
    many = Pipeline("many", int).then(numbers).wait(each).then(total)
    app = App(
        many, store="memory://", settings=quick(metrics=True), transports={Webhook: Partner(reply)}
    )
    async with app.running():
        execution = await app.submit(many, 2)
        await until_status(execution, "WAITING_EXTERNAL")

        async def counted() -> Metrics | None:
            found = await metrics_of(app.service)
            return found if found.of("bide_dispatches_total") == 3 else None

        found = await eventually(counted)

    names = {"pipeline": "many", "step": "each", "transport": "webhook"}
    for outcome in ("delivered", "refused", "unclear"):
        assert found.of("bide_dispatches_total", **names, outcome=outcome) == 1
    assert found.of("bide_dispatch_seconds_count", **names) >= 2


async def test_what_waits_is_shown() -> None:
    """Work that nobody takes is shown with its age, by pipeline."""
    async with app_on(orders, others).running(workers=False) as app:
        await app.submit(others, 1)
        await app.submit(others, 2)
        found = await metrics_of(app.service)

    assert found.of("bide_ready_executions", pipeline="others") == 2
    assert ("bide_ready_age_seconds", frozenset({("pipeline", "others")})) in found
    assert found.of("bide_ready_executions", pipeline="orders") == 0


async def test_what_is_not_taken_is_shown() -> None:
    """What another deployment has not taken is shown by publication, and not once it has."""
    packed = Publication("packed", idempotent_on=str, to=Deployment("https://delivery.example"))
    packing = Pipeline("packing", int, publishes=packed).then(same)
    is_away = True

    def taker(offered: Offer) -> Answer:
        return Unclear("nobody is there") if is_away else admits_all(offered)

    settings, carriers = quick(metrics=True), {Deployment: Handing(taker)}
    app = App(packing)._copied(App, "memory://", None, settings, {}, carriers)
    async with app.running():

        async def shown(count: int) -> Metrics | None:
            app._open._backlogs._read_at = float("-inf")
            found = await metrics_of(app.service)
            return (
                found if found.of("bide_handoff_backlog", publication="packed") == count else None
            )

        for number in (1, 2):
            await app.submit(packing, number)
        away = cast("Metrics", await eventually(lambda: shown(2)))
        is_away = False
        back = cast("Metrics", await eventually(lambda: shown(0)))

    age = ("bide_handoff_backlog_age_seconds", frozenset({("publication", "packed")}))
    assert age in away
    assert age not in back


async def test_take_overs(tmp_path: Path) -> None:
    """A worker that is lost is seen: by the one that takes over, and in the end by itself."""
    started, go = asyncio.Event(), asyncio.Event()

    async def hang(value: int) -> int:
        if not started.is_set():
            started.set()
            await go.wait()
        return value

    slow = Pipeline("slow", int).then(hang)
    store = f"sqlite:///{tmp_path}/bide.db"
    settings = quick(metrics=True, lease_ms=100, lease_renew_ms=1_000, stop_timeout_ms=0)
    first, second = (App(slow, store=store, settings=settings) for _ in range(2))
    await first.start(concurrency=1)  # it has no room to take over from itself
    try:
        execution = await first.submit(slow, 1)
        await started.wait()
        async with second.running():
            await execution.result(timeout=30)
            taken = await metrics_of(second.service)

            async def lost() -> bool:
                return (await metrics_of(first.service)).of("bide_leases_lost_total") == 1

            await eventually(lost)
    finally:
        go.set()
        await first.stop()

    assert taken.of("bide_take_overs_total", pipeline="slow") == 1


async def test_labels_hold_nothing_of_a_sender() -> None:
    """A thousand tenants, keys, ids and wrong names make no series of their own."""

    async def traffic(client: httpx.AsyncClient, mark: str) -> None:
        tenant = f"tenant-{mark}"
        question = await ask(client, f"key-{mark}", tenant)
        for body in (
            {"interactionId": question, "responsePayload": True, "actor": f"actor-{mark}"},
            {"interactionId": f"id-{mark}", "responsePayload": True},
            {"correlationId": f"other-{mark}", "stepId": f"step-{mark}", "responsePayload": True},
        ):
            await client.post(COMPLETE, json=body, headers={"x-tenant-id": tenant})

    async with app_on(orders).running() as app, client_of(app) as client:

        async def ended(count: int) -> Metrics:
            async def found() -> Metrics | None:
                now = await metrics_of(app.service)
                return now if now.of("bide_executions_ended_total") == count else None

            return cast("Metrics", await eventually(found))

        await traffic(client, "first")
        before = await ended(1)
        for number in range(20):
            await traffic(client, str(number))
        after = await ended(21)

    assert set(before) == set(after)
    assert after.of("bide_completions_received_total") == 21 * 3
    assert after.values_of("pipeline") <= {"orders", ""}
    assert after.values_of("step") <= {"decide", ""}


def test_names_follow_the_conventions() -> None:
    """Counters end in `_total`, times are seconds, labels are few and known, each name is once."""
    labels = {"pipeline", "publication", "step", "transport", "outcome", "reason", "what"}
    names = [metric.name for metric in METRICS]

    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("bide_")
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert set(metric.labels) <= labels
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
        assert not metric.name.endswith("_ms")
    declared = {each for each in vars(catalogue).values() if isinstance(each, catalogue.Metric)}
    assert declared == set(METRICS)


# --- who may read them --------------------------------------------------------------------------


async def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the setting there is nothing to see, and the library is not asked for."""
    app = App(orders, store="memory://", settings=Settings())
    async with app.running(), client_of(app) as client:
        assert (await client.get("/metrics")).status_code == 404


async def test_this_machine_alone_without_authentication() -> None:
    """Nobody else reads them, unless a token was set for it."""
    async with app_on(orders).running() as app, client_of(app) as client:
        shown = await client.get("/metrics")
        foreign = await client.get("/metrics", headers={"host": "bide.example"})

    assert shown.status_code == 200
    assert shown.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "bide_commit_seconds_bucket" in shown.text
    assert foreign.status_code == 403


async def test_the_token() -> None:
    """With a token, it and nothing else opens; no word of it comes back."""
    async with (
        app_on(orders, metrics_token="s3cret-token").running() as app,
        client_of(app) as client,
    ):
        answers = [
            await client.get("/metrics", headers=headers)
            for headers in (
                {},
                {"authorization": "Bearer wrong"},
                {"authorization": "Bearer s3cret-token", "host": "bide.example"},
            )
        ]

    assert [answer.status_code for answer in answers] == [401, 401, 200]
    assert not any("s3cret" in answer.text for answer in answers)
