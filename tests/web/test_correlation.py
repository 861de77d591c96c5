"""Completions that name a correlation key, over HTTP."""

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import BaseModel

from bide import App, Await, Inbox, Pipeline, Principal
from bide.settings import Settings
from tests.web.expect import Connect, problem


class Order(BaseModel):
    number: str


decide = Await("Decide", Order, bool, via=Inbox("kitchen"), timeout="1h", correlate_on="number")
check = Await("Check", Order, bool, via=Inbox("bar"), timeout="1h", correlate_on="number")
COMPLETE = "/pipeline/interactions/complete"


@pytest.fixture
async def shop() -> AsyncIterator[App]:
    """Two pipelines whose awaits are correlated by the same number."""
    pipelines = Pipeline("orders", Order).wait(decide), Pipeline("drinks", Order).wait(check)
    async with App(*pipelines, store="memory://", settings=Settings()).running() as app:
        yield app


@pytest.fixture
def client(shop: App, connect: Connect) -> httpx.AsyncClient:
    return connect(shop)


async def test_buffered_then_adopted(client: httpx.AsyncClient) -> None:
    """An early answer is a 202, its repeat a 200, another one a 409; the order goes straight on."""
    body = {"correlationId": " n-1 ", "stepId": "decide", "responsePayload": True}
    first = await client.post(COMPLETE, json=body)
    again = await client.post(COMPLETE, json=body)
    other = await client.post(COMPLETE, json={**body, "responsePayload": False})
    ran = await client.post("/pipeline/run", json={"number": "n-1"})

    assert (first.status_code, first.json()["receipt"]) == (202, "buffered")
    assert first.json() == {
        "interactionId": "n-1", "executionId": None, "stepId": "decide", "status": None,
        "duplicate": False, "receipt": "buffered",
    }  # fmt: skip
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert problem(other, 409, "conflict")["receipt"] == "conflict"
    assert (ran.status_code, ran.json()) == (200, True)
    counts = (await client.get("/api/v1/receipts")).json()
    assert counts["process"] == {
        "applied": 0, "duplicate": 1, "conflict": 1, "late": 0, "buffered": 1, "rejected": 0,
        "unknown": 0,
    }  # fmt: skip
    assert counts["stored"] == {
        name: counts["process"][name] for name in counts["stored"]
    }  # fmt: skip


async def test_ambiguity(client: httpx.AsyncClient) -> None:
    """A key that fits several awaits is a 409 until the step is named; a line of a batch as well."""
    body = {"correlationId": "n-1", "responsePayload": True}
    refused = await client.post(COMPLETE, json=body)
    lines = [
        '{"correlationId": "n-1", "responsePayload": true}',
        '{"correlationId": "n-1", "stepId": "Check", "responsePayload": true}',
        '{"correlationId": "n-1", "stepId": "nowhere", "responsePayload": true}',
        '{"correlationId": "n-2", "stepId": "check", "responsePayload": "yes please"}',
    ]
    batch = await client.post(
        "/api/v1/interactions/complete-batch",
        content="\n".join(lines),
        headers={"content-type": "application/x-ndjson"},
    )

    assert problem(refused, 409, "ambiguous-correlation")["receipt"] == "rejected"
    told = [line.split('"receipt":"')[1].split('"')[0] for line in batch.text.splitlines()]
    assert told == ["rejected", "buffered", "unknown", "rejected"]


async def test_the_interaction_shows_its_key(client: httpx.AsyncClient) -> None:
    """`correlationId` of an interaction is the business key."""
    await client.post("/pipeline/run", json={"number": "n-1"})

    [asked] = (await client.get("/pipeline/interactions/pending")).json()
    done = await client.post(COMPLETE, json={"correlationId": "n-1", "responsePayload": True})

    assert asked["correlationId"] == "n-1"
    assert done.json()["interactionId"] == asked["interactionId"]
    assert done.json()["receipt"] == "applied"


@pytest.mark.parametrize("parked", [True, False])
async def test_a_key_is_no_way_past_the_groups(
    shop: App, connect: Connect, client: httpx.AsyncClient, *, parked: bool
) -> None:
    """Only whom the await asks may answer it by its key, also before it asks."""

    async def identify(request: object) -> Principal:
        return Principal("ada", groups=["bar"])

    if parked:
        await client.post("/pipeline/run", json={"number": "n-1"})
    body = {"correlationId": "n-1", "stepId": "decide", "responsePayload": True}
    ada = connect(shop, identify=identify)

    refused = await ada.post(COMPLETE, json=body)
    allowed = await ada.post(COMPLETE, json={**body, "stepId": "check"})
    ambiguous = await ada.post(COMPLETE, json={**body, "stepId": None, "correlationId": "n-2"})

    problem(refused, 403, "not-allowed")
    assert allowed.status_code == 202
    problem(ambiguous, 409, "ambiguous-correlation")
    given = (await ada.get("/api/v1/receipts")).json()["process"]
    assert (given["rejected"], given["buffered"]) == (2, 1)
