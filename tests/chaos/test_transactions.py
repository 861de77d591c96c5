"""Transactional steps under kills: rows and states of executions never disagree."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import apsw
import psycopg
import pytest

from bide import App, Settings, StoreUnavailable
from bide.model.ids import format_execution
from bide.model.status import ExecutionStatus
from tests.chaos.conftest import Scale
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Transfer, app, confirm, laying, transfers
from tests.chaos.test_workers import _until_it_says, _until_there
from tests.processes import PATIENCE_S, Process
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(1_800)]

APP = "tests.chaos.ledger:app"
WORKERS = 3
#: Executions that are under way at a time, so that every worker always has something in hand.
UNDER_WAY = 40


class Books(NamedTuple):
    """What one snapshot of a database holds: the state of each execution, and its rows."""

    #: Status, and how many waits it has opened.
    executions: dict[str, tuple[ExecutionStatus, int]]
    entries: Counter[tuple[str, int]]
    account: int

    def check(self) -> None:
        """See that each row is there once, if and only if its execution has gone on past its step."""
        owed: Counter[tuple[str, int]] = Counter()
        for id_, (status, units) in self.executions.items():
            if units:
                owed[id_, 1] = 1
            if status is ExecutionStatus.SUCCEEDED:
                owed[id_, 2] = 1
        assert self.entries == owed, (self.entries - owed, owed - self.entries)
        assert self.account == self.entries.total()


_EXECUTIONS = "select id, status, units from {}executions where pipeline = 'transfers'"
_ENTRIES = "select execution, stage, count(*) from entries group by 1, 2"
_ACCOUNT = "select entries from account"


def of_file(path: Path) -> Callable[[], Books]:
    """Reads the books of an SQLite file."""

    def read() -> Books:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            db.set_busy_timeout(10_000)
            with db:  # one snapshot for all three
                executions = db.execute(_EXECUTIONS.format("")).fetchall()
                entries = db.execute(_ENTRIES).fetchall()
                [(account,)] = db.execute(_ACCOUNT).fetchall()
        finally:
            db.close()
        return _books(
            [(format_execution(id_), status, units) for id_, status, units in executions],
            entries,
            account,
        )

    return read


def of_server(url: str) -> Callable[[], Books]:
    """Reads the books of a PostgreSQL database."""

    def read() -> Books:
        with psycopg.connect(url) as db:
            db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            executions = db.execute(_EXECUTIONS.format("bide.")).fetchall()
            entries = db.execute(_ENTRIES).fetchall()
            [account] = db.execute(_ACCOUNT).fetchone() or [0]
        return _books([(str(id_), *rest) for id_, *rest in executions], entries, account)

    return read


def _books(executions: list[tuple], entries: list[tuple], account: int) -> Books:  # type: ignore[type-arg]  # rows of two drivers
    return Books(
        {id_: (ExecutionStatus(status), units) for id_, status, units in executions},
        Counter({(execution, stage): count for execution, stage, count in entries}),
        account,
    )


class Killer:
    """Kills workers of a nursery at random instants."""

    def __init__(self, folder: Path, nursery: Process) -> None:
        self._folder = folder
        self._nursery = nursery
        self._dice = random.Random(11)
        self.kills = 0

    async def kill(self, times: int) -> None:
        """Kill so many, one after another, each once it claims."""
        while self.kills < times:
            await asyncio.sleep(self._dice.uniform(0.1, 1.0))
            assert self._nursery.alive, self._nursery.output()
            ready = sorted(self._folder.glob("*.ready"))
            if not ready:
                continue
            victim = self._dice.choice(ready)
            victim.unlink()
            os.kill(int(victim.stem), signal.SIGKILL)
            self.kills += 1


class Customers:
    """They submit and answer for as long as workers are killed, and until all has succeeded."""

    def __init__(self, on: App) -> None:
        self.app = on
        self.submitted: list[str] = []
        self.succeeded = 0

    async def run(self, killing: "asyncio.Task[None]", look: Callable[[], Books]) -> int:
        """Give how often the books were looked at meanwhile."""
        looks = 0
        async with asyncio.timeout(PATIENCE_S * 12):
            while not killing.done() or self.succeeded < len(self.submitted):
                if killing.done():
                    killing.result()
                try:
                    await self._submit(keeps_on=not killing.done())
                    await self._answer()
                except StoreUnavailable:
                    continue
                books = await asyncio.to_thread(look)
                books.check()
                looks += 1
                self.succeeded = sum(
                    status is ExecutionStatus.SUCCEEDED for status, _ in books.executions.values()
                )
                await asyncio.sleep(0.05)
        return looks

    async def _submit(self, *, keeps_on: bool) -> None:
        while keeps_on and len(self.submitted) - self.succeeded < UNDER_WAY:
            number = len(self.submitted)
            made = await self.app.submit(
                transfers, Transfer(number=number), idempotency_key=f"transfer-{number}"
            )
            self.submitted.append(made.execution_id)

    async def _answer(self) -> None:
        questions = await self.app.pending(confirm, limit=500)
        await self.app.complete_many([(each, True) for each in questions])


@pytest.fixture(params=["sqlite", "postgres"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, object]]:
    """A store, and how to read its books."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/bide.db", of_file(tmp_path / "bide.db")
    else:
        url = request.getfixturevalue("database")
        yield url, of_server(url)


async def test_workers_killed_at_random(
    books: tuple[str, Callable[[], Books]],
    tmp_path: Path,
    scale: Scale,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whenever workers are killed, each row is there once if its execution has gone on past its
    step, and not at all if it has not; and every execution succeeds in the end.
    """
    store, look = books
    (folder := tmp_path / "nursery").mkdir()
    calls = tmp_path / "calls"
    on = app.using(store=store)
    async with on.running():
        await (await on.submit(laying, 0)).result(timeout=PATIENCE_S)
    command = [sys.executable, "-m", "tests.chaos.ledger", store, folder, str(WORKERS)]
    customers = Customers(on.using(settings=Settings(poll_max_ms=100)))
    with Process(command, log=tmp_path / "nursery.log", env={"CALLS": str(calls)}) as nursery:
        killer = Killer(folder, nursery)
        async with customers.app.running(workers=False):
            killing = asyncio.create_task(killer.kill(scale.transaction_kills))
            try:
                looks = await customers.run(killing, look)
            finally:
                killing.cancel()

    end = look()
    end.check()
    assert set(end.executions) == set(customers.submitted)
    assert end.entries.total() == 2 * len(customers.submitted)
    again = calls.stat().st_size - end.entries.total()
    assert again > 0  # else the kills hit nothing that was under way
    if scale.is_long:
        with capsys.disabled():
            print(
                f"\n{store.partition(':')[0]}: {killer.kills} kills of workers,"
                f" {len(end.executions):,} executions, {end.entries.total():,} rows of steps that"
                f" were called {again:,} times more; the books agreed at each of {looks:,} looks"
            )


# --- connections that are cut -------------------------------------------------------------------


async def test_connections_that_are_cut(
    database: str, tmp_path: Path, scale: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut inside statements and inside commits, whose outcomes are looked up: the books agree, and
    every execution succeeds.
    """
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    look = of_server(database)
    async with app.using(store=database).running() as on:
        await (await on.submit(laying, 0)).result(timeout=PATIENCE_S)
    async with Proxy(database) as proxy:

        async def cut() -> None:
            proxy.cut_at_random(0.3, random.Random(17))
            while sum(proxy.cuts.values()) < scale.cuts:
                await asyncio.sleep(0.02)
            proxy.cut_nothing()

        customers = Customers(app.using(store=database))
        async with app.using(store=proxy.url).running(), customers.app.running(workers=False):
            looks = await customers.run(asyncio.create_task(cut()), look)

    end = look()
    end.check()
    assert looks > 0
    assert min(proxy.cuts.values()) > 0
    assert set(end.executions) == set(customers.submitted)


# --- stopped, and continued ---------------------------------------------------------------------


@pytest.mark.parametrize("pipeline", ["gated-before", "gated-within"])
async def test_a_worker_that_stands_still_past_its_lease_writes_no_row(
    books: tuple[str, Callable[[], Books]], tmp_path: Path, pipeline: str
) -> None:
    """Held up before its first statement or behind it, it keeps its successor from nothing, and what
    it goes on with is refused: the row and the result are its successor's.
    """
    store, _ = books
    on = app.using(store=store)
    async with on.running():
        await (await on.submit(laying, 0)).result(timeout=PATIENCE_S)
    env = {"GATES": str(tmp_path), "TRANSACTION_MAX_MS": "2000"}
    patient = {**env, "TRANSACTION_MAX_MS": "60000"}
    async with (
        on.running(workers=False),
        Fleet(store, tmp_path / "zombie", size=1, env=env, app=APP) as zombies,
    ):
        [zombie] = zombies.workers
        execution = await on.submit(pipeline, 1)
        await _until_there(tmp_path / f"{zombie.pid}.reached", zombie)
        if store.startswith(
            "postgres"
        ):  # a file that a stopped process has locked is nobody's to open
            os.kill(zombie.pid, signal.SIGSTOP)
        async with Fleet(store, tmp_path / "heir", size=1, env=patient, app=APP) as heirs:
            [heir] = heirs.workers
            await _until_there(tmp_path / f"{heir.pid}.reached", heir)
            (tmp_path / f"{heir.pid}.open").touch()
            assert await execution.result(timeout=PATIENCE_S) == heir.pid
            assert _entries(store, tmp_path) == [(execution.execution_id, heir.pid)]

            (tmp_path / f"{zombie.pid}.open").touch()
            os.kill(zombie.pid, signal.SIGCONT)
            await _until_it_says(zombie, ("lost the lease", "came to nothing", "dropped"))
            assert _entries(store, tmp_path) == [(execution.execution_id, heir.pid)]


def _entries(store: str, folder: Path) -> list[tuple[str, int]]:
    """The rows that are there."""
    if not store.startswith("sqlite"):
        with psycopg.connect(store) as server:
            return server.execute("select execution, stage from entries").fetchall()
    file = apsw.Connection(str(folder / "bide.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return file.execute("select execution, stage from entries").fetchall()
    finally:
        file.close()
