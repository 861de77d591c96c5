"""An app whose HTTP API the tests call, in their own process."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bide import App
from bide.runtime.service import Service
from bide.settings import Settings
from bide.web.app import create_asgi
from bide.web.guard import Identify
from bide.web.routing import Served
from tests.web.expect import Connect, Ended, Park
from tests.web.flows import echo, notes, numbers, orders, picks, readers, refusals


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """An app that runs, on a store of its own."""
    app = App(
        orders, numbers, refusals, picks, echo, notes, readers,
        store="memory://", settings=Settings(),
    )  # fmt: skip
    async with app.running():
        yield app


@pytest.fixture
def service(served: Served) -> Service:
    return served.service


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make clients of an app; they are closed when the test ends."""
    clients: list[httpx.AsyncClient] = []

    def connect(
        app: Served, *, identify: Identify | None = None, **options: Any
    ) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(create_asgi(app, identify=identify))
        client = httpx.AsyncClient(
            transport=transport, **{"base_url": "http://localhost", **options}
        )
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.aclose()


@pytest.fixture
def client(served: Served, connect: Connect) -> httpx.AsyncClient:
    """Speaks to the app as somebody on this machine, without a credential."""
    return connect(served)


@pytest.fixture
def ended(client: httpx.AsyncClient, service: Service) -> Ended:
    """Wait for the end of what was submitted, and give it as it is told."""

    async def ended(submission: dict[str, Any]) -> dict[str, Any]:
        view = await service.wait("default", submission["executionId"], 60)
        assert view is not None
        assert view.status.is_terminal
        return dict((await client.get(f"/api/v1/executions/{view.execution_id}")).json())

    return ended


@pytest.fixture
def park(client: httpx.AsyncClient) -> Park:
    """Submit an order and give its open interaction."""

    async def park(item: str = "pizza", tenant: str = "") -> dict[str, Any]:
        headers = {"x-tenant-id": tenant}
        started = await client.post("/pipeline/run", json={"item": item}, headers=headers)
        assert started.status_code == 202, started.text
        execution_id = started.json()["executionId"]
        found = await client.get(
            "/api/v1/interactions", params={"executionId": execution_id}, headers=headers
        )
        [interaction] = found.json()["items"]
        return dict(interaction)

    return park
