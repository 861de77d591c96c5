"""The limit on PostgreSQL: the rows of a workload, one set-based statement for each transaction.

As `bide.bench.limit`: what is written is what Bide writes, row for row (a test compares the tables),
and everything else is left out. Two connections take turns with the batches, so that one writes while
the other waits for the disk.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from bide.bench.figures import rate
from bide.bench.limit import BATCH, batches, shuffled
from bide.runtime.clock import system_clock
from bide.stores.postgres.connection import FOR_SESSION, Connection, connect

_CONNECTIONS = 2
_DAY_MS, _LEASE_MS = 86_400_000, 15_000
_PRINT = "0" * 32

#: ids, now, due, pipeline, body, fingerprint
CREATE = """
with e as (
    insert into bide.executions (
        id, tenant, pipeline, status, version, fingerprint, step_index, attempt, takeovers, fence,
        owner, due_at, units, resumed, created_at, updated_at)
    select id, 'default', $4, 2, 1, $6, 0, 1, 0, 1, 'limit', $3, 0, 0, $2, $2
    from unnest($1::uuid[]) id
), i as (
    insert into bide.inputs (execution, body) select id, $5 from unnest($1::uuid[]) id
)
insert into bide.journal (execution, version, kind, at, detail)
select id, 1, 1, $2, 'limit' from unnest($1::uuid[]) id
"""
#: ids, now, deadline, body, fingerprint
PARK = """
with u as (
    insert into bide.units (
        execution, number, tenant, step_id, step_index, status, per_item, appended, total, settled,
        has_fallback, missing, created_at, updated_at, fingerprint)
    select id, 1, 'default', 'answer', 1, 1, false, 1, 1, 0, false, 0, $2, $2, $5
    from unnest($1::uuid[]) id
), i as (
    insert into bide.interactions (
        execution, unit, item, generation, tenant, step_id, status, deadline_at, created_at,
        updated_at, request, duplicates, refusals)
    select id, 1, 0, 0, 'default', 'answer', 3, $3, $2, $2, $4, 0, 0 from unnest($1::uuid[]) id
), e as (
    update bide.executions e set status = 3, version = 2, step_index = 1, attempt = 0,
        owner = null, due_at = null, units = 1, updated_at = $2
    from unnest($1::uuid[]) n (id) where e.id = any (array[n.id])
)
insert into bide.journal (execution, version, kind, at, unit)
select id, 2, 5, $2, 1 from unnest($1::uuid[]) id
"""
#: ids, now, due, body, digest
ANSWER = """
with i as (
    update bide.interactions i set status = 4, updated_at = $2, answer = $4, answer_digest = $5,
        source = 1
    from (
        select id, 1 as unit, 0 as item, 0 as generation from unnest($1::uuid[]) id offset 0
    ) n
    where i.execution = any (array[n.id]) and i.unit = n.unit and i.item = n.item
        and i.generation = n.generation
), u as (
    update bide.units u set status = 2, settled = 1, updated_at = $2
    from (select id, 1 as number from unnest($1::uuid[]) id offset 0) n
    where u.execution = any (array[n.id]) and u.number = n.number
), e as (
    update bide.executions e set status = 2, version = 3, step_index = 2, attempt = 1, fence = 2,
        owner = 'limit', due_at = $3, resumed = 1, updated_at = $2
    from unnest($1::uuid[]) n (id) where e.id = any (array[n.id])
)
insert into bide.journal (execution, version, kind, at, unit, detail)
select id, 3, 6, $2, 1, 'limit' from unnest($1::uuid[]) id
"""
#: ids, now, version, step index, result
FINISH = """
with e as (
    update bide.executions e set status = 5, version = $3, step_index = $4, owner = null,
        due_at = null, updated_at = $2, result = $5
    from unnest($1::uuid[]) n (id) where e.id = any (array[n.id])
)
insert into bide.journal (execution, version, kind, at)
select id, $3, 9, $2 from unnest($1::uuid[]) id
"""
_OPEN = """
with u as (
    insert into bide.units (
        execution, number, tenant, step_id, step_index, status, per_item, appended, settled,
        has_fallback, missing, created_at, updated_at, fingerprint)
    values ($1, 1, 'default', 'answer', 1, 1, true, 0, 0, false, 0, $2, $2, $3)
)
insert into bide.journal (execution, version, kind, at, unit) values ($1, 2, 4, $2, 1)
"""
_APPEND = """
with i as (
    insert into bide.interactions (
        execution, unit, item, generation, tenant, step_id, status, deadline_at, created_at,
        updated_at, request, duplicates, refusals)
    select $1, 1, item, 0, 'default', 'answer', 3, $3, $2, $2, $4, 0, 0
    from unnest($5::integer[]) item
)
update bide.units set appended = appended + cardinality($5::integer[]), updated_at = $2
where execution = $1 and number = 1
"""
_CLOSE = """
with u as (
    update bide.units set total = appended, updated_at = $2 where execution = $1 and number = 1
), e as (
    update bide.executions set status = 3, version = 3, step_index = 1, attempt = 0, owner = null,
        due_at = null, units = 1, updated_at = $2
    where id = $1
)
insert into bide.journal (execution, version, kind, at, unit) values ($1, 3, 5, $2, 1)
"""
_SETTLE = """
with i as (
    update bide.interactions set status = 4, updated_at = $2, answer = $3, answer_digest = $4,
        source = 1
    where execution = $1 and unit = 1 and item = any ($5::integer[]) and generation = 0
)
update bide.units set settled = settled + cardinality($5::integer[]), updated_at = $2
where execution = $1 and number = 1
"""
_RELEASE = """
with u as (
    update bide.units set status = 2 where execution = $1 and number = 1
), e as (
    update bide.executions set status = 2, version = 4, step_index = 2, attempt = 1, fence = 2,
        owner = 'limit', due_at = $3, resumed = 1, updated_at = $2
    where id = $1
)
insert into bide.journal (execution, version, kind, at, unit, detail)
values ($1, 4, 6, $2, 1, 'limit')
"""

Work = Callable[[Connection], Awaitable[None]]


async def limit_park_resume(store: str, n: int, body: bytes) -> float:
    """Cycles a second: four transactions a batch."""

    async def cycle(db: Connection, ids: Sequence[bytes]) -> None:
        now = system_clock()
        due, deadline = now + _LEASE_MS, now + _DAY_MS
        await db.execute(CREATE, ids, now, due, "bench-park-resume", body, _PRINT)
        await db.execute(PARK, ids, now, deadline, body, _PRINT)
        await db.execute(ANSWER, ids, now, due, body, bytes(32))
        await db.execute(FINISH, ids, now, 4, 3, b'{"number":1}')

    return await _in_batches(store, n, cycle)


async def limit_submit(store: str, n: int, body: bytes) -> float:
    """Executions without a wait a second: two transactions a batch."""

    async def run(db: Connection, ids: Sequence[bytes]) -> None:
        now = system_clock()
        await db.execute(CREATE, ids, now, now + _LEASE_MS, "bench-submit", body, _PRINT)
        await db.execute(FINISH, ids, now, 2, 3, b'{"number":1}')

    return await _in_batches(store, n, run)


async def limit_items(store: str, n: int, body: bytes) -> float:
    """Items of one unit a second, answered in any order: two transactions a batch."""
    async with _connected(store) as db:
        started = time.perf_counter()
        await _answer_all(db, await _ask(db, n, body), n, body)
        return rate(n, time.perf_counter() - started)


async def limit_hot_unit(store: str, n: int, body: bytes) -> float:
    """Answers to the items of one unit a second, which is there already.

    One connection: whoever counts in the unit's row keeps it until the commit.
    """
    async with _connected(store) as db:
        id = await _ask(db, n, body)
        started = time.perf_counter()
        await _answer_all(db, id, n, body)
        return rate(n, time.perf_counter() - started)


async def _ask(db: Connection, n: int, body: bytes) -> bytes:
    """Make an execution that waits for the items of its unit."""
    [[id]] = batches(1)
    now = system_clock()
    await db.execute(CREATE, [id], now, now + _LEASE_MS, "bench-items", body, _PRINT)
    await db.execute(_OPEN, id, now, _PRINT)
    for first in range(0, n, BATCH):
        items = list(range(first, min(first + BATCH, n)))
        await db.execute(_APPEND, id, now, now + _DAY_MS, body, items)
    await db.execute(_CLOSE, id, now)
    return id


async def _answer_all(db: Connection, id: bytes, n: int, body: bytes) -> None:
    now, order = system_clock(), shuffled(n)
    for first in range(0, n, BATCH):
        await db.execute(_SETTLE, id, now, body, bytes(32), order[first : first + BATCH])
    await db.execute(_RELEASE, id, now, now + _LEASE_MS)
    await db.execute(FINISH, [id], now, 5, 3, b'{"number":1}')


async def _in_batches(
    store: str, n: int, write: Callable[[Connection, Sequence[bytes]], Awaitable[None]]
) -> float:
    waiting = iter(batches(n))

    async def take_turns(db: Connection) -> None:
        for ids in waiting:
            await write(db, ids)

    async with _connected(store) as one, _connected(store) as other:
        started = time.perf_counter()
        await asyncio.gather(take_turns(one), take_turns(other))
        return rate(n, time.perf_counter() - started)


@asynccontextmanager
async def _connected(store: str) -> AsyncGenerator[Connection]:
    db = await connect(store)
    try:
        await db.execute(FOR_SESSION)
        yield db
    finally:
        await db.close(timeout=5)
