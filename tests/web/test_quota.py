"""One tenant cannot fill the store: past its quota submissions are refused, and nobody else's."""

import asyncio
import time

import httpx
import pytest

from bide import App, QuotaExceeded
from bide.settings import Settings
from tests.web.expect import Connect, problem
from tests.web.flows import Order, orders

PATIENCE_S = 60.0


def app() -> App:
    return App(orders, store="memory://", settings=Settings(tenant_open_max=3))


async def submitted(client: httpx.AsyncClient, tenant: str) -> httpx.Response:
    return await client.post(
        "/pipeline/run-async", json={"item": "x"}, headers={"x-tenant-id": tenant}
    )


async def test_a_tenant_has_so_many_open_and_no_more(connect: Connect) -> None:
    """However many come at once, as many as the setting says are stored; another tenant's are, too."""
    async with app().running() as bide:
        client = connect(bide)
        answers = await asyncio.gather(*(submitted(client, "acme") for _ in range(10)))
        other = await submitted(client, "other")
        page = await client.get("/api/v1/executions", headers={"x-tenant-id": "acme"})

    refused = [answer for answer in answers if answer.status_code != 202]
    assert len(refused) == 7
    for answer in refused:
        assert "tenant_open_max allows 3" in problem(answer, 429, "quota-exceeded")["detail"]
        assert answer.headers["retry-after"] == "1"
    assert other.status_code == 202
    assert len(page.json()["items"]) == 3


async def test_what_ends_makes_room(connect: Connect) -> None:
    """After one of them is cancelled another is taken, once the count is read again."""
    async with app().running() as bide:
        client = connect(bide)
        first, *_ = [await submitted(client, "acme") for _ in range(3)]
        full = await submitted(client, "acme")
        await client.post(
            f"/api/v1/executions/{first.json()['executionId']}/cancel",
            headers={"x-tenant-id": "acme"},
        )
        ends_at = time.monotonic() + PATIENCE_S
        while (again := await submitted(client, "acme")).status_code == 429:
            assert time.monotonic() < ends_at
            await asyncio.sleep(0.05)

    assert full.status_code == 429
    assert again.status_code == 202


async def test_python_hears_of_it_as_well() -> None:
    """The same bound holds for an app's own submissions, by an error that names it."""
    async with app().running() as bide:
        for _ in range(3):
            await bide.submit(orders, Order(item="x"))
        with pytest.raises(QuotaExceeded, match="tenant_open_max"):
            await bide.submit(orders, Order(item="x"))
