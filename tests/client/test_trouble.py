"""A client rides over restarts, proxies and busy servers, and repeats nothing that is not safe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bide import AsyncClient, Client, QuotaExceeded, RemoteError, Retry, StoreUnavailable
from tests.client.conftest import done
from tests.client.served import numbers
from tests.processes import IMPATIENT, Service

pytestmark = [pytest.mark.process]

QUICK = Retry(4, first="1ms", longest="2ms")
Answer = Callable[[httpx.Request], httpx.Response]


def answering(kind: type[Any], answers: list[httpx.Response | Exception]) -> tuple[Any, list[Any]]:
    """A client whose server gives these answers in turn, and the requests that it got."""
    got: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        got.append(request)
        given = answers[len(got) - 1]
        if isinstance(given, Exception):
            raise given
        return given

    return kind(
        "http://b.example", retry=QUICK, http={"transport": httpx.MockTransport(answer)}
    ), got


def submitted() -> httpx.Response:
    """What a server says of a submission."""
    return httpx.Response(202, json={"executionId": "x", "duplicate": False})


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_lost_submission_is_sent_again_under_the_same_key(kind: type[Any]) -> None:
    """Whatever was lost on the way, every try carries one key, so that one execution is made."""
    lost: list[httpx.Response | Exception] = [
        httpx.ReadError("cut"), httpx.Response(502), httpx.Response(503, headers={"retry-after": "0"}),
        submitted(),
    ]  # fmt: skip
    client, got = answering(kind, lost)
    await done(client.submit("numbers", 1))
    assert len(got) == 4
    assert len({request.headers["idempotency-key"] for request in got}) == 1
    await done(client.close())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_cancellation_that_may_have_arrived_is_not_repeated(kind: type[Any]) -> None:
    """It has nothing to be known again by: it is sent again only where it cannot have been done."""
    client, got = answering(kind, [httpx.ConnectError("no"), httpx.ReadError("cut")])
    with pytest.raises(StoreUnavailable, match="cut"):
        await done(client.execution(None, "x").cancel())
    assert len(got) == 2
    client, got = answering(kind, [httpx.Response(504)])
    with pytest.raises(RemoteError):
        await done(client.execution(None, "x").cancel())
    assert len(got) == 1
    await done(client.close())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_an_error_inside_the_server_is_not_hammered(kind: type[Any]) -> None:
    """A 500 is told at once: the same request would most likely fail again."""
    client, got = answering(kind, [httpx.Response(500)])
    with pytest.raises(RemoteError) as error:
        await done(client.submit("numbers", 1))
    assert (error.value.status, len(got)) == (500, 1)
    await done(client.close())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_the_rest_of_a_batch_is_sent_again(kind: type[Any]) -> None:
    """Lines that the store did not take go out again; what was committed does not."""
    receipt = b'{"interactionId":"i","executionId":"x","stepId":"s","status":"COMPLETED",'
    receipt += b'"duplicate":false,"receipt":"applied"}\n'
    away = b'{"type":"urn:bide:problems/unavailable","status":503,"detail":"away"}\n'
    client, got = answering(
        kind,
        [httpx.Response(200, content=receipt + away), httpx.Response(200, content=receipt)],
    )
    receipts = await done(client.complete_many([("i", 1), ("j", 2)]))
    assert [each.outcome for each in receipts] == ["applied", "applied"]
    assert [request.content.count(b"responsePayload") for request in got] == [2, 1]

    client, got = answering(
        kind,
        [httpx.Response(200, content=receipt + away), *[httpx.Response(200, content=away)] * 3],
    )
    with pytest.raises(StoreUnavailable) as failed:
        await done(client.complete_many([("i", 1), ("j", 2)]))
    assert [each.outcome for each in failed.value.receipts] == ["applied"]
    await done(client.close())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_server_that_asks_for_a_long_rest_is_not_waited_for(kind: type[Any]) -> None:
    """A `Retry-After` beyond a minute ends the tries at once."""
    client, got = answering(kind, [httpx.Response(503, headers={"retry-after": "3600"})])
    with pytest.raises((StoreUnavailable, RemoteError)):
        await done(client.submit("numbers", 1))
    assert len(got) == 1
    await done(client.close())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_full_tenant_is_told_with_its_bound(kind: type[Any]) -> None:
    """A quota that stays exceeded over all tries is the error of an app, bound included."""
    limit = {"setting": "tenant_open_max", "bound": 2, "unit": "open executions", "actual": None}
    told = {"type": "urn:bide:problems/quota-exceeded", "status": 429, "limit": limit}
    client, got = answering(kind, [httpx.Response(429, json=told)] * QUICK.attempts)
    with pytest.raises(QuotaExceeded) as full:
        await done(client.submit("numbers", 1))
    assert (full.value.setting, full.value.bound, len(got)) == ("tenant_open_max", 2, 4)
    await done(client.close())


async def test_a_client_rides_over_the_servers_death(tmp_path: Path) -> None:
    """A server that is killed and started again under load loses nothing and doubles nothing."""
    import asyncio

    with Service("tests.client.served:app", tmp_path, env=IMPATIENT) as service:
        await service.must_be_ready()
        async with AsyncClient(service.url) as client:

            async def one(number: int) -> list[Any]:
                execution = await client.submit(numbers, number, idempotency_key=f"n-{number}")
                return list(await execution.result(timeout=60))

            running = [asyncio.create_task(one(number)) for number in range(60)]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            service.kill()
            service.start()
            results = await asyncio.gather(*running)
            assert [len(result) for result in results] == list(range(60))
            repeated = await client.submit(numbers, 7, idempotency_key="n-7")
            assert repeated.duplicate
