"""What the SQLite store remembers of its own commits is never other than what the file holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from bide.engine.moves import Cancel, Finish, Moved, Park, Refused, Unstorable
from bide.errors import StoreUnavailable
from bide.model.records import Execution, replace
from bide.model.status import ExecutionStatus
from bide.spi.clock import Clock
from bide.spi.store import LeaseKey, Store
from bide.stores.sqlite import recent
from bide.stores.sqlite.store import SqliteStore
from bide.testing.clock import FakeClock
from bide.testing.store_contract.harness import (
    LEASE_MS,
    TENANT,
    Driver,
    StoreFactory,
    answer,
    asking,
    boundary,
    expect,
)


@pytest_asyncio.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    clock, path = FakeClock(), str(tmp_path / "bide.db")

    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncIterator[Store]:
        store = SqliteStore(path, clock)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    factory = StoreFactory(
        name="sqlite",
        fresh=opened,
        another=lambda _, clock: opened(clock),
        faults=lambda store: store.faults,  # type: ignore[attr-defined]  # it is the one made here
    )
    async with opened(clock) as store:
        yield Driver(store, clock, factory)


def remembered(driver: Driver) -> recent.Recent:
    assert isinstance(driver.store, SqliteStore)
    return driver.store._recent


def park(execution: Execution) -> Park:
    return Park(execution.id, execution.fence, boundary(), asking(0))


async def test_takes_what_is_open_from_its_own_commits(driver: Driver) -> None:
    """What a claim wrote, its park finds; what a park wrote, the answer; what has ended is let go."""
    execution = (await driver.running()).execution
    assert remembered(driver).executions == {execution.id: execution}

    await driver.one(park(execution))

    [parked] = await driver.store.executions_by_id(TENANT, [execution.id])
    [unit] = await driver.store.units(TENANT, execution.id)
    assert (remembered(driver).executions, remembered(driver).units) == (
        {execution.id: parked},
        {unit.id: unit},
    )
    await driver.one(Cancel(execution.id, TENANT, "enough"))
    assert (remembered(driver).executions, remembered(driver).units) == ({}, {})


async def test_sees_what_another_process_has_committed(driver: Driver) -> None:
    """A claim that was cancelled elsewhere writes nothing more, though this process wrote it last."""
    first, second = (await driver.running()).execution, (await driver.running()).execution
    async with driver.another() as other:
        [cancelled] = (await other.transact([Cancel(first.id, TENANT, "enough")])).outcomes
        expect(cancelled, Moved)

    stale, fine = await driver.do(park(first), park(second))

    assert isinstance(stale, Refused)
    assert isinstance(fine, Moved)
    assert (await driver.execution(first.id)).status is ExecutionStatus.CANCELLED


async def test_forgets_a_commit_that_failed(driver: Driver) -> None:
    """After a commit that took no place the move can be made again, from where the file stands."""
    execution = (await driver.running()).execution
    driver.faults().fail_next_commit(after=False)
    with pytest.raises(StoreUnavailable):
        await driver.one(park(execution))

    again = await driver.one(park(execution))

    assert expect(again, Moved).execution.version == execution.version + 1


async def test_goes_on_after_a_commit_whose_outcome_was_lost(driver: Driver) -> None:
    """What was committed after all is what the next move meets."""
    execution = (await driver.running()).execution
    driver.faults().fail_next_commit(after=True)
    parked = expect(await driver.one(park(execution)), Moved)
    assert parked.asked is not None

    await driver.one(answer(parked.asked[1].id))

    assert (await driver.execution(execution.id)).status is ExecutionStatus.QUEUED


async def test_keeps_what_stood_beside_a_bad_row(driver: Driver) -> None:
    """A batch that was taken apart leaves what it wrote, and nothing of the row that was refused."""
    execution = (await driver.running()).execution
    bad = driver.submission("no\0key")

    refused, parked = await driver.do(bad, park(execution))

    assert (type(refused), type(parked)) == (Unstorable, Moved)
    assert remembered(driver).executions == {execution.id: await driver.execution(execution.id)}


async def test_forgets_at_whatever_writes_without_reading(driver: Driver) -> None:
    """A renewal changes rows that it has not read; what is remembered must not outlive it."""
    execution = (await driver.running()).execution
    driver.clock.advance(LEASE_MS // 2)

    kept = await driver.store.renew([LeaseKey(execution.id, execution.fence)], LEASE_MS)

    assert kept == [True]
    assert remembered(driver).executions == {}
    renewed = await driver.execution(execution.id)
    assert renewed.due_at == driver.clock() + LEASE_MS
    expect(await driver.one(Finish(execution.id, execution.fence, 1, b"1")), Moved)


async def test_a_row_that_is_not_the_files_fails_its_commit(driver: Driver) -> None:
    """Were the memory ever wrong, the guard of the write would find out and nothing be written."""
    execution = (await driver.running()).execution
    ahead = replace(execution, version=execution.version + 1)
    remembered(driver).executions[execution.id] = ahead

    with pytest.raises(AssertionError, match="1 rows read, 0 written"):
        await driver.one(park(execution))

    assert await driver.execution(execution.id) == execution
    expect(await driver.one(park(execution)), Moved)


async def test_a_row_behind_the_files_is_read_again(driver: Driver) -> None:
    """A fact that is there already is no fault of the move: it is made from what the file holds."""
    execution = (await driver.running()).execution
    behind = replace(execution, version=execution.version - 1)
    remembered(driver).executions[execution.id] = behind

    parked = await driver.one(park(execution))

    assert expect(parked, Moved).execution.version == execution.version + 1


async def test_is_bounded(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps so many rows at most, and those are the latest."""
    monkeypatch.setattr(recent, "_MOST", 3)
    moves = [driver.submission() for _ in range(10)]

    await driver.do(*moves)

    kept = list(remembered(driver).executions)
    assert 1 <= len(kept) <= 3
    assert kept == [move.execution for move in moves[-len(kept) :]]
