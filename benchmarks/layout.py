"""How the hot tables of the PostgreSQL store should lie: the figures behind decision 5.

    python -m scripts.postgres --durable python -m benchmarks.layout {url}

Each layout starts from the tables as they are released and changes what it is about; then the rows
of the cycle submit, park, admit, finish are written by set-based statements, four transactions a
batch of 500, without Bide. Layouts take turns, and a line is the median of the runs. Autovacuum is
off, so that what a cycle leaves dead is counted and not raced. The address must be of a database of
its own: the schema `bide` in it is dropped.

* **due**: what somebody has to look at, as rows of a narrow table, written and deleted beside rows
  that no index describes but by their path; or as a partial index over the executions themselves.
  An update of a column that an index names, in its columns or its condition, is never HOT.
* **open**: the same choice for open interactions.
* **filled**: how full pages of executions and units are made, which leaves room for HOT updates.
* **payloads**: requests and answers inside the row that is rewritten, or beside it in their own.
"""

import argparse
import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from importlib import resources
from typing import Any
from uuid import UUID

import psycopg

from bide.runtime.clock import ExecutionIds

BATCH = 500
_DAY_MS, _LEASE_MS = 86_400_000, 15_000
#: A worker's session, so that no plan depends on what is known of the tables.
_PLANS = """
set search_path = bide; set plan_cache_mode = force_generic_plan;
set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off
"""
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


@dataclass(frozen=True, slots=True)
class Layout:
    """What is different from the released tables; `filled` None: nothing."""

    name: str
    due_table: bool = False
    open_table: bool = False
    beside: bool = False
    filled: int | None = None
    #: Executions by tenant, for the lists of tenants that have few.
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
    #: Updates that touched no index, of all updates.
    hot_share: float
    wal_bytes: float
    #: Row versions that vacuum has to remove.
    dead: float
    bytes_parked: float
    bytes_finished: float
    #: Pages that a look for something due goes through when nothing is.
    claim_pages: float


_NEW = """
insert into executions (
    id, tenant, pipeline, status, version, fingerprint, step_index, attempt, takeovers, fence,
    owner, due_at, units, resumed, created_at, updated_at)
select id, 'default', 'bench', 2, 1, %(print)s, 0, 1, 0, 1, 'worker-1', %(due)s, 0, 0, %(now)s, %(now)s
from unnest(%(ids)s::uuid[]) id
"""
_INPUT = "insert into inputs (execution, body) select id, %(body)s from unnest(%(ids)s::uuid[]) id"
_FACT = """
insert into journal (execution, version, kind, at, unit, detail)
select id, %(version)s, 5, %(now)s, 1, 'worker-1' from unnest(%(ids)s::uuid[]) id
"""
_UNIT = """
insert into units (
    execution, number, tenant, step_id, step_index, status, per_item, appended, total, settled,
    missing, has_fallback, created_at, updated_at, fingerprint)
select id, 1, 'default', 'answer', 1, 1, false, 1, 1, 0, 0, false, %(now)s, %(now)s, %(print)s
from unnest(%(ids)s::uuid[]) id
"""
_INTERACTION = """
insert into interactions (
    execution, unit, item, generation, tenant, step_id, status, deadline_at, created_at,
    updated_at, request, duplicates, refusals)
select id, 1, 0, 0, 'default', 'answer', 3, %(deadline)s, %(now)s, %(now)s, %(inside)s, 0, 0
from unnest(%(ids)s::uuid[]) id
"""
_PARK = """
update executions e set status = 3, version = 2, step_index = 1, attempt = 0, owner = null,
    due_at = null, units = 1, updated_at = %(now)s
from unnest(%(ids)s::uuid[]) wanted (id) where e.id = wanted.id
"""
_ANSWER = """
update interactions i set status = 4, updated_at = %(now)s, answer = %(inside)s,
    answer_digest = %(digest)s, source = 1
from unnest(%(ids)s::uuid[]) wanted (id)
where i.execution = wanted.id and i.unit = 1 and i.item = 0 and i.generation = 0
"""
_SETTLE = """
update units u set status = 2, settled = 1, updated_at = %(now)s
from unnest(%(ids)s::uuid[]) wanted (id) where u.execution = wanted.id and u.number = 1
"""
_RESUME = """
update executions e set status = 2, version = 3, step_index = 2, attempt = 1, fence = 2,
    owner = 'worker-1', due_at = %(due)s, resumed = 1, updated_at = %(now)s
from unnest(%(ids)s::uuid[]) wanted (id) where e.id = wanted.id
"""
_FINISH = """
update executions e set status = 5, version = 4, step_index = 3, owner = null, due_at = null,
    updated_at = %(now)s, result = %(result)s
from unnest(%(ids)s::uuid[]) wanted (id) where e.id = wanted.id
"""
_DUE = """
insert into executions_due (fingerprint, tenant, due_at, execution, pipeline)
select %(print)s, 'default', %(due)s, id, 'bench' from unnest(%(ids)s::uuid[]) id
"""
_NOT_DUE = """
delete from executions_due d using (
    select id, %(print)s as fingerprint, 'default' as tenant, %(due)s as due_at
    from unnest(%(ids)s::uuid[]) id offset 0
) was
where d.fingerprint = was.fingerprint and d.tenant = was.tenant and d.due_at = was.due_at
    and d.execution = was.id
"""
_OPEN = """
insert into interactions_open (tenant, deadline_at, execution, unit, item, generation)
select 'default', %(deadline)s, id, 1, 0, 0 from unnest(%(ids)s::uuid[]) id
"""
_NOT_OPEN = """
delete from interactions_open o using (
    select id, 'default' as tenant, %(deadline)s as deadline_at
    from unnest(%(ids)s::uuid[]) id offset 0
) was
where o.tenant = was.tenant and o.deadline_at = was.deadline_at and o.execution = was.id
    and o.unit = 1 and o.item = 0 and o.generation = 0
"""
_REQUEST = """
insert into payloads (execution, unit, item, generation, request)
select id, 1, 0, 0, %(body)s from unnest(%(ids)s::uuid[]) id
"""
_ANSWER_BESIDE = """
update payloads p set answer = %(body)s from unnest(%(ids)s::uuid[]) wanted (id)
where p.execution = wanted.id and p.unit = 1 and p.item = 0 and p.generation = 0
"""
_CLAIM = """
explain (analyze, buffers, format json)
select * from {table} where fingerprint = %(print)s and tenant = 'default' and due_at <= %(due)s
order by due_at limit 20
"""


class Run:
    """One layout in a schema that holds nothing else."""

    def __init__(self, db: psycopg.Connection[Any], layout: Layout, payload: int) -> None:
        self._db = db
        self._layout = layout
        self._body = random.Random(payload).randbytes(payload)  # or PostgreSQL compresses it
        self._new_id = ExecutionIds()
        db.execute("drop schema if exists bide cascade")
        db.execute("create schema bide")
        db.execute(_migration())
        db.execute(_PLANS)
        if layout.due_table:
            db.execute(_DUE_TABLE)
        if layout.open_table:
            db.execute(_OPEN_TABLE)
        if layout.beside:
            db.execute(_BESIDE)
        if layout.by_tenant:
            db.execute("create index on executions (tenant, id)")
        for (table,) in db.execute("select relname from pg_class where relkind = 'r' and"
                                   " relnamespace = 'bide'::regnamespace").fetchall():  # fmt: skip
            db.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
        if layout.filled:
            for table in ("executions", "units"):
                db.execute(f"alter table {table} set (fillfactor = {layout.filled})".encode())

    def measure(self, n: int) -> Taken:
        """Park `n` for the size, finish them, then count over `n` whole cycles."""
        first = list(self._batches(n))
        for ids in first:
            self._create(ids)
            self._park(ids)
        bytes_parked = self._size() / n
        for ids in first:
            self._answer(ids)
            self._finish(ids)
        before, wal = self._rows(), self._wal()
        started = time.perf_counter()
        for ids in self._batches(n):
            self._create(ids)
            self._park(ids)
            self._answer(ids)
            self._finish(ids)
        seconds = time.perf_counter() - started
        wal = self._wal() - wal
        updated, hot, dead = (b - a for a, b in zip(before, self._rows(), strict=True))
        return Taken(
            cycles_per_second=n / seconds,
            hot_share=100 * hot / updated,
            wal_bytes=wal / n,
            dead=dead / n,
            bytes_parked=bytes_parked,
            bytes_finished=self._size() / (2 * n),
            claim_pages=self._claim_pages(),
        )

    # --- the four transactions ----------------------------------------------------------------

    def _create(self, ids: Sequence[UUID]) -> None:
        due = (_DUE,) if self._layout.due_table else ()
        self._commit(ids, 1, _NEW, _INPUT, *due)

    def _park(self, ids: Sequence[UUID]) -> None:
        due = (_NOT_DUE,) if self._layout.due_table else ()
        opened = (_OPEN,) if self._layout.open_table else ()
        beside = (_REQUEST,) if self._layout.beside else ()
        self._commit(ids, 2, _UNIT, _INTERACTION, _PARK, *due, *opened, *beside)

    def _answer(self, ids: Sequence[UUID]) -> None:
        due = (_DUE,) if self._layout.due_table else ()
        closed = (_NOT_OPEN,) if self._layout.open_table else ()
        beside = (_ANSWER_BESIDE,) if self._layout.beside else ()
        self._commit(ids, 3, _SETTLE, _ANSWER, _RESUME, *due, *closed, *beside)

    def _finish(self, ids: Sequence[UUID]) -> None:
        due = (_NOT_DUE,) if self._layout.due_table else ()
        self._commit(ids, 4, _FINISH, *due)

    def _commit(self, ids: Sequence[UUID], version: int, *statements: str) -> None:
        values = {**self._values(ids[0], version), "ids": ids, "version": version}
        with self._db.transaction():
            for statement in (*statements, _FACT):
                self._db.execute(statement.encode(), values, prepare=True)

    def _values(self, first: UUID, version: int) -> dict[str, object]:
        """A batch begins at the time that its first id carries; the second lease begins later."""
        now = int.from_bytes(first.bytes[:6], "big")
        due = now + _LEASE_MS + (version > 2) * _LEASE_MS
        return {
            "print": "0" * 32, "now": now, "due": due, "deadline": now + _DAY_MS,
            "body": self._body, "inside": None if self._layout.beside else self._body,
            "digest": bytes(32), "result": b'{"number":1}',
        }  # fmt: skip

    def _batches(self, n: int) -> Iterable[list[UUID]]:
        for _ in range(0, n, BATCH):
            yield [UUID(bytes=self._new_id()) for _ in range(BATCH)]

    # --- what it came to ----------------------------------------------------------------------

    def _size(self) -> float:
        [size] = self._row(
            "select sum(pg_total_relation_size(oid)) from pg_class"
            " where relkind = 'r' and relnamespace = 'bide'::regnamespace"
        )
        return float(size)

    def _wal(self) -> float:
        [place] = self._row("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
        return float(place)

    def _rows(self) -> tuple[int, int, int]:
        """Rows updated, those of them without an index, and row versions left dead."""
        self._row("select pg_stat_force_next_flush() is null")
        updated, hot, dead = self._row(
            "select sum(n_tup_upd), sum(n_tup_hot_upd), sum(n_tup_upd + n_tup_del)"
            " from pg_stat_user_tables where schemaname = 'bide'"
        )
        return int(updated), int(hot), int(dead)

    def _claim_pages(self) -> float:
        table = "executions_due" if self._layout.due_table else "executions"
        values = {"print": "0" * 32, "due": 2**62}
        found = self._db.execute(_CLAIM.format(table=table).encode(), values).fetchone()
        assert found is not None
        plan = found[0][0]["Plan"]
        return float(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    def _row(self, statement: str) -> tuple[Any, ...]:
        row = self._db.execute(statement.encode()).fetchone()
        assert row is not None
        return tuple(row)


def _migration() -> bytes:
    folder = resources.files("bide.stores.postgres.migrations")
    return folder.joinpath("0001_initial.sql").read_bytes()


def _median(taken: Sequence[Taken]) -> list[float]:
    return [statistics.median(column) for column in zip(*map(astuple, taken), strict=True)]


def _run(url: str, layout: Layout, payload: int, n: int, *, old_snapshot: bool) -> Taken:
    with psycopg.connect(url, autocommit=True) as db, psycopg.connect(url) as other:
        run = Run(db, layout, payload)
        if old_snapshot:
            other.execute("begin isolation level repeatable read")
            other.execute("select count(*) from bide.executions")
        return run.measure(n)


def main() -> None:
    """Measure every layout for every size of payload, and print a table each."""
    words = argparse.ArgumentParser(description="Layouts of the hot tables, measured.")
    words.add_argument("url", help="of a database of its own; its schema `bide` is dropped")
    words.add_argument("-n", type=int, default=20_000, help="executions a run")
    words.add_argument("--runs", type=int, default=3)
    words.add_argument("--payload", type=int, nargs="+", default=[100, 1_000, 4_096])
    words.add_argument("--old-snapshot", action="store_true", help="while another one is held open")
    given = words.parse_args()
    for payload in given.payload:
        taken: dict[Layout, list[Taken]] = {layout: [] for layout in LAYOUTS}
        for _ in range(given.runs):
            for layout, runs in taken.items():
                run = _run(given.url, layout, payload, given.n, old_snapshot=given.old_snapshot)
                runs.append(run)
        print(f"\npayloads of {payload:,} bytes, {given.n:,} executions, median of {given.runs}\n")
        print("| layout | cycles/s | HOT % | WAL bytes | dead | parked | finished | claim pages |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for layout, runs in taken.items():
            rate, hot, wal, dead, *sizes = _median(runs)
            figures = [f"{rate:,.0f}", f"{hot:.0f}", f"{wal:,.0f}", f"{dead:.2f}"]
            print(f"| {' | '.join([layout.name, *figures, *(f'{size:,.0f}' for size in sizes)])} |")


if __name__ == "__main__":
    main()
