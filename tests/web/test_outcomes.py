"""Items that give no answer, over HTTP: reported, counted, shown, and what follows."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from bide import Answered, App, Await, Collect, Inbox, Missing, Pipeline
from bide.web.routing import Served
from tests.web.expect import Ended, problem


def voters(count: int) -> Iterator[str]:
    return (f"voter {number}" for number in range(count))


def told(vote: Answered[bool] | Missing) -> str:
    return vote.reason if isinstance(vote, Missing) else str(vote.value)


ask = Await(
    "Ask", str, bool, via=Inbox(), timeout="2h", unit_timeout="1h", items=Collect(tolerate="50%")
)
poll = Pipeline("poll", int).then(voters).wait(ask).then(told)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """An app with one unit over a stream."""
    app = App(poll, store="memory://")
    async with app.running():
        yield app


async def open_items(client: httpx.AsyncClient, count: int) -> tuple[str, list[dict[str, Any]]]:
    """Start a poll of so many and give its execution and its open interactions."""
    started = (await client.post("/pipeline/run", json=count)).json()
    asked = await client.get("/api/v1/interactions", params={"executionId": started["executionId"]})
    return started["executionId"], sorted(asked.json()["items"], key=lambda one: one["itemIndex"])


async def complete(client: httpx.AsyncClient, asked: dict[str, Any], **what: Any) -> httpx.Response:
    body = {"interactionId": asked["interactionId"], **what}
    return await client.post("/pipeline/interactions/complete", json=body)


async def test_missing_items(client: httpx.AsyncClient, ended: Ended) -> None:
    """A reported failure is an item that is missing; the rest goes on, and the unit tells."""
    execution, (first, second) = await open_items(client, 2)
    failed = await complete(client, first, failure={"code": "moved", "message": "gone away"})
    [unit] = (await client.get(f"/api/v1/executions/{execution}/units")).json()["items"]
    await complete(client, second, responsePayload=True)

    assert (failed.json()["receipt"], failed.json()["status"]) == ("applied", "FAILED")
    assert (unit["status"], unit["settled"], unit["missing"]) == ("WAITING_EXTERNAL", 1, 1)
    assert unit["deadlineEpochMs"] == unit["createdAtEpochMs"] + 3_600_000
    assert first["deadlineEpochMs"] == unit["deadlineEpochMs"]
    assert (await ended({"executionId": execution}))["status"] == "SUCCEEDED"
    result = await client.get(f"/pipeline/executions/{execution}/result")
    assert result.json() == ["moved", "True"]


async def test_too_many_missing(client: httpx.AsyncClient, ended: Ended) -> None:
    """One more than is tolerated ends it; the items left open are shown as closed, at once."""
    execution, (first, second, third) = await open_items(client, 3)
    for each in (first, second):
        await complete(client, each, failure={"code": "moved"})

    view = await ended({"executionId": execution})
    left = (await client.get(f"/api/v1/interactions/{third['interactionId']}")).json()
    late = await complete(client, third, responsePayload=True)

    assert (view["status"], view["errorCode"]) == ("FAILED", "too-many-missing")
    assert left["status"] == "CANCELLED"
    assert problem(late, 410, "late")["interactionStatus"] == "CANCELLED"
    assert (await client.get("/api/v1/interactions")).json()["items"] == []
