"""An execution's life as a document and as it goes on, on every store."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from bide import App, Await, Collect, Execution, Inbox, Many, NonRetryable, Pipeline
from bide.runtime import replay as replay_module
from bide.runtime.replay import SCHEMA
from tests.integration.support import answer_all, eventually, until_status

Make = Callable[..., App]


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def total(answers: Iterator[str]) -> int:
    return sum(1 for _ in answers)


ask = Await("Ask", int, str, via=Inbox(group="desk"), timeout="1h")
confirm = Await("Confirm", int, bool, via=Inbox(), timeout="1h")
flow = Pipeline("flow", int).then(numbers).wait(ask).then(total).wait(confirm)


async def replayed(execution: Execution[Any], *, payloads: bool = False) -> dict[str, Any]:
    """The document, read as JSON."""
    pieces = [piece async for piece in execution.replay(payloads=payloads)]
    document: dict[str, Any] = json.loads(b"".join(pieces))
    return document


def told(document: dict[str, Any], *layers: str) -> list[str]:
    """What happened, in its order."""
    return [fact["what"] for fact in document["facts"] if fact["layer"] in layers]


async def finished(app: App, count: int) -> Execution[Any]:
    """An execution of the flow, every question of it answered."""
    execution = await app.submit(flow, count)
    if count:
        await until_status(execution, "WAITING_EXTERNAL")
        await answer_all(app, ask, lambda request: f"to {request}")
    [question] = await execution.parked(confirm, timeout="30s")
    await app.complete(question, True, actor="ada")
    assert await execution.result(timeout="30s") is True
    return execution


async def test_a_life_in_order(app_of: Make):
    """Every layer's facts stand in one order: none before its cause, none left out."""
    app = app_of(flow)
    async with app.running():
        document = await replayed(await finished(app, 3))

    assert document["schema"] == SCHEMA
    assert [at["atEpochMs"] for at in document["facts"]] == sorted(
        at["atEpochMs"] for at in document["facts"]
    )
    assert told(document, "execution", "unit", "item") == [
        "submitted", "claimed",
        "unit-opened", *["request-persisted"] * 3, "dispatch-complete", "waiting",
        *["completed"] * 3, "unit-completed", "resume-released", "claimed",
        "unit-opened", "request-persisted", "dispatch-complete", "waiting",
        "completed", "unit-completed", "resume-released", "claimed",
        "succeeded",
    ]  # fmt: skip
    assert document["totals"]["facts"] == len(document["facts"])
    assert [unit["interactions"] for unit in document["totals"]["units"]] == [
        {"COMPLETED": 3}, {"COMPLETED": 1},
    ]  # fmt: skip


async def test_the_topology(app_of: Make):
    """Steps and awaits stand there by position, with types and shapes; units with their counts."""
    app = app_of(flow)
    async with app.running():
        document = await replayed(await finished(app, 2))

    positions = document["topology"]["positions"]
    assert [(each["kind"], each["id"], each["shape"]) for each in positions] == [
        ("step", "numbers", "ONE_TO_MANY"),
        ("await", "ask", "ONE_TO_ONE"),
        ("step", "total", "MANY_TO_ONE"),
        ("await", "confirm", "ONE_TO_ONE"),
    ]
    assert [each["position"] for each in positions] == [0, 1, 2, 3]
    assert (positions[1]["input"], positions[1]["answer"]) == ("int", "str")
    assert positions[1]["perItem"] is True
    assert [(unit["stepId"], unit["total"], unit["settled"]) for unit in document["units"]] == [
        ("ask", 2, 2), ("confirm", 1, 1),
    ]  # fmt: skip


async def test_an_empty_stream(app_of: Make):
    """A unit without items is opened, dispatched and completed, and nothing waits for it."""
    app = app_of(flow)
    async with app.running():
        document = await replayed(await finished(app, 0))

    assert told(document, "execution", "unit")[:6] == [
        "submitted", "claimed", "unit-opened", "dispatch-complete", "unit-completed",
        "resume-released",
    ]  # fmt: skip


@pytest.mark.parametrize("payloads", [False, True])
async def test_payloads_are_asked_for(app_of: Make, payloads: bool):
    """What was submitted, asked and answered is in it only when it is asked for."""
    secret = "s3cret"
    echo = Await("Echo", str, str, via=Inbox(), timeout="1h")
    echoing = Pipeline("echoing", str).wait(echo)
    app = app_of(echoing)
    async with app.running():
        execution = await app.submit(echoing, secret)
        [question] = await execution.parked(echo, timeout="30s")
        await app.complete(question, secret)
        await execution.result(timeout="30s")
        document = await replayed(execution, payloads=payloads)

    assert (secret in json.dumps(document)) is payloads
    if payloads:
        facts = {fact["what"]: fact for fact in document["facts"] if fact["layer"] == "item"}
        assert document["execution"]["input"] == document["execution"]["result"] == secret
        assert facts["request-persisted"]["requestPayload"] == secret
        assert facts["completed"]["responsePayload"] == secret


async def test_receipts_are_counted(app_of: Make):
    """Duplicates and refusals of an item stand with its end, with who answered."""
    app = app_of(flow)
    async with app.running():
        execution = await finished(app, 0)
        asked = f"{execution.execution_id}_2_0"
        await app.service.complete("default", _completion(asked, True))
        await app.service.complete("default", _completion(asked, False))
        document = await replayed(execution)

    [completed] = [fact for fact in document["facts"] if fact["what"] == "completed"]
    assert (completed["duplicates"], completed["refusals"]) == (1, 1)
    assert (completed["actor"], completed["source"]) == ("ada", "person")
    assert document["totals"]["units"][1]["duplicates"] == 1


def _completion(interaction: str, payload: Any) -> Any:
    from bide.runtime.views import Completion

    return Completion(interaction_id=interaction, payload=payload)


async def test_a_cancelled_unit(app_of: Make):
    """The end of a unit stands before what it closed behind it; the reason is told."""
    app = app_of(flow)
    async with app.running():
        execution = await app.submit(flow, 3)
        await execution.parked(ask, timeout="30s")
        await execution.cancel("not wanted")

        async def closed() -> bool:
            units = await app.service.units("default", execution.execution_id)
            return units[0].settled == 3

        await eventually(closed)
        document = await replayed(execution)

    assert told(document, "execution", "unit", "item")[-5:] == [
        "unit-cancelled", "cancelled", *["cancelled"] * 3,
    ]  # fmt: skip
    assert document["facts"][-4]["detail"] == "cancelled: not wanted"
    assert document["execution"]["status"] == "CANCELLED"


async def test_a_failure_says_why(app_of: Make):
    """The terminal fact of a flow that failed holds its code and message."""

    def refuse(number: int) -> int:
        raise NonRetryable("no such thing")

    app = app_of(refusing := Pipeline("refusing", int).then(refuse))
    async with app.running():
        execution = await app.submit(refusing, 1)
        await until_status(execution, "DLQ")
        document = await replayed(execution)

    last = document["facts"][-1]
    assert last["what"] == "dead-lettered"
    assert "no such thing" in last["detail"]


async def test_pages_join(app_of: Make, monkeypatch: pytest.MonkeyPatch):
    """A unit that is read in many pages gives the document of one that is read in one."""
    app = app_of(flow)
    async with app.running():
        execution = await finished(app, 23)
        whole = await replayed(execution)
        monkeypatch.setattr(replay_module, "_PAGE", 5)
        monkeypatch.setattr(replay_module, "_ROWS", 4)
        monkeypatch.setattr(replay_module, "_PIECE_BYTES", 200)

        in_parts = await replayed(execution)

    assert in_parts == whole
    indexes = [fact["itemIndex"] for fact in whole["facts"] if fact["what"] == "request-persisted"]
    assert indexes == [*range(23), None]


async def test_a_plan_that_is_not_here(store: str, app_of: Make):
    """What another deploy ran is replayed without its topology."""
    if store.startswith("memory"):
        pytest.skip("memory: its data cannot be shared by two apps")
    async with app_of(flow).running() as app:
        execution = await finished(app, 1)
    other = Pipeline("other", int).then(numbers)
    async with app_of(other).running(workers=False) as app:
        pieces = await app.service.replay("default", execution.execution_id)
        document = json.loads(b"".join([piece async for piece in pieces]))

    assert document["topology"] is None
    assert told(document, "execution")[-1] == "succeeded"


async def test_following(app_of: Make):
    """Who follows gets every fact once, in order, as they come, and then the end."""
    app = app_of(flow)
    async with app.running():
        execution = await app.submit(flow, 2)
        seen: list[Any] = []
        follower = asyncio.create_task(_follow(app, execution, seen))
        await until_status(execution, "WAITING_EXTERNAL")
        await answer_all(app, ask, str)
        [question] = await execution.parked(confirm, timeout="30s")
        await app.complete(question, True)
        await follower
        timeline = await app.service.timeline("default", execution.execution_id)

    assert seen == timeline
    assert seen[-1].what == "succeeded"


async def _follow(app: App, execution: Execution[Any], seen: list[Any]) -> None:
    pages: AsyncIterator[Any] = await app.service.follow(
        "default", execution.execution_id, pause_s=0.01
    )
    async for page in pages:
        seen += page


async def test_following_from_a_fact(app_of: Make):
    """Who comes back gets what follows the fact that they name, and nothing after the end."""
    app = app_of(flow)
    async with app.running():
        execution = await finished(app, 1)
        timeline = await app.service.timeline("default", execution.execution_id)
        id_ = execution.execution_id
        later = [page async for page in await app.service.follow("default", id_, 3)]
        none = [
            page async for page in await app.service.follow("default", id_, timeline[-1].version)
        ]

    assert later == [timeline[3:]]
    assert none == []


async def test_an_aggregate(app_of: Make):
    """The shape of an aggregate await is told with its unit."""
    report = Await("Report", Many[int], str, via=Inbox(), timeout="1h")
    app = app_of(reporting := Pipeline("reporting", int).then(numbers).wait(report))
    async with app.running():
        execution = await app.submit(reporting, 2)
        await execution.parked(report, timeout="30s")
        document = await replayed(execution)

    assert document["units"][0]["shape"] == "MANY_TO_ONE"
    assert told(document, "item") == ["request-persisted"]


def test_the_blocking_twin(app_of: Make):
    """The document comes in pieces to code that is not async, too."""
    plain = Pipeline("plain", int).then(numbers)
    app = app_of(plain).blocking()
    app.start()
    execution = app.submit(plain, 2)
    execution.result(timeout="30s")

    document = json.loads(b"".join(execution.replay()))

    assert told(document, "execution")[-1] == "succeeded"
    app.stop()


async def test_lineage(app_of: Make):
    """A redrive and what it was made for name each other."""
    ok = False

    def perhaps(number: int) -> int:
        if not ok:
            raise NonRetryable("not yet")
        return number

    app = app_of(trying := Pipeline("trying", int).then(perhaps))
    async with app.running():
        first = await app.submit(trying, 1)
        await until_status(first, "DLQ")
        ok = True
        second = await app.redrive(first.execution_id)
        await second.result(timeout="30s")
        old, new = await replayed(first), await replayed(second)

    assert old["lineage"] == {"redrivenFrom": None, "redrives": [second.execution_id]}
    assert new["lineage"] == {"redrivenFrom": first.execution_id, "redrives": []}


async def test_an_item_that_is_asked_again(app_of: Make):
    """Each asking for an item has its beginning and its end, under its generation."""
    tolerant = Await("Tolerant", int, str, via=Inbox(), timeout="1h", items=Collect(tolerate=3))
    app = app_of(collecting := Pipeline("collecting", int).then(numbers).wait(tolerant))
    async with app.running():
        execution = await app.submit(collecting, 2)
        first, second = await execution.parked(tolerant, timeout="30s")
        await app.fail(first, "mislaid")
        again = await app.ask_again(first)
        await app.complete(second, "b")
        await app.complete(again, "a")
        await execution.result(timeout="30s")
        document = await replayed(execution)

    assert [
        (fact["what"], fact["itemIndex"], fact["generation"])
        for fact in document["facts"]
        if fact["layer"] == "item" and fact["itemIndex"] == 0
    ] == [
        ("request-persisted", 0, 0), ("failed", 0, 0), ("request-persisted", 0, 1),
        ("completed", 0, 1),
    ]  # fmt: skip
    assert document["totals"]["units"][0]["interactions"] == {"COMPLETED": 2, "FAILED": 1}
