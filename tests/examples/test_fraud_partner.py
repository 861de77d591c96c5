"""The fraud partner against a service that is forgetful or away, without processes."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request

from bide.transports.webhook.signing import Signer, parse_keys
from examples.fraud_check import partner as module
from examples.fraud_check.partner import Habits, Partner, share

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = parse_keys(SecretStr(SECRET), "here")
NEVER = Habits(failing=0, repeating=0, early=0)


class Callbacks:
    """Where callbacks are posted: keeps them, and answers as it is told."""

    def __init__(self, *answers: int | Exception) -> None:
        self.taken: list[dict[str, Any]] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self._answers.pop(0) if self._answers else 200
        if isinstance(answer, Exception):
            raise answer
        if answer == httpx.codes.OK:
            self.taken.append(json.loads(request.content))
        duplicate = len(self.taken) > 1
        receipt = {"receipt": "duplicate" if duplicate else "applied"}
        problem = {"type": "urn:x/late", "receipt": "late"}
        return httpx.Response(answer, json=receipt if answer == httpx.codes.OK else problem)


@asynccontextmanager
async def partner(callbacks: Callbacks, habits: Habits = NEVER) -> AsyncGenerator[Partner]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(callbacks)) as client:
        yield Partner(SECRET, habits, client)


async def asked(partner: Partner, id: str, *, forge: bool = False) -> int:
    """Send one request; gives the status of its answer."""
    body = json.dumps(
        {
            "interactionId": id,
            "resumeToken": "bt1.abc",
            "idempotencyKey": "order-1",
            "requestPayload": {"order_id": "order-1", "cents": 250_000},
            "callback": {"completionUrl": "https://bide.example/c"},
        }
    ).encode()
    now_ms = int(datetime.now(UTC).timestamp() * 1_000)
    signed = Signer([lambda: KEYS]).headers(id, now_ms, body)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/checks",
        "headers": [(name.encode(), value.encode()) for name, value in signed],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body + b" " * forge, "more_body": False}

    response = await partner.check(Request(scope, receive))
    await partner.finish()
    return response.status_code


async def test_a_request_is_answered_once_however_often_it_comes() -> None:
    """The verdict goes to the callback with token and key; a repeat gets no second one."""
    callbacks = Callbacks()
    async with partner(callbacks) as fraud:
        statuses = [await asked(fraud, "e_1_0") for _ in range(3)]

    assert statuses == [202, 202, 202]
    assert callbacks.taken == [
        {
            "interactionId": "e_1_0",
            "resumeToken": "bt1.abc",
            "idempotencyKey": "order-1",
            "responsePayload": {"order_id": "order-1", "risk": "high"},
        }
    ]
    assert (fraud.tally.as_json()["requests"], fraud.tally.as_json()["repeated"]) == (1, 2)


async def test_a_forged_request_is_refused() -> None:
    """A body that was changed on its way is answered 401 and leads to nothing."""
    callbacks = Callbacks()
    async with partner(callbacks) as fraud:
        status = await asked(fraud, "e_1_0", forge=True)

    assert status == 401
    assert callbacks.taken == []
    assert fraud.tally.forged == 1


async def test_a_callback_is_posted_until_it_gets_a_receipt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No connection, 5xx and 429 are tried again; a refusal is a receipt."""
    monkeypatch.setattr(module, "RETRY_S", 0.001)
    callbacks = Callbacks(httpx.ConnectError("away"), 503, 429, 200)
    refusing = Callbacks(410)
    async with partner(callbacks) as fraud, partner(refusing) as refused:
        await asked(fraud, "e_1_0")
        await asked(refused, "e_1_0")

    assert len(callbacks.taken) == 1
    assert fraud.tally.unheard == 3
    assert fraud.tally.receipts == {"applied": 1}
    assert refused.tally.receipts == {"late": 1}


async def test_it_misbehaves_in_the_same_way_each_time() -> None:
    """What fails first, comes twice or comes early is decided by the request's id alone."""
    habits = Habits(failing=0.5, repeating=0.5, early=0.5)
    ids = [f"e_1_{number}" for number in range(40)]
    runs: list[dict[str, Any]] = []
    for _ in range(2):
        async with partner(Callbacks(), habits) as fraud:
            for id in ids:
                first = await asked(fraud, id)
                assert (first == 503) == (share(id, "failing") < 0.5)
                assert await asked(fraud, id) == 202
            runs.append(fraud.tally.as_json())

    repeated = sum(share(id, "repeating") < 0.5 for id in ids)
    assert runs[0] == runs[1]
    assert sum(runs[0]["receipts"].values()) == 40 + repeated
    assert 0 < runs[0]["failed"] < 40
    assert 0 < runs[0]["early"] < 40
