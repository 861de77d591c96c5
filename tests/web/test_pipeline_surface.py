"""`/pipeline/...`, field by field."""

import json
from typing import Any

import httpx
import pytest

from bide.runtime.service import Service
from tests.web.expect import Ended, Park, problem

EXECUTION = {
    "executionId", "status", "stepIndex", "attempt", "version", "nextDueAtEpochMs",
    "updatedAtEpochMs", "errorCode", "errorMessage", "held",
}  # fmt: skip
INTERACTION = {
    "interactionId", "correlationId", "executionId", "stepId", "stepIndex", "outputType", "status",
    "requestPayload", "assignee", "group", "transportType", "transportMetadata", "deadlineEpochMs",
    "createdAtEpochMs", "updatedAtEpochMs", "unitId", "itemIndex", "generation", "pipeline",
    "outputSchema", "dispatch",
}  # fmt: skip
RECEIPT = {"interactionId", "executionId", "stepId", "status", "duplicate", "receipt"}
ACCEPTED = {"accepted": {"note": "yes"}}
DECLINED = {"declined": {"why": "closed"}}


async def test_run_async_says_where_to_look(client: httpx.AsyncClient):
    """A submission is answered 202 with its id and a status URL that works."""
    answer = await client.post("/pipeline/run-async", json={"item": "pizza"})

    assert answer.status_code == 202
    body = answer.json()
    assert set(body) == {"executionId", "duplicate", "statusUrl", "submittedAtEpochMs"}
    assert body["duplicate"] is False
    assert body["submittedAtEpochMs"] > 1_600_000_000_000
    assert answer.headers["location"] == body["statusUrl"]
    status = await client.get(body["statusUrl"])
    assert status.json()["executionId"] == body["executionId"]


async def test_a_repeated_key_names_the_same_execution(client: httpx.AsyncClient):
    """The same key with the same input is a duplicate, with another input a conflict."""
    headers = {"Idempotency-Key": "order-42"}
    first = await client.post("/pipeline/run-async", json={"item": "pizza"}, headers=headers)
    again = await client.post("/pipeline/run-async", json={"item": "pizza"}, headers=headers)
    other = await client.post("/pipeline/run-async", json={"item": "pasta"}, headers=headers)

    assert again.status_code == 202
    assert again.json() == {**first.json(), "duplicate": True}
    problem(other, 409, "submit-conflict")


async def test_a_blank_key_is_no_key(client: httpx.AsyncClient):
    """Two submissions with a blank key are two executions."""
    headers = {"Idempotency-Key": "  "}
    first = await client.post("/pipeline/run-async", json={"item": "pizza"}, headers=headers)
    again = await client.post("/pipeline/run-async", json={"item": "pizza"}, headers=headers)

    assert first.json()["executionId"] != again.json()["executionId"]


async def test_input_that_does_not_fit_lists_what_is_wrong(client: httpx.AsyncClient):
    """Input of the wrong shape is 422 with path and message of each error."""
    body = problem(
        await client.post("/pipeline/run-async", json={"amount": 3}), 422, "invalid-input"
    )

    assert body["errors"][0]["path"] == "/item"


async def test_run_answers_202_when_the_execution_parks(client: httpx.AsyncClient):
    """`run` of a pipeline that waits gives the execution, at once."""
    answer = await client.post("/pipeline/run", json={"item": "pizza"})

    assert answer.status_code == 202
    assert set(answer.json()) == EXECUTION
    assert answer.json()["status"] == "WAITING_EXTERNAL"
    assert answer.headers["preference-applied"] == "wait=30"


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=5", "5"), ("respond-async, wait = 0.5", "0.5"), ("wait=1e9", "30"),
        ("wait=-1", "30"), ("wait=999999", "300"), ("wait", "30"), ("", "30"), ("wait=nan", "30"),
    ],
)  # fmt: skip
async def test_prefer_says_how_long_to_wait(client: httpx.AsyncClient, prefer: str, applied: str):
    """A preference that can be read is kept to, within the bound; any other is none."""
    answer = await client.post("/pipeline/run", json={"item": "x"}, headers={"Prefer": prefer})

    assert answer.headers["preference-applied"] == f"wait={applied}"


async def test_status_has_exactly_the_published_fields(client: httpx.AsyncClient, park: Park):
    """The execution object is the contract's, with nothing beside."""
    asked = await park()

    answer = await client.get(f"/pipeline/executions/{asked['executionId']}")

    assert answer.status_code == 200
    assert set(answer.json()) == EXECUTION
    assert answer.json()["held"] is None


async def test_a_result_waits_for_success(ended: Ended, client: httpx.AsyncClient, park: Park):
    """Until the execution has succeeded its result is 409, then it is the bare value."""
    asked = await park()
    url = f"/pipeline/executions/{asked['executionId']}/result"
    problem(await client.get(url), 409, "not-finished")

    await client.post(
        "/pipeline/interactions/complete",
        json={"interactionId": asked["interactionId"], "responsePayload": ACCEPTED},
    )
    await ended(asked)

    answer = await client.get(url)
    assert answer.status_code == 200
    assert answer.json() == "accepted"


async def test_pending_lists_interactions_in_full(client: httpx.AsyncClient, park: Park):
    """The list holds interaction objects with every published field."""
    asked = await park("pizza")

    answer = await client.get("/pipeline/interactions/pending")

    assert answer.status_code == 200
    [found] = answer.json()
    assert set(found) == INTERACTION
    assert found["interactionId"] == asked["interactionId"] == found["correlationId"]
    assert found["requestPayload"]["item"] == "pizza"
    assert (found["stepId"], found["stepIndex"]) == ("approve-order", 0)
    assert (found["group"], found["assignee"]) == ("kitchen", None)
    assert found["transportType"] == "interaction-api"
    assert found["status"] == "DISPATCHED"
    assert found["deadlineEpochMs"] > found["createdAtEpochMs"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 3), ("limit=2", 2), ("limit=", 3), ("limit=%20", 3), ("limit=0", 0),
        ("limit=1000", 3), ("limit=5000", 3), ("group=kitchen", 3), ("group=bar", 0),
        ("group=", 3), ("assignee=ada", 0), ("assignee=+", 3), ("stepId=approve-order", 3),
        ("stepId=Approve%20Order", 3), ("stepId=other", 0), ("stepId=", 3), ("unknown=1", 3),
    ],
)  # fmt: skip
async def test_pending_filters(client: httpx.AsyncClient, park: Park, query: str, found: int):
    """Filters narrow, blanks do not, and more than 1,000 means 1,000."""
    for _ in range(3):
        await park()

    answer = await client.get(f"/pipeline/interactions/pending?{query}")

    assert answer.status_code == 200
    assert len(answer.json()) == found


async def test_a_limit_above_the_most_is_the_most(
    client: httpx.AsyncClient, service: Service, monkeypatch: pytest.MonkeyPatch
):
    """However large the limit, at most 1,000 are asked of the store."""
    asked = []

    async def pending(tenant: str, *, limit: Any, **_: Any):
        asked.append(limit)
        return []

    monkeypatch.setattr(service, "pending", pending)
    await client.get("/pipeline/interactions/pending?limit=999999999999")
    await client.get("/pipeline/interactions/pending")

    assert asked == [1000, 100]


@pytest.mark.parametrize("limit", ["-1", "ten", "1.5", "1e3", "0x10", "٣", "1" * 5000, "1_0"])
async def test_a_limit_that_is_none_is_malformed(client: httpx.AsyncClient, limit: Any):
    """Negative limits and words are 400."""
    answer = await client.get("/pipeline/interactions/pending", params={"limit": limit})

    problem(answer, 400, "malformed")


async def test_a_completion_is_receipted(client: httpx.AsyncClient, park: Park):
    """Applied, then duplicate, then conflict: statuses and bodies of the contract."""
    asked = await park()
    completion = {
        "interactionId": asked["interactionId"],
        "idempotencyKey": "k-1",
        "actor": "ada",
        "responsePayload": ACCEPTED,
    }
    first = await client.post("/pipeline/interactions/complete", json=completion)
    again = await client.post("/pipeline/interactions/complete", json=completion)
    other = await client.post(
        "/pipeline/interactions/complete", json={**completion, "responsePayload": DECLINED}
    )

    assert first.status_code == again.status_code == 200
    assert first.json() == {
        "interactionId": asked["interactionId"],
        "executionId": asked["executionId"],
        "stepId": "approve-order",
        "status": "COMPLETED",
        "duplicate": False,
        "receipt": "applied",
    }
    assert again.json() == {**first.json(), "duplicate": True, "receipt": "duplicate"}
    refused = problem(other, 409, "conflict")
    assert (refused["receipt"], refused["duplicate"]) == ("conflict", False)
    assert refused["interactionId"] == asked["interactionId"]
    assert refused["interactionStatus"] == "COMPLETED"


async def test_an_answer_that_does_not_fit_leaves_the_question_open(
    client: httpx.AsyncClient, park: Park
):
    """422 with what is wrong; a good answer is admitted afterwards."""
    asked = await park()
    url = "/pipeline/interactions/complete"
    bad = {"interactionId": asked["interactionId"], "responsePayload": {"declined": {}}}
    good = {"interactionId": asked["interactionId"], "responsePayload": ACCEPTED}

    refused = problem(await client.post(url, json=bad), 422, "invalid-answer")
    answer = await client.post(url, json=good)

    assert refused["receipt"] == "rejected"
    assert refused["errors"]
    assert answer.json()["receipt"] == "applied"


async def test_an_answer_to_a_cancelled_question_is_late(client: httpx.AsyncClient, park: Park):
    """An interaction that ended otherwise answers 410."""
    asked = await park()
    await client.post(f"/api/v1/executions/{asked['executionId']}/cancel")

    answer = await client.post(
        "/pipeline/interactions/complete",
        json={"interactionId": asked["interactionId"], "responsePayload": ACCEPTED},
    )

    assert problem(answer, 410, "late")["receipt"] == "late"


async def test_a_failure_is_taken_instead_of_an_answer(client: httpx.AsyncClient, park: Park):
    """A reported failure is applied and ends the flow as failed."""
    asked = await park()

    answer = await client.post(
        "/pipeline/interactions/complete",
        json={
            "interactionId": asked["interactionId"],
            "failure": {"code": "out-of-stock", "message": "no more\nflour"},
            "responsePayload": None,
        },
    )

    assert answer.status_code == 200
    assert (answer.json()["receipt"], answer.json()["status"]) == ("applied", "FAILED")
    status = await client.get(f"/pipeline/executions/{asked['executionId']}")
    assert status.json()["status"] == "FAILED"


async def test_another_tenants_interaction_looks_like_none(client: httpx.AsyncClient, park: Park):
    """Wrong tenant and unknown id give the same 404, but for the id that was asked for."""
    asked = await park(tenant="acme")
    foreign, unknown = asked["interactionId"], asked["interactionId"][:-1] + "7"
    answers = [
        await client.post(
            "/pipeline/interactions/complete",
            json={"interactionId": one, "responsePayload": ACCEPTED},
        )
        for one in (foreign, unknown)
    ]

    first, second = (problem(answer, 404, "not-found") for answer in answers)
    assert json.dumps(first).replace(foreign, unknown) == json.dumps(second)
    assert (await client.get(f"/pipeline/executions/{asked['executionId']}")).status_code == 404


@pytest.mark.parametrize(
    "given", ["nonsense", "%00", "..", "a" * 3000, "018f", "ü", "%ff", "1_2_3"]
)
async def test_an_id_that_does_not_parse_is_an_unknown_one(client: httpx.AsyncClient, given: str):
    """Whatever stands in the path, it is no execution."""
    for path in (f"/pipeline/executions/{given}", f"/pipeline/executions/{given}/result"):
        answer = await client.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


async def test_blanks_are_absent(client: httpx.AsyncClient, park: Park):
    """Blank fields of a completion count as not given, and values are trimmed."""
    asked = await park()

    answer = await client.post(
        "/pipeline/interactions/complete",
        json={
            "interactionId": f" {asked['interactionId']} ",
            "correlationId": "",
            "stepId": "  ",
            "resumeToken": None,
            "idempotencyKey": "",
            "actor": " ",
            "responsePayload": ACCEPTED,
            "unknownField": {"is": "ignored"},
        },
    )

    assert answer.status_code == 200, answer.text
    assert answer.json()["receipt"] == "applied"


async def test_null_is_a_payload(client: httpx.AsyncClient, park: Park):
    """`responsePayload: null` is an answer, here one that does not fit; left out it is none."""
    asked = await park()
    url, named = "/pipeline/interactions/complete", {"interactionId": asked["interactionId"]}

    with_null = await client.post(url, json={**named, "responsePayload": None})
    without = await client.post(url, json=named)

    problem(with_null, 422, "invalid-answer")
    problem(without, 400, "malformed")


async def test_an_execution_that_gave_up_says_why(ended: Ended, client: httpx.AsyncClient):
    """An end without a result shows its code and its message."""
    answer = await client.post("/api/v1/pipelines/refusals/executions", json="no flour")
    end = await ended(answer.json())

    status = await client.get(f"/pipeline/executions/{end['executionId']}")

    assert set(status.json()) == EXECUTION
    assert status.json()["status"] == "DLQ"
    assert status.json()["errorCode"]
    assert "no flour" in status.json()["errorMessage"]
