"""An execution's life over HTTP: as a replay document, and as server-sent events."""

import json
from typing import Any

import httpx
import pytest

from bide.web import following
from tests.web.expect import Ended, Park, problem


def events_of(text: str) -> list[tuple[int, dict[str, Any]]]:
    """The events of a stream: their ids and their data."""
    found: list[tuple[int, dict[str, Any]]] = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("event") == "fact":
            found.append((int(fields["id"]), json.loads(fields["data"])))
    return found


async def ended_order(client: httpx.AsyncClient, park: Park, ended: Ended) -> dict[str, Any]:
    """An order that was accepted, to its end."""
    asked = await park()
    answer = {"responsePayload": {"accepted": {"note": "fine"}}}
    await client.post(f"/api/v1/interactions/{asked['interactionId']}/complete", json=answer)
    return await ended(asked)


async def test_replay(client: httpx.AsyncClient, park: Park, ended: Ended):
    """The document is JSON of the schema that it names, without payloads unless asked for."""
    order = await ended_order(client, park, ended)
    path = f"/api/v1/executions/{order['executionId']}/replay"

    without = await client.get(path)
    full = await client.get(path, params={"payloads": "true"})

    assert without.status_code == 200
    assert without.headers["content-type"].startswith("application/json")
    assert without.headers["cache-control"] == "no-store"
    assert without.json()["schema"] == "bide.replay/1"
    assert "pizza" not in without.text
    assert full.json()["execution"]["input"]["item"] == "pizza"


async def test_replay_of_nothing(client: httpx.AsyncClient):
    """An unknown execution is not found; a flag that is none is malformed."""
    unknown = await client.get("/api/v1/executions/nope/replay")
    assert problem(unknown, 404, "not-found")
    unread = await client.get("/api/v1/executions/nope/replay", params={"payloads": "maybe"})
    assert problem(unread, 400, "malformed")


async def test_of_another_tenant(client: httpx.AsyncClient, park: Park):
    """Another tenant's execution looks like none at all."""
    asked = await park(tenant="globex")
    for what in ("replay", "events"):
        answer = await client.get(f"/api/v1/executions/{asked['executionId']}/{what}")
        assert problem(answer, 404, "not-found")


async def test_events_up_to_the_end(client: httpx.AsyncClient, park: Park, ended: Ended):
    """Every fact comes once under its version, as the timeline tells it; then the stream ends."""
    order = await ended_order(client, park, ended)
    base = f"/api/v1/executions/{order['executionId']}"

    stream = await client.get(f"{base}/events")
    timeline = (await client.get(f"{base}/timeline")).json()["items"]

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert [data for _, data in events_of(stream.text)] == timeline
    assert [id_ for id_, _ in events_of(stream.text)] == [one["version"] for one in timeline]


async def test_events_go_on(client: httpx.AsyncClient, park: Park, ended: Ended):
    """With Last-Event-ID only what follows comes; after the terminal fact, 204 ends it for good."""
    order = await ended_order(client, park, ended)
    path = f"/api/v1/executions/{order['executionId']}/events"

    later = await client.get(path, headers={"last-event-id": "2"})
    over = await client.get(path, headers={"last-event-id": str(order["version"])})
    unread = await client.get(path, headers={"last-event-id": "x"})

    assert [id_ for id_, _ in events_of(later.text)] == [*range(3, order["version"] + 1)]
    assert (over.status_code, over.content) == (204, b"")
    assert problem(unread, 400, "malformed")


async def test_events_are_bounded(
    client: httpx.AsyncClient, park: Park, monkeypatch: pytest.MonkeyPatch
):
    """Past so many followers a client is told to come again; a long stream is ended."""
    asked = await park()
    path = f"/api/v1/executions/{asked['executionId']}/events"
    monkeypatch.setattr(following, "_HEARTBEAT_S", 0.001)
    monkeypatch.setattr(following, "_STREAM_MAX_S", 0.0)

    cut = await client.get(path, headers={"last-event-id": "9"})
    monkeypatch.setattr(following, "_STREAMS_MAX", 0)
    refused = await client.get(path)

    assert cut.text == "retry: 1000\n\n: still here\n\n"
    assert problem(refused, 503, "unavailable")
