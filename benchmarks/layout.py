"""How the hot tables of the PostgreSQL store should lie: the figures behind decision 5.

    python -m scripts.postgres --durable python -m benchmarks.layout {url}

Each layout starts from the tables as they are released and changes what it is about; then the rows
of the cycle submit, park, admit, finish are written as for the limit of `bide bench`, four
transactions a batch of 500. Layouts take turns, and a line is the median of the runs. Autovacuum is
off, so that what a cycle leaves dead is counted and not raced. The address must be of a database of
its own: the schema `bide` in it is dropped.

* **due**: what somebody has to look at, as a partial index over the executions, or as rows of a
  narrow table, written and deleted beside rows that no index describes but by their path. An update
  of a column that an index names, in its columns or its condition, is never HOT.
* **open**: the same choice for open interactions.
* **filled**: how full pages of executions and units are made, which leaves room for HOT updates.
* **beside**: requests and answers in a table of their own, apart from the row that is rewritten.
* **listed by tenant**: one more index over executions, for the lists of tenants that have few.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import astuple, dataclass

from bide.bench.limit import BATCH, batches
from bide.bench.limit_postgres import ANSWER, CREATE, FINISH, PARK
from bide.stores.postgres.connection import FOR_SESSION, Connection, connect, migrate

_DAY_MS, _LEASE_MS = 86_400_000, 15_000
_PRINT = "0" * 32
_DUE_TABLE = """
drop index executions_due;
create table executions_due (
    due_at bigint not null, execution uuid not null, fingerprint text collate "C" not null,
    tenant text collate "C" not null, pipeline text collate "C" not null,
    primary key (fingerprint, tenant, due_at, execution))
"""
_OPEN_TABLE = """
drop index interactions_open;
create table interactions_open (
    deadline_at bigint not null, execution uuid not null, unit integer not null,
    item integer not null, generation integer not null, tenant text collate "C" not null,
    primary key (tenant, deadline_at, execution, unit, item, generation))
"""
_BESIDE = """
alter table interactions alter column request drop not null;
create table payloads (
    execution uuid not null, unit integer not null, item integer not null,
    generation integer not null, request bytea, answer bytea,
    primary key (execution, unit, item, generation))
"""

#: ids, due, fingerprint
_DUE = """
insert into executions_due (fingerprint, tenant, due_at, execution, pipeline)
select $3, 'default', $2, id, 'bench' from unnest($1::uuid[]) id
"""
_NOT_DUE = """
delete from executions_due d using (
    select id, $3::text as fingerprint, 'default' as tenant, $2::bigint as due_at
    from unnest($1::uuid[]) id offset 0
) n
where d.fingerprint = any (array[n.fingerprint]) and d.tenant = n.tenant and d.due_at = n.due_at
    and d.execution = n.id
"""
#: ids, deadline
_OPEN = """
insert into interactions_open (tenant, deadline_at, execution, unit, item, generation)
select 'default', $2, id, 1, 0, 0 from unnest($1::uuid[]) id
"""
_NOT_OPEN = """
delete from interactions_open o using (
    select id, 'default' as tenant, $2::bigint as deadline_at from unnest($1::uuid[]) id offset 0
) n
where o.tenant = any (array[n.tenant]) and o.deadline_at = n.deadline_at and o.execution = n.id
    and o.unit = 1 and o.item = 0 and o.generation = 0
"""
#: ids, body
_REQUEST = """
insert into payloads (execution, unit, item, generation, request)
select id, 1, 0, 0, $2 from unnest($1::uuid[]) id
"""
_ANSWER_BESIDE = """
update payloads p set answer = $2 from unnest($1::uuid[]) n (id)
where p.execution = any (array[n.id]) and p.unit = 1 and p.item = 0 and p.generation = 0
"""
#: fingerprint
_CLAIM = """
explain (analyze, buffers, format json)
select * from {table} where fingerprint = $1 and tenant = 'default' and due_at <= 9e18
order by due_at limit 20
"""
_TABLES = "select relname from pg_class where relkind = 'r' and relnamespace = 'bide'::regnamespace"
_SIZE = "select sum(pg_total_relation_size(relid))::bigint from pg_stat_user_tables"
_LOG = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
_ROWS = """
select sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint, sum(n_tup_upd + n_tup_del)::bigint
from pg_stat_user_tables
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is different from the released tables; `filled` None: nothing."""

    name: str
    due_table: bool = False
    open_table: bool = False
    beside: bool = False
    filled: int | None = None
    by_tenant: bool = False


LAYOUTS = (
    Layout("as released"),
    Layout("100 % filled", filled=100),
    Layout("80 % filled", filled=80),
    Layout("60 % filled", filled=60),
    Layout("due table, 100 % filled", due_table=True, filled=100),
    Layout("due table, 70 % filled", due_table=True, filled=70),
    Layout("due table, 50 % filled", due_table=True, filled=50),
    Layout("due and open tables, 50 % filled", due_table=True, open_table=True, filled=50),
    Layout("as released, payloads beside", beside=True),
    Layout("as released, listed by tenant", by_tenant=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one run of a layout came to; all but the first two for one cycle or execution."""

    cycles_per_second: float
    #: Updates that touched no index, in percent of all.
    hot_share: float
    wal_bytes: float
    #: Row versions that vacuum has to remove.
    dead: float
    bytes_parked: float
    bytes_finished: float
    #: Pages that a look for something due goes through when nothing is.
    claim_pages: float


class Run:
    """One layout in a schema that holds nothing else."""

    def __init__(self, db: Connection, layout: Layout, payload: int) -> None:
        self._db = db
        self._layout = layout
        self._body = random.Random(payload).randbytes(payload)  # or PostgreSQL compresses it

    async def prepare(self) -> None:
        """Make the tables."""
        layout, db = self._layout, self._db
        await db.execute("drop schema if exists bide cascade")
        await migrate(db)
        await db.execute(f"set search_path = bide; {FOR_SESSION}")
        for wanted, change in (
            (layout.due_table, _DUE_TABLE),
            (layout.open_table, _OPEN_TABLE),
            (layout.beside, _BESIDE),
            (layout.by_tenant, "create index on executions (tenant, id)"),
        ):
            if wanted:
                await db.execute(change)
        for [table] in await db.fetch(_TABLES):
            await db.execute(f"alter table {table} set (autovacuum_enabled = off)")
        if layout.filled:
            for table in ("executions", "units"):
                await db.execute(f"alter table {table} set (fillfactor = {layout.filled})")

    async def measure(self, n: int) -> Taken:
        """Park `n` for the size, finish them, then count over `n` whole cycles."""
        first = list(batches(n))
        for ids in first:
            await self._create(ids)
            await self._park(ids)
        bytes_parked = await self._db.fetchval(_SIZE) / n
        for ids in first:
            await self._answer(ids)
            await self._finish(ids)
        before, wal = await self._rows(), await self._db.fetchval(_LOG)
        started = time.perf_counter()
        for ids in batches(n):
            await self._create(ids)
            await self._park(ids)
            await self._answer(ids)
            await self._finish(ids)
        seconds = time.perf_counter() - started
        wal = await self._db.fetchval(_LOG) - wal
        updated, hot, dead = (b - a for a, b in zip(before, await self._rows(), strict=True))
        return Taken(
            cycles_per_second=n / seconds,
            hot_share=100 * hot / updated,
            wal_bytes=wal / n,
            dead=dead / n,
            bytes_parked=bytes_parked,
            bytes_finished=await self._db.fetchval(_SIZE) / (2 * n),
            claim_pages=await self._claim_pages(),
        )

    # --- the four transactions: everything happens when a batch's first id was made -------------

    async def _create(self, ids: Sequence[bytes]) -> None:
        now = _made(ids)
        due = now + _LEASE_MS
        statement = (CREATE, ids, now, due, "bench", self._body, _PRINT)
        await self._commit(statement, *self._due(_DUE, ids, due))

    async def _park(self, ids: Sequence[bytes]) -> None:
        now, layout = _made(ids), self._layout
        deadline = now + _DAY_MS
        inside = None if layout.beside else self._body
        await self._commit(
            (PARK, ids, now, deadline, inside, _PRINT),
            *self._due(_NOT_DUE, ids, now + _LEASE_MS),
            *([(_OPEN, ids, deadline)] if layout.open_table else []),
            *([(_REQUEST, ids, self._body)] if layout.beside else []),
        )

    async def _answer(self, ids: Sequence[bytes]) -> None:
        now, layout = _made(ids), self._layout
        due = now + 2 * _LEASE_MS  # a second lease, and another place in the index
        inside = None if layout.beside else self._body
        await self._commit(
            (ANSWER, ids, now, due, inside, bytes(32)),
            *self._due(_DUE, ids, due),
            *([(_NOT_OPEN, ids, now + _DAY_MS)] if layout.open_table else []),
            *([(_ANSWER_BESIDE, ids, self._body)] if layout.beside else []),
        )

    async def _finish(self, ids: Sequence[bytes]) -> None:
        now = _made(ids)
        statement = (FINISH, ids, now, 4, 3, b'{"number":1}')
        await self._commit(statement, *self._due(_NOT_DUE, ids, now + 2 * _LEASE_MS))

    def _due(
        self, text: str, ids: Sequence[bytes], due: int
    ) -> Iterable[tuple[str, *tuple[object, ...]]]:
        return [(text, ids, due, _PRINT)] if self._layout.due_table else []

    async def _commit(self, *statements: tuple[str, *tuple[object, ...]]) -> None:
        await self._db.execute("begin")
        for text, *values in statements:
            await self._db.execute(text, *values)
        await self._db.execute("commit")

    # --- what it came to ----------------------------------------------------------------------

    async def _rows(self) -> Sequence[int]:
        """Rows updated, those of them without an index, and row versions left dead."""
        await self._db.fetchval("select pg_stat_force_next_flush()")
        [row] = await self._db.fetch(_ROWS)
        return row

    async def _claim_pages(self) -> float:
        table = "executions_due" if self._layout.due_table else "executions"
        found = json.loads(await self._db.fetchval(_CLAIM.format(table=table), _PRINT))
        plan = found[0]["Plan"]
        return float(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _made(ids: Sequence[bytes]) -> int:
    return int.from_bytes(ids[0][:6], "big")


async def _run(url: str, layout: Layout, payload: int, n: int, *, old_snapshot: bool) -> Taken:
    async with AsyncExitStack() as stack:
        db, other = await connect(url), await connect(url)
        stack.push_async_callback(db.close)
        stack.push_async_callback(other.close)
        run = Run(db, layout, payload)
        await run.prepare()
        if old_snapshot:
            await other.execute(
                "begin isolation level repeatable read; select 1 from bide.executions"
            )
        return await run.measure(n)


async def _table(given: argparse.Namespace, payload: int) -> None:
    taken: dict[Layout, list[Taken]] = {layout: [] for layout in LAYOUTS}
    for _ in range(given.runs):
        for layout, runs in taken.items():
            run = await _run(given.url, layout, payload, given.n, old_snapshot=given.old_snapshot)
            runs.append(run)
    print(f"\npayloads of {payload:,} bytes, {given.n:,} executions, median of {given.runs}\n")
    print("| layout | cycles/s | HOT % | WAL bytes | dead | parked | finished | claim pages |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for layout, runs in taken.items():
        columns = zip(*map(astuple, runs), strict=True)
        rate, hot, wal, dead, *sizes = map(statistics.median, columns)
        figures = [f"{rate:,.0f}", f"{hot:.0f}", f"{wal:,.0f}", f"{dead:.2f}"]
        print(f"| {' | '.join([layout.name, *figures, *(f'{size:,.0f}' for size in sizes)])} |")


def main() -> None:
    """Measure every layout for every size of payload, and print a table each."""
    words = argparse.ArgumentParser(description="Layouts of the hot tables, measured.")
    words.add_argument("url", help="of a database of its own; its schema `bide` is dropped")
    words.add_argument("-n", type=int, default=20 * BATCH, help="executions a run")
    words.add_argument("--runs", type=int, default=3)
    words.add_argument("--payload", type=int, nargs="+", default=[100, 1_000, 4_096])
    words.add_argument("--old-snapshot", action="store_true", help="while another one is held open")
    given = words.parse_args()
    for payload in given.payload:
        asyncio.run(_table(given, payload))


if __name__ == "__main__":
    main()
