"""Stores that fail, files that are no database, and callers that wait for room or go away."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bide import App, Await, Inbox, Pipeline, StoreUnavailable
from bide.engine.fold import Transacted
from bide.engine.moves import Handover, Move
from bide.runtime.committer import Committer
from bide.settings import Settings
from bide.stores.memory import MemoryStore
from tests.integration.support import Gate, eventually, quick

ask = Await("Ask", int, int, via=Inbox(), timeout="1h")
asking = Pipeline("asking", int).wait(ask)


def faults_of(app: App) -> Any:
    return app._open.store.faults  # type: ignore[attr-defined]  # the store of these tests is SQLite


def alone() -> Settings:
    """Settings under which the next commit is the test's own: no sweep makes one in between."""
    return quick(sweep_interval_ms=3_600_000)


# --- a store that fails -------------------------------------------------------------------------


async def test_a_failed_commit_is_told_and_nothing_was_stored(shared: str) -> None:
    """Submit and complete raise StoreUnavailable; the same call again succeeds."""
    async with App(asking, store=shared, settings=alone()).running() as app:
        faults_of(app).fail_next_commit(after=False)
        with pytest.raises(StoreUnavailable, match="was lost"):
            await app.submit(asking, 1, idempotency_key="k")
        assert sum((await app.status()).values()) == 0
        execution = await app.submit(asking, 1, idempotency_key="k")
        assert not execution.duplicate
        [question] = await execution.parked(ask, timeout=10)
        faults_of(app).fail_next_commit(after=False)
        with pytest.raises(StoreUnavailable):
            await app.complete(question, 2)
        assert (await app.complete(question, 2)).outcome == "applied"

        assert await execution.result(timeout=10) == 2


async def test_an_unknown_outcome_is_looked_up(shared: str) -> None:
    """A commit whose outcome was lost after it took place is answered as what it was."""
    async with App(asking, store=shared, settings=alone()).running() as app:
        faults_of(app).fail_next_commit(after=True)
        execution = await app.submit(asking, 1, idempotency_key="k")
        assert not execution.duplicate
        [question] = await execution.parked(ask, timeout=10)
        faults_of(app).fail_next_commit(after=True)
        assert (await app.complete(question, 2)).outcome == "applied"

        assert await execution.result(timeout=10) == 2


@pytest.mark.parametrize("after", [False, True])
async def test_a_worker_recovers(shared: str, gate: Gate, *, after: bool) -> None:
    """A segment whose last commit fails is committed again, without running again."""

    def held(number: int) -> int:
        gate.wait()
        return number

    pipeline = Pipeline("held", int).then(held)
    async with App(pipeline, store=shared, settings=quick()).running() as app:
        execution = await app.submit(pipeline, 1)
        await eventually(lambda: gate.arrived)
        faults_of(app).fail_next_commit(after=after)
        gate.open()

        assert await execution.result(timeout=20) == 1
        assert gate.arrived == 1


async def test_a_stop_does_not_wait_for_a_store_that_never_answers(
    shared: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the store gone a stop ends within its patience, and nothing tries again after it."""

    def held(number: int) -> int:
        gate.wait()
        return number

    pipeline = Pipeline("held", int).then(held)
    app = App(pipeline, store=shared, settings=quick(stop_timeout_ms=300))
    await app.start()
    await app.submit(pipeline, 1)
    await eventually(lambda: gate.arrived)
    calls: list[int] = []

    async def gone(moves: Sequence[Move], handover: Handover | None = None) -> Transacted:
        calls.append(len(moves))
        raise StoreUnavailable("gone")

    monkeypatch.setattr(app._open.store, "transact", gone)
    gate.open()
    await eventually(lambda: calls)
    await app.stop()
    made = len(calls)
    await asyncio.sleep(0.6)  # longer than the rest before another try
    assert len(calls) == made


async def test_receipts_of_what_was_committed(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`complete_many` that fails midway carries the receipts of what was committed before."""
    async with App(asking, store=shared, settings=quick(batch_rows=2)).running() as app:
        executions = [await app.submit(asking, number) for number in range(6)]
        found = [(await each.parked(ask, timeout=10))[0] for each in executions]
        store = app._open.store
        real, calls = store.transact, []

        async def twice(moves: Sequence[Move], handover: Handover | None = None) -> Transacted:
            if any(type(move).__name__ == "Admit" for move in moves):
                calls.append(len(moves))
                if len(calls) == 3:
                    raise StoreUnavailable("gone")
            return await real(moves, handover)

        monkeypatch.setattr(store, "transact", twice)
        with pytest.raises(StoreUnavailable) as caught:
            await app.complete_many([(question, 1) for question in found])
        assert [receipt.outcome for receipt in caught.value.receipts] == ["applied"] * 4  # type: ignore[attr-defined]  # receipts of completions
        outcomes = [each.outcome for each in await app.complete_many((q, 1) for q in found)]
        assert outcomes == ["duplicate"] * 4 + ["applied"] * 2


# --- files --------------------------------------------------------------------------------------


def _corrupt(folder: Path) -> str:
    (folder / "bide.db").write_bytes(b"no database at all" * 1_000)
    return f"{folder}/bide.db"


def _folder(folder: Path) -> str:
    (folder / "bide.db").mkdir()
    return f"{folder}/bide.db"


def _absent(folder: Path) -> str:
    return f"{folder}/absent/bide.db"


def _read_only(folder: Path) -> str:
    return "/proc/bide.db"


def _newer(folder: Path) -> str:
    with sqlite3.connect(folder / "bide.db") as db:
        db.execute("pragma user_version = 9999")
    db.close()
    return f"{folder}/bide.db"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_corrupt, "not a sound SQLite database"),
        (_folder, "is a folder"),
        (_absent, "no folder"),
        (_read_only, "cannot be"),
        (_newer, "newer release"),
    ],
)
async def test_a_file_that_cannot_be_used(tmp_path: Path, make: Any, says: str) -> None:
    """One clear error names the file and the fault, at the start, and leaves nothing open."""
    path = make(tmp_path)
    app = App(asking, store=f"sqlite:///{path}", settings=quick())
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=says) as caught:
            await app.start()
        assert path in str(caught.value) or "schema" in str(caught.value)
        assert "\n" not in str(caught.value)
    await app.stop()


async def test_a_file_that_vanishes_while_it_is_open(tmp_path: Path) -> None:
    """Nothing is acknowledged into a file that was deleted; a moved one that comes back goes on."""
    path = tmp_path / "bide.db"
    async with App(asking, store=f"sqlite:///{path}", settings=quick()).running() as app:
        await app.submit(asking, 1)
        path.rename(tmp_path / "elsewhere.db")
        with pytest.raises(StoreUnavailable, match="deleted or replaced"):
            await app.submit(asking, 2)
        (tmp_path / "elsewhere.db").rename(path)
        execution = await app.submit(asking, 3)
        assert await execution.parked(ask, timeout=10)
        assert sum((await app.status()).values()) == 2
        path.unlink()
        with pytest.raises(StoreUnavailable, match="deleted or replaced"):
            await app.submit(asking, 4)


@pytest.mark.parametrize(
    ("ahead_ms", "words"), [(-5_000, "5.0 s ahead of"), (5_000, "5.0 s behind")]
)
async def test_clocks_that_differ_are_told(shared: str, ahead_ms: int, words: str) -> None:
    """Where this machine's clock is not the store's, readiness warns and says by how much."""
    async with App(asking, store=shared, settings=quick()).running() as app:
        health = app._open.health
        clock = health._clock
        sound = {check.name: check for check in await app.service.checks()}["clock"]
        health._clock = lambda: clock() + ahead_ms

        skewed = {check.name: check for check in await app.service.checks()}["clock"]

    assert sound.ok
    assert (skewed.ok, skewed.warning) == (False, True)
    assert words in skewed.message


# --- room ---------------------------------------------------------------------------------------


class SlowStore(MemoryStore):
    """Commits when it is told to."""

    def __init__(self) -> None:
        super().__init__(lambda: 0)
        self.held = asyncio.Event()
        self.batches: list[int] = []

    async def transact(self, moves: Sequence[Move], handover: Handover | None = None) -> Transacted:
        await self.held.wait()
        self.batches.append(len(moves))
        return await super().transact(moves, handover)


def cancels(number: int) -> list[Move]:
    from bide.engine.moves import Cancel
    from bide.model.ids import compose_execution_id

    return [Cancel(compose_execution_id(n, 0, 0), "default", "") for n in range(number)]


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_past_the_bound_callers_wait_and_nobody_is_lost() -> None:
    """Pending work is bounded, batches are bounded, and everybody is served."""
    store = SlowStore()
    committer = Committer(store, rows=3, size=1_000_000, pending_rows=5)
    committer.start()
    callers = [asyncio.ensure_future(committer.commit(move)) for move in cancels(40)]
    await settle()
    assert committer.is_full
    assert committer._pending == 5
    store.held.set()
    outcomes = await asyncio.gather(*callers)
    assert len(outcomes) == 40
    assert max(store.batches) <= 3
    assert not committer.is_full
    await committer.stop()
    with pytest.raises(StoreUnavailable):
        await committer.commit(cancels(1)[0])


@pytest.mark.parametrize("victims", [[0], [1], [2, 3], [5], list(range(6, 12)), [4, 11]])
async def test_cancelled_callers_disturb_nobody(victims: list[int]) -> None:
    """Callers that go away, in a batch, queued or while they wait for room, take nobody along."""
    store = SlowStore()
    committer = Committer(store, rows=2, size=1_000_000, pending_rows=3)
    committer.start()
    callers = [asyncio.ensure_future(committer.commit(move)) for move in cancels(12)]
    await settle()
    for victim in victims:
        callers[victim].cancel()
    store.held.set()
    outcomes = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 20)
    gone = [n for n, each in enumerate(outcomes) if isinstance(each, asyncio.CancelledError)]
    assert gone == victims
    await committer.stop()


async def test_room_given_to_a_caller_that_goes_away_is_given_on() -> None:
    """A caller that is cancelled in the instant it gets room leaves it to the next one."""
    store = SlowStore()
    store.held.set()
    committer = Committer(store, rows=1, size=1_000_000, pending_rows=1)
    committer.start()
    first, second, third = [asyncio.ensure_future(committer.commit(m)) for m in cancels(3)]
    give = committer._make_room

    def give_and_cancel() -> None:
        give()
        second.cancel()

    committer._make_room = give_and_cancel  # type: ignore[method-assign]  # to hit the instant
    await asyncio.wait_for(third, 20)
    assert first.done()
    assert second.cancelled()
    await committer.stop()


async def test_a_defect_of_a_store_reaches_the_callers() -> None:
    """What no store should raise is told as StoreUnavailable, and the next commit is made."""
    store = SlowStore()
    store.held.set()
    committer = Committer(store, rows=10, size=1_000_000, pending_rows=10)
    committer.start()
    real = MemoryStore.transact
    trouble = [ZeroDivisionError("a defect")]

    async def defect(moves: Sequence[Move], handover: Handover | None = None) -> Transacted:
        if trouble:
            raise trouble.pop()
        return await real(store, moves, handover)

    store.transact = defect  # type: ignore[method-assign]  # that is the defect
    with pytest.raises(StoreUnavailable, match="a defect"):
        await asyncio.wait_for(committer.commit(cancels(1)[0]), 20)
    await asyncio.wait_for(committer.commit(cancels(1)[0]), 20)
    await committer.stop()
