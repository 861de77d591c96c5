"""The engine as a whole: any moves, in any order, in batches, by workers current and stale.

A random walk over `fold`, with the memory store around it. After every batch the invariants of each
row are checked, and what was acknowledged or terminal before is compared with what is there now:

I1 a unit is terminal once, I2 an item completes once and its first answer stays, I3 an execution is
resumed once per unit, I4 answers are read in input order, I5 what was acknowledged is there, I7 no
write of a stale fence.
"""

import asyncio
from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bide.engine.moves import (
    Admit,
    Append,
    Cancel,
    CloseBehind,
    CloseUnit,
    Expire,
    Fail,
    Failure,
    Finish,
    GiveBack,
    Handover,
    Mismatch,
    Move,
    OpenUnit,
    Outcome,
    Park,
    Received,
    Refused,
    Retry,
    StoreResults,
    Submit,
    Submitted,
)
from bide.model.ids import ExecutionId, InteractionId
from bide.model.status import ExecutionStatus, JournalKind, ReceiptOutcome
from bide.stores.memory import MemoryStore
from bide.testing import FakeClock
from bide.testing.store_contract.harness import (
    FINGERPRINTS,
    LEASE_MS,
    TENANT,
    Driver,
    Dump,
    StoreFactory,
    answer,
    askings,
    boundary,
)
from bide.testing.store_contract.invariants import check_invariants

WORKER_MOVES = (
    Park, OpenUnit, Append, CloseUnit, StoreResults, Finish, Retry, GiveBack, Fail,
)  # fmt: skip


class Walk(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        clock = FakeClock()
        store = MemoryStore(clock)
        factory = StoreFactory(name="memory", fresh=None)  # type: ignore[arg-type]  # opens no other
        self.driver = Driver(store, clock, factory)
        self.ids: list[ExecutionId] = []
        self.applied: dict[InteractionId, Admit] = {}
        self.dump = self.run(self.driver.dump())

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    # --- what may happen ----------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 50, 500, LEASE_MS, 10 * LEASE_MS]))
    def time_passes(self, ms: int) -> None:
        self.driver.clock.advance(ms)

    @rule(ms=st.integers(1, 2 * LEASE_MS))
    def clock_jumps_back(self, ms: int) -> None:
        self.driver.clock.advance(-ms)

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        before = self.dump
        claimed = self.run(self.driver.claim(limit=limit))

        self.look(before)
        for one in claimed:
            old = before.executions[one.execution.id]
            assert one.execution == self.dump.executions[old.id]
            assert one.execution.fence == old.fence + 1
            assert one.execution.attempt == old.attempt + 1
            assert (one.base is not None) == (old.resumed > 0)
            assert (one.reopened is not None) == (old.units > old.resumed)

    @rule(data=st.data(), size=st.integers(1, 5), slots=st.sampled_from([None, 0, 1, 9]))
    def moves(self, data: st.DataObject, size: int, slots: int | None) -> None:
        moves = [self.draw(data) for _ in range(size)]
        offer = None if slots is None else Handover("worker-9", LEASE_MS, slots, FINGERPRINTS)
        before = self.dump

        outcomes = self.run(self.driver.do(*moves, handover=offer))

        self.look(before)
        assert len(outcomes) == size
        for move, outcome in zip(moves, outcomes, strict=True):
            self.check(move, outcome)
        if size == 1 and isinstance(outcomes[0], Refused | Mismatch):
            assert self.dump == before
        if size == 1 and isinstance(moves[0], WORKER_MOVES):
            held = before.executions.get(moves[0].execution)
            if held is None or held.fence != moves[0].fence or held.owner is None:
                assert isinstance(outcomes[0], Refused)  # I7

    def draw(self, data: st.DataObject) -> Move:
        kind = data.draw(st.sampled_from([Submit, Admit, Admit, *WORKER_MOVES, Cancel, Expire]))
        number = data.draw(st.integers(0, 2))
        if kind is Submit or not self.ids:
            key = data.draw(st.sampled_from([None, "a", "b"]))
            move = self.driver.submission(key, b"%d" % number)
            self.ids.append(move.execution)
            return move
        id = data.draw(st.sampled_from(self.ids))
        row = self.dump.executions.get(id)
        fence = row.fence - data.draw(st.sampled_from([0, 0, 0, 0, 1])) if row else 0
        unit = row.units if row else 1
        interaction = InteractionId(id, max(1, unit), number)
        match kind.__name__:
            case "Admit":
                body = data.draw(st.sampled_from([b"1", b"2"]))
                failed = Failure("declined", "no") if data.draw(st.integers(0, 4)) == 4 else None
                return answer(interaction, body, failure=failed)
            case "Expire":
                return data.draw(st.sampled_from([Expire(interaction), CloseBehind(interaction)]))
            case "Cancel":
                return Cancel(id, TENANT, "not wanted")
            case "Park":
                [request] = askings(1, timeout_ms=LEASE_MS)
                return Park(id, fence, boundary(), request)
            case "OpenUnit":
                return OpenUnit(id, fence, boundary())
            case "Append":
                items = askings(data.draw(st.integers(0, 3)), number, timeout_ms=10 * LEASE_MS)
                return Append(id, fence, unit, number, items, True)
            case "CloseUnit":
                return CloseUnit(id, fence, unit, data.draw(st.integers(0, 3)), 1)
            case "StoreResults":
                return StoreResults(id, fence, number, (b"1", b"2"))
            case "Finish":
                return Finish(id, fence, 2, None, number)
            case "Retry":
                return Retry(id, fence, 0, number, 100, "down")
            case "GiveBack":
                return GiveBack(id, fence)
            case _:
                status = [ExecutionStatus.FAILED, ExecutionStatus.DLQ][number % 2]
                return Fail(id, fence, status, 0, "charge", 1, "boom", "it broke")

    # --- what has to hold ---------------------------------------------------------------------

    def check(self, move: Move, outcome: Outcome) -> None:
        if isinstance(outcome, Submitted):
            assert outcome.execution in self.dump.executions  # I5
        if isinstance(outcome, Received) and outcome.outcome is ReceiptOutcome.APPLIED:
            assert isinstance(move, Admit)
            assert move.interaction not in self.applied  # I2
            self.applied[move.interaction] = move

    def look(self, before: Dump) -> None:
        self.dump = now = self.run(self.driver.dump())
        check_invariants(now)
        for id, execution in before.executions.items():
            assert now.executions[id].version >= execution.version
            assert now.journal[id][: len(before.journal[id])] == before.journal[id]
            if execution.status.is_terminal:
                assert now.executions[id] == execution
        for unit in before.units.values():
            if unit.status.is_terminal:
                assert now.units[unit.id].status is unit.status  # I1
        for id, move in self.applied.items():
            row = now.interactions[id]
            assert row.answer_digest == move.digest  # I2, I5
            assert row.answer == (None if move.failure else move.body)
        for id, facts in now.journal.items():
            resumed = Counter(fact.unit for fact in facts if fact.kind is JournalKind.RESUMED)
            assert set(resumed.values()) <= {1}  # I3
            assert sorted(resumed) == list(range(1, now.executions[id].resumed + 1))
        for unit in now.units.values():
            rows = self.run(self.driver.store.answers(*unit.id, 0, 100))
            items = [row.item for row in rows]
            assert items == sorted(set(items))  # I4


TestWalk = Walk.TestCase
TestWalk.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, print_blob=True
)
