"""What a process remembers of executions that it has seen park or end."""

import asyncio

import pytest

from bide.engine.fold import Transacted
from bide.model.ids import compose_execution_id
from bide.model.records import Execution
from bide.model.status import ExecutionStatus
from bide.runtime import watch
from bide.runtime.watch import Watch
from bide.stores.memory import MemoryStore

_MOST = 10


def ended(number: int) -> Execution:
    return Execution(
        id=compose_execution_id(number, 0, 0), tenant="default", pipeline="orders",
        status=ExecutionStatus.SUCCEEDED, version=4, fingerprint="end", step_index=2, attempt=1,
        takeovers=0, fence=1, owner=None, due_at=None, units=0, resumed=0, created_at=0,
        updated_at=0,
    )  # fmt: skip


async def test_keeps_the_latest_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many end, so many are remembered at most, and the one that ended last is."""
    monkeypatch.setattr(watch, "_RECENT_MAX", _MOST)
    seen, rows = (
        Watch(MemoryStore(lambda: 0), lambda _: False),
        [ended(number) for number in range(97)],
    )

    for row in rows:
        seen.committed(Transacted([], [], 0, [row]))
        kept = list(seen._recent.values())
        assert 1 <= len(kept) <= _MOST
        assert kept[-1] == row

    # Nothing is in the store: it is remembered, or it is unknown.
    async with asyncio.timeout(20):
        told = await seen.until("default", rows[-1].id, lambda row: row.status.is_terminal, None)
    assert told.execution == rows[-1]
