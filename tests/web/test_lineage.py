"""What an execution was made of and what it has led to, over HTTP."""

from typing import Any

import httpx

from bide.web import schemas
from tests.web.expect import Ended
from tests.web.test_description import closed

ABSENT = "018f2c3a-7d11-7abc-8def-0123456789ab"


async def published(client: httpx.AsyncClient, ended: Ended, note: str = "a") -> dict[str, Any]:
    """An execution that has ended and published."""
    value = {"key": "k", "note": note}
    answer = await client.post("/api/v1/pipelines/notes/executions", json=value)
    return dict(await ended(answer.json()))


async def lineage(client: httpx.AsyncClient, id: str) -> dict[str, Any]:
    """Its lineage, of the described form."""
    answer = await client.get(f"/api/v1/executions/{id}/lineage")
    assert answer.status_code == 200
    closed(schemas.LineageBody).validate_json(answer.content)
    return dict(answer.json())


async def test_both_ways(client: httpx.AsyncClient, ended: Ended) -> None:
    """The source names its target, the target its source, and each is found by that name."""
    source = await published(client, ended)

    [out] = (await lineage(client, source["executionId"]))["published"]
    back = await lineage(client, out["executionId"])

    assert (out["publication"], out["target"], out["key"], out["status"]) == (
        "noted", "readers", "k", "admitted",
    )  # fmt: skip
    assert [each["executionId"] for each in back["madeOf"]] == [source["executionId"]]
    assert back["published"] == []


async def test_a_refused_publication(client: httpx.AsyncClient, ended: Ended) -> None:
    """It is a dead letter of its own kind; offered again, it is refused again with the reason."""
    await published(client, ended, "a")
    source = await published(client, ended, "b")
    [out] = (await lineage(client, source["executionId"]))["published"]

    letter = (await client.get(f"/api/v1/dead-letters/{out['handoffId']}")).json()
    again = await client.post(f"/api/v1/dead-letters/{out['handoffId']}/redrive")

    assert (letter["kind"], letter["code"], letter["correlationId"]) == (
        "handoff", "handoff-conflict", "k",
    )  # fmt: skip
    assert letter["payload"] == {"key": "k", "note": "b"}
    assert again.status_code == 409
    assert "handoff-conflict" in again.json()["detail"]


async def test_of_nobody(client: httpx.AsyncClient) -> None:
    """Of an execution that is not there, 404."""
    answer = await client.get(f"/api/v1/executions/{ABSENT}/lineage")

    assert answer.status_code == 404
