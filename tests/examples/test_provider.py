"""The payment provider against services that are away, broken or forgetful."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from examples.csv_payments.provider import COMPLETE, PENDING, Provider

Handler = Callable[[httpx.Request], httpx.Response]


class FakeService:
    """Keeps questions and answers as the wire contract has it, and fails as it is told."""

    def __init__(self, questions: int) -> None:
        self.open = {
            f"e_1_{number}": {"id": str(UUID(int=number)), "csvId": str(number)}
            for number in range(questions)
        }
        self.answers: dict[str, Any] = {}
        self.conflicts = 0
        #: What to do to the calls to come, one each: raise before or after taking it, or answer.
        self.failures: list[str | int] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one call."""
        if request.url.path == PENDING:
            limit = int(request.url.params["limit"])
            assert request.url.params["group"] == "payment-provider"
            found = list(self.open.items())[:limit]
            return httpx.Response(
                200, json=[{"interactionId": id, "requestPayload": ask} for id, ask in found]
            )
        failure = self.failures.pop(0) if self.failures else None
        if failure == "before":
            raise httpx.ConnectError("away")
        if isinstance(failure, int):
            return httpx.Response(failure, json={"type": "urn:x/unavailable"})
        lines = request.content.decode().splitlines()
        replies = [self._take(json.loads(line)) for line in lines]
        if failure == "after":
            raise httpx.ReadError("killed before it could answer")
        if failure == "one line":
            replies[-1] = {"type": "urn:x/unavailable", "status": 503}
        if request.url.path == COMPLETE:
            return httpx.Response(200, json=replies[0])
        return httpx.Response(200, text="".join(json.dumps(reply) + "\n" for reply in replies))

    def _take(self, completion: dict[str, Any]) -> dict[str, Any]:
        id, answer = completion["interactionId"], completion["responsePayload"]
        self.open.pop(id, None)
        first = self.answers.setdefault(id, answer)
        self.conflicts += first != answer
        receipt = "applied" if first is answer else "duplicate"
        return {"interactionId": id, "status": "COMPLETED", "receipt": receipt}


async def answer_all(service: FakeService, **options: Any) -> Provider:
    """Let a provider work until nothing is open any more."""
    transport = httpx.MockTransport(service.handle)
    async with httpx.AsyncClient(base_url="http://service", transport=transport) as client:
        provider = Provider(client, **options)
        stop = asyncio.Event()
        working = asyncio.create_task(provider.run(stop))
        while service.open or sum(provider.tally.receipts.values()) < len(service.answers):
            await asyncio.sleep(0)
            assert not working.done()
        stop.set()
        await working
    return provider


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.csv_payments.provider.RETRY_S", 0.001)


async def test_every_question_is_answered_once() -> None:
    """With a service that works, nothing is sent twice, however it is cut into batches."""
    service = FakeService(25)

    provider = await answer_all(service, batch=10)

    assert len(service.answers) == 25
    assert provider.tally.as_json() == {
        "answered": 25,
        "repeated": 0,
        "unheard": 0,
        "receipts": {"applied": 25},
    }


@pytest.mark.parametrize("failure", ["before", 503])
async def test_answers_that_were_not_taken_are_sent_again(failure: str | int) -> None:
    """A service that is away gets the same answers when it is back, and they are applied."""
    service = FakeService(10)
    service.failures = [failure, failure]

    provider = await answer_all(service, batch=10)

    assert provider.tally.receipts == Counter(applied=10)
    assert provider.tally.as_json()["repeated"] == 20


async def test_answers_that_were_taken_unheard_are_duplicates() -> None:
    """A service that dies after taking answers sees equal ones again, never a conflict."""
    service = FakeService(10)
    service.failures = ["after"]

    provider = await answer_all(service, batch=10)

    assert provider.tally.receipts == Counter(duplicate=10)
    assert service.conflicts == 0


async def test_only_lines_without_a_receipt_are_sent_again() -> None:
    """In a batch of which one line could not be stored, that line alone is repeated."""
    service = FakeService(10)
    service.failures = ["one line"]

    provider = await answer_all(service, batch=10)

    assert provider.tally.as_json()["repeated"] == 1
    assert provider.tally.receipts == Counter(applied=9, duplicate=1)


async def test_answers_can_be_sent_one_by_one() -> None:
    """With batches of one, each answer goes by itself to the compatible surface."""
    service = FakeService(3)
    service.failures = ["before"]

    provider = await answer_all(service, batch=1)

    assert provider.tally.receipts == Counter(applied=3)


async def test_a_request_that_will_never_be_taken_ends_the_provider() -> None:
    """A refusal of the request itself is no reason to try for ever."""
    service = FakeService(1)
    service.failures = [415]
    transport = httpx.MockTransport(service.handle)

    async with httpx.AsyncClient(base_url="http://service", transport=transport) as client:
        with pytest.raises(SystemExit, match="answered 415"):
            await Provider(client, batch=10).run(asyncio.Event())
