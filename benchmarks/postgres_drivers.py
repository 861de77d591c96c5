"""asyncpg against psycopg 3 in the shape in which the PostgreSQL store uses a driver.

A cycle is four commits over batches: submit, park, admit, finish. Each begins, reads the rows that
it concerns under lock, one statement per table with its keys as arrays, lets Python build new rows,
writes all tables in one statement, and commits. asyncpg waits for every answer; psycopg sends what
does not depend on an answer in one go (pipeline mode).

    python benchmarks/postgres_drivers.py postgresql://user@host/scratch

makes tables in a schema of its own, drops it at the end, and prints one line per driver and number
of connections: cycles a second, and microseconds of this process's CPU per cycle; then the time of
one lone cycle, which counts round trips.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import psycopg
import uvloop

BATCH = 250
SCHEMA = """
drop schema if exists bide_drivers cascade;
create schema bide_drivers;
create table bide_drivers.executions (
    id bytea primary key, tenant text not null, pipeline text not null, status int2 not null,
    version int4 not null, fingerprint text not null, step_index int4 not null,
    fence int4 not null, owner text, due_at int8, units int4 not null, resumed int4 not null,
    created_at int8 not null, updated_at int8 not null, result bytea) with (fillfactor = 70);
create table bide_drivers.inputs (execution bytea primary key, body bytea not null);
create table bide_drivers.units (
    execution bytea, number int4, tenant text not null, step_id text not null,
    status int2 not null, appended int4 not null, total int4, settled int4 not null,
    created_at int8 not null, updated_at int8 not null, fingerprint text not null,
    primary key (execution, number));
create table bide_drivers.interactions (
    execution bytea, unit int4, item int4, tenant text not null, step_id text not null,
    status int2 not null, deadline_at int8 not null, updated_at int8 not null, request bytea,
    answer bytea, digest bytea, primary key (execution, unit, item));
create table bide_drivers.journal (
    execution bytea, version int4, kind int2 not null, at int8 not null, unit int4, detail text,
    primary key (execution, version));
"""
EXECUTIONS = [
    "bytea",
    "text",
    "text",
    "int2",
    "int4",
    "text",
    "int4",
    "int4",
    "text",
    "int8",
    "int4",
    "int4",
    "int8",
    "int8",
    "bytea",
]
UNITS = ["bytea", "int4", "text", "text", "int2", "int4", "int4", "int4", "int8", "int8", "text"]
INTERACTIONS = [
    "bytea",
    "int4",
    "int4",
    "text",
    "text",
    "int2",
    "int8",
    "int8",
    "bytea",
    "bytea",
    "bytea",
]
JOURNAL = ["bytea", "int4", "int2", "int8", "int4", "text"]
INPUTS = ["bytea", "bytea"]
PLANS = (
    "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;"
    "set plan_cache_mode = force_generic_plan; set search_path = bide_drivers"
)

Statement = tuple[str, list[list[Any]]]


def _unnest(types: Sequence[str]) -> str:
    return "unnest(" + ", ".join(f"?::{each}[]" for each in types) + ")"


def _read(table: str, keys: Sequence[str], types: Sequence[str]) -> str:
    names = ", ".join(f"k{n}" for n in range(len(keys)))
    match = " and ".join(f"t.{key} = w.k{n}" for n, key in enumerate(keys))
    return f"select t.* from {_unnest(types)} w({names}) join {table} t on {match} for update of t"


def _insert(table: str, types: Sequence[str]) -> str:
    return f"insert into {table} select * from {_unnest(types)} on conflict do nothing"


def _update(table: str, keys: Sequence[str], columns: str, types: Sequence[str]) -> str:
    names = [*keys, *columns.split()]
    changed = ", ".join(f"{name} = n.{name}" for name in columns.split())
    match = " and ".join(f"t.{key} = n.{key}" for key in keys)
    return (
        f"update {table} t set {changed} from {_unnest(types)} n({', '.join(names)}) where {match}"
    )


READ_EXECUTIONS = _read("executions", ["id"], ["bytea"])
READ_UNITS = _read("units", ["execution", "number"], ["bytea", "int4"])
READ_INTERACTIONS = _read("interactions", ["execution", "unit", "item"], ["bytea", "int4", "int4"])
NEW = {
    "executions": _insert("executions", EXECUTIONS),
    "inputs": _insert("inputs", INPUTS),
    "units": _insert("units", UNITS),
    "interactions": _insert("interactions", INTERACTIONS),
    "journal": _insert("journal", JOURNAL),
}
CHANGE_EXECUTIONS = _update(
    "executions", ["id"], "status version owner due_at units updated_at result",
    ["bytea", "int2", "int4", "text", "int8", "int4", "int8", "bytea"],
)  # fmt: skip
CHANGE_UNITS = _update(
    "units", ["execution", "number"], "status settled updated_at",
    ["bytea", "int4", "int2", "int4", "int8"],
)  # fmt: skip
CHANGE_INTERACTIONS = _update(
    "interactions", ["execution", "unit", "item"], "status updated_at answer digest",
    ["bytea", "int4", "int4", "int2", "int8", "bytea", "bytea"],
)  # fmt: skip


def _written(writes: Sequence[tuple[str, list[Any]]]) -> Statement:
    """All writes of a commit as one statement, its arguments column by column."""
    parts = [f"w{n} as ({text} returning 1)" for n, (text, _) in enumerate(writes)]
    counts = ", ".join(f"(select count(*) from w{n})" for n in range(len(writes)))
    columns = [list(column) for _, rows in writes for column in zip(*rows, strict=True)]
    return f"with {', '.join(parts)} select {counts}", columns


class Asyncpg:
    """A connection of asyncpg."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self._texts: dict[str, str] = {}

    @classmethod
    async def connect(cls, url: str) -> "Asyncpg":
        db = await asyncpg.connect(url)
        await db.execute(PLANS)
        return cls(db)

    def _numbered(self, text: str) -> str:
        found = self._texts.get(text)
        if found is None:
            parts = text.split("?")
            found = parts[0] + "".join(f"${n}{part}" for n, part in enumerate(parts[1:], 1))
            self._texts[text] = found
        return found

    async def begin_and_read(self, reads: Sequence[Statement]) -> list[list[Any]]:
        await self._db.execute("begin")
        return [await self._db.fetch(self._numbered(text), *args) for text, args in reads]

    async def write_and_commit(self, write: Statement) -> None:
        await self._db.fetch(self._numbered(write[0]), *write[1])
        await self._db.execute("commit")

    async def close(self) -> None:
        await self._db.close()


class Psycopg:
    """A connection of psycopg 3 with everything binary and in pipelines."""

    def __init__(self, db: Any) -> None:
        self._db = db

    @classmethod
    async def connect(cls, url: str) -> "Psycopg":
        db = await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=0)
        await db.execute(PLANS, prepare=False)
        return cls(db)

    async def begin_and_read(self, reads: Sequence[Statement]) -> list[list[Any]]:
        cursors = []
        async with self._db.pipeline():
            await self._db.execute("begin")
            for text, args in reads:
                cursor = self._db.cursor(binary=True)
                await cursor.execute(text.replace("?", "%b"), args)
                cursors.append(cursor)
        return [await cursor.fetchall() for cursor in cursors]

    async def write_and_commit(self, write: Statement) -> None:
        async with self._db.pipeline():
            await self._db.execute(write[0].replace("?", "%b"), write[1], binary=True)
            await self._db.execute("commit")

    async def close(self) -> None:
        await self._db.close()


Driver = Asyncpg | Psycopg


async def cycle(db: Driver, ids: Sequence[bytes], now: int) -> None:
    """Four commits over `ids`."""
    body, print_ = b"x" * 100, "0" * 32
    await db.begin_and_read([(READ_EXECUTIONS, [list(ids)])])
    fresh = [
        (id_, "default", "orders", 2, 1, print_, 0, 1, "me", now, 0, 0, now, now, None)
        for id_ in ids
    ]
    writes = [
        (NEW["executions"], fresh),
        (NEW["inputs"], [(id_, body) for id_ in ids]),
        (NEW["journal"], [(id_, 1, 1, now, None, "me") for id_ in ids]),
    ]
    await db.write_and_commit(_written(writes))

    [found] = await db.begin_and_read([(READ_EXECUTIONS, [list(ids)])])
    writes = [
        (NEW["units"], [(r[0], 1, r[1], "decide", 1, 1, 1, 0, now, now, print_) for r in found]),
        (
            NEW["interactions"],
            [(r[0], 1, 0, r[1], "decide", 3, now, now, body, None, None) for r in found],
        ),
        (CHANGE_EXECUTIONS, [(r[0], 3, r[4] + 1, None, None, 1, now, None) for r in found]),
        (NEW["journal"], [(r[0], 2, 5, now, 1, None) for r in found]),
    ]
    await db.write_and_commit(_written(writes))

    ones, zeros = [1] * len(ids), [0] * len(ids)
    units, interactions, found = await db.begin_and_read(
        [
            (READ_UNITS, [list(ids), ones]),
            (READ_INTERACTIONS, [list(ids), ones, zeros]),
            (READ_EXECUTIONS, [list(ids)]),
        ]
    )
    writes = [
        (CHANGE_UNITS, [(r[0], r[1], 2, 1, now) for r in units]),
        (CHANGE_INTERACTIONS, [(r[0], 1, 0, 4, now, body, bytes(32)) for r in interactions]),
        (CHANGE_EXECUTIONS, [(r[0], 2, r[4] + 1, "me", now, 1, now, None) for r in found]),
        (NEW["journal"], [(r[0], 3, 6, now, 1, "me") for r in found]),
    ]
    await db.write_and_commit(_written(writes))

    [found] = await db.begin_and_read([(READ_EXECUTIONS, [list(ids)])])
    writes = [
        (CHANGE_EXECUTIONS, [(r[0], 5, r[4] + 1, None, None, 1, now, body) for r in found]),
        (NEW["journal"], [(r[0], 4, 9, now, None, None) for r in found]),
    ]
    await db.write_and_commit(_written(writes))


def _ids(count: int) -> list[bytes]:
    start = time.perf_counter_ns()
    return [(start + n).to_bytes(8, "big") + os.urandom(8) for n in range(count)]


async def measure(
    connect: Callable[[str], Awaitable[Driver]], url: str, lanes: int, seconds: float
) -> tuple[float, float]:
    """Cycles a second over `lanes` connections, and microseconds of CPU for each."""
    connections = [await connect(url) for _ in range(lanes)]
    done = 0

    async def run(db: Driver, until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await cycle(db, _ids(BATCH), 1_750_000_000_000)
            done += BATCH

    await asyncio.gather(*(run(db, time.perf_counter() + 1) for db in connections))
    done = 0
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(run(db, started + seconds) for db in connections))
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    for db in connections:
        await db.close()
    return done / took, cpu / done * 1e6


async def lone(connect: Callable[[str], Awaitable[Driver]], url: str) -> float:
    """Median milliseconds of a cycle of one execution."""
    db = await connect(url)
    taken = []
    for _ in range(300):
        started = time.perf_counter()
        await cycle(db, _ids(1), 1_750_000_000_000)
        taken.append(time.perf_counter() - started)
    await db.close()
    return sorted(taken)[150] * 1e3


async def main(url: str) -> None:
    """Print the figures."""
    db = await asyncpg.connect(url)
    await db.execute(SCHEMA)
    try:
        for _ in range(3):  # interleaved, since the machine is never quiet
            for name, connect in (("asyncpg", Asyncpg.connect), ("psycopg", Psycopg.connect)):
                for lanes in (1, 2, 4):
                    rate, cpu = await measure(connect, url, lanes, 3)
                    print(f"{name} {lanes} connections: {rate:,.0f} cycles/s, {cpu:.0f} us of CPU")
                print(f"{name}: a lone cycle takes {await lone(connect, url):.2f} ms")
    finally:
        await db.execute("drop schema bide_drivers cascade")
        await db.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
