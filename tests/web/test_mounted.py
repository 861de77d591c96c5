"""The API as a part of another, and what stands around it."""

import httpx
import pytest
from fastapi import FastAPI

from bide.errors import NotRunning
from bide.runtime.views import Check
from bide.web.app import create_asgi
from bide.web.routing import Served
from tests.web.expect import Connect, problem


class Closed:
    @property
    def service(self):
        raise NotRunning("open it")


async def test_mounted_it_gives_urls_that_work(served: Served):
    """Under a prefix, the status URL and a problem's instance carry the prefix."""
    outer = FastAPI()
    outer.mount("/bide", create_asgi(served))
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for path in ("/bide/pipeline/run-async", "/bide/api/v1/pipelines/orders/executions"):
            answer = await client.post(path, json={"item": "pizza"})
            assert answer.json()["statusUrl"].startswith("/bide/")
            assert (await client.get(answer.json()["statusUrl"])).status_code == 200
        problem(await client.get("/bide/pipeline/executions/x"), 404, "not-found")


async def test_a_prefix_that_a_proxy_removes_is_told(served: Served):
    """With a root path the client's URLs start with it."""
    transport = httpx.ASGITransport(create_asgi(served), root_path="/proxied")
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/proxied/pipeline/run-async", json={"item": "pizza"})

    assert answer.json()["statusUrl"].startswith("/proxied/pipeline/executions/")


async def test_before_the_app_runs_nothing_is_taken(connect: Connect):
    """A closed app answers 503 and says to come again; it is alive and not ready."""
    client = connect(Closed())
    answer = await client.post("/pipeline/run", json={})

    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"]
    assert (await client.get("/healthz")).status_code == 200
    ready = await client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["status"] == "not-ready"


async def test_readiness_is_what_the_checks_say(
    served: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    """A failed check keeps work away; a warning does not."""
    for ok, warning, status in ((True, False, 200), (False, True, 200), (False, False, 503)):

        async def checks(ok: bool = ok, warning: bool = warning):
            return [Check(name="secret", ok=ok, warning=warning, message="none", hint="set one")]

        monkeypatch.setattr(served.service, "checks", checks)
        answer = await client.get("/readyz")
        assert answer.status_code == status
        assert answer.json()["checks"][0]["hint"] == "set one"


async def test_readiness_has_the_local_door(client: httpx.AsyncClient):
    """What checks say is for this machine; that the process answers is for anybody."""
    headers = {"host": "evil.example"}

    problem(await client.get("/readyz", headers=headers), 403, "foreign-host")
    assert (await client.get("/healthz", headers=headers)).status_code == 200


async def test_answers_are_not_kept(client: httpx.AsyncClient):
    """No cache keeps an answer, and no browser guesses at its type."""
    for path in ("/pipeline/interactions/pending", "/healthz", "/pipeline/executions/x"):
        answer = await client.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
