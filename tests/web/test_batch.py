"""Batches of completions: a line each, an answer each, in order."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from bide.errors import StoreUnavailable
from bide.runtime.views import Completion
from bide.settings import Settings
from bide.web import completing
from bide.web.routing import Served
from tests.web.expect import Park, problem

URL = "/api/v1/interactions/complete-batch"
NDJSON = {"content-type": "application/x-ndjson"}


def line(interaction: dict[str, Any], payload: Any = None):
    payload = {"accepted": {"note": "yes"}} if payload is None else payload
    return json.dumps({"interactionId": interaction["interactionId"], "responsePayload": payload})


async def send(client: httpx.AsyncClient, lines: list[str], **options: Any):
    content = "\n".join(lines).encode() + b"\n"
    answer = await client.post(URL, content=content, headers=NDJSON, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(one) for one in answer.text.splitlines()]


async def test_each_line_has_its_own_answer_in_order(client: httpx.AsyncClient, park: Park):
    """Every kind of outcome stands in its line's place, and none hinders another."""
    one, two, three = [await park(f"item {n}") for n in range(3)]
    answers = await send(
        client,
        [
            line(one),
            "{broken",
            line(one),
            line(one, {"declined": {"why": "closed"}}),
            line(two, {"nonsense": 1}),
            "",
            line({"interactionId": "unknown"}),
            json.dumps({"responsePayload": 1}),
            line(two),
            json.dumps({"interactionId": three["interactionId"], "failure": {"code": "broken"}}),
        ],
    )

    kinds = [one.get("receipt") or one["type"].rsplit("/")[-1] for one in answers]
    assert kinds == [
        "applied", "malformed", "duplicate", "conflict", "rejected", "malformed", "unknown",
        "malformed", "applied", "applied",
    ]  # fmt: skip
    assert answers[0] == {
        "interactionId": one["interactionId"],
        "executionId": one["executionId"],
        "stepId": "approve-order",
        "status": "COMPLETED",
        "duplicate": False,
        "receipt": "applied",
    }
    assert answers[2]["duplicate"] is True
    assert answers[3]["problem"]["status"] == 409
    assert answers[4]["problem"]["type"].endswith("/invalid-answer")
    assert answers[4]["problem"]["errors"]
    assert answers[6]["problem"]["type"].endswith("/not-found")
    assert answers[1]["status"] == 400
    assert answers[1]["instance"] == f"{URL}#2"


async def test_the_last_line_may_end_without_a_newline(client: httpx.AsyncClient, park: Park):
    """One completion without a newline, or with one of another system, is one line."""
    asked = await park()
    for content in (line(asked), line(asked) + "\r\n"):
        answer = await client.post(URL, content=content.encode(), headers=NDJSON)
        assert len(answer.text.splitlines()) == 1
        assert answer.json()["receipt"] in {"applied", "duplicate"}


async def test_many_lines_go_through_in_pieces(client: httpx.AsyncClient, park: Park):
    """More lines than are admitted together keep their order."""
    asked = [await park(f"item {n}") for n in range(5)]
    unknown = {"interactionId": "unknown"}
    lines = []
    for one in asked:
        lines += [line(unknown)] * 499 + [line(one)]

    answers = await send(client, lines)

    assert len(lines) > 2 * completing.LINES_AT_ONCE
    assert [index for index, one in enumerate(answers) if one["receipt"] == "applied"] == [
        499, 999, 1499, 1999, 2499,
    ]  # fmt: skip


async def test_too_many_lines_are_refused_as_a_whole(
    served: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    """One line over the bound: 413, and nothing was admitted."""
    settings = Settings(batch_max_lines=3)
    monkeypatch.setattr(served.service, "settings", settings)

    answer = await client.post(URL, content=b"{}\n" * 4, headers=NDJSON)

    assert "batch_max_lines" in problem(answer, 413, "too-large")["detail"]
    assert len(await send(client, ["{}"] * 3)) == 3


async def test_too_many_bytes_are_refused_as_a_whole(client: httpx.AsyncClient):
    """More than 8 MiB: 413."""
    answer = await client.post(URL, content=b" " * (8 * 1024 * 1024 + 1), headers=NDJSON)

    problem(answer, 413, "too-large")


@pytest.mark.parametrize("content", [b"", b"\n", b" \n \n"])
async def test_a_batch_of_nothing_is_malformed(client: httpx.AsyncClient, content: bytes):
    """Without a line there is nothing to answer."""
    problem(await client.post(URL, content=content, headers=NDJSON), 400, "malformed")


async def test_a_batch_is_ndjson(client: httpx.AsyncClient):
    """JSON is not taken for it."""
    problem(await client.post(URL, json=[]), 415, "unsupported-media-type")


@pytest.mark.parametrize("failure", [None, StoreUnavailable("away"), RuntimeError("secret")])
async def test_a_store_that_fails_midway_gives_the_rest_unavailable(
    served: Served,
    client: httpx.AsyncClient,
    park: Park,
    monkeypatch: pytest.MonkeyPatch,
    failure: Any,
):
    """What was committed keeps its receipt; of the rest nothing is tried, and it says so."""
    asked = [await park(f"item {n}") for n in range(2)]
    monkeypatch.setattr(completing, "LINES_AT_ONCE", 3)
    complete_many, calls = served.service.complete_many, []

    async def failing(tenant: str, completions: Sequence[Completion], **by: Any):
        calls.append(len(completions))
        if len(calls) == 1:
            return await complete_many(tenant, completions, **by)
        if failure is not None:
            raise failure
        return [None] * len(completions)

    monkeypatch.setattr(served.service, "complete_many", failing)
    lines = [
        line(asked[0]),
        "{broken",
        line(asked[0]),
        line(asked[1]),
        "{broken",
        *[line(asked[1])] * 3,
    ]
    answers = await send(client, lines)

    kinds = [one.get("receipt") or one["type"].rsplit("/")[-1] for one in answers]
    assert kinds == [
        "applied", "malformed", "duplicate", "unavailable", "malformed", "unavailable",
        "unavailable", "unavailable",
    ]  # fmt: skip
    assert calls == [2, 2]
    assert {one["status"] for one in answers[5:]} == {503}
    assert "secret" not in json.dumps(answers)


async def test_a_store_that_takes_part_of_a_commit(
    served: Served, client: httpx.AsyncClient, park: Park, monkeypatch: pytest.MonkeyPatch
):
    """Receipts and `unavailable` may alternate, as the commits went."""
    asked = await park()

    async def partly(tenant: str, completions: Sequence[Completion], **by: Any):
        [done] = await type(served.service).complete_many(served.service, tenant, completions[:1])
        return [done, None]

    monkeypatch.setattr(served.service, "complete_many", partly)
    answers = await send(client, [line(asked), line(asked)])

    assert answers[0]["receipt"] == "applied"
    assert answers[1]["type"].endswith("/unavailable")


async def test_a_single_completion_that_the_store_refuses(
    served: Served, client: httpx.AsyncClient, park: Park, monkeypatch: pytest.MonkeyPatch
):
    """503 says when to come again, and that nothing was taken in."""
    asked = await park()

    async def away(*_: Any, **by: Any):
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(served.service, "complete", away)
    answer = await client.post(
        "/pipeline/interactions/complete",
        json={"interactionId": asked["interactionId"], "responsePayload": 1},
    )

    problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_completions_that_wait_are_bounded(
    served: Served, client: httpx.AsyncClient, park: Park, monkeypatch: pytest.MonkeyPatch
):
    """While as many wait as may wait, the next is sent away instead of held."""
    monkeypatch.setattr(served.service, "settings", Settings(pending_rows=1))
    asked = await park()
    arrived, go_on = asyncio.Event(), asyncio.Event()
    complete = served.service.complete

    async def slow(tenant: str, completion: Completion, **by: Any):
        arrived.set()
        await go_on.wait()
        return await complete(tenant, completion, **by)

    monkeypatch.setattr(served.service, "complete", slow)
    body = {"interactionId": asked["interactionId"], "responsePayload": {"accepted": {}}}
    url = "/pipeline/interactions/complete"
    first = asyncio.create_task(client.post(url, json=body))
    await arrived.wait()

    problem(await client.post(url, json=body), 503, "unavailable")
    go_on.set()
    assert (await first).json()["receipt"] == "applied"
    assert (await client.post(url, json=body)).json()["receipt"] == "duplicate"
