"""The limit: the rows of a workload, written straight through the driver.

What is written is what Bide writes, row for row (a test compares the tables): executions, inputs,
units, interactions and the journal, in the same schema, with the same durability, in as many
transactions as full batches need. What is left out is everything else: validation, decisions,
futures, threads, and every read. An engine that writes these rows cannot be faster.
"""

# The driver's own type hints are partly unknown to pyright.
# pyright: reportUnknownMemberType=false

import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import apsw

from bide.bench.figures import rate
from bide.model.status import (
    AnswerSource,
    ExecutionStatus,
    InteractionStatus,
    JournalKind,
    UnitStatus,
)
from bide.runtime.clock import ExecutionIds, system_clock
from bide.stores.sqlite.connection import open_writer

BATCH = 500
_TENANT, _STEP, _OWNER = "default", "answer", "limit"
_PRINT = "0" * 32
_DAY_MS, _LEASE_MS = 86_400_000, 15_000
_DIGEST = bytes(32)

_NEW_EXECUTION = """
insert into executions (
    id, tenant, pipeline, status, version, fingerprint, step_index, attempt, takeovers, fence,
    owner, due_at, units, resumed, created_at, updated_at)
values (?, ?, ?, ?, 1, ?, 0, 1, 0, 1, ?, ?, 0, 0, ?, ?)
"""
_NEW_INPUT = "insert into inputs (execution, body) values (?, ?)"
_NEW_UNIT = """
insert into units (
    execution, number, tenant, step_id, step_index, status, per_item, appended, total, settled,
    created_at, updated_at, fingerprint)
values (?, 1, ?, ?, 1, ?, ?, ?, ?, 0, ?, ?, ?)
"""
_NEW_INTERACTION = """
insert into interactions (
    execution, unit, item, generation, tenant, step_id, status, deadline_at, created_at,
    updated_at, request, duplicates, refusals)
values (?, 1, ?, 0, ?, ?, ?, ?, ?, ?, ?, 0, 0)
"""
_NEW_FACT = """
insert into journal (execution, version, kind, at, unit, detail) values (?, ?, ?, ?, ?, ?)
"""
_PARK = """
update executions set status = ?, version = 2, step_index = 1, attempt = 0, owner = null,
    due_at = null, units = 1, updated_at = ?
where id = ?
"""
_RESUME = """
update executions set status = ?, version = ?, step_index = 2, attempt = 1, fence = 2, owner = ?,
    due_at = ?, resumed = 1, updated_at = ?
where id = ?
"""
_FINISH = """
update executions set status = ?, version = ?, step_index = ?, owner = null, due_at = null,
    updated_at = ?, result = ?
where id = ?
"""
_ANSWER = """
update interactions set status = ?, updated_at = ?, answer = ?, answer_digest = ?, source = ?
where execution = ? and unit = 1 and item = ? and generation = 0
"""
_COMPLETE_UNIT = "update units set status = ?, settled = 1, updated_at = ? where execution = ?"
_GROW_UNIT = "update units set appended = ?, updated_at = ? where execution = ?"
_CLOSE_UNIT = "update units set total = appended, updated_at = ? where execution = ?"
_SETTLE = "update units set settled = ?, status = ?, updated_at = ? where execution = ?"


def limit_park_resume(path: Path, n: int, body: bytes) -> float:
    """Cycles a second: four transactions a batch."""
    return _timed(path, n, lambda db: _park_resume(db, n, body))


def limit_submit(path: Path, n: int, body: bytes) -> float:
    """Executions without a wait a second: two transactions a batch."""
    return _timed(path, n, lambda db: _submit(db, n, body))


def limit_items(path: Path, n: int, body: bytes) -> float:
    """Items of one unit a second, answered in any order: two transactions a batch."""
    return _timed(path, n, lambda db: _answer_all(db, _ask(db, n, body), n, body))


def limit_hot_unit(path: Path, n: int, body: bytes) -> float:
    """Answers to the items of one unit a second, which is there already."""
    db = open_writer(str(path))
    try:
        id = _ask(db, n, body)
    finally:
        db.close()
    return _timed(path, n, lambda db: _answer_all(db, id, n, body))


def checkpointed_bytes(path: Path) -> int:
    """Size of a database file that holds everything, with nothing left in the log."""
    db = open_writer(str(path))
    try:
        db.execute("pragma wal_checkpoint(truncate)")
    finally:
        db.close()
    return path.stat().st_size


def _timed(path: Path, n: int, work: Callable[[apsw.Connection], None]) -> float:
    db = open_writer(str(path))
    try:
        started = time.perf_counter()
        work(db)
        return rate(n, time.perf_counter() - started)
    finally:
        db.close()


def _park_resume(db: apsw.Connection, n: int, body: bytes) -> None:
    for ids in batches(n):
        _create(db, ids, "bench-park-resume", body)
        now = system_clock()
        waiting = UnitStatus.WAITING_EXTERNAL
        with db:
            db.executemany(
                _NEW_UNIT, [(id, _TENANT, _STEP, waiting, 0, 1, 1, now, now, _PRINT) for id in ids]
            )
            db.executemany(_NEW_INTERACTION, [_interaction(id, 0, now, body) for id in ids])
            db.executemany(_PARK, [(ExecutionStatus.WAITING_EXTERNAL, now, id) for id in ids])
            db.executemany(_NEW_FACT, [(id, 2, JournalKind.PARKED, now, 1, None) for id in ids])
        with db:
            db.executemany(_ANSWER, [_answer(id, 0, now, body) for id in ids])
            db.executemany(_COMPLETE_UNIT, [(UnitStatus.COMPLETED, now, id) for id in ids])
            db.executemany(_RESUME, [_resume(id, 3, now) for id in ids])
            db.executemany(_NEW_FACT, [(id, 3, JournalKind.RESUMED, now, 1, _OWNER) for id in ids])
        _finish(db, ids, version=4, step_index=3)


def _submit(db: apsw.Connection, n: int, body: bytes) -> None:
    for ids in batches(n):
        _create(db, ids, "bench-submit", body)
        _finish(db, ids, version=2, step_index=3)


def _ask(db: apsw.Connection, n: int, body: bytes) -> bytes:
    """Make an execution that waits for the items of its unit."""
    [[id]] = batches(1)
    _create(db, [id], "bench-items", body)
    now = system_clock()
    with db:
        unit = (id, _TENANT, _STEP, UnitStatus.WAITING_EXTERNAL, 1, 0, None, now, now, _PRINT)
        db.execute(_NEW_UNIT, unit)
        db.execute(_NEW_FACT, (id, 2, JournalKind.UNIT_OPENED, now, 1, None))
    for first in range(0, n, BATCH):
        batch = range(first, min(first + BATCH, n))
        with db:
            db.executemany(_NEW_INTERACTION, [_interaction(id, item, now, body) for item in batch])
            db.execute(_GROW_UNIT, (batch.stop, now, id))
    with db:
        db.execute(_CLOSE_UNIT, (now, id))
        db.execute(_PARK, (ExecutionStatus.WAITING_EXTERNAL, now, id))
        db.execute(_NEW_FACT, (id, 3, JournalKind.PARKED, now, 1, None))
    return id


def _answer_all(db: apsw.Connection, id: bytes, n: int, body: bytes) -> None:
    now = system_clock()
    order = shuffled(n)
    for first in range(0, n, BATCH):
        chosen = order[first : first + BATCH]
        settled = first + len(chosen)
        with db:
            db.executemany(_ANSWER, [_answer(id, item, now, body) for item in chosen])
            status = UnitStatus.COMPLETED if settled == n else UnitStatus.WAITING_EXTERNAL
            db.execute(_SETTLE, (settled, status, now, id))
            if settled == n:
                db.execute(_RESUME, _resume(id, 4, now))
                db.execute(_NEW_FACT, (id, 4, JournalKind.RESUMED, now, 1, _OWNER))
    _finish(db, [id], version=5, step_index=3)


def _create(db: apsw.Connection, ids: Sequence[bytes], pipeline: str, body: bytes) -> None:
    now = system_clock()
    running = ExecutionStatus.RUNNING
    with db:
        db.executemany(
            _NEW_EXECUTION,
            [
                (id, _TENANT, pipeline, running, _PRINT, _OWNER, now + _LEASE_MS, now, now)
                for id in ids
            ],
        )
        db.executemany(_NEW_INPUT, [(id, body) for id in ids])
        db.executemany(_NEW_FACT, [(id, 1, JournalKind.SUBMITTED, now, None, _OWNER) for id in ids])


def _finish(db: apsw.Connection, ids: Sequence[bytes], *, version: int, step_index: int) -> None:
    now = system_clock()
    ended = ExecutionStatus.SUCCEEDED
    result = b'{"number":1}'
    with db:
        db.executemany(_FINISH, [(ended, version, step_index, now, result, id) for id in ids])
        db.executemany(
            _NEW_FACT, [(id, version, JournalKind.SUCCEEDED, now, None, None) for id in ids]
        )


def _interaction(id: bytes, item: int, now: int, body: bytes) -> tuple[object, ...]:
    out = InteractionStatus.DISPATCHED
    return (id, item, _TENANT, _STEP, out, now + _DAY_MS, now, now, body)


def _answer(id: bytes, item: int, now: int, body: bytes) -> tuple[object, ...]:
    return (InteractionStatus.COMPLETED, now, body, _DIGEST, AnswerSource.PERSON, id, item)


def _resume(id: bytes, version: int, now: int) -> tuple[object, ...]:
    return (ExecutionStatus.RUNNING, version, _OWNER, now + _LEASE_MS, now, id)


def batches(n: int) -> Iterable[list[bytes]]:
    """New ids of `n` executions, as many at a time as a transaction takes."""
    ids = ExecutionIds()
    for first in range(0, n, BATCH):
        yield [ids() for _ in range(min(BATCH, n - first))]


def shuffled(n: int) -> list[int]:
    """Items in an order that is mixed, and the same in every run."""
    order = list(range(n))
    random.Random(n).shuffle(order)
    return order
