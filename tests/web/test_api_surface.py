"""`/api/v1/...`: every pipeline, with filters, cursors and parts of results."""

import json
from typing import Any

import httpx
import pytest

from bide.settings import Settings
from bide.web.routing import Served
from tests.web.expect import Ended, Park, problem

DETAIL = {
    "executionId", "status", "stepIndex", "attempt", "version", "nextDueAtEpochMs",
    "updatedAtEpochMs", "errorCode", "errorMessage", "held", "pipeline", "step",
    "createdAtEpochMs", "resultCount", "redrivenFrom", "fingerprint",
}  # fmt: skip


async def start(client: httpx.AsyncClient, pipeline: str, value: Any):
    answer = await client.post(
        f"/api/v1/pipelines/{pipeline}/executions",
        content=json.dumps(value),  # httpx takes `json=None` for no body
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 202, answer.text
    return answer.json()


async def test_any_pipeline_can_be_submitted_to(ended: Ended, client: httpx.AsyncClient):
    """The path names the pipeline; the status URL leads to the whole execution."""
    submission = await start(client, "echo", {"any": ["thing"]})

    found = await ended(submission)

    assert set(found) == DETAIL
    assert (found["pipeline"], found["status"]) == ("echo", "SUCCEEDED")
    result = await client.get(f"/api/v1/executions/{submission['executionId']}/result")
    assert result.json() == {"any": ["thing"]}


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, 1.5, "ü\U0001f600", 2**60, -(2**63)])
async def test_results_are_json_values(ended: Ended, client: httpx.AsyncClient, value: Any):
    """What is submitted to a pipeline that gives it back comes back the same."""
    submission = await start(client, "echo", value)
    await ended(submission)

    answer = await client.get(f"/api/v1/executions/{submission['executionId']}/result")

    assert answer.status_code == 200
    assert answer.json() == value


async def test_large_integers_do_not_break_an_answer(ended: Ended, client: httpx.AsyncClient):
    """An integer of more than 64 bits is JSON as well."""
    submission = await client.post(
        "/api/v1/pipelines/echo/executions",
        content=b"123456789012345678901234567890",
        headers={"content-type": "application/json"},
    )
    await ended(submission.json())

    execution_id = submission.json()["executionId"]
    answer = await client.get(f"/api/v1/executions/{execution_id}/result")

    assert answer.text == "123456789012345678901234567890"


async def test_executions_are_listed_newest_first_in_pages(client: httpx.AsyncClient):
    """Cursors lead through all of them, each once."""
    started = [(await start(client, "echo", n))["executionId"] for n in range(7)]
    seen, cursor, pages = [], None, 0
    while True:
        params = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/api/v1/executions", params=params)).json()
        assert set(page) == {"items", "nextCursor"}
        seen += [item["executionId"] for item in page["items"]]
        cursor, pages = page["nextCursor"], pages + 1
        if cursor is None:
            break

    assert seen == started[::-1]
    assert pages == 3


async def test_executions_are_filtered(ended: Ended, client: httpx.AsyncClient, park: Park):
    """By pipeline and by status, in the path and in the query."""
    await park()
    await ended(await start(client, "echo", 1))

    for url, found in (
        ("/api/v1/executions", 2),
        ("/api/v1/executions?pipeline=echo", 1),
        ("/api/v1/executions?pipeline=", 2),
        ("/api/v1/executions?pipeline=none", 0),
        ("/api/v1/executions?status=WAITING_EXTERNAL", 1),
        ("/api/v1/executions?status=succeeded", 1),
        ("/api/v1/executions?status=", 2),
        ("/api/v1/pipelines/orders/executions", 1),
        ("/api/v1/pipelines/orders/executions?status=SUCCEEDED", 0),
        ("/api/v1/executions?limit=0", 0),
    ):
        answer = await client.get(url)
        assert answer.status_code == 200
        assert len(answer.json()["items"]) == found, url


async def test_streaming_results_come_in_pages(ended: Ended, client: httpx.AsyncClient):
    """Pages hold the items in order, and the last one has no cursor."""
    submission = await start(client, "numbers", 7)
    assert (await ended(submission))["resultCount"] == 7
    url = f"/api/v1/executions/{submission['executionId']}/results"
    seen, cursor = [], ""
    while cursor is not None:
        page = (await client.get(url, params={"limit": 3, "cursor": cursor})).json()
        assert set(page) == {"items", "nextCursor"}
        assert len(page["items"]) <= 3
        seen += page["items"]
        cursor = page["nextCursor"]

    assert seen == [{"number": n} for n in range(7)]


async def test_a_page_of_results_is_bounded_in_bytes(
    ended: Ended, served: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    """A page ends where one piece ends, though it holds at least one item."""
    submission = await start(client, "numbers", 5)
    await ended(submission)
    monkeypatch.setattr(served.service, "settings", Settings(result_max_bytes=30))
    url = f"/api/v1/executions/{submission['executionId']}/results"

    page = (await client.get(url)).json()

    assert page == {"items": [{"number": 0}, {"number": 1}], "nextCursor": "2"}


async def test_streaming_results_stream(ended: Ended, client: httpx.AsyncClient):
    """A client that accepts NDJSON gets all of it, a line an item."""
    submission = await start(client, "numbers", 1200)
    await ended(submission)
    url = f"/api/v1/executions/{submission['executionId']}/results"

    answer = await client.get(url, headers={"accept": "application/x-ndjson"})

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.text.splitlines()] == [
        {"number": n} for n in range(1200)
    ]


async def test_a_single_result_is_a_page_of_one(ended: Ended, client: httpx.AsyncClient):
    """Whoever reads results need not know whether they stream."""
    submission = await start(client, "echo", {"a": 1})
    await ended(submission)

    answer = await client.get(f"/api/v1/executions/{submission['executionId']}/results")

    assert answer.json() == {"items": [{"a": 1}], "nextCursor": None}


async def test_results_wait_for_success(client: httpx.AsyncClient, park: Park):
    """Before the end there is no part of a result either."""
    asked = await park()

    answer = await client.get(f"/api/v1/executions/{asked['executionId']}/results")

    problem(answer, 409, "not-finished")


async def test_units_and_timeline(client: httpx.AsyncClient, park: Park):
    """An execution shows what it waits for and how it came there."""
    asked = await park()
    url = f"/api/v1/executions/{asked['executionId']}"

    [unit] = (await client.get(f"{url}/units")).json()["items"]
    entries = (await client.get(f"{url}/timeline")).json()["items"]

    assert unit["unitId"] == asked["unitId"]
    assert (unit["status"], unit["total"], unit["settled"]) == ("WAITING_EXTERNAL", 1, 0)
    assert entries[0]["version"] == 1
    assert set(entries[0]) == {"atEpochMs", "version", "what", "unitId", "detail"}


async def test_cancel_ends_execution_and_question(client: httpx.AsyncClient, park: Park):
    """Cancelled once with a reason; a second time there is nothing to cancel."""
    asked = await park()
    url = f"/api/v1/executions/{asked['executionId']}/cancel"
    first = await client.post(url, json={"reason": "customer left"})
    again = await client.post(url, json={})

    assert first.status_code == 200
    assert first.json()["status"] == "CANCELLED"
    problem(again, 409, "already-ended")
    params = {"executionId": asked["executionId"]}
    assert (await client.get("/api/v1/interactions", params=params)).json()["items"] == []


async def test_dead_letters_are_listed_and_shown(ended: Ended, client: httpx.AsyncClient):
    """What gave up is found, with the reason."""
    submission = await start(client, "refusals", "no flour")
    await ended(submission)
    page = (await client.get("/api/v1/dead-letters")).json()
    [found] = page["items"]

    one = await client.get(f"/api/v1/dead-letters/{found['deadLetterId']}")

    assert one.json() == found
    assert found["executionId"] == submission["executionId"]
    assert "no flour" in found["message"]
    assert (found["status"], found["stepId"]) == ("DLQ", "refuse")
    assert (await client.get("/api/v1/dead-letters?pipeline=echo")).json()["items"] == []


@pytest.mark.parametrize(
    "path",
    [
        "executions/{id}", "executions/{id}/result", "executions/{id}/results",
        "executions/{id}/timeline", "executions/{id}/units", "interactions/{id}",
        "dead-letters/{id}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("foreign", [True, False])
async def test_what_is_not_ours_is_not_there(
    client: httpx.AsyncClient, park: Park, path: str, foreign: bool
):
    """Another tenant's rows and rows that never were give the same 404."""
    asked = await park(tenant="acme")
    id = "nonsense"
    if foreign:
        id = asked["interactionId" if "interactions" in path else "executionId"]

    answer = await client.get("/api/v1/" + path.format(id=id))

    problem(answer, 404, "not-found")


async def test_a_foreign_execution_cannot_be_cancelled(client: httpx.AsyncClient, park: Park):
    """Nor does the answer say that it is there."""
    asked = await park(tenant="acme")
    url = f"/api/v1/executions/{asked['executionId']}/cancel"

    problem(await client.post(url), 404, "not-found")
