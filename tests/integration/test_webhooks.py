"""Webhooks from end to end: a real partner over HTTP, whose answers come in over HTTP."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook as Verifier

from bide import App, Await, Pipeline, Retry, Webhook
from bide.model.status import InteractionStatus, ReceiptOutcome
from bide.security.keyring import Key, Keyring
from tests.integration.support import eventually, quick
from tests.transports.partner import Partner, Request, answer, listening
from tests.transports.sending import SECRET

KEYRING = Keyring.of(Key.of("k1", bytes(range(32)), datetime(2026, 1, 1, tzinfo=UTC)))
ITEMS = 200


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def unanswered(number: int) -> str:
    return f"nobody checked {number}"


def joined(texts: Iterator[str]) -> str:
    return ",".join(texts)


class Provider:
    """A partner that was written from the wire contract: it verifies, answers, and answers again."""

    def __init__(self) -> None:
        self.callbacks: httpx.AsyncClient | None = None
        self.ids: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()

    async def answering(self, request: Request) -> bytes:
        """Fail every twentieth first try; call back before the request's own answer."""
        Verifier(SECRET).verify(request.body, request.headers)
        asked = json.loads(request.body)
        id_ = request.headers["webhook-id"]
        assert id_ == asked["interactionId"] == asked["idempotencyKey"]
        self.ids[id_] += 1
        number = asked["requestPayload"]
        if number % 20 == 0 and self.ids[id_] == 1:
            return answer(503, "retry-after: 0")
        for _ in range(2 if number % 10 == 1 else 1):
            assert self.callbacks is not None
            completion = {
                "interactionId": id_,
                "resumeToken": asked["resumeToken"],
                "responsePayload": f"<{number}>",
            }
            told = await self.callbacks.post(asked["callback"]["completionUrl"], json=completion)
            self.statuses[told.status_code] += 1
        return answer(200)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_tables")
        return url
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bide.db"


async def test_a_stream_round_trips(store: str) -> None:
    """Signed requests go out, answers come back with their tokens, some twice, some before the
    request's own 200, some after a failed try: each counts once, in its place.
    """
    provider = Provider()
    async with listening(Partner(provider.answering)) as partner:
        via = Webhook(partner.url, retry=Retry(8, first="5ms", longest="50ms"))
        flow = (
            Pipeline("checks", int)
            .then(numbers)
            .wait(Await("Check", int, str, via=via, timeout="1d"))
            .then(joined)
        )
        settings = quick(
            webhook_secrets=SECRET,
            webhook_allow_loopback=True,
            callback_base_url="http://127.0.0.1",
            keyring=SecretStr(KEYRING.render().decode()),
        )
        async with App(flow, store=store, settings=settings).running() as app:
            transport = httpx.ASGITransport(app.asgi())
            async with httpx.AsyncClient(transport=transport) as provider.callbacks:
                execution = await app.submit(flow, ITEMS)
                result = await execution.result(timeout=60)
                await eventually(lambda: provider.statuses.total() == ITEMS + ITEMS // 10)
                counts = (await app.receipts()).stored

    assert result == ",".join(f"<{number}>" for number in range(ITEMS))
    assert provider.ids.total() == ITEMS + ITEMS // 20
    assert provider.statuses == {200: ITEMS + ITEMS // 10}
    assert counts[ReceiptOutcome.APPLIED] == ITEMS
    assert counts[ReceiptOutcome.DUPLICATE] == ITEMS // 10


async def test_a_partner_that_refuses(store: str) -> None:
    """A definite refusal over HTTP fails the interaction with the status that was answered."""
    async with listening(Partner(lambda _: answer(410))) as partner:
        via = Webhook(partner.url, trusted_network=True)
        asks = Await("Check", int, str, via=via, timeout="1d", on_timeout=unanswered)
        flow = Pipeline("checks", int).wait(asks)
        settings = quick(
            webhook_secrets=SECRET,
            webhook_allow_loopback=True,
            callback_base_url="http://127.0.0.1",
        )
        async with App(flow, store=store, settings=settings).running() as app:
            execution = await app.submit(flow, 1)

            async def failed() -> bool:
                return (await execution.status()).status.name == "FAILED"

            await eventually(failed)
            id_ = f"{execution.execution_id}_1_0"
            view = await app.service.interaction("default", id_)

    assert view is not None
    assert view.status is InteractionStatus.FAILED
    assert len(partner.requests) == 1
