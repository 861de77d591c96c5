"""Who gets a turn when much is due."""

from collections.abc import AsyncIterator

import pytest

from bide.engine.running import ClaimOffer
from bide.stores.postgres.store import PostgresStore
from bide.testing import FakeClock
from bide.testing.store_contract import StoreFactory
from bide.testing.store_contract.harness import LEASE_MS, OTHER_TENANT, START, TENANT, Driver

_CROWD = 5_000


@pytest.fixture
async def driver(postgres_tables: str) -> AsyncIterator[Driver]:
    clock = FakeClock()
    store = PostgresStore(postgres_tables, clock)
    await store.open()
    factory = StoreFactory(name="postgres", fresh=None)  # type: ignore[arg-type]  # opens no other
    yield Driver(store, clock, factory)
    await store.close()


async def _crowd(driver: Driver, count: int = _CROWD, fingerprint: str = START) -> None:
    for _ in range(0, count, 500):
        await driver.do(*[driver.submission(fingerprint=fingerprint) for _ in range(500)])
    driver.clock.advance(1)


@pytest.mark.parametrize("limit", [2, 100])
async def test_a_crowd_of_one_tenant(driver: Driver, limit: int) -> None:
    """However much of one tenant is due, the next claim brings another's as well."""
    await _crowd(driver)
    late = await driver.submit(tenant=OTHER_TENANT)

    claimed = [one.execution for one in await driver.claim(limit=limit)]

    assert late in [row.id for row in claimed]
    assert sum(row.tenant == TENANT for row in claimed) >= limit // 2


async def test_a_crowd_of_one_pipeline(driver: Driver) -> None:
    """However much of one pipeline is due, the next claim brings another's as well."""
    await _crowd(driver)
    move = driver.submission(pipeline="refunds", fingerprint="refund")
    await driver.one(move)

    claimed = await driver.store.claim(
        ClaimOffer("worker", LEASE_MS, 10, frozenset({START, "refund"}))
    )

    assert move.execution in [one.execution.id for one in claimed]


async def test_more_tenants_than_room(driver: Driver) -> None:
    """With more tenants than a claim has room for, those go first that have waited longest."""
    for number in range(20):
        await driver.submit(tenant=f"tenant-{number:02}")
        await driver.submit(tenant=f"tenant-{number:02}")
        driver.clock.advance(1)

    pages = [[one.execution.tenant for one in await driver.claim(limit=10)] for _ in range(4)]

    first = [f"tenant-{number:02}" for number in range(10)]
    assert sorted(pages[0]) == sorted(pages[1]) == first
    assert len({*pages[2], *pages[3]}) == 10


async def test_a_claim_alone_fills_its_room(driver: Driver) -> None:
    """One tenant alone gets all the room there is."""
    await _crowd(driver, 500)

    assert len(await driver.claim(limit=400)) == 400
    assert len(await driver.claim(limit=400)) == 100
