"""One tenant that has more to do than all workers can: nobody else waits for the end of it."""

import asyncio
from typing import NamedTuple
from uuid import UUID

import psycopg
import pytest

from bide import App
from bide.model.status import JournalKind
from tests.chaos.conftest import Scale, shop_at
from tests.chaos.shop import Order, decide, orders
from tests.processes import PATIENCE_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_SUBMITTED_TOGETHER = 2_000
_OTHERS = 10

_WAIT = """
select p.at - s.at, (
    select count(*) from bide.executions c join bide.journal j on j.execution = c.id
    where c.tenant = 'crowd' and j.kind = %(parked)s and j.at <= p.at
)
from bide.journal s join bide.journal p on p.execution = s.execution
where s.execution = %(id)s and s.kind = %(submitted)s and p.kind = %(parked)s
"""
_ANY_PARKED = "select exists (select from bide.journal where kind = %s)"


class Wait(NamedTuple):
    """How long an execution took from its submission until its step had run."""

    ms: int
    #: How many of the crowd had been through theirs by then.
    crowd: int


async def test_a_crowd_keeps_nobody_waiting(
    database: str, scale: Scale, capsys: pytest.CaptureFixture[str]
) -> None:
    """What another tenant submits goes through long before a crowd that was there first."""
    size = scale.orders * 10
    clients, worker = shop_at(database), shop_at(database)
    async with clients.running(workers=False):
        await _submit_crowd(clients, size)
        await worker.start(concurrency=2_000 if scale.is_long else 100)
        try:
            await _until_begun(database)
            waits = [await _wait_of_another(clients, database, number) for number in range(_OTHERS)]
        finally:
            await worker.stop()

    assert all(wait.crowd < size / 2 for wait in waits), waits
    if scale.is_long:
        slowest = max(wait.ms for wait in waits)
        with capsys.disabled():
            print(
                f"\n{_OTHERS} executions of another tenant, {size:,} of one due before them:"
                f" through their first step after {slowest:,} ms at most"
            )
        assert slowest <= 1_000


async def _submit_crowd(app: App, size: int) -> None:
    for first in range(0, size, _SUBMITTED_TOGETHER):
        numbers = range(first, min(first + _SUBMITTED_TOGETHER, size))
        await asyncio.gather(
            *(app.submit(orders, Order(number=number), tenant="crowd") for number in numbers)
        )


async def _until_begun(url: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        with psycopg.connect(url, autocommit=True) as db:
            while db.execute(_ANY_PARKED, (int(JournalKind.PARKED),)).fetchone() == (False,):
                await asyncio.sleep(0.01)


async def _wait_of_another(app: App, url: str, number: int) -> Wait:
    execution = await app.submit(orders, Order(number=number), tenant="another")
    await execution.parked(decide, timeout=PATIENCE_S)
    keys = {
        "id": UUID(execution.execution_id),
        "submitted": int(JournalKind.SUBMITTED),
        "parked": int(JournalKind.PARKED),
    }
    with psycopg.connect(url) as db:
        row = db.execute(_WAIT, keys).fetchone()
    assert row is not None
    return Wait(*row)
