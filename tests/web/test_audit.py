"""The audit over HTTP: who decided what, by which credential, and who was refused."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from bide import App
from bide.runtime.auditing import PER_MINUTE
from bide.security.tokens import Purpose
from bide.settings import Settings
from bide.spi.store import PendingQuery
from tests.integration.support import eventually
from tests.integration.test_tokens import KEYRING, place_of
from tests.web.expect import problem
from tests.web.flows import Accepted, Order, decide, orders
from tests.web.test_credentials import as_, keys_of

KEYS, (ADA, BOB, CHIEF, EVE) = keys_of(
    {"roles": ["submit", "decide", "operate"]},
    {"actor": "bob", "groups": ["bar"], "roles": ["decide"]},
    {"actor": "chief", "roles": ["administer"]},
    {"actor": "eve", "tenant": "other", "roles": ["administer"]},
)
IDS = dict(zip(("ada", "bob", "chief", "eve"), KEYS.keys, strict=True))
COMPLETE, AUDIT = "/pipeline/interactions/complete", "/api/v1/audit"
YES = {"accepted": {"note": "fine"}}


@pytest.fixture(params=["memory", "sqlite"])
async def app(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[App]:
    store = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bide.db"
    settings = Settings(
        api_keys=SecretStr(KEYS.render().decode()),
        keyring=SecretStr(KEYRING.render().decode()),
        callback_base_url="https://api.example",
    )
    app = App(orders, store=store, settings=settings)
    async with app.running():
        yield app


@pytest.fixture
async def client(app: App) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app.asgi())  # type: ignore[arg-type]  # its types are looser
    async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as client:
        yield client


async def parked(app: App) -> Any:
    execution = await app.submit(orders, Order(item="pizza"), tenant="acme")
    [question] = await execution.parked(decide, timeout="30s")
    return question


async def refusals(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    """The audit, once it holds so many entries: nobody waits for those of refusals."""
    return await eventually(lambda: _of_length(client, count))


async def _of_length(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]] | None:
    found = await audit(client, limit=1_000)
    return found if len(found) >= count else None


async def audit(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    """The audit as the chief reads it, oldest first."""
    answer = await client.get(AUDIT, params=query, headers=as_(CHIEF))
    assert answer.status_code == 200, answer.text
    return list(reversed(answer.json()["items"]))


async def test_a_decision_names_its_credential(app: App, client: httpx.AsyncClient) -> None:
    """Who, by which key, on which request, with what outcome; and never the key itself."""
    question = await parked(app)
    body = {"interactionId": question.interaction_id, "responsePayload": YES, "actor": "root"}
    await client.post(COMPLETE, json=body, headers=as_(ADA))
    [asked] = await app._open.store.interactions_by_id("acme", [place_of(question.interaction_id)])
    [entry] = await audit(client)

    assert asked is not None
    assert (entry["actor"], entry["credential"]) == ("ada", f"api-key:{IDS['ada']}")
    assert (entry["deed"], entry["outcome"]) == ("complete", "applied")
    assert entry["interactionId"] == question.interaction_id
    assert entry["executionId"] == question.execution_id
    assert entry["shown"] == hashlib.sha256(asked.interaction.request or b"").hexdigest()
    assert ADA not in str(entry)


async def test_tokens_and_links_are_credentials(app: App, client: httpx.AsyncClient) -> None:
    """A partner's token and a person's link are told by the key that signed them."""
    by_token, by_link = await parked(app), await parked(app)
    rows = [one.interaction for one in await app._open.store.pending(PendingQuery("acme"))]
    row = next(row for row in rows if row.execution.hex() in by_token.execution_id.replace("-", ""))
    token = app._open.tokens.issue(row, Purpose.RESUME)
    link = await app.link(by_link, actor="ada@example.com", tenant="acme")
    said = {"resumeToken": token, "responsePayload": YES, "actor": "partner"}
    await client.post(COMPLETE, json=said)
    await client.post(link, data={"form": "0"})
    entries = {entry["executionId"]: entry for entry in await audit(client)}

    of_token, of_link = entries[by_token.execution_id], entries[by_link.execution_id]
    assert (of_token["credential"], of_token["actor"]) == ("token:k1", "partner")
    assert (of_link["credential"], of_link["actor"]) == ("link:k1", "ada@example.com")
    assert token not in str(entries)


async def test_refusals_of_known_callers_are_told(app: App, client: httpx.AsyncClient) -> None:
    """Of the wrong group, without the role, with an answer that does not fit; of a stranger not."""
    question = await parked(app)
    body = {"interactionId": question.interaction_id, "responsePayload": YES}
    await client.post(COMPLETE, json=body, headers=as_(BOB))
    await client.post(COMPLETE, json={**body, "responsePayload": 7}, headers=as_(ADA))
    await client.post("/pipeline/run-async", json={"item": "x"}, headers=as_(BOB))
    await client.post(f"/api/v1/interactions/{question.interaction_id}/claim", headers=as_(BOB))
    await client.post(COMPLETE, json=body)
    await client.post(COMPLETE, json={**body, "resumeToken": "bide1.x"})
    told = [
        (entry["actor"], entry["deed"], entry["outcome"]) for entry in await refusals(client, 4)
    ]

    assert sorted(told) == [
        ("ada", "complete", "invalid-answer"),
        ("bob", "assign", "not-allowed"),
        ("bob", "complete", "not-allowed"),
        ("bob", "request", "not-allowed"),
    ]


async def test_refusals_are_told_so_often_a_minute(
    app: App, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A credential that is refused in a loop fills nothing; the next minute says how many there were."""
    question, minute = await parked(app), [0]
    notes = app._open.admission.notes
    monkeypatch.setattr(notes, "_clock", lambda: minute[0] * 60_000)
    body = {"interactionId": question.interaction_id, "responsePayload": YES}
    for _ in range(PER_MINUTE + 5):
        await client.post(COMPLETE, json=body, headers=as_(BOB))
    first = await refusals(client, PER_MINUTE)
    minute[0] = 1
    await client.post(COMPLETE, json=body, headers=as_(BOB))
    after = await refusals(client, PER_MINUTE + 1)

    assert len(first) == PER_MINUTE
    assert len(after) == PER_MINUTE + 1
    assert next(entry for entry in after if entry["detail"])["detail"].startswith("5 earlier ones")


async def test_what_operators_do_is_told(app: App, client: httpx.AsyncClient) -> None:
    """Claims and cancellations stand beside the answers, in the order in which they came."""
    question = await parked(app)
    path = f"/api/v1/interactions/{question.interaction_id}"
    await client.post(f"{path}/claim", headers=as_(ADA))
    await client.post(
        f"/api/v1/executions/{question.execution_id}/cancel",
        json={"reason": "sold out"},
        headers=as_(ADA),
    )
    entries = await audit(client, executionId=question.execution_id)

    assert [(entry["deed"], entry["detail"]) for entry in entries] == [
        ("assign", "ada"), ("cancel", "sold out"),
    ]  # fmt: skip


async def test_only_administrators_read_it(app: App, client: httpx.AsyncClient) -> None:
    """The role is needed, and another tenant's is not shown."""
    question = await parked(app)
    body = {"interactionId": question.interaction_id, "responsePayload": YES}
    await client.post(COMPLETE, json=body, headers=as_(ADA))

    problem(await client.get(AUDIT, headers=as_(ADA)), 403, "not-allowed")
    assert (await client.get(AUDIT, headers=as_(EVE))).json()["items"] == []


async def test_pages_go_on(app: App, client: httpx.AsyncClient) -> None:
    """`nextCursor` leads through all of it; a cursor that is none is malformed."""
    for _ in range(5):
        question = await parked(app)
        body = {"interactionId": question.interaction_id, "responsePayload": YES}
        await client.post(COMPLETE, json=body, headers=as_(ADA))
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await client.get(AUDIT, params={"limit": 2, "cursor": cursor}, headers=as_(CHIEF))
        seen += [entry["executionId"] for entry in answer.json()["items"]]
        cursor = answer.json()["nextCursor"]

    assert len(seen) == len(set(seen)) == 5
    bad = await client.get(AUDIT, params={"cursor": "x"}, headers=as_(CHIEF))
    problem(bad, 400, "malformed")


async def test_a_local_answer_leaves_no_entry(app: App, client: httpx.AsyncClient) -> None:
    """A program that uses Bide as a library is nobody in particular; its answers cost nothing."""
    await app.complete(await parked(app), Accepted(note="fine"), tenant="acme", actor="ada")

    assert await audit(client) == []
