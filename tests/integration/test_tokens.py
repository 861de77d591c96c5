"""Resume tokens at the door: what they open, what they must agree with, who needs one."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bide import App, Await, DefinitionError, Inbox, NotAllowed, Pipeline, Principal, Webhook
from bide.model.ids import ExecutionId, InteractionId, parse_interaction
from bide.planning.pipeline import plan_of
from bide.runtime.admission import Typed
from bide.runtime.clock import system_clock
from bide.runtime.plans import Plans
from bide.runtime.runtime import Runtime
from bide.runtime.views import Completion, Reply
from bide.security.access import Caller
from bide.security.desk import TokenDesk
from bide.security.files import Watched, write_key_file
from bide.security.keyring import Key, Keyring, new_key
from bide.security.tokens import Claims, Purpose, claims_of, sign
from bide.settings import Settings
from bide.spi.store import PendingQuery
from bide.stores.memory import MemoryStore
from bide.wiring import check_tokens
from tests.attacks.forgeries import NOW, CountingStore
from tests.integration.support import quick

KEYRING = Keyring.of(Key.of("k1", bytes(range(32)), NOW))


def sum_up(total: int) -> int:
    return total


inbox = Await("Ask", int, int, via=Inbox(group="kitchen"), timeout="1h", correlate_on=str)
partner = Await("Send", int, int, via=Webhook("https://partner.example/"), timeout="1h")
trusted = Await(
    "Trust", int, int, via=Webhook("https://partner.example/", trusted_network=True), timeout="1h"
)
asks = Pipeline("asks", int).wait(inbox).then(sum_up)


def settings(**more: Any) -> Settings:
    return quick(keyring=SecretStr(KEYRING.render().decode()), **more)


@pytest.fixture
async def app(store: str) -> AsyncIterator[App]:
    app = App(asks, store=store, settings=settings())
    async with app.running():
        yield app


async def parked(app: App, value: int = 7, *, tenant: str = "default") -> tuple[str, str]:
    """The id of an open interaction, and its token."""
    execution = await app.submit(asks, value, tenant=tenant)
    [question] = await execution.parked(inbox, timeout="30s")
    return question.interaction_id, await token_of(app, tenant, question.interaction_id)


async def token_of(app: App, tenant: str, id: str, purpose: Purpose = Purpose.RESUME) -> str:
    [asked] = await app._open.store.interactions_by_id(tenant, [place_of(id)])
    assert asked is not None
    return app._open.tokens.issue(asked.interaction, purpose)


def place_of(id: str) -> InteractionId:
    place = parse_interaction(id)
    assert place is not None
    return place


def stranger(tenant: str | None = None) -> Caller:
    return Caller(tenant or "default", binds_tenant=tenant is not None, is_stranger=True)


async def bring(app: App, by: Caller | None = None, **said: Any) -> Reply:
    """Bring a completion in, of which `said` is said; the answer is 7."""
    by = by or stranger()
    return await app.service.complete(by.tenant, Completion(payload=7, **said), by=by)


async def test_a_token_is_all_that_it_takes(app: App) -> None:
    """It says the tenant and the interaction, and a repeat is told by the row."""
    id, token = await parked(app, tenant="acme")
    first = await bring(app, resume_token=token, actor="partner")
    second = await bring(app, resume_token=token)
    [unit] = await app.service.units("acme", first.receipt.execution_id or "")

    assert (first.receipt.outcome, second.receipt.outcome) == ("applied", "duplicate")
    assert first.receipt.interaction_id == id
    assert unit.status.name == "COMPLETED"
    assert (await app.receipts(tenant="acme")).process["applied"] == 1


async def test_what_is_named_beside_a_token_must_agree(app: App) -> None:
    """Ids, correlation, step and tenant may be given, and are then the token's or it is refused."""
    id, token = await parked(app, 7)
    other, _ = await parked(app, 8)
    refused = [
        {"interaction_id": other},
        {"interaction_id": id.upper()},
        {"correlation_id": "8"},
        {"correlation_id": id},
        {"step_id": "another"},
        {"interaction_id": id, "correlation_id": "8"},
        {"interaction_id": "no id"},
    ]
    for said in refused:
        reply = await bring(app, resume_token=token, **said)
        assert (reply.code, reply.receipt.outcome) == ("wrong-token", "rejected"), said
    foreign = await bring(app, stranger("acme"), resume_token=token)
    assert foreign.code == "wrong-token"
    agreeing = await bring(
        app, stranger("default"), resume_token=token,
        interaction_id=id, correlation_id="7", step_id="ask",
    )  # fmt: skip

    assert agreeing.receipt.outcome == "applied"


async def test_a_credential_beside_a_token_is_of_its_tenant(app: App) -> None:
    """A token does not lead into another tenant than the credential's; it does lead past groups."""
    _, token = await parked(app, tenant="acme")
    eve = Caller("other", Principal("eve", groups=["kitchen"], tenant="other"))
    bob = Caller("acme", Principal("bob", groups=["bar"], tenant="acme"))

    assert (await bring(app, eve, resume_token=token)).code == "wrong-token"
    assert (await bring(app, bob, resume_token=token)).receipt.outcome == "applied"


async def test_strangers_without_a_token_are_refused(app: App) -> None:
    """An id is no right, and neither is a key."""
    id, _ = await parked(app)

    for said in ({"interaction_id": id}, {"correlation_id": "7"}, {"resume_token": ""}):
        assert (await bring(app, **said)).code == "unauthenticated"


async def test_groups_are_enforced_at_the_door(app: App) -> None:
    """By id and by correlation key alike, for one and in a batch; an operator is trusted."""
    id, _ = await parked(app)
    bob = Caller("default", Principal("bob", groups=["bar"]))
    ada = Caller("default", Principal("ada", groups=["kitchen"]))
    for said in ({"interaction_id": id}, {"correlation_id": "7"}, {"correlation_id": "early"}):
        assert (await bring(app, bob, **said)).code == "not-allowed"
        [batched] = await app.service.complete_many(
            "default", [Completion(payload=7, **said)], by=bob
        )
        assert batched is not None
        assert batched.code == "not-allowed"
    early = await bring(app, ada, correlation_id="early")
    applied = await bring(app, ada, interaction_id=id)

    assert early.receipt.outcome == "buffered"
    assert applied.receipt.outcome == "applied"


async def test_a_batch_brings_tokens_of_many_tenants(app: App) -> None:
    """Each line is judged by its own token; the receipts come in the order of the lines."""
    tokens = [(await parked(app, 7, tenant=tenant))[1] for tenant in ("acme", "default", "other")]
    lines = [
        Completion(resume_token=token, payload=7)
        for token in (tokens[2], tokens[0], "bide1.x", tokens[1], tokens[0])
    ]
    replies = await app.service.complete_many("default", lines, by=stranger())

    assert [reply.code if reply else None for reply in replies] == [
        "applied", "applied", "invalid-token", "applied", "duplicate",
    ]  # fmt: skip


async def test_python_takes_tokens_beside_and_in_place_of_ids(app: App) -> None:
    """`complete`, `complete_many` and `fail` tell a token from an id."""
    tokens = [await parked(app, value) for value in (1, 2, 3, 4, 5)]
    (id, first), (_, second), (_, third), (_, fourth), (_, fifth) = tokens

    assert (await app.complete(id, 7, resume_token=first)).outcome == "applied"
    assert (await app.complete(second, 7)).outcome == "applied"
    assert (await app.fail(third, "sold-out")).status == "FAILED"
    [question] = [one for one in await app.pending(inbox) if one.request == 4]
    assert (await app.complete(question, 7, resume_token=fourth)).outcome == "applied"
    receipts = await app.complete_many([(fifth, 7), (fifth, 8)])
    assert [receipt.outcome for receipt in receipts] == ["applied", "conflict"]
    with pytest.raises(NotAllowed):
        await app.complete(id, 7, resume_token=second)
    with pytest.raises(NotAllowed):
        await app.complete("bide1.x", 7)
    with pytest.raises(NotAllowed):
        await app.complete(first, 7, tenant="acme")


async def test_a_late_answer_is_late_by_the_row(store: str) -> None:
    """The token outlives the deadline, so that the interaction and not the token says so."""
    brief = Await("Brief", int, int, via=Inbox(), timeout="1s", on_timeout=lambda value: value)
    pipeline = Pipeline("briefs", int).wait(brief).then(sum_up)
    app = App(pipeline, store=store, settings=settings())
    async with app.running():
        execution = await app.submit(pipeline, 1)
        [question] = await execution.parked(brief, timeout="30s")
        token = await token_of(app, "default", question.interaction_id)
        assert await execution.result(timeout=30) == 1
        reply = await bring(app, resume_token=token)

    assert reply.receipt.outcome == "late"


async def test_a_token_of_an_interaction_that_is_gone_is_unknown(app: App) -> None:
    """Its signature is good, and there is no such row."""
    [_, token] = await parked(app)
    [asked] = await app._open.store.pending(PendingQuery("default"))
    claims = claims_of(asked.interaction, Purpose.RESUME, retention_ms=1_000)
    other = replace(claims, interaction=claims.interaction._replace(unit=9))
    reply = await bring(app, resume_token=sign(other, KEYRING))

    assert reply.receipt.outcome == "unknown"
    assert (await bring(app, resume_token=token)).receipt.outcome == "applied"


# --- who needs one ----------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", [partner, trusted])
async def test_awaits_that_send_tokens_take_no_answer_without(boundary: Any) -> None:
    """A webhook's interaction is answered with its token, unless its network is trusted."""
    runtime, place = await _parked_at(boundary)
    knows = Caller("default", Principal("ada"))
    local = Caller("default", binds_tenant=False)
    answers = [
        await runtime.service.complete("default", completion, by=caller)
        for caller in (knows, local)
        for completion in (
            Completion(interaction_id=place, payload=7),
            Completion(interaction_id=place, failure=("sold-out", "")),
        )
    ]
    [asked] = await runtime.store.interactions_by_id("default", [place_of(place)])
    assert asked is not None
    token = runtime.tokens.issue(asked.interaction, Purpose.RESUME)
    admitted = await runtime.service.complete(
        "default", Completion(resume_token=token, payload=7), by=stranger()
    )
    await runtime.stop()

    if boundary is trusted:
        assert [reply.code for reply in answers] == ["applied", "conflict", "duplicate", "conflict"]
        assert admitted.code == "duplicate"
    else:
        assert {reply.code for reply in answers} == {"token-required"}
        assert {reply.receipt.outcome for reply in answers} == {"rejected"}
        assert admitted.code == "applied"


async def _parked_at(boundary: Any) -> tuple[Runtime, str]:
    """A runtime with an interaction at an await, put there by a worker of the same plan."""
    pipeline = Pipeline("partners", int).wait(boundary).then(sum_up)
    store = MemoryStore(system_clock)
    runtime = Runtime(
        store,
        Plans([plan_of(pipeline)]),
        quick(),
        system_clock,
        tokens=TokenDesk(lambda: KEYRING, retention_ms=1_000),
        resources=(),
        given={},
    )
    await runtime.start(workers=True)
    made = await runtime.service.submit("partners", 7)
    await runtime.service.wait("default", made.execution_id, 30, parked=True)
    [view] = await runtime.service.pending("default")
    return runtime, view.interaction_id


async def test_a_missing_keyring_is_an_error_at_the_start() -> None:
    """It names the await and what to do, and comes before anything is opened."""
    plan = plan_of(Pipeline("partners", int).wait(partner).then(sum_up))
    closed = TokenDesk.of(quick())

    with pytest.raises(DefinitionError, match=r"await 'Send' .*bide keys generate"):
        check_tokens([plan], closed)
    check_tokens([plan], TokenDesk.of(settings()))
    check_tokens([plan_of(Pipeline("t", int).wait(trusted).then(sum_up))], closed)


async def test_settings_name_one_keyring(tmp_path: Path) -> None:
    """By file or by value; both, or one that cannot be read, is an error at the start."""
    path = tmp_path / "keys.json"
    with pytest.raises(DefinitionError, match="cannot read"):
        await App(asks, store="memory://", settings=quick(keyring_file=path)).start()
    write_key_file(path, KEYRING.render())
    with pytest.raises(DefinitionError, match="both set"):
        await App(asks, store="memory://", settings=settings(keyring_file=path)).start()
    async with App(asks, store="memory://", settings=quick(keyring_file=path)).running() as app:
        assert app._open.tokens.key_ids() == ["k1"]


async def test_a_rotation_is_known_without_a_restart(tmp_path: Path, store: str) -> None:
    """New tokens are of the new key, and those that are out stay good."""
    path, seconds = tmp_path / "keys.json", [0.0]
    write_key_file(path, KEYRING.render())
    watched = Watched(path, Keyring.parse, clock=lambda: seconds[0])
    desk = TokenDesk(watched.current, retention_ms=1_000, path=path)
    write_key_file(path, KEYRING.rotated(new_key(NOW)).render())
    before = desk.key_ids()
    seconds[0] = 1.0

    assert before == ["k1"]
    assert desk.key_ids()[1:] == ["k1"]


async def test_without_a_keyring_every_token_is_refused(store: str) -> None:
    """An app that makes no tokens takes none, and asks its store nothing."""
    app = App(asks, store=store, settings=quick())
    async with app.running(workers=False):
        counting = CountingStore(app._open.store)
        app._open.admission._store = counting  # type: ignore[assignment]  # answers every verb
        token = sign(claims_of_nothing(), KEYRING)
        reply = await bring(app, resume_token=token)

    assert reply.code == "invalid-token"
    assert not counting.calls


def claims_of_nothing() -> Claims:
    return Claims(
        tenant="default",
        purpose=Purpose.RESUME,
        interaction=InteractionId(ExecutionId(bytes(16)), 1),
        step=bytes(16),
        correlation=bytes(16),
        issued_at=0,
        expires_at=2**62,
    )


def test_tokens_stay_out_of_what_is_shown() -> None:
    """Completions are logged and raised without the token that they came with."""
    token = sign(claims_of_nothing(), KEYRING)

    assert token not in repr(Completion(resume_token=token))
    assert token not in repr(Typed("", 1, None, resume_token=token))
    assert "AAEC" not in repr(settings())
