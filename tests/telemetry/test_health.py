"""Readiness names what keeps a process from its work, and nothing else takes it out of service."""

import asyncio
from pathlib import Path

import pytest

from bide import App, Await, Inbox, Pipeline, Webhook
from bide.errors import StoreUnavailable
from bide.runtime.health import CHECKS
from bide.runtime.views import Check
from bide.spi.transport import Problem
from tests.integration.partner import Partner, webhook
from tests.integration.support import eventually, quick

decide = Await("Decide", int, bool, via=Inbox(), timeout="1h")
orders = Pipeline("orders", int).wait(decide)
ask = Await("Ask", int, int, via=webhook(), timeout="1h")
asking = Pipeline("asking", int).wait(ask)


async def failing(app: App) -> dict[str, Check]:
    """What fails, by name; every name is one that the reference page explains."""
    checks = await app.service.checks()
    assert {check.name for check in checks} <= set(CHECKS)
    return {check.name: check for check in checks if not check.ok}


async def test_all_is_well() -> None:
    """A process that runs has nothing to complain of, and says what it looked at."""
    app = App(orders, store="memory://", settings=quick())
    async with app.running():
        names = {check.name for check in await app.service.checks()}
        assert await failing(app) == {}

    assert names >= {"store", "schema", "clock", "worker", "leases", "sweeper"}


async def test_a_store_that_went_away(tmp_path: Path) -> None:
    """Then that is all there is to say, and the process is not ready."""
    app = App(orders, store=f"sqlite:///{tmp_path}/bide.db", settings=quick())
    async with app.running():
        await app._open.store.close()
        [check] = await app.service.checks()

    assert (check.name, check.ok, check.warning) == ("store", False, False)


async def test_leases_that_are_not_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that could not renew within a lease's time is out of service until it can."""
    gate = asyncio.Event()

    async def hang(value: int) -> int:
        await gate.wait()
        return value

    hanging = Pipeline("hanging", int).then(hang)
    settings = quick(lease_ms=100, lease_renew_ms=20)
    app = App(hanging, store="memory://", settings=settings)
    async with app.running():
        store = app._open.store

        async def fail(*_: object) -> None:
            raise StoreUnavailable("no")

        with monkeypatch.context() as broken:
            broken.setattr(store, "renew", fail)
            await app.submit(hanging, 1)

            async def late() -> Check | None:
                return (await failing(app)).get("leases")

            check = await eventually(late)
        gate.set()

    assert not check.warning


async def test_a_sweeper_that_ended() -> None:
    """It takes the process out of service: nobody else may be sweeping."""
    app = App(orders, store="memory://", settings=quick())
    async with app.running():
        await app._open.health._sweeper.stop()
        check = (await failing(app))["sweeper"]

    assert not check.warning
    assert check.hint


async def test_what_nobody_can_claim_and_what_nobody_sends() -> None:
    """Both are told with their number; the process goes on serving."""
    settings = quick(dispatch_late_ms=1)
    partner = Partner()
    app = App(asking, orders, store="memory://", settings=settings, transports={Webhook: partner})
    async with app.running(workers=False):
        await app.submit(orders, 1)
        await app.submit(orders, 2)
        held = (await failing(app))["held"]

    assert held.warning
    assert held.message.startswith("2 executions")


async def test_a_late_dispatch(tmp_path: Path) -> None:
    """What waits to be sent for too long is told, with the await that it is of."""
    partner = Partner()
    settings = quick(dispatch_late_ms=1)
    store = f"sqlite:///{tmp_path}/bide.db"
    app = App(asking, store=store, settings=settings, transports={Webhook: partner})
    async with app.running():
        app._open.dispatcher and await app._open.dispatcher.stop(1)
        execution = await app.submit(asking, 1)
        await execution.parked(ask, timeout=30)

        async def late() -> Check | None:
            app._open._backlogs._read_at = float("-inf")
            return (await failing(app)).get("dispatch-backlog")

        check = await eventually(late)

    assert check.warning
    assert "1 interactions of ask" in check.message


async def test_what_a_transport_finds() -> None:
    """A fatal problem takes the process out of service, another one is a warning."""
    partner = Partner()
    app = App(asking, store="memory://", settings=quick(), transports={Webhook: partner})
    async with app.running():
        partner.found = [Problem("the partner", "is slow", is_fatal=False)]
        slow = (await failing(app))["transport"]
        partner.found = [Problem("the partner", "has no secret", is_fatal=True)]
        broken = (await failing(app))["transport"]

    assert (slow.warning, broken.warning) == (True, False)
    assert broken.message == "the partner: has no secret"
