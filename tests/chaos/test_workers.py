"""Workers that are killed, and workers that are stopped and go on: real processes, a real server."""

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bide.model.status import ExecutionStatus, JournalKind
from tests.chaos.clients import Clients
from tests.chaos.conftest import Scale, shop_at
from tests.chaos.fleet import Fleet
from tests.chaos.proof import prove, until_all_succeeded
from tests.chaos.shop import each
from tests.processes import PATIENCE_S, Process

LEASE_MS = 2_000
SETTINGS = {
    "BIDE_LEASE_MS": str(LEASE_MS),
    "BIDE_LEASE_RENEW_MS": "500",
    "BIDE_LEASE_TAKEOVERS_MAX": "100",
}

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(600)]


async def test_a_worker_killed_every_second(
    database: str, tmp_path: Path, scale: Scale, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each order finishes once and loses no answer, though one of four workers dies each second."""
    app = shop_at(database)
    clients = Clients(app, busy_ms=100)
    held: list[Held] = []
    async with app.running(workers=False), Fleet(database, tmp_path, size=4, env=SETTINGS) as fleet:
        await clients.run(
            _kill_each_second(fleet, database, scale.kills, held),
            at_least=scale.orders,
            per_second=scale.orders / scale.kills,
        )
        await until_all_succeeded(database, len(clients.submitted))

    facts = prove(database, clients)
    assert len(held) >= scale.kills  # else the kills hit workers that had nothing in hand
    assert facts.takeovers >= 1
    assert facts.finishers > 4
    recovered = sorted(_recoveries(database, held))
    if scale.is_long:
        with capsys.disabled():
            print(
                f"\n{facts.executions:,} executions, {scale.kills} kills of workers that held"
                f" {len(held):,}, {facts.takeovers:,} take-overs; back after"
                f" {recovered[len(recovered) // 2]:,} ms, {recovered[-1]:,} ms at most"
                f" (lease {LEASE_MS:,} ms)"
            )
        assert recovered[-1] <= LEASE_MS + 2_000


class Held:
    """An execution that a worker ran when it was killed."""

    def __init__(self, at_ms: int, execution: str, version: int) -> None:
        self.at_ms = at_ms
        self.execution = execution
        self.version = version


async def _kill_each_second(fleet: Fleet, url: str, kills: int, held: list[Held]) -> None:
    dice = random.Random(7)
    starting: set[asyncio.Task[None]] = set()
    for _ in range(kills):
        await asyncio.sleep(1)
        while not (alive := [worker for worker in fleet.workers if worker in fleet.names]):
            await asyncio.sleep(0.02)
        victim = dice.choice(alive)
        victim.kill()
        held += _held_by(url, fleet.names.pop(victim))
        starting.add(asyncio.create_task(fleet.start(victim)))
    await asyncio.gather(*starting)


def _held_by(url: str, name: str) -> list[Held]:
    with psycopg.connect(url) as db:
        rows = db.execute(
            "select (extract(epoch from clock_timestamp()) * 1000)::bigint, id, version"
            " from bide.executions where owner = %s and status = %s",
            (name, int(ExecutionStatus.RUNNING)),
        ).fetchall()
    return [Held(at, str(id_), version) for at, id_, version in rows]


def _recoveries(url: str, held: list[Held]) -> list[int]:
    """How long after the kill each was claimed again, in milliseconds."""
    with psycopg.connect(url) as db:
        return [
            db.execute(
                "select min(at) - %s from bide.journal"
                " where execution = %s and version > %s and kind = %s",
                (one.at_ms, one.execution, one.version, int(JournalKind.TAKEN_OVER)),
            ).fetchone()[0]  # type: ignore[index]  # an aggregate gives a row
            for one in held
        ]


# --- stopped, and continued ---------------------------------------------------------------------


@pytest.mark.parametrize("renew_ms", [500, 60_000], ids=["renews first", "writes first"])
@pytest.mark.parametrize(("pipeline", "value"), [("gated", 7), ("counted", 3)])
async def test_a_worker_that_was_stopped_past_its_lease_writes_nothing(
    database: str, tmp_path: Path, pipeline: str, value: int, renew_ms: int
) -> None:
    """What it goes on with when it continues is refused, and its successor's work stands."""
    env = {**SETTINGS, "GATES": str(tmp_path), "BIDE_PAGE_ITEMS": "1"}
    slow = {**env, "BIDE_LEASE_RENEW_MS": str(renew_ms)}
    app = shop_at(database)
    async with (
        app.running(workers=False),
        Fleet(database, tmp_path / "zombie", size=1, env=slow) as zombies,
    ):
        [zombie] = zombies.workers
        execution = await app.submit(pipeline, value)
        await _until_there(tmp_path / f"{zombie.pid}.reached", zombie)
        await _until_stored(database, items=value - 1 if pipeline == "counted" else 0)
        os.kill(zombie.pid, signal.SIGSTOP)
        async with Fleet(database, tmp_path / "successor", size=1, env=env) as successors:
            [successor] = successors.workers
            await _until_there(tmp_path / f"{successor.pid}.reached", successor)
            before = _rows(database)
            (tmp_path / f"{zombie.pid}.open").touch()
            os.kill(zombie.pid, signal.SIGCONT)
            await _until_it_says(zombie, ("lost the lease", "came to nothing", "dropped"))
            assert _rows(database) == before

            (tmp_path / f"{successor.pid}.open").touch()
            if pipeline == "gated":
                assert (await execution.result(timeout=60)).finished_by == successor.pid
            else:
                questions = await execution.parked(each, timeout=60)
                assert [one.request for one in questions] == list(range(value))


def _rows(url: str) -> dict[str, list[Any]]:
    """Every row that a segment writes; not until when leases run, which renewals move."""
    names = ("executions", "units", "interactions", "journal", "results", "inputs", "dead_letters")
    with psycopg.connect(url) as db:
        return {
            name: db.execute(
                f"select to_jsonb(t) - 'due_at' from bide.{name} t order by t::text"
            ).fetchall()
            for name in names
        }


async def _until_there(path: Path, worker: Process) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not path.exists():
            assert worker.alive, worker.output()
            await asyncio.sleep(0.02)


async def _until_stored(url: str, items: int) -> None:
    """Wait until nothing is under way: a process that stops inside a transaction holds its locks."""
    async with asyncio.timeout(PATIENCE_S):
        with psycopg.connect(url, autocommit=True) as db:
            while db.execute("select count(*) from bide.interactions").fetchone() != (items,):
                await asyncio.sleep(0.02)


async def _until_it_says(worker: Process, words: tuple[str, ...]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not any(word in worker.output(1_000) for word in words):
            assert worker.alive, worker.output()
            await asyncio.sleep(0.02)
