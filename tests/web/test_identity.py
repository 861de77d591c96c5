"""With `identify`, tenant, actor and rights come from the principal."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import HTTPException
from starlette.requests import Request

from bide.authoring.principal import Principal
from bide.errors import DefinitionError, StoreUnavailable
from bide.runtime.service import Service
from bide.runtime.views import Completion
from bide.web.routing import Served
from tests.web.expect import Connect, problem

PENDING = "/pipeline/interactions/pending"
ACCEPTED = {"accepted": {"note": "yes"}}
PEOPLE = {
    "ada": Principal("ada", groups=["kitchen"], tenant="acme"),
    "bob": Principal("bob", groups=["bar"], tenant="acme"),
    "eve": Principal("eve", groups=["kitchen"], tenant="other"),
    "guest": Principal("guest", roles=[], tenant="acme"),
}


async def identify(request: Request):
    return PEOPLE[request.headers["x-user"]]


@pytest.fixture
def known(served: Served, connect: Connect):
    """Speaks to an app with authentication, over a public name."""
    return connect(served, identify=identify, base_url="https://api.example")


def as_(user: str, **more: str):
    return {"x-user": user, **more}


async def parked(known: httpx.AsyncClient, user: str = "ada"):
    started = await known.post("/pipeline/run", json={"item": "pizza"}, headers=as_(user))
    params = {"executionId": started.json()["executionId"]}
    found = await known.get("/api/v1/interactions", params=params, headers=as_(user))
    return found.json()["items"][0]


@pytest.mark.parametrize("headers", [{}, {"x-user": "nobody"}])
async def test_nobody_is_refused(known: httpx.AsyncClient, headers: dict[str, str]):
    """A missing or unknown credential is 401 and says how to bring one."""
    answer = await known.get(PENDING, headers=headers)

    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"]


async def test_public_names_are_served(known: httpx.AsyncClient):
    """The local door is for apps without authentication."""
    assert (await known.get(PENDING, headers=as_("ada"))).status_code == 200


async def test_the_tenant_is_the_principals(known: httpx.AsyncClient):
    """Each sees its own tenant; naming another is refused, naming one's own is not."""
    await parked(known)

    assert len((await known.get(PENDING, headers=as_("ada"))).json()) == 1
    assert len((await known.get(PENDING, headers=as_("eve"))).json()) == 0
    agreeing = as_("ada", **{"x-tenant-id": "acme"})
    assert len((await known.get(PENDING, headers=agreeing)).json()) == 1
    disagreeing = as_("eve", **{"x-tenant-id": "acme"})
    problem(await known.get(PENDING, headers=disagreeing), 403, "tenant-mismatch")


async def test_the_actor_is_the_principal(
    known: httpx.AsyncClient, service: Service, monkeypatch: pytest.MonkeyPatch
):
    """Whatever the body says, the principal is recorded."""
    asked = await parked(known)
    seen = []
    complete = service.complete

    async def spy(tenant: str, completion: Completion, **by: Any):
        seen.append(completion.actor)
        return await complete(tenant, completion, **by)

    monkeypatch.setattr(service, "complete", spy)
    answer = await known.post(
        "/pipeline/interactions/complete",
        json={"interactionId": asked["interactionId"], "actor": "bob", "responsePayload": ACCEPTED},
        headers=as_("ada"),
    )

    assert answer.status_code == 200
    assert seen == ["ada"]


async def test_roles_are_needed_to_submit_and_to_decide(known: httpx.AsyncClient):
    """Without a role one may look and nothing else."""
    asked = await parked(known)
    completion = {"interactionId": asked["interactionId"], "responsePayload": ACCEPTED}
    refused = [
        await known.post(path, json=body, headers=as_("guest"))
        for path, body in (
            ("/pipeline/run", {"item": "x"}),
            ("/pipeline/run-async", {"item": "x"}),
            ("/api/v1/pipelines/orders/executions", {"item": "x"}),
            ("/pipeline/interactions/complete", completion),
            (f"/api/v1/interactions/{asked['interactionId']}/complete", completion),
            (f"/api/v1/executions/{asked['executionId']}/cancel", {}),
            ("/api/v1/interactions/complete-batch", {}),
        )
    ]

    for answer in refused:
        problem(answer, 403, "not-allowed")
    assert len((await known.get(PENDING, headers=as_("guest"))).json()) == 1


@pytest.mark.parametrize("field", ["interactionId", "correlationId"])
async def test_only_those_who_are_asked_may_answer(known: httpx.AsyncClient, field: str):
    """Somebody of another group is refused, and the question stays open."""
    asked = await parked(known)
    url, body = "/pipeline/interactions/complete", {field: asked["interactionId"]}
    body["responsePayload"] = ACCEPTED
    refused = problem(await known.post(url, json=body, headers=as_("bob")), 403, "not-allowed")
    admitted = await known.post(url, json=body, headers=as_("ada"))

    assert refused["receipt"] == "rejected"
    assert refused["interactionStatus"] == "DISPATCHED"
    assert admitted.json()["receipt"] == "applied"


@pytest.mark.parametrize("user", ["ada", "bob"])
async def test_a_token_that_is_none_opens_nothing(known: httpx.AsyncClient, user: str):
    """A bad token is refused whoever brings it, and leads nobody past the check of groups."""
    asked = await parked(known)
    body = {
        "interactionId": asked["interactionId"],
        "resumeToken": "x",
        "responsePayload": ACCEPTED,
    }

    answer = await known.post("/pipeline/interactions/complete", json=body, headers=as_(user))

    assert problem(answer, 401, "invalid-token")["receipt"] == "rejected"


async def test_a_correlation_that_cannot_be_looked_at_is_unknown(known: httpx.AsyncClient):
    """A correlation key is no way past the check of groups."""
    body = {"correlationId": "order-42", "responsePayload": ACCEPTED}

    answer = await known.post("/pipeline/interactions/complete", json=body, headers=as_("bob"))

    assert problem(answer, 404, "not-found")["receipt"] == "unknown"


async def test_a_refusal_of_identify_keeps_its_status(served: Served, connect: Connect):
    """An HTTPException of the app's own function is told as a problem."""

    async def closed(request: Request):
        raise HTTPException(429, "slow down", headers={"retry-after": "7"})

    answer = await connect(served, identify=closed).get(PENDING)

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["type"] == "about:blank"
    assert answer.json()["detail"] == "slow down"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ValueError("secret"), 401, "unauthenticated"),
        (PermissionError("secret"), 401, "unauthenticated"),
        (StoreUnavailable("the directory is away"), 503, "unavailable"),
        (RuntimeError("secret"), 500, "internal"),
    ],
)
async def test_errors_of_identify_do_not_leak(
    served: Served, connect: Connect, error: Any, status: int, code: str
):
    """What the app's own function raises is answered without its message."""

    async def failing(request: Request):
        raise error

    answer = await connect(served, identify=failing).get(PENDING)

    problem(answer, status, code)
    assert "secret" not in answer.text


async def test_nobody_is_the_answer_none(served: Served, connect: Connect):
    """`identify` may say that it knows nobody."""

    async def nobody(request: Request):
        return None

    problem(await connect(served, identify=nobody).get(PENDING), 401, "unauthenticated")


async def test_probes_need_no_credential_and_learn_little(known: httpx.AsyncClient):
    """Readiness is open, and tells a stranger names of checks only."""
    answer = await known.get("/readyz")

    assert answer.status_code == 200
    assert {check["message"] for check in answer.json()["checks"]} == {None}
    assert (await known.get("/healthz")).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Principal("ada", groups="kitchen"), DefinitionError),
        (lambda: Principal("ada", roles=["admin"]), DefinitionError),
        (lambda: Principal("ada", roles="decide"), DefinitionError),
        (lambda: Principal(" "), ValueError),
        (lambda: Principal("ada", tenant=""), ValueError),
    ],
)
def test_principals_are_checked(make: Callable[[], Principal], error: Any):
    """Mistakes that would give wrong rights are refused."""
    with pytest.raises(error):
        make()
