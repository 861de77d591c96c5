"""Requests out and answers in over Kafka, from end to end: a partner that knows only the envelopes."""

from pathlib import Path
from typing import Any

import pytest

from bide import App, Await, Pipeline
from bide.model.status import ReceiptOutcome
from tests.kafka.cluster import Cluster, Partner, completion, topics
from tests.kafka.support import Checks, all_taken_in, put, read, settings, via_of


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_tables")
        return url
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bide.db"


async def test_a_stream_round_trips(cluster: Cluster, store: str) -> None:
    """Two hundred requests are answered, every tenth twice: each counts once, in its place, no
    answer is left uncommitted and none refused.
    """
    names = topics(cluster)
    checks = Checks(via_of(names))
    app = checks.app(cluster, store)

    def answering(request: Any) -> list[Any]:
        number = request["requestPayload"]
        return [completion(request, f"<{number}>")] * (2 if number % 10 == 1 else 1)

    with Partner(cluster.servers, names, answering) as partner:
        async with app.running():
            execution = await app.submit(checks.pipeline, 200)
            result = await execution.result(timeout=60)
            await all_taken_in(cluster, names)
            counts = (await app.receipts()).stored
            letters = await app.service.dead_letters("default")

    assert result == ",".join(f"<{number}>" for number in range(200))
    assert counts[ReceiptOutcome.APPLIED.value] == 200
    assert counts[ReceiptOutcome.DUPLICATE.value] == 20
    assert letters == []
    assert sorted(each.json["requestPayload"] for each in partner.requests) == list(range(200))


@pytest.mark.parametrize("key", ["correlationId", "interactionId"])
async def test_a_request_is_the_documented_envelope(cluster: Cluster, key: Any) -> None:
    """It has the contract's fields and no other, the author's headers, and the key asked for."""
    names = topics(cluster)
    ask = Await(
        "Check the order", int, str, timeout="5m", idempotent_on=str, correlate_on=lambda n: f"c{n}",
        via=via_of(names, key=key, headers={"x-team": "orders"}),
    )  # fmt: skip
    pipeline = Pipeline("orders", int).wait(ask)
    app = App(pipeline, store="memory://", settings=settings(cluster.servers))

    async with app.running():
        execution = await app.submit(pipeline, 7)
        [question] = await execution.parked(ask, timeout="30s")
        [sent] = await read(cluster, names.requests, 1)

    request = sent.json
    assert list(request) == [
        "tenantId", "executionId", "interactionId", "correlationId", "idempotencyKey", "stepId",
        "deadlineEpochMs", "inputType", "outputType", "resumeToken", "requestPayload",
        "transportMetadata",
    ]  # fmt: skip
    assert request["resumeToken"].startswith("bide1.")
    assert {name: request[name] for name in request if name != "resumeToken"} == {
        "tenantId": "default",
        "executionId": execution.execution_id,
        "interactionId": question.interaction_id,
        "correlationId": "c7",
        "idempotencyKey": "7",
        "stepId": "check-the-order",
        "deadlineEpochMs": round(question.deadline.timestamp() * 1000),
        "inputType": "int",
        "outputType": "str",
        "requestPayload": 7,
        "transportMetadata": {},
    }
    assert sent.key == ("c7" if key == "correlationId" else question.interaction_id)
    assert sent.headers == {"x-team": "orders"}


async def test_a_foreign_client_is_understood(cluster: Cluster) -> None:
    """Padding is cut off, blanks are absent, fields of its own and null beside a failure are let
    pass: as the contract says, whoever wrote the client.
    """
    names = topics(cluster)
    checks = Checks(via_of(names))
    app = checks.app(cluster, "memory://")

    async with app.running():
        execution = await app.submit(checks.pipeline, 1)
        [sent] = await read(cluster, names.requests, 1)
        request = sent.json
        await put(
            cluster, names.responses,
            {
                "version": 3,
                "tenantId": "\t default ",
                "interactionId": "  ",
                "correlationId": f"  {request['correlationId']}\n",
                "resumeToken": f" {request['resumeToken']} ",
                "idempotencyKey": "",
                "actor": "  bob ",
                "failure": None,
                "responsePayload": " fine ",
                "extra": {"trace": [1, 2]},
            },
        )  # fmt: skip
        result = await execution.result(timeout=60)

    assert result == " fine "


async def test_a_failure_is_an_answer(cluster: Cluster) -> None:
    """A reported failure ends the await by its policy, with its own words."""
    names = topics(cluster)
    ask = Await("Check", int, str, via=via_of(names), timeout="5m")
    pipeline = Pipeline("checks", int).wait(ask)
    app = App(pipeline, store="memory://", settings=settings(cluster.servers))

    async with app.running():
        execution = await app.submit(pipeline, 1)
        [sent] = await read(cluster, names.requests, 1)
        failed = completion(sent.json, None, failure={"code": "no-funds", "message": "two\nlines"})
        await put(cluster, names.responses, failed)
        with pytest.raises(Exception, match="no-funds"):
            await execution.result(timeout=60)
        await all_taken_in(cluster, names)


async def test_answers_before_their_question_are_kept(cluster: Cluster) -> None:
    """On a trusted network an answer under a key of the author's choice may come first."""
    names = topics(cluster)
    ask = Await(
        "Check", int, str, timeout="5m", correlate_on=lambda number: f"order-{number}",
        via=via_of(names, trusted_network=True),
    )  # fmt: skip
    pipeline = Pipeline("checks", int).wait(ask)
    app = App(pipeline, store="memory://", settings=settings(cluster.servers))

    async with app.running():
        early = {"tenantId": "default", "correlationId": "order-7", "responsePayload": "early"}
        await put(cluster, names.responses, early)
        await all_taken_in(cluster, names)
        execution = await app.submit(pipeline, 7)
        result = await execution.result(timeout=60)

    assert result == "early"
