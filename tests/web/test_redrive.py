"""Redriving over HTTP."""

from typing import Any

import httpx
import pytest

from bide.web import schemas
from tests.web.expect import Ended, Park
from tests.web.test_description import closed

ABSENT = "018f2c3a-7d11-7abc-8def-0123456789ab"


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem."""
    return answer.status_code, answer.json()["type"].rpartition("/")[2]


async def refused(client: httpx.AsyncClient, ended: Ended) -> str:
    """An execution in the DLQ."""
    answer = await client.post("/api/v1/pipelines/refusals/executions", json="no")
    return str((await ended(answer.json()))["executionId"])


@pytest.mark.parametrize("kind", ["executions", "dead-letters"])
async def test_a_new_execution(client: httpx.AsyncClient, ended: Ended, kind: str) -> None:
    """202 with the new execution, which names the old one; the same again is a duplicate."""
    source = await refused(client, ended)

    made = await client.post(f"/api/v1/{kind}/{source}/redrive")
    same = await client.post(f"/api/v1/{kind}/{source}/redrive", json={"from": "start"})
    other = await client.post(f"/api/v1/{kind}/{source}/redrive", json={"again": True})

    assert made.status_code == 202
    closed(schemas.SubmissionBody).validate_json(made.content)
    assert same.json() == {**made.json(), "duplicate": True}
    assert other.json()["executionId"] != made.json()["executionId"]
    assert (await ended(made.json()))["redrivenFrom"] == source


async def test_from_an_await(client: httpx.AsyncClient, park: Park) -> None:
    """What the failed await had not been answered is asked by the new execution."""
    asked = await park("pasta")
    await client.post(
        f"/api/v1/interactions/{asked['interactionId']}/complete",
        json={"failure": {"code": "busy"}},
    )
    path = f"/api/v1/executions/{asked['executionId']}/redrive"

    made = await client.post(path, json={"from": "await"})
    elsewhere = await client.post(path, json={"from": "start"})

    assert made.status_code == 202
    assert problem(elsewhere) == (409, "submit-conflict")


@pytest.mark.parametrize("body", [{"from": "x"}, {"from": 1}, {"again": "yes"}, []])
async def test_bodies_that_cannot_be_read(client: httpx.AsyncClient, body: Any) -> None:
    """A word that is none is malformed."""
    answer = await client.post(f"/api/v1/executions/{ABSENT}/redrive", json=body)

    assert problem(answer) == (400, "malformed")


async def test_what_cannot_be(client: httpx.AsyncClient, park: Park) -> None:
    """What waits is not redriven, and what is not there is not found."""
    asked = await park()
    waiting = f"/api/v1/executions/{asked['executionId']}/redrive"
    item = f"/api/v1/interactions/{asked['interactionId']}/redrive"

    assert problem(await client.post(waiting)) == (409, "not-redrivable")
    assert problem(await client.post(item)) == (409, "not-redrivable")
    for path in (
        f"executions/{ABSENT}", f"dead-letters/{ABSENT}", f"rejects/{ABSENT}_r0_0",
        f"interactions/{ABSENT}_1_0",
    ):  # fmt: skip
        answer = await client.post(f"/api/v1/{path}/redrive")
        assert problem(answer) == (404, "not-found")


async def test_rejects(client: httpx.AsyncClient, ended: Ended) -> None:
    """They are listed in pages, shown with the item, and redriven."""
    started = await client.post("/api/v1/pipelines/picks/executions", json=9)
    execution = await ended(started.json())

    first = (await client.get("/api/v1/rejects", params={"limit": 2})).json()
    rest = await client.get("/api/v1/rejects", params={"cursor": first["nextCursor"]})

    closed(schemas.RejectPage).validate_json(rest.content)
    listed = [*first["items"], *rest.json()["items"]]
    assert [row["itemIndex"] for row in listed] == [2, 5, 8]
    path = f"/api/v1/rejects/{listed[1]['rejectId']}"
    shown = await client.get(path)
    closed(schemas.RejectBody).validate_json(shown.content)
    assert (shown.json()["item"], shown.json()["reason"]) == (5, "no thirds")
    made = await client.post(f"{path}/redrive")
    assert (await ended(made.json()))["redrivenFrom"] == execution["executionId"]
    assert problem(await client.get("/api/v1/rejects", params={"cursor": "x"})) == (
        400,
        "malformed",
    )
    assert problem(await client.get(f"/api/v1/rejects/{ABSENT}_r0_0")) == (404, "not-found")
