"""Credentials that the settings name: API keys and JWTs at the door, and nobody without one."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request

from bide import App, Principal
from bide.security.apikeys import NO_KEYS, ApiKeys
from bide.settings import Settings
from bide.web.app import operations
from tests.web.expect import problem
from tests.web.flows import orders

PENDING = "/pipeline/interactions/pending"
NOW = datetime.now(UTC)


def keys_of(*scopes: dict[str, Any]) -> tuple[ApiKeys, list[str]]:
    keys, texts = NO_KEYS, []
    for scope in scopes:
        said = {"actor": "ada", "tenant": "acme", "groups": ["kitchen"], "roles": [], **scope}
        keys, _, text = keys.issued(NOW, **said)
        texts.append(text)
    return keys, texts


KEYS, (ADA, EVE, GUEST, OLD) = keys_of(
    {"roles": ["submit", "decide"]},
    {"actor": "eve", "tenant": "other", "roles": ["submit", "decide"]},
    {"actor": "guest"},
    {"actor": "old", "expires": NOW - timedelta(days=1)},
)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(api_keys=SecretStr(KEYS.render().decode()))
    app = App(orders, store="memory://", settings=settings)
    async with app.running():
        transport = httpx.ASGITransport(app.asgi())  # type: ignore[arg-type]  # its types are looser
        async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as client:
            yield client


def as_(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_a_key_opens_its_own_tenant(client: httpx.AsyncClient) -> None:
    """What was submitted with one key is seen by its tenant alone, and decided as its owner."""
    started = await client.post("/pipeline/run", json={"item": "pizza"}, headers=as_(ADA))
    [mine] = (await client.get(PENDING, headers=as_(ADA))).json()
    foreign = (await client.get(PENDING, headers=as_(EVE))).json()
    decided = await client.post(
        "/pipeline/interactions/complete",
        json={"interactionId": mine["interactionId"], "responsePayload": {"accepted": {}}},
        headers=as_(ADA),
    )

    assert started.status_code == 202
    assert foreign == []
    assert decided.json()["receipt"] == "applied"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": ADA},
        {"authorization": f"Basic {ADA}"},
        {"authorization": f"Bearer {ADA}x"},
        {"authorization": f"Bearer {ADA} {ADA}"},
        {"authorization": f"Bearer {OLD}"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Bearer bidekey_x_y"},
        {"authorization": b"Bearer \xff"},
    ],
)
async def test_whoever_brings_none_is_refused_on_every_route(
    client: httpx.AsyncClient, headers: Any
) -> None:
    """401 on each route of the description, whatever it would answer otherwise."""
    for operation in operations():
        answer = await client.request(operation.method, operation.path, headers=headers)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_two_credentials_are_none(client: httpx.AsyncClient) -> None:
    """Which of the two was meant nobody could say."""
    twice = [("authorization", f"Bearer {key}") for key in (ADA, EVE)]

    problem(await client.get(PENDING, headers=twice), 401, "unauthenticated")


async def test_a_key_may_do_what_it_was_made_for(client: httpx.AsyncClient) -> None:
    """A key without roles looks and does nothing."""
    answer = await client.post("/pipeline/run-async", json={"item": "x"}, headers=as_(GUEST))

    problem(answer, 403, "not-allowed")
    assert (await client.get(PENDING, headers=as_(GUEST))).status_code == 200


async def test_the_apps_own_function_goes_first() -> None:
    """With `identify`, the keys of the settings are not asked."""

    async def identify(_: Request) -> Principal:
        return Principal("own", tenant="own")

    settings = Settings(api_keys=SecretStr(KEYS.render().decode()))
    app = App(orders, store="memory://", settings=settings)
    async with app.running():
        transport = httpx.ASGITransport(app.asgi(identify=identify))  # type: ignore[arg-type]  # its types are looser
        async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as client:
            assert (await client.get(PENDING)).status_code == 200
