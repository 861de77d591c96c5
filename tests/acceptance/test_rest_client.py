"""A client that was written from the wire contract alone, against the service as a user starts it.

It knows addresses, fields, statuses and problem types, and imports nothing of Bide.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.processes import IMPATIENT, Service

pytestmark = pytest.mark.process

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
ENDS = {"SUCCEEDED", "FAILED", "DLQ", "CANCELLED"}


@dataclass
class RestClient:
    """The calls of `/pipeline/...`."""

    http: httpx.AsyncClient

    async def run_async(self, body: Any, **headers: str) -> httpx.Response:
        return await self.http.post("/pipeline/run-async", json=body, headers=headers)

    async def run(self, body: Any, wait: float, **headers: str) -> httpx.Response:
        headers = {**headers, "Prefer": f"wait={wait}"}
        return await self.http.post("/pipeline/run", json=body, headers=headers, timeout=wait + 30)

    async def execution(self, execution_id: str, **headers: str) -> dict[str, Any]:
        answer = await self.http.get(f"/pipeline/executions/{execution_id}", headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def result(self, execution_id: str) -> httpx.Response:
        return await self.http.get(f"/pipeline/executions/{execution_id}/result")

    async def pending(self, headers: dict[str, str] | None = None, **query: Any) -> list[Any]:
        answer = await self.http.get(
            "/pipeline/interactions/pending", params=query, headers=headers
        )
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    async def complete(self, body: Any, **headers: str) -> httpx.Response:
        return await self.http.post("/pipeline/interactions/complete", json=body, headers=headers)

    async def parked(self, body: Any, **headers: str) -> dict[str, Any]:
        """Submit, wait until it parks, and find the question by its step."""
        started = await self.run(body, 30, **headers)
        assert started.status_code == 202, started.text
        assert started.json()["status"] == "WAITING_EXTERNAL"
        found = await self.pending(headers, stepId="await-restaurant-decision", limit=1000)
        [asked] = [one for one in found if one["executionId"] == started.json()["executionId"]]
        return dict(asked)

    async def ended(self, execution_id: str, **headers: str) -> dict[str, Any]:
        """Ask until the execution has ended; the test's own timeout bounds it."""
        while (found := await self.execution(execution_id, **headers))["status"] not in ENDS:
            pass
        return found


def order(**changes: Any) -> dict[str, Any]:
    return {
        "requestId": str(uuid4()),
        "customerName": "Ada Lovelace",
        "restaurantName": "Roma",
        "items": "2 x pizza, 1 x лимонад \U0001f34b",
        "totalAmount": "21.50",
        "currency": "EUR",
        **changes,
    }


def accepted(asked: dict[str, Any], note: str = "in 20 minutes") -> dict[str, Any]:
    return {
        "accepted": {
            "orderId": asked["requestPayload"]["orderId"],
            "decidedAt": "2026-11-21T12:00:00Z",
            "note": note,
        }
    }


def declined(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "declined": {
            "orderId": asked["requestPayload"]["orderId"],
            "decidedAt": "2026-11-21T12:00:00Z",
            "note": "",
            "declineReason": "no dough",
        }
    }


def completion(asked: dict[str, Any], payload: Any) -> dict[str, Any]:
    return {
        "interactionId": asked["interactionId"],
        "idempotencyKey": "decision-1",
        "actor": "chef",
        "responsePayload": payload,
    }


def problem(answer: httpx.Response, status: int, ends_in: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"].endswith(ends_in)
    assert body["status"] == status
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    return body


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with Service("examples.restaurant_approval:app", folder, env=IMPATIENT) as service:
        yield service


@pytest.fixture
async def client(service: Service) -> AsyncIterator[RestClient]:
    await service.must_be_ready()
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        yield RestClient(http)


@pytest.mark.parametrize(
    ("decide", "outcome", "status", "summary"),
    [
        (accepted, "APPROVED", "ACCEPTED", "in 20 minutes"),
        (declined, "DECLINED", "DECLINED", "no dough"),
    ],
)
async def test_a_decision_ends_the_order(
    client: RestClient, decide: Any, outcome: str, status: str, summary: str
) -> None:
    """Accepted or declined, the order goes its way from submission to result."""
    placed = order()
    key = f"order-{placed['requestId']}"
    started = await client.run_async(placed, **{"Idempotency-Key": key})
    assert started.status_code == 202
    body = started.json()
    assert set(body) == {"executionId", "duplicate", "statusUrl", "submittedAtEpochMs"}
    assert body["duplicate"] is False
    again = await client.run_async(placed, **{"Idempotency-Key": key})
    assert again.json() == {**body, "duplicate": True}

    while (where := await client.execution(body["executionId"]))["status"] != "WAITING_EXTERNAL":
        assert where["status"] not in ENDS, where
    assert set(where) == EXECUTION
    assert (where["stepIndex"], where["held"], where["errorCode"]) == (2, None, None)
    problem(await client.result(body["executionId"]), 409, "not-finished")

    found = await client.pending(stepId="await-restaurant-decision", group="kitchen", limit=1000)
    [asked] = [one for one in found if one["executionId"] == body["executionId"]]
    assert set(asked) == INTERACTION
    assert asked["correlationId"] == asked["interactionId"]
    assert asked["stepId"] == "await-restaurant-decision"
    assert asked["stepIndex"] == 2
    assert (asked["itemIndex"], asked["generation"], asked["assignee"]) == (None, 0, None)
    assert asked["group"] == "kitchen"
    assert asked["pipeline"] == "restaurant-approval"
    assert asked["transportType"] == "interaction-api"
    assert asked["deadlineEpochMs"] - asked["createdAtEpochMs"] == 30 * 60 * 1000
    assert UUID(asked["requestPayload"]["orderId"])
    assert asked["requestPayload"]["totalAmount"] == "21.50"
    assert asked["requestPayload"]["items"] == placed["items"]

    receipt = await client.complete(completion(asked, decide(asked)))
    assert receipt.status_code == 200, receipt.text
    assert receipt.json() == {
        "interactionId": asked["interactionId"],
        "executionId": body["executionId"],
        "stepId": "await-restaurant-decision",
        "status": "COMPLETED",
        "duplicate": False,
        "receipt": "applied",
    }
    end = await client.ended(body["executionId"])
    assert end["status"] == "SUCCEEDED"
    result = (await client.result(body["executionId"])).json()
    assert result["orderId"] == asked["requestPayload"]["orderId"]
    assert (result["outcome"], result["restaurantStatus"]) == (outcome, status)
    assert result["summary"] == summary
    assert await client.pending(limit=1000, stepId="Await Restaurant Decision") == [
        one for one in await client.pending(limit=1000) if one["executionId"] != body["executionId"]
    ]


async def test_a_decision_that_comes_twice(client: RestClient) -> None:
    """The equal answer is a duplicate, another one a conflict, and the first one stays."""
    asked = await client.parked(order())
    first = await client.complete(completion(asked, accepted(asked)))
    again = await client.complete({**completion(asked, accepted(asked)), "idempotencyKey": "k2"})
    other = await client.complete(completion(asked, declined(asked)))
    await client.ended(asked["executionId"])
    later = await client.complete(completion(asked, accepted(asked)))

    assert first.json()["receipt"] == "applied"
    for answer in (again, later):
        assert answer.status_code == 200
        assert set(answer.json()) == RECEIPT
        assert (answer.json()["duplicate"], answer.json()["receipt"]) == (True, "duplicate")
    problem(other, 409, "conflict")
    assert (await client.result(asked["executionId"])).json()["outcome"] == "APPROVED"


async def test_equality_is_of_values_and_not_of_bytes(client: RestClient) -> None:
    """The same answer in another order of keys and with another actor is a duplicate."""
    asked = await client.parked(order())
    payload = accepted(asked)
    turned = {"accepted": dict(reversed(payload["accepted"].items()))}
    await client.complete(completion(asked, payload))

    answer = await client.complete({**completion(asked, turned), "actor": "somebody else"})

    assert answer.json()["receipt"] == "duplicate"


async def test_a_decision_after_the_end_is_late(client: RestClient) -> None:
    """An order that was cancelled takes no decision any more."""
    asked = await client.parked(order())
    cancelled = await client.http.post(f"/api/v1/executions/{asked['executionId']}/cancel")
    assert cancelled.status_code == 200, cancelled.text

    answer = await client.complete(completion(asked, accepted(asked)))

    problem(answer, 410, "late")
    assert (await client.execution(asked["executionId"]))["status"] == "CANCELLED"


async def test_a_decision_after_the_deadline_is_late(tmp_path: Path) -> None:
    """When nobody answered in time the execution fails, and the answer is late."""
    service = Service("tests.acceptance.hurried:app", tmp_path, env=IMPATIENT)
    with service:
        await service.must_be_ready()
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
            client = RestClient(http)
            started = await client.run_async("quick?")
            execution_id = started.json()["executionId"]
            end = await client.ended(execution_id)
            answer = await client.complete(
                {"interactionId": f"{execution_id}_1_0", "responsePayload": True}
            )

    assert end["status"] == "FAILED"
    assert end["errorCode"]
    problem(answer, 410, "late")


async def test_another_tenant_sees_nothing(client: RestClient) -> None:
    """Another tenant's order looks exactly like one that never was."""
    asked = await client.parked(order(), **{"x-tenant-id": "acme"})
    foreign = completion(asked, accepted(asked))
    unknown = {**foreign, "interactionId": foreign["interactionId"][:-1] + "9"}
    here, nowhere = await client.complete(foreign), await client.complete(unknown)

    assert (
        problem(here, 404, "not-found")["detail"].replace(
            foreign["interactionId"], unknown["interactionId"]
        )
        == (problem(nowhere, 404, "not-found")["detail"])
    )
    for path in ("", "/result"):
        url = f"/pipeline/executions/{asked['executionId']}{path}"
        problem(await client.http.get(url), 404, "not-found")
    assert asked["interactionId"] not in [one["interactionId"] for one in await client.pending()]
    own = await client.complete(foreign, **{"x-tenant-id": "acme"})
    assert own.json()["receipt"] == "applied"


async def test_a_submit_key_names_one_order(client: RestClient) -> None:
    """The same key with another input is refused; in another tenant it is another key."""
    placed, headers = order(), {"Idempotency-Key": f"k-{uuid4()}"}
    first = await client.run_async(placed, **headers)
    same_value = await client.run_async(dict(reversed(placed.items())), **headers)
    other = await client.run_async(order(), **headers)
    elsewhere = await client.run_async(placed, **headers, **{"x-tenant-id": "acme"})

    assert same_value.json()["duplicate"] is True
    assert same_value.json()["executionId"] == first.json()["executionId"]
    problem(other, 409, "submit-conflict")
    assert elsewhere.json()["duplicate"] is False


@pytest.mark.parametrize(
    "changes",
    [{"requestId": "no uuid"}, {"totalAmount": "much"}, {"items": None}, {"customerName": 7}],
)
async def test_an_order_that_does_not_fit(client: RestClient, changes: dict[str, Any]) -> None:
    """What does not fit the input is 422, with the field that is wrong."""
    body = problem(await client.run_async(order(**changes)), 422, "invalid-input")

    [field] = changes
    assert any(field in error["path"] for error in body["errors"]), body


@pytest.mark.parametrize("amount", ["21.5", 21.5, 21, "1e2", "0.1"])
async def test_decimals_leave_as_text(client: RestClient, amount: Any) -> None:
    """A decimal comes as text or as number and leaves as text of the same value."""
    asked = await client.parked(order(totalAmount=amount))

    left = asked["requestPayload"]["totalAmount"]

    assert isinstance(left, str)
    assert Decimal(left) == Decimal(str(amount))


async def test_an_order_that_no_restaurant_cooks(client: RestClient) -> None:
    """A step that gives up ends in the DLQ, and `run` tells it with 200 and the execution."""
    answer = await client.run(order(items=" "), 30)

    assert answer.status_code == 200
    assert set(answer.json()) == EXECUTION
    assert answer.json()["status"] == "DLQ"
    assert answer.json()["errorMessage"]
    problem(await client.result(answer.json()["executionId"]), 409, "not-finished")


@pytest.mark.parametrize(
    "payload",
    [
        None, {}, [], "accepted", {"accepted": {}}, {"accepted": None}, {"maybe": {}},
        {"declined": {"orderId": str(uuid4()), "decidedAt": "2026-11-21T12:00:00Z"}},
        {"accepted": {"orderId": "no uuid", "decidedAt": "2026-11-21T12:00:00Z"}},
    ],
)  # fmt: skip
async def test_a_decision_that_does_not_fit(client: RestClient, payload: Any) -> None:
    """It is 422, and the question stays open for one that does."""
    asked = await client.parked(order())

    body = problem(await client.complete(completion(asked, payload)), 422, "invalid-answer")

    assert body["errors"]
    assert all({"path", "message"} <= set(error) for error in body["errors"])
    answer = await client.complete(completion(asked, accepted(asked)))
    assert answer.json()["receipt"] == "applied"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b'{"responsePayload": {}}', b'{"interactionId": "x"}',
        b'{"interactionId": "", "responsePayload": {}}',
        b'{"interactionId": "x", "responsePayload": NaN}',
        b'{"interactionId": "x", "responsePayload": "\\u0000"}',
        b'{"interactionId": "x", "responsePayload": "\\ud800"}',
        b'{"interactionId": "x", "interactionId": "y", "responsePayload": 1}',
        b'{"interactionId": "x", "responsePayload": ' + b"[" * 9000 + b"]" * 9000 + b"}",
        b'{"interactionId": "x", "responsePayload": "\xff"}',
    ],
    ids=range(13),
)  # fmt: skip
async def test_what_cannot_be_read_is_malformed(client: RestClient, content: bytes) -> None:
    """Bad JSON, no identity and no completion are 400."""
    answer = await client.http.post(
        "/pipeline/interactions/complete",
        content=content,
        headers={"content-type": "application/json"},
    )

    problem(answer, 400, "malformed")


async def test_bodies_that_are_too_large(client: RestClient) -> None:
    """Too many bytes are refused while they come, and the service goes on."""
    asked = await client.parked(order())
    headers = {"content-type": "application/json"}
    for size in (9 * 1024 * 1024, 40 * 1024 * 1024):
        try:
            answer = await client.http.post(
                "/pipeline/interactions/complete", content=b" " * size, headers=headers
            )
        except httpx.TransportError:
            assert size > 32 * 1024 * 1024  # so much is not even read: the connection ends
        else:
            problem(answer, 413, "too-large")
    large = {"accepted": {**accepted(asked)["accepted"], "note": ["x" * 200_000] * 8}}
    answer = await client.complete(completion(asked, large))
    assert answer.status_code in {413, 422}, answer.text

    admitted = await client.complete(completion(asked, accepted(asked)))

    assert admitted.json()["receipt"] == "applied"


async def test_limits_of_the_list(client: RestClient) -> None:
    """A blank limit is none, a negative one malformed, and one above the most is the most."""
    for _ in range(3):
        await client.parked(order())

    url = "/pipeline/interactions/pending"
    assert len(await client.pending(limit=2)) == 2
    assert len(await client.pending(limit="")) >= 3
    assert len(await client.pending(limit=100_000)) >= 3
    problem(await client.http.get(url, params={"limit": -1}), 400, "malformed")
    problem(await client.http.get(url, params={"limit": "many"}), 400, "malformed")


async def test_a_batch_has_a_receipt_a_line(client: RestClient) -> None:
    """Lines are answered in order, each for itself, and the orders go on."""
    asked = [await client.parked(order()) for _ in range(3)]
    lines = [
        httpx.Request("POST", "http://x", json=completion(one, accepted(one))).content
        for one in (*asked, asked[0])
    ]
    answer = await client.http.post(
        "/api/v1/interactions/complete-batch",
        content=b"\n".join([*lines, b"{broken"]) + b"\n",
        headers={"content-type": "application/x-ndjson"},
    )

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    *receipts, last = [httpx.Response(200, content=line).json() for line in answer.iter_lines()]
    assert [one["receipt"] for one in receipts] == ["applied"] * 3 + ["duplicate"]
    assert [one["interactionId"] for one in receipts[:3]] == [one["interactionId"] for one in asked]
    assert last["type"].endswith("malformed")
    for one in asked:
        assert (await client.ended(one["executionId"]))["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_pages_of_other_sites_stay_outside(
    client: RestClient, headers: dict[str, str]
) -> None:
    """A rebound name and a foreign page get nothing from a local service."""
    answer = await client.http.get("/pipeline/interactions/pending", headers=headers)

    assert answer.status_code == 403


async def test_a_parked_order_survives_a_kill(tmp_path: Path) -> None:
    """The question is still there after the process died, and its answer ends the order."""
    service = Service("examples.restaurant_approval:app", tmp_path, env=IMPATIENT)
    with service:
        await service.must_be_ready()
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
            asked = await RestClient(http).parked(order())
            service.kill()
        service.start()
        await service.must_be_ready()
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
            client = RestClient(http)
            assert [one["interactionId"] for one in await client.pending()] == [
                asked["interactionId"]
            ]
            answer = await client.complete(completion(asked, accepted(asked)))
            end = await client.ended(asked["executionId"])

    assert answer.json()["receipt"] == "applied"
    assert end["status"] == "SUCCEEDED"
