"""Connections that break, and servers that go and come back, under load."""

import asyncio
import random
from pathlib import Path

import psycopg
import pytest

from bide import CompletionConflict, StoreUnavailable
from tests.chaos.clients import Clients
from tests.chaos.conftest import Scale, shop_at
from tests.chaos.fleet import Fleet
from tests.chaos.proof import prove, until_all_succeeded
from tests.chaos.shop import Decision, Order, decide, orders
from tests.chaos.test_workers import SETTINGS
from tests.servers.postgres import PostgresServer, Stop
from tests.servers.proxy import Cut, Proxy

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(600)]


async def test_a_server_that_restarts_under_load(
    server: PostgresServer, database: str, tmp_path: Path, scale: Scale
) -> None:
    """Each order finishes once, though the server aborts and recovers again and again."""

    async def restart() -> None:
        for _ in range(scale.restarts):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(server.restart, Stop.IMMEDIATE)

    app = shop_at(database)
    clients = Clients(app)
    async with app.running(workers=False), Fleet(database, tmp_path, size=2, env=SETTINGS) as fleet:
        await clients.run(restart(), at_least=scale.orders, per_second=200)
        await until_all_succeeded(database, len(clients.submitted))
        assert all(worker.alive for worker in fleet.workers)

    assert clients.refused > 0
    prove(database, clients)


async def test_backends_that_are_killed_under_load(
    server: PostgresServer, database: str, tmp_path: Path, scale: Scale
) -> None:
    """Each order finishes once, though the server ends connections all the time."""

    async def end_backends() -> None:
        dice, ended = random.Random(11), 0
        while ended < scale.backend_kills:
            await asyncio.sleep(0.05)
            ended += _end_one_backend(server, dice)

    app = shop_at(database)
    clients = Clients(app)
    async with app.running(workers=False), Fleet(database, tmp_path, size=2, env=SETTINGS) as fleet:
        await clients.run(end_backends(), at_least=scale.orders, per_second=400)
        await until_all_succeeded(database, len(clients.submitted))
        assert all(worker.alive for worker in fleet.workers)

    prove(database, clients)


def _end_one_backend(server: PostgresServer, dice: random.Random) -> int:
    with psycopg.connect(server.admin_url, autocommit=True) as db:
        found = db.execute(
            "select pid from pg_stat_activity where usename = 'bide' order by pid"
        ).fetchall()
        if not found:
            return 0
        done = db.execute("select pg_terminate_backend(%s)", dice.choice(found)).fetchone()
    return int(done == (True,))


async def test_connections_that_are_cut_inside_a_commit(database: str, scale: Scale) -> None:
    """A commit of unknown outcome is looked up: no submission and no answer is lost or doubled."""
    async with Proxy(database) as proxy:

        async def cut() -> None:
            proxy.cut_at_random(0.3, random.Random(13))
            while sum(proxy.cuts.values()) < scale.cuts:
                await asyncio.sleep(0.02)
            proxy.cut_nothing()

        app = shop_at(proxy.url)
        clients = Clients(app)
        async with app.running():
            await clients.run(cut(), at_least=scale.orders, per_second=400, together=5)
            await until_all_succeeded(database, len(clients.submitted))

    assert min(proxy.cuts.values()) > 0
    prove(database, clients)


async def test_a_process_that_stalls_inside_a_commit_holds_nobody_up_for_long(
    database: str,
) -> None:
    """The server lets go of what it has locked, another's answer is taken, and its own is not."""
    async with Proxy(database) as proxy:
        stalled, other = shop_at(proxy.url), shop_at(database)
        async with stalled.running(workers=False), other.running():
            execution = await stalled.submit(orders, Order(number=1))  # so that it is connected
            [question] = await execution.parked(decide, timeout=60)
            proxy.hold_next_commit()
            held = asyncio.create_task(stalled.complete(question, Decision(number=1)))
            await proxy.is_holding.wait()

            receipt = await other.complete(question, Decision(number=2))
            proxy.release()
            with pytest.raises(StoreUnavailable):
                await held
            with pytest.raises(CompletionConflict):
                await stalled.complete(question, Decision(number=1))

            assert receipt.outcome == "applied"
            assert (await execution.result(timeout=60)).number == 2


async def test_a_stop_does_not_wait_for_a_server_that_is_gone(database: str) -> None:
    """Whoever waits for a commit of which nobody can say what became hears so, and it stops."""
    async with Proxy(database) as proxy:
        app = shop_at(proxy.url)
        async with app.running(workers=False):
            proxy.cut_every(Cut.REPLY)
            waiting = asyncio.create_task(app.submit(orders, Order(number=1)))
            while not proxy.cuts[Cut.REPLY]:
                await asyncio.sleep(0.01)
            proxy.refuse()
        with pytest.raises(StoreUnavailable):
            await waiting
