"""What a publication promises, over every shape that its source waits at, by one process and by two."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bide.engine.moves import (
    Denied,
    Handed,
    HandedOver,
    Later,
    Moved,
    NewHandoff,
    Park,
    Publishing,
    Refused,
    SettleHandoff,
    Submitted,
    Unsent,
)
from bide.engine.publishing import CONFLICT, HandoffOffer, Outgoing
from bide.errors import StoreUnavailable
from bide.model.ids import InteractionId
from bide.model.records import Execution, Handoff, replace
from bide.model.status import DeadLetterKind, HandoffStatus
from bide.spi.store import ExecutionQuery
from bide.testing.store_contract import driver
from bide.testing.store_contract.harness import (
    LEASE_MS,
    OTHER_TENANT,
    SECOND,
    TENANT,
    Driver,
    answer,
    asking,
    boundary,
    expect,
)
from bide.testing.store_contract.publishing import (
    PLACED,
    TARGET,
    finishing,
    handed_to,
    sent_elsewhere,
)
from tests.obligations.registry import Mode, Shape

__all__ = ["driver"]

_OFFER = HandoffOffer("courier", LEASE_MS, (Outgoing(PLACED, 10),))


@asynccontextmanager
async def _second(driver: Driver, mode: Mode) -> AsyncIterator[Driver]:
    if mode is Mode.UNINTERRUPTED:
        yield driver
        return
    async with driver.another() as store:
        yield Driver(store, driver.clock, driver.factory)


@pytest.fixture
async def other(driver: Driver, mode: Mode) -> AsyncIterator[Driver]:
    """The process that goes on: the same, or one that was started since."""
    async with _second(driver, mode) as made:
        yield made


async def at_its_wait(driver: Driver, shape: Shape) -> tuple[Execution, Publishing]:
    """A running execution, and the move by which it would begin to wait."""
    if shape in {Shape.STREAM, Shape.EMPTY}:
        items = 2 if shape is Shape.STREAM else 0
        stream = await driver.stream(items)
        return await driver.execution(stream.id), stream.close(items)
    if shape is Shape.SEQUENTIAL:
        asked = await driver.parked()
        await driver.one(answer(asked))
        row = next(each.execution for each in await driver.claim() if each.execution.units)
        return row, Park(row.id, row.fence, boundary(2), asking())
    row = (await driver.running()).execution
    return row, Park(row.id, row.fence, boundary(), asking())


async def behind_its_wait(driver: Driver, shape: Shape) -> Execution:
    """A running execution that has its answers, so that what it does next is to end."""
    row, wait = await at_its_wait(driver, shape)
    waiting = expect(await driver.one(wait), Moved).execution
    for item in range(2 if shape is Shape.STREAM else 0 if shape is Shape.EMPTY else 1):
        await driver.one(answer(InteractionId(row.id, waiting.units, item)))
    return next(each.execution for each in await driver.claim() if each.execution.id == row.id)


async def targets(driver: Driver) -> list[Execution]:
    return await driver.store.executions(ExecutionQuery(TENANT, TARGET))


async def handoff(driver: Driver, new: NewHandoff) -> Handoff:
    found = await driver.store.handoff(TENANT, new.id)
    assert found is not None
    return found


@pytest.mark.covers("publication-once-per-key")
async def test_publication_once_per_key(driver: Driver, other: Driver, shape: Shape) -> None:
    """Equal publications, at a wait and at an end, make one target; another payload is refused."""
    first, wait = await at_its_wait(driver, shape)
    one = handed_to(driver, first)
    expect(await driver.one(replace(wait, handoffs=(one,))), Moved)
    second, third = [await behind_its_wait(driver, shape) for _ in range(2)]
    same, another = handed_to(driver, second), handed_to(driver, third, body=b"2")

    expect(await other.one(finishing(second, same)), Moved)
    expect(await other.one(finishing(third, another)), Moved)

    [target] = await targets(driver)
    told = [await handoff(driver, each) for each in (one, same)]
    assert [(each.admitted_as, each.duplicate) for each in told] == [
        (target.id, False), (target.id, True),
    ]  # fmt: skip
    refused = await handoff(driver, another)
    assert (refused.status, refused.error_code, refused.body) == (
        HandoffStatus.REFUSED, CONFLICT, b"2",
    )  # fmt: skip
    letters = await driver.store.dead_letters(TENANT, pipeline=None, before=None, limit=10)
    assert [(each.id, each.kind) for each in letters] == [(another.id, DeadLetterKind.HANDOFF)]


@pytest.mark.covers("publication-in-the-sources-commit")
async def test_publication_in_the_sources_commit(
    driver: Driver, other: Driver, shape: Shape
) -> None:
    """Neither a stale worker nor a commit that was lost publishes; the one that is made, all of it."""
    row, wait = await at_its_wait(driver, shape)
    new = handed_to(driver, row)
    driver.clock.advance(LEASE_MS + 1)
    fence = next(
        each.execution.fence for each in await other.claim() if each.execution.id == row.id
    )

    expect(await driver.one(replace(wait, handoffs=(new,))), Refused)
    assert (await driver.store.handoffs(TENANT, row.id), await targets(driver)) == ([], [])

    move = replace(wait, handoffs=(new,), fence=fence)
    if other.factory.faults is not None:
        other.faults().fail_next_commit(after=False)
        with pytest.raises(StoreUnavailable):
            await other.one(move)
        assert (await driver.store.handoffs(TENANT, row.id), await targets(driver)) == ([], [])

    expect(await other.one(move), Moved)

    [target] = await targets(driver)
    assert (await handoff(driver, new)).admitted_as == target.id
    assert await driver.store.origins(TENANT, target.id)


@pytest.mark.covers("settlement-after-admission")
async def test_settlement_after_admission(driver: Driver, other: Driver, shape: Shape) -> None:
    """It is offered, through tries without an answer and lost leases, until the target has it."""
    row, wait = await at_its_wait(driver, shape)
    new = sent_elsewhere(driver)
    expect(await driver.one(replace(wait, handoffs=(new,))), Moved)

    [claimed] = await driver.store.claim_handoffs(_OFFER)
    await driver.one(SettleHandoff(new.id, claimed.fence, Later("no answer", SECOND)))
    driver.clock.advance(SECOND)
    [claimed] = await driver.store.claim_handoffs(_OFFER)
    await driver.one(SettleHandoff(new.id, claimed.fence, Unsent()))
    [lost] = await driver.store.claim_handoffs(_OFFER)
    driver.clock.advance(LEASE_MS + 1)
    [held] = await other.store.claim_handoffs(_OFFER)
    assert held.body == new.body
    stale = SettleHandoff(new.id, lost.fence, Denied("handoff-invalid", "no"))
    expect(await driver.one(stale), Refused)
    assert (await handoff(driver, new)).status is HandoffStatus.SENDING

    # The target is another tenant's here, as that of another deployment would be.
    there = handed_to(other, replace(row, tenant=OTHER_TENANT)).admission
    assert there is not None
    made = expect(await other.one(there), Submitted)
    move = SettleHandoff(new.id, held.fence, HandedOver(made.execution, made.duplicate))
    expect(await other.one(move), Handed)
    expect(await driver.one(move), Refused)

    settled = await handoff(driver, new)
    assert (settled.status, settled.admitted_as) == (HandoffStatus.ADMITTED, made.execution)
    driver.clock.advance(LEASE_MS + 1)
    assert await driver.store.claim_handoffs(_OFFER) == []
