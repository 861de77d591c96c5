"""The fraud partner: a process of its own that speaks HTTP and knows nothing of Bide.

    FRAUD_SECRET=whsec_... python examples/fraud_check/partner.py --port 8100

It takes signed requests, says 202, and posts its verdict to the callback that came with each, with
the token that came with it; a callback that got no receipt is posted again. A request that comes
twice has the same `webhook-id` and gets no second verdict.

It misbehaves as partners do, and in the same way each time, since the request's id decides: some
requests fail the first time, some callbacks are posted twice, and some arrive before the answer to
the request that asked for them.

Stopped with SIGTERM or SIGINT, it prints what it did as one line of JSON.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

#: The rest before a callback is posted again, doubled each time, and when it is given up.
RETRY_S = 0.1
RETRY_MAX_S = 5.0
CALLBACKS_MAX = 20
#: Callbacks under way at once.
AT_ONCE = 32


def share(id: str, salt: str) -> float:
    """A number from 0 to 1 that is the same for the same request in every process."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{id}".encode()).digest()[:4]) / 2**32


def decide(charge: dict[str, Any]) -> dict[str, Any]:
    """Judge one charge: more than a thousand euros is a risk."""
    return {
        "order_id": charge["order_id"],
        "risk": "high" if charge["cents"] > 100_000 else "low",
    }


@dataclass(frozen=True)
class Habits:
    """How often it misbehaves, from 0 to 1."""

    #: Requests whose first attempt is answered with 503.
    failing: float = 0.05
    #: Callbacks that are posted twice.
    repeating: float = 0.10
    #: Callbacks that are posted before the request is answered.
    early: float = 0.10


@dataclass
class Tally:
    """What the partner did so far."""

    #: How often each request came, by its `webhook-id`.
    requests: Counter[str] = field(default_factory=Counter[str])
    #: Requests that were not signed as agreed.
    forged: int = 0
    failed: int = 0
    early: int = 0
    #: What was said to the callbacks.
    receipts: Counter[str] = field(default_factory=Counter[str])
    #: How often a callback got no receipt and was posted again.
    unheard: int = 0

    def as_json(self) -> dict[str, Any]:
        """Say it for other programs."""
        return {
            "requests": len(self.requests),
            "repeated": self.requests.total() - len(self.requests),
            "forged": self.forged,
            "failed": self.failed,
            "early": self.early,
            "receipts": dict(sorted(self.receipts.items())),
            "unheard": self.unheard,
        }


class Partner:
    """Takes requests in and posts verdicts back."""

    def __init__(self, secret: str, habits: Habits, client: httpx.AsyncClient) -> None:
        self.tally = Tally()
        self._webhook = Webhook(secret)
        self._habits = habits
        self._client = client
        self._answering: dict[str, asyncio.Task[None]] = {}
        self._free = asyncio.Semaphore(AT_ONCE)

    async def check(self, request: Request) -> Response:
        """Take one request in; it is answered by a callback, once, however often it comes."""
        body = await request.body()
        try:
            asked = self._webhook.verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.tally.forged += 1
            return Response(status_code=401)
        id = request.headers["webhook-id"]
        self.tally.requests[id] += 1
        if self.tally.requests[id] == 1 and share(id, "failing") < self._habits.failing:
            self.tally.failed += 1
            return Response(status_code=503, headers={"retry-after": "0"})
        if id not in self._answering:
            self._answering[id] = asyncio.create_task(self._answer(id, asked))
            if share(id, "early") < self._habits.early:
                self.tally.early += 1
                await self._answering[id]
        return Response(status_code=202)

    async def finish(self) -> None:
        """Post what is still to be posted."""
        await asyncio.gather(*self._answering.values())

    async def _answer(self, id: str, asked: dict[str, Any]) -> None:
        async with self._free:
            verdict = {
                "interactionId": asked["interactionId"],
                "resumeToken": asked["resumeToken"],
                "idempotencyKey": asked["idempotencyKey"],
                "responsePayload": decide(asked["requestPayload"]),
            }
            url = asked["callback"]["completionUrl"]
            await self._post(url, verdict)
            if share(id, "repeating") < self._habits.repeating:
                await self._post(url, verdict)

    async def _post(self, url: str, verdict: dict[str, Any]) -> None:
        """Post a verdict until it gets a receipt, whatever that says."""
        rest = RETRY_S
        for _ in range(CALLBACKS_MAX):
            with contextlib.suppress(httpx.TransportError):
                answer = await self._client.post(url, json=verdict)
                if (
                    not answer.is_server_error
                    and answer.status_code != httpx.codes.TOO_MANY_REQUESTS
                ):
                    self.tally.receipts[_receipt(answer)] += 1
                    return
            self.tally.unheard += 1
            await asyncio.sleep(rest)
            rest = min(rest * 2, RETRY_MAX_S)
        self.tally.receipts["none"] += 1


def _receipt(answer: httpx.Response) -> str:
    """Read what became of a verdict: its receipt, else the last word of the problem's type."""
    said = answer.json()
    return str(said.get("receipt") or said.get("type", "unknown").rsplit("/", 1)[-1])


def create_app(secret: str, habits: Habits) -> Starlette:
    """The partner as an ASGI app, which prints its tally when it stops."""
    client = httpx.AsyncClient(timeout=30, trust_env=False)
    partner = Partner(secret, habits, client)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with client:
            yield
            await partner.finish()
        print(json.dumps(partner.tally.as_json()), flush=True)

    async def ready(_: Request) -> Response:
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/checks", partner.check, methods=["POST"]),
            Route("/readyz", ready),
        ],
        lifespan=lifespan,
    )


def _main() -> None:
    parser = argparse.ArgumentParser(prog="partner", description="A fraud partner over HTTP.")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--failing", type=float, default=Habits.failing, help="share of requests")
    parser.add_argument("--repeating", type=float, default=Habits.repeating, help="of callbacks")
    parser.add_argument("--early", type=float, default=Habits.early, help="of callbacks")
    options = parser.parse_args()
    secret = os.environ.get("FRAUD_SECRET")
    if not secret:
        raise SystemExit("partner: FRAUD_SECRET is not set; it holds the secret to verify with")
    habits = Habits(options.failing, options.repeating, options.early)
    uvicorn.run(
        create_app(secret, habits), host="127.0.0.1", port=options.port, log_level="warning"
    )


if __name__ == "__main__":
    _main()
