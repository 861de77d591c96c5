"""Another tenant's objects look exactly like absent ones, on every route of the description."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from bide import App
from bide.model.status import ExecutionStatus
from bide.settings import Settings
from bide.web.app import describe
from tests.web.flows import echo, numbers, orders, picks, refusals
from tests.web.test_credentials import as_, keys_of

EVERY_ROLE = ["submit", "decide", "operate", "administer"]
KEYS, (ACME, OTHER) = keys_of(
    {"actor": "ada", "tenant": "acme", "roles": EVERY_ROLE},
    {"actor": "eve", "tenant": "other", "roles": EVERY_ROLE},
)
ABSENT = "018f3c2e-0000-7000-8000-000000000000"
#: What each route's body needs to come as far as the object; the rest takes none.
BODIES: dict[str, Any] = {
    "complete": {"responsePayload": {"accepted": {}}},
    "assign": {"assignee": "eve"},
    "release": {"fingerprint": "x"},
}
#: Routes that concern no tenant's objects: an app's pipelines are all its tenants'.
SHARED = {"/api/v1/openapi.json", "/api/v1/pipelines"}


@dataclass
class Acme:
    """Objects of the tenant `acme`, by the name of the path parameter."""

    client: httpx.AsyncClient
    app: App
    objects: dict[str, list[str]]


@pytest.fixture(params=["memory", "sqlite"])
async def acme(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Acme]:
    """One of everything, and the other tenant's key."""
    store = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bide.db"
    settings = Settings(api_keys=SecretStr(KEYS.render().decode()))
    app = App(orders, numbers, refusals, picks, echo, store=store, settings=settings)
    async with app.running():
        executions = {}
        for pipeline, value in (
            (orders, {"item": "pizza"}), (refusals, "no"), (numbers, 3), (picks, 4), (echo, "x"),
        ):  # fmt: skip
            made = await app.service.submit(pipeline.id, value, key="k", tenant="acme")
            view = await app.service.wait("acme", made.execution_id, 60, parked=True)
            assert view is not None
            executions[pipeline.id] = view
        [asked] = await app.service.pending("acme")
        [letter] = await app.service.dead_letters("acme", pipeline=None, before=None, limit=10)
        [reject, *_] = await app.service.rejects("acme", pipeline=None, after=None, limit=10)
        assert executions["echo"].status is ExecutionStatus.SUCCEEDED
        objects = {
            "executionId": [each.execution_id for each in executions.values()],
            "interactionId": [asked.interaction_id],
            "deadLetterId": [letter.dead_letter_id],
            "rejectId": [reject.reject_id],
        }
        transport = httpx.ASGITransport(app.asgi())  # type: ignore[arg-type]  # its types are looser
        async with httpx.AsyncClient(
            transport=transport, base_url="https://api.example", headers=as_(OTHER)
        ) as client:
            yield Acme(client, app, objects)


def absent(parameter: str, present: str) -> str:
    """An id of the same kind that names nothing."""
    return present.replace(present[:36], ABSENT)


async def seen(client: httpx.AsyncClient, method: str, path: str, id: str) -> tuple[int, Any, Any]:
    """What a route answers, with the id taken out of it."""
    last = path.rsplit("/", 1)[-1]
    body = BODIES.get(last, {}) if method == "POST" else None
    if last == "release" and "/interactions/" in path:
        body = {}
    answer = await client.request(method, path, json=body)
    text = answer.text.replace(id, "ID").replace(id[:36], "EXECUTION")
    return answer.status_code, text, sorted(answer.headers.keys())


async def test_foreign_objects_look_absent_on_every_route(acme: Acme) -> None:
    """Status, body and headers are those of an id that names nothing; nothing of theirs changes."""
    before = await snapshot(acme)
    tried = 0
    for template, operations in describe()["paths"].items():
        named = [name for name in acme.objects if f"{{{name}}}" in template]
        for method in operations:
            for name in named:
                for present in acme.objects[name]:
                    gone = absent(name, present)
                    foreign = await seen(
                        acme.client,
                        method.upper(),
                        template.replace(f"{{{name}}}", present),
                        present,
                    )
                    nothing = await seen(
                        acme.client, method.upper(), template.replace(f"{{{name}}}", gone), gone
                    )
                    assert foreign == nothing, (method, template)
                    assert foreign[0] == 404, (method, template, foreign)
                    tried += 1

    assert tried > 40
    assert await snapshot(acme) == before


async def test_lists_of_another_tenant_are_empty(acme: Acme) -> None:
    """Whatever filter names the other tenant's things, a list shows none of them."""
    marks = [one for many in acme.objects.values() for one in many]
    lists = 0
    for template, operations in describe()["paths"].items():
        if (
            "get" not in operations
            or "{" in template.replace("{pipeline}", "")
            or template in SHARED
        ):
            continue
        path = template.replace("{pipeline}", "orders")
        names = [
            each["name"]
            for each in operations["get"].get("parameters", ())
            if each["in"] == "query"
        ]
        queries: list[dict[str, str]] = [{}]
        queries += [{name: value} for name in names for value in FILTERS.get(name, ())]
        queries += [
            {"executionId": one} for one in acme.objects["executionId"] if "executionId" in names
        ]
        for query in queries:
            answer = await acme.client.get(path, params=query)
            assert answer.status_code == 200, (path, query, answer.text)
            assert not [mark for mark in marks if mark in answer.text], (path, query)
            lists += 1

    assert lists > 10


FILTERS = {
    "group": ["kitchen"],
    "stepId": ["approve-order"],
    "pipeline": ["orders", "refusals", "picks"],
    "status": ["SUCCEEDED", "DLQ", "WAITING_EXTERNAL"],
    "held": ["true"],
}


async def test_completions_name_nothing_of_another_tenant(acme: Acme) -> None:
    """By id, by correlation id and in a batch, a foreign interaction is an unknown one."""
    [mine] = acme.objects["interactionId"]
    answers = []
    for id in (mine, absent("interactionId", mine)):
        for name in ("interactionId", "correlationId"):
            body = {name: id, "responsePayload": {"accepted": {}}}
            one = await acme.client.post("/pipeline/interactions/complete", json=body)
            many = await acme.client.post(
                "/api/v1/interactions/complete-batch",
                content=json.dumps(body),
                headers={"content-type": "application/x-ndjson"},
            )
            answers.append((one.status_code, (one.text + many.text).replace(id, "ID")))

    assert answers[:2] == answers[2:]
    assert {status for status, _ in answers} == {404}


async def test_a_submit_key_is_ones_own(acme: Acme) -> None:
    """The same key in another tenant is another execution, and tells of no conflict."""
    made = await acme.client.post(
        "/api/v1/pipelines/orders/executions",
        json={"item": "other"},
        headers={"idempotency-key": "k"},
    )

    assert made.status_code == 202
    assert made.json()["duplicate"] is False
    assert made.json()["executionId"] not in acme.objects["executionId"]


async def snapshot(acme: Acme) -> Any:
    """What the other tenant's objects look like to itself."""
    await asyncio.sleep(0)
    found = [
        await acme.client.get(f"/api/v1/executions/{id}/timeline", headers=as_(ACME))
        for id in acme.objects["executionId"]
    ]
    [asked] = acme.objects["interactionId"]
    found.append(await acme.client.get(f"/api/v1/interactions/{asked}", headers=as_(ACME)))
    assert {answer.status_code for answer in found} == {200}
    return [answer.json() for answer in found]
