"""Without authentication only this machine comes in, and no page of another site through it."""

import httpx
import pytest

from bide.web.app import create_asgi
from bide.web.guard import names_this_machine
from bide.web.routing import Served
from tests.web.expect import Park, problem

PENDING = "/pipeline/interactions/pending"


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:8000", "app.localhost:3000", "127.0.0.1", "127.9.9.9:80",
        "[::1]", "[::1]:8000", "[::ffff:127.0.0.1]",
    ],
)  # fmt: skip
async def test_names_of_this_machine_come_in(client: httpx.AsyncClient, host: str):
    """Every loopback name and address is served."""
    assert (await client.get(PENDING, headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "localhost.evil.example", "evillocalhost", "10.0.0.1",
        "192.168.1.4:8000", "[::2]", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "",
        "localhost:port", "localhost,evil.example", "0.0.0.0", "[::]", "::1", "2130706433", "0x7f.1",
    ],
)  # fmt: skip
async def test_other_hosts_are_refused(client: httpx.AsyncClient, host: str):
    """A name that was rebound to this machine is still another name."""
    problem(await client.get(PENDING, headers={"host": host}), 403, "foreign-host")


async def test_connections_from_elsewhere_are_refused(served: Served):
    """The name alone does not let another machine in."""
    transport = httpx.ASGITransport(create_asgi(served), client=("10.1.2.3", 4000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        problem(await client.get(PENDING), 403, "foreign-host")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 200), ("https://localhost", 200), ("HTTP://LOCALHOST", 200),
        ("http://localhost:3000", 403), ("http://127.0.0.1", 403), ("https://evil.example", 403),
        ("null", 403), ("", 403), ("file://localhost", 403), ("localhost", 403),
    ],
)  # fmt: skip
async def test_origin_is_our_own(client: httpx.AsyncClient, origin: str, status: int):
    """A browser that names an origin names ours: other ports are other sites."""
    answer = await client.get(PENDING, headers={"origin": origin})

    assert answer.status_code == status
    if status != 200:
        problem(answer, 403, "foreign-origin")


@pytest.mark.parametrize(
    ("site", "status"),
    [
        ("same-origin", 200),
        ("same-site", 200),
        ("none", 200),
        ("cross-site", 403),
        ("Cross-Site ", 403),
    ],
)
async def test_cross_site_requests_are_refused(client: httpx.AsyncClient, site: str, status: int):
    """A browser that says cross-site is believed."""
    answer = await client.get(PENDING, headers={"sec-fetch-site": site})

    assert answer.status_code == status


@pytest.mark.parametrize(
    "content_type",
    [
        None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "application/json; charset=latin-1", "application/jsonx", "application/x-ndjson", "",
        "application/problem+json", "text/json",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "path",
    [
        "/pipeline/run", "/pipeline/run-async", "/pipeline/interactions/complete",
        "/api/v1/pipelines/orders/executions", "/api/v1/interactions/x/complete",
    ],
)  # fmt: skip
async def test_only_json_is_posted(client: httpx.AsyncClient, path: str, content_type: str | None):
    """What a form or a script without preflight can send is no JSON to us."""
    headers = {} if content_type is None else {"content-type": content_type}
    answer = await client.post(path, content=b'{"item": "pizza"}', headers=headers)

    problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json", "Application/JSON", "application/json;charset=utf-8",
        'application/json; charset="UTF-8"', "application/json ; version=1; charset=utf8",
    ],
)  # fmt: skip
async def test_json_in_utf8_is_taken(client: httpx.AsyncClient, content_type: str | None):
    """Parameters that say nothing else are no hindrance."""
    headers = {"content-type": content_type}
    answer = await client.post(
        "/pipeline/run-async", content='{"item": "ü"}'.encode(), headers=headers
    )

    assert answer.status_code == 202


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
async def test_encoded_bodies_are_refused(client: httpx.AsyncClient, coding: str):
    """Nothing is unpacked: a small body cannot become a large one."""
    headers = {"content-type": "application/json", "content-encoding": coding}
    answer = await client.post("/pipeline/run-async", content=b'{"item": "x"}', headers=headers)

    problem(answer, 415, "unsupported-media-type")


async def test_a_form_cannot_cancel(client: httpx.AsyncClient, park: Park):
    """Cancel takes no body at all, but not one of another type."""
    asked = await park()
    url = f"/api/v1/executions/{asked['executionId']}/cancel"
    form = await client.post(url, data={"reason": "x"})
    empty_form = await client.post(
        url, headers={"content-type": "application/x-www-form-urlencoded"}
    )

    problem(form, 415, "unsupported-media-type")
    problem(empty_form, 415, "unsupported-media-type")
    assert (await client.post(url)).status_code == 200


async def test_tenants_are_named_by_the_header(client: httpx.AsyncClient, park: Park):
    """Without authentication the header names the tenant; a blank one is the default."""
    await park(tenant="acme")

    for tenant, found in (("acme", 1), ("other", 0), ("", 0), ("   ", 0), ("default", 0)):
        answer = await client.get(PENDING, headers={"x-tenant-id": tenant})
        assert len(answer.json()) == found, tenant


@pytest.mark.parametrize(
    "tenant", ["a b", "a/b", "../x", "a" * 129, "ü".encode(), ".x", "x.", "-", "a\tb", "'; --"]
)
async def test_tenants_that_are_none_are_malformed(client: httpx.AsyncClient, tenant: str):
    """A tenant is a name that can be shown, stored and logged."""
    problem(await client.get(PENDING, headers={"x-tenant-id": tenant}), 400, "malformed")


@pytest.mark.parametrize("name", ["x-tenant-id", "origin", "idempotency-key", "content-type"])
async def test_headers_that_decide_stand_once(client: httpx.AsyncClient, name: str):
    """Two values would be read differently here and in front of us."""
    headers = [(name, "http://localhost"), (name, "other")]

    problem(await client.get(PENDING, headers=headers), 400, "malformed")


def test_cached_names_do_not_grow():
    """The cache of names is bounded, whatever a client sends."""
    for number in range(1_000):
        names_this_machine(f"host-{number}.example")

    assert names_this_machine.cache_info().currsize <= 256
