"""Checkpoint handoff to another deployment: over real HTTP, between two apps with a store each."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from bide import (
    App,
    DefinitionError,
    Deployment,
    Execution,
    NotRedrivable,
    Pipeline,
    Publication,
    Secret,
    Subscription,
)
from bide.model.status import ExecutionStatus
from bide.runtime.views import HandoffView
from bide.security.apikeys import ApiKeys
from bide.spi.handoff import Answer, Offer
from bide.spi.transport import Unclear
from bide.testing import simulate
from bide.testing.carrier import admits_all
from tests.integration.served import Served
from tests.integration.support import eventually, quick

#: So that what failed is offered again soon.
HASTY: dict[str, Any] = {"dispatch_breaker_first_ms": 10, "dispatch_breaker_longest_ms": 50}


class Parcel(BaseModel):
    ref: str
    grams: int = 0


class Van(BaseModel):
    load: str


def pack(parcel: Parcel) -> Parcel:
    return parcel.model_copy(update={"grams": parcel.grams + 1})


def van_of(parcel: Parcel) -> Van:
    if parcel.grams > 1_000:
        raise ValueError("too heavy")
    return Van(load=f"{parcel.ref} ({parcel.grams} g)")


def drive(van: Van) -> str:
    return f"delivered {van.load}"


def delivery(store: str, **changes: Any) -> App:
    taking = Pipeline(
        "delivery", Van, subscribes=Subscription("packed", mapper=van_of, remote=True)
    ).then(drive)
    return App(taking, store=store, settings=quick(**changes))


def shop(store: str, url: str, *, api_key: Secret | None = None) -> App:
    packed = Publication("packed", idempotent_on="ref", to=Deployment(url, api_key=api_key))
    packing = Pipeline("packing", Parcel, publishes=packed).then(pack)
    return App(packing, store=store, settings=quick(**HASTY))


@pytest.fixture
def stores(request: pytest.FixtureRequest, shared: str, tmp_path: Path) -> tuple[str, str]:
    """The source's store, of each kind, and the target's: another one."""
    return shared, f"sqlite:///{tmp_path}/delivery.db"


@asynccontextmanager
async def both(stores: tuple[str, str]) -> AsyncIterator[tuple[App, Served]]:
    """The shop and the delivery, both running, the delivery behind HTTP."""
    async with delivery(stores[1]).running() as target, Served(target) as served:
        async with shop(stores[0], served.url).running() as source:
            yield source, served


async def published(app: App, execution: Execution[Any] | str) -> HandoffView:
    id_ = execution if isinstance(execution, str) else execution.execution_id
    [view] = (await app.service.lineage("default", id_)).published
    return view


async def handed(app: App, execution: Execution[Any], status: str = "admitted") -> HandoffView:
    """The one publication of an execution, once it stands there."""

    async def there() -> HandoffView | None:
        for view in (await app.service.lineage("default", execution.execution_id)).published:
            return view if view.status == status else None
        return None

    view: HandoffView = await eventually(there)
    return view


async def tried(app: App, execution: Execution[Any], error: str = "") -> HandoffView:
    """The one publication of an execution, once a try has come to that and to nothing else."""

    async def failed() -> HandoffView | None:
        for view in (await app.service.lineage("default", execution.execution_id)).published:
            return view if view.error is not None and error in view.error else None
        return None

    view: HandoffView = await eventually(failed)
    return view


async def test_it_is_offered_and_taken(stores: tuple[str, str]) -> None:
    """The target owns an execution of its own, and each side names the other's."""
    async with both(stores) as (source, served):
        parcel = await source.submit("packing", {"ref": "p-1"})

        out = await handed(source, parcel)

        assert (out.publication, out.key, out.target, out.duplicate) == (
            "packed", "p-1", None, False,
        )  # fmt: skip
        made = served.app.execution("delivery", str(out.execution_id))
        assert await made.result(timeout=30) == "delivered p-1 (1 g)"
        [origin] = (await served.app.service.lineage("default", made.execution_id)).made_of
        assert (origin.execution_id, origin.pipeline, origin.key) == (
            parcel.execution_id, "packing", "p-1",
        )  # fmt: skip


async def test_a_repeat_is_the_same_execution(stores: tuple[str, str]) -> None:
    """Two sources under one key have one target, which names them both."""
    async with both(stores) as (source, served):
        parcels = [await source.submit("packing", {"ref": "p-1"}) for _ in range(2)]

        outs = [await handed(source, parcel) for parcel in parcels]

        assert outs[0].execution_id == outs[1].execution_id
        assert {out.duplicate for out in outs} == {False, True}
        counts = await served.app.service.counts("default")
        assert sum(counts.values()) == 1
        made = (await served.app.service.lineage("default", str(outs[0].execution_id))).made_of
        assert {each.execution_id for each in made} == {each.execution_id for each in parcels}


async def test_what_is_offered_again_is_known(stores: tuple[str, str]) -> None:
    """An offer whose answer was lost comes again and is a duplicate of itself."""
    async with both(stores) as (source, served):
        out = await handed(source, await source.submit("packing", {"ref": "p-1"}))
        line = {
            "publication": "packed", "handoffKey": "p-1", "payload": {"ref": "p-1", "grams": 1},
            "sourceExecutionId": "018f2c3a-7d11-7abc-8def-0123456789ab", "sourcePipeline": "x",
        }  # fmt: skip

        answer = await offer(served, line, line)

        assert answer == [{"executionId": out.execution_id, "duplicate": True}] * 2


async def offer(served: Served, *lines: Any) -> list[Any]:
    """Offer lines as a stranger to this project would write them."""
    body = b"".join(
        (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in lines
    )
    async with httpx.AsyncClient(base_url=served.url) as client:
        answer = await client.post(
            "/api/v1/handoffs", content=body, headers={"content-type": "application/x-ndjson"}
        )
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_each_line_stands_alone(stores: tuple[str, str]) -> None:
    """A bad line is told why, in its place, and its neighbours are admitted."""
    good = {
        "publication": "packed", "handoffKey": "a", "payload": {"ref": "a"},
        "sourceExecutionId": "018f2c3a-7d11-7abc-8def-0123456789ab", "sourcePipeline": "x",
        "whatever": "else",
    }  # fmt: skip
    async with delivery(stores[1]).running() as app, Served(app) as served:
        answers = await offer(
            served,
            good,
            b"{",
            {**good, "publication": "unheard-of"},
            {**good, "handoffKey": " "},
            {**good, "sourceExecutionId": "no id"},
            {**good, "handoffKey": "b", "payload": {"weight": 7}},
            {**good, "handoffKey": "c", "payload": {"ref": "c", "grams": 5_000}},
            {**good, "payload": {"ref": "another"}},
            {**good, "handoffKey": "d"},
        )

        said = [each.get("type", "").rpartition("/")[2] or "admitted" for each in answers]
        assert said == [
            "admitted", "malformed", "unknown-publication", "malformed", "malformed",
            "handoff-invalid", "mapper-failed", "handoff-conflict", "admitted",
        ]  # fmt: skip
        assert sum((await app.service.counts("default")).values()) == 2


@pytest.mark.parametrize(("parcel", "code"), [({"ref": "p-1", "grams": 2_000}, "mapper-failed")])
async def test_what_is_refused_is_a_dead_letter_here(
    stores: tuple[str, str], parcel: dict[str, Any], code: str
) -> None:
    """A refusal is final: kept at the source with its reason, and offered again on request."""
    async with both(stores) as (source, served):
        execution = await source.submit("packing", parcel)
        out = await handed(source, execution, "refused")

        [letter] = await source.service.dead_letters("default")
        assert (letter.kind, letter.code, letter.dead_letter_id) == (
            "handoff", code, out.handoff_id,
        )  # fmt: skip
        assert letter.payload == {"ref": "p-1", "grams": 2_001}
        assert (await execution.status()).status is ExecutionStatus.SUCCEEDED
        assert sum((await served.app.service.counts("default")).values()) == 0

        again = await source.redrive(letter.dead_letter_id)
        assert again.execution_id == execution.execution_id
        assert (await handed(source, execution, "refused")).attempts == 1
        assert len(await source.service.dead_letters("default")) == 1


async def test_a_target_that_comes_later(stores: tuple[str, str]) -> None:
    """Nobody listens, then a release without the subscriber, then the right one: nothing is lost."""
    served = Served(delivery(stores[1]))
    async with shop(stores[0], served.url).running() as source:
        parcel = await source.submit("packing", {"ref": "p-1"})

        assert (await tried(source, parcel)).status == "waiting"
        other = Pipeline("other", Van).then(drive)
        wrong = Served(App(other, store=stores[1], settings=quick()))
        wrong.port = served.port
        async with wrong.app.running(), wrong:
            await tried(source, parcel, "unknown-publication")
        async with served.app.running(), served:
            out = await handed(source, parcel)

        assert out.attempts >= 3
        assert out.error is None


async def test_a_credential_opens_the_door(
    stores: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the wrong key it is offered on and on, and with the right one it is taken."""
    known, _, key = ApiKeys.of([]).issued(
        datetime.now(UTC), actor="shop", tenant="default", groups=[], roles=["submit"]
    )
    keys = tmp_path / "keys.json"
    keys.write_bytes(known.render())
    keys.chmod(0o600)
    secret = tmp_path / "secret"
    secret.write_text("bide_wrong")
    target = delivery(stores[1], api_keys_file=keys)
    async with target.running(), Served(target) as served:
        app = shop(stores[0], served.url, api_key=Secret(file=str(secret)))
        async with app.running() as source:
            parcel = await source.submit("packing", {"ref": "p-1"})
            await tried(source, parcel, "401")
        secret.write_text(key)
        async with app.running() as source:
            assert (await handed(source, parcel)).execution_id


def test_a_missing_credential_stops_the_start(tmp_path: Path) -> None:
    """A secret that is not there is told before anything is offered."""
    secret = Secret(file=str(tmp_path / "none"))
    app = shop(f"sqlite:///{tmp_path}/bide.db", "http://127.0.0.1:1", api_key=secret)

    with pytest.raises(DefinitionError, match="cannot be read"):
        app.blocking().start()


async def test_a_target_that_is_away_for_a_minute_catches_up() -> None:
    """On a virtual clock: a hundred are published while it is away, and all are taken after."""
    away = True

    def taker(offered: Offer) -> Answer:
        return Unclear("nobody is there") if away else admits_all(offered)

    async with simulate(shop("memory://", "https://delivery.example"), taker=taker) as sim:
        parcels = [await sim.submit("packing", {"ref": f"p-{n}"}) for n in range(100)]
        await sim.advance("1m")
        waiting = [await published(sim, parcel) for parcel in parcels]
        assert {each.status for each in waiting} == {"waiting"}
        assert all(each.attempts > 3 for each in waiting)

        away = False
        await sim.advance("1m")

        taken = [await published(sim, parcel) for parcel in parcels]
        assert {each.status for each in taken} == {"admitted"}
        assert len({each.execution_id for each in taken}) == 100


async def test_a_crash_at_every_step_of_a_handoff() -> None:
    """Whatever the process dies at, the other side gets it under one key, and it is settled once."""
    names = ("submit", "finish", "claim to hand on", "settle handoff")
    for name in names:
        for when in ("before", "after"):
            async with simulate(shop("memory://", "https://delivery.example")) as sim:
                sim.crash_at(name, when)  # type: ignore[arg-type]  # one of the two

                parcel = await sim.submit("packing", {"ref": "p-1"}, idempotency_key="p-1")
                await parcel.result(timeout=60)
                await sim.advance("5m")

                out = await published(sim, parcel)
                assert out.status == "admitted", (name, when)
                assert {(each.publication, each.key) for each in sim.handed} == {("packed", "p-1")}
                assert {each.handoff_id for each in sim.handed} == {out.handoff_id}
                assert name in {each.name for each in sim.commits}


async def test_only_a_remote_publication_is_redriven_as_such(stores: tuple[str, str]) -> None:
    """What was taken cannot be offered again."""
    async with both(stores) as (source, _):
        out = await handed(source, await source.submit("packing", {"ref": "p-1"}))

        with pytest.raises(NotRedrivable, match="was not refused"):
            await source.redrive(out.handoff_id)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Deployment("http://delivery.example"), "on whose way others could read"),
        (lambda: Deployment("https://delivery.example/?a=b"), "leave its query out"),
        (lambda: Deployment("ftp://delivery.example"), "Deployment: url"),
        (lambda: Deployment("https://a.example", api_key="k"), "api_key is no Secret"),
        (lambda: Publication("a", idempotent_on="b", to="https://x.example"), "write to=Deploy"),
    ],
)
def test_mistakes_in_where_it_goes(make: Any, says: str) -> None:
    """An address that would not do is refused where it is written."""
    with pytest.raises(DefinitionError, match=says):
        make()


def test_what_is_remote_is_not_published_here() -> None:
    """An app that publishes what it subscribes to needs no wire for that, and says so."""
    placed = Publication("packed", idempotent_on="ref")
    packing = Pipeline("packing", Parcel, publishes=placed).then(pack)
    taking = Pipeline("taking", Parcel, subscribes=Subscription("packed", remote=True)).then(pack)
    twice = Pipeline("twice", Parcel, subscribes=Subscription("packed", remote=True)).then(pack)

    with pytest.raises(DefinitionError, match="of the same app publishes it"):
        App(packing, taking)
    with pytest.raises(DefinitionError, match="What is offered has one taker"):
        App(taking, twice)
