"""The engine as a whole: any moves, in any order, in batches, by workers current and stale.

A random walk over `fold`, with the memory store around it. After every batch the invariants of each
row are checked, and what was acknowledged or terminal before is compared with what is there now:

I1 a unit is terminal once, I2 an item completes once and its first answer stays, I3 an execution is
resumed once per unit, I4 answers are read in input order, I5 what was acknowledged is there, I7 no
write of a stale fence.
"""

import asyncio
from collections import Counter
from random import Random
from typing import Any, get_args

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from bide.engine.moves import (
    Admit,
    AdmitByKey,
    Append,
    AskAgain,
    Assign,
    Cancel,
    CloseBehind,
    CloseUnit,
    Denied,
    Expire,
    ExpireEarly,
    ExpireUnit,
    Fail,
    Failure,
    Finish,
    GiveBack,
    HandedOver,
    Handover,
    KeepLetter,
    Later,
    Mismatch,
    Move,
    NewHandoff,
    Note,
    OfferAgain,
    OpenUnit,
    Outcome,
    Park,
    Postponed,
    Received,
    Redrive,
    Refused,
    Release,
    Retry,
    Sent,
    SettleDispatch,
    SettleHandoff,
    StoreRejects,
    StoreResults,
    Submitted,
    TakeOver,
    Unsent,
)
from bide.model.ids import ExecutionId, InteractionId, UnitId
from bide.model.records import (
    AuditEntry,
    DeadLetter,
    Dispatch,
    Execution,
    Handoff,
    Unit,
    replace,
)
from bide.model.status import (
    DeadLetterKind,
    ExecutionStatus,
    HandoffStatus,
    JournalKind,
    ReceiptOutcome,
    UnitStatus,
)
from bide.stores.memory import MemoryStore
from bide.testing import FakeClock
from bide.testing.store_contract.harness import (
    DAY,
    FINGERPRINTS,
    KEYS,
    LEASE_MS,
    TENANT,
    Driver,
    Dump,
    StoreFactory,
    answer,
    answer_by_key,
    askings,
    boundary,
    correlated,
    redrive_of,
    reject_of,
)
from bide.testing.store_contract.invariants import check_invariants
from bide.testing.store_contract.publishing import handed_to, offering, sent_elsewhere

WORKER_MOVES = (
    Park, OpenUnit, Append, CloseUnit, StoreResults, StoreRejects, TakeOver, Finish,
    Retry, GiveBack, Fail,
)  # fmt: skip


#: Evenly drawn, where strategies prefer the small: a walk has to get somewhere. Steps still shrink.
CHANCE = st.randoms(use_true_random=True)
#: How often what came of which move, so that a walk that goes nowhere is noticed.
SEEN: Counter[tuple[str, str]] = Counter()


REDRIVABLE = {ExecutionStatus.FAILED, ExecutionStatus.DLQ}


def _fitting(row: Execution) -> list[type[Any]]:
    """Moves that the execution's status is there for; those that end it are the rarer ones."""
    unit_open = row.units > row.resumed
    answered = [Admit, Admit, Admit, Assign, AskAgain, Expire] if unit_open else []
    if row.status.is_terminal:
        return [Redrive] if row.status in REDRIVABLE else []
    if row.status is not ExecutionStatus.RUNNING:
        return answered
    if unit_open and row.redriven_from and not row.resumed:
        return [TakeOver, TakeOver, TakeOver, GiveBack, *answered]
    if unit_open:
        return [Append, Append, Append, CloseUnit, CloseUnit, GiveBack, Retry, *answered]
    parking = [Park, Park, Park, OpenUnit, OpenUnit, OpenUnit, StoreResults, StoreRejects]
    return [*parking, *parking, Finish, Retry, GiveBack, Fail]


class Walk(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        clock = FakeClock()
        store = MemoryStore(clock)
        factory = StoreFactory(name="memory", fresh=None)  # type: ignore[arg-type]  # opens no other
        self.driver = Driver(store, clock, factory)
        self.applied: dict[InteractionId, Admit] = {}
        self.dump = self.run(self.driver.dump())

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    # --- what may happen ----------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 50, 500, LEASE_MS, 10 * LEASE_MS, DAY]))
    def time_passes(self, ms: int) -> None:
        self.driver.clock.advance(ms)

    @rule(ms=st.integers(1, LEASE_MS))
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

    @rule(limit=st.integers(1, 3), bound=st.sampled_from([None, 1, 2]))
    def claim_dispatches(self, limit: int, bound: int | None) -> None:
        before = self.run(self.driver.dump())

        claimed = self.run(self.driver.to_send(limit=limit, max_in_flight=bound))

        self.look(before)
        for one in claimed:
            old = before.dispatches[one.dispatch.id]
            assert one.dispatch == self.dump.dispatches[old.id]
            assert (one.dispatch.fence, one.dispatch.attempts) == (old.fence + 1, old.attempts + 1)
            assert not one.unit.status.is_terminal

    @rule(limit=st.integers(1, 3))
    def claim_handoffs(self, limit: int) -> None:
        before = self.run(self.driver.dump())

        claimed = self.run(self.driver.store.claim_handoffs(offering(limit=limit)))

        self.look(before)
        for one in claimed:
            old = before.handoffs[one.id]
            assert one == self.dump.handoffs[one.id]
            assert (one.fence, one.attempts) == (old.fence + 1, old.attempts + 1)
            assert one.body == old.body

    @rule()
    def sweep(self) -> None:
        overdue = self.run(self.driver.store.overdue(10))
        before = self.dump
        moves: list[Move] = [ExpireUnit(id) for id in overdue.units]
        moves += [Expire(id) for id in overdue.expired]
        moves += [CloseBehind(id) for id in overdue.left_open]
        moves += [ExpireEarly(key) for key in overdue.early]
        refused = AuditEntry(
            self.driver.new_id(), TENANT, 0, "complete", "not-allowed", "bob", "jwt:k1"
        )
        moves.append(Note(refused))  # what was refused meanwhile
        letter = DeadLetter(
            self.driver.new_id(), TENANT, "orders", DeadLetterKind.ARRIVAL, None, None,
            "malformed", "no", None, 1, 0,
        )  # fmt: skip
        moves.append(KeepLetter(letter))

        outcomes = self.run(self.driver.do(*moves))

        self.look(before)
        for move, outcome in zip(moves, outcomes, strict=True):
            self.check(move, outcome)

    @rule(rng=CHANCE)
    def some_batches(self, rng: Random) -> None:
        for _ in range(8):
            self.driver.clock.advance(rng.choice([0, 0, 1, 150, LEASE_MS]))
            if rng.randint(0, 5) == 0:
                self.claim(3)
            if rng.randint(0, 3) == 0:
                self.sweep()
            if rng.randint(0, 1) == 0:
                self.claim_dispatches(3, None)
                self.claim_handoffs(3)
            self.batch(rng)

    def batch(self, rng: Random) -> None:
        size, slots = rng.choice([1, 1, 2, 3, 5]), rng.choice([None, 0, 1, 9])
        moves = [self.draw(rng) for _ in range(size)]
        offer = None if slots is None else Handover("worker-9", LEASE_MS, slots, FINGERPRINTS)
        # What is overdue depends on the clock, which may have been turned since the last look.
        before = self.run(self.driver.dump())

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

    def draw(self, rng: Random) -> Move:
        """Mostly a move that fits where some execution stands; else any, on any."""
        number = rng.randint(0, 2)
        leased = [each for each in self.dump.dispatches.values() if each.owner]
        if leased and rng.randint(0, 3) == 0:
            return self.settle_dispatch(rng.choice(leased), rng)
        if (handing := self.settle_handoff(rng)) is not None:
            return handing
        # Rare: an item that failed in a unit which goes on without it.
        failed = [id for id, one in self.dump.interactions.items() if one.error_code]
        open_yet = [id for id in failed if not self.dump.units[UnitId(*id[:2])].status.is_terminal]
        if open_yet and rng.randint(0, 1) == 0:
            return AskAgain(rng.choice(open_yet), TENANT, b"1")
        ended = rng.randint(0, 14) == 0
        living = [
            id
            for id, row in self.dump.executions.items()
            if _fitting(row) and row.status.is_terminal == ended
        ]
        fitting = bool(living) and rng.randint(0, 4) > 0
        ids = living if fitting else [*self.dump.executions]
        if not ids or rng.randint(0, 9) == 9:
            key = rng.choice([None, "a", "b", "c"])
            return self.driver.submission(key, b"%d" % (number % 2))
        row = self.dump.executions[rng.choice(ids)]
        kinds = (
            _fitting(row) if fitting else [Admit, Expire, Cancel, Release, Assign, *WORKER_MOVES]
        )
        kind = rng.choice(kinds)
        fence = row.fence - (rng.randint(0, 5) == 5)
        unit = self.dump.units.get(UnitId(row.id, row.units))
        appended = unit.appended if unit else 0
        item = rng.randint(0, max(0, appended - 1)) if fitting else number
        first = max(0, appended - rng.choice([0, 0, 1, 2]))
        interaction = InteractionId(row.id, max(1, row.units), item)
        id, at = row.id, row.units
        timeout_ms = rng.choice([100, 10 * LEASE_MS])
        # Few keys and many waits: so they meet.
        key = rng.choice([None, *KEYS])
        if key is not None and rng.randint(0, 7) == 7:
            return answer_by_key(self.driver, key, rng.choice([b"1", b"1", b"2"]))
        match kind.__name__:
            case "Admit":
                body = rng.choice([b"1", b"1", b"2"])
                failed = Failure("declined", "no") if rng.randint(0, 3) == 3 else None
                return answer(interaction, body, failure=failed)
            case "Expire":
                ended = ExpireUnit(UnitId(*interaction[:2]))
                return rng.choice([Expire(interaction), CloseBehind(interaction), ended])
            case "Cancel":
                return Cancel(id, TENANT, "not wanted")
            case "Release":
                return Release(id, TENANT, rng.choice(sorted(FINGERPRINTS)))
            case "Assign":
                whose = rng.choice([None, frozenset({None, "ada"})])
                return Assign(interaction, TENANT, rng.choice(["ada", None]), whose)
            case "Park":
                [request] = askings(1, timeout_ms=timeout_ms)
                if key is not None:
                    request = replace(request, correlation=correlated(key))
                at_ = boundary(dispatched=rng.choice([True, False]))
                return Park(id, fence, at_, request, None, self.published(row, rng))
            case "OpenUnit":
                policy = {
                    "unit_timeout_ms": rng.choice([None, 1_000]),
                    **rng.choice([{}, {"tolerated": 1}, {"tolerated_ppm": 500_000}]),
                }
                at_ = boundary(dispatched=rng.choice([True, False]))
                return OpenUnit(id, fence, replace(at_, **policy))
            case "Append":
                items = askings(rng.randint(0, 3), first + (number == 2), timeout_ms=timeout_ms)
                if key is not None and items:
                    items = (replace(items[0], correlation=correlated(key)), *items[1:])
                return Append(id, fence, at, first, items)
            case "CloseUnit":
                total = appended + (rng.randint(0, 5) == 5) if fitting else number
                return CloseUnit(id, fence, at, total, 1, self.published(row, rng))
            case "Redrive":
                known = [each for each in self.units_of(row.id) if each.total is not None]
                unit = rng.choice([known[-1], known[-1], None]) if known else None
                move = redrive_of(self.driver, row.id, unit)
                return replace(move, name=None) if number == 2 else move
            case "TakeOver":
                return self.take_over(row, rng)
            case "AskAgain":
                return AskAgain(interaction, TENANT, b"1")
            case "StoreRejects":
                return StoreRejects(id, fence, (reject_of(row, number),))
            case "StoreResults":
                return StoreResults(id, fence, number, (b"1", b"2"))
            case "Finish":
                return Finish(id, fence, 2, None, number, self.published(row, rng))
            case "Retry":
                return Retry(id, fence, 0, number, 100, "down")
            case "GiveBack":
                return GiveBack(id, fence)
            case _:
                status = [ExecutionStatus.FAILED, ExecutionStatus.DLQ][number % 2]
                return Fail(id, fence, status, 0, "charge", 1, "boom", "it broke")

    def published(self, row: Execution, rng: Random) -> tuple[NewHandoff, ...]:
        """What a segment publishes, under few keys: so they meet."""
        key, body = rng.choice(["x", "y", "z"]), rng.choice([b"1", b"1", b"2"])
        return rng.choice(
            [
                (),
                (),
                (handed_to(self.driver, row, key, body),),
                (sent_elsewhere(self.driver, key, body),),
                (handed_to(self.driver, row, key, body), sent_elsewhere(self.driver, key, body)),
            ]
        )

    def settle_handoff(self, rng: Random) -> Move | None:
        """What becomes of a publication on its way, now and then."""
        if rng.randint(0, 7):
            return None
        of = {
            status: [each for each in self.dump.handoffs.values() if each.status is status]
            for status in HandoffStatus
        }
        if of[HandoffStatus.REFUSED] and rng.randint(0, 1):
            return self.offer_again(rng.choice(of[HandoffStatus.REFUSED]))
        if not of[HandoffStatus.SENDING]:
            return None
        handoff = rng.choice(of[HandoffStatus.SENDING])
        there = HandedOver(self.driver.new_id(), rng.choice([True, False]))
        results = [there, Denied("handoff-invalid", "no"), Later("busy", 100), Unsent()]
        fence = handoff.fence - (rng.randint(0, 5) == 5)
        return SettleHandoff(handoff.id, fence, rng.choice(results))

    def offer_again(self, handoff: Handoff) -> OfferAgain:
        if not handoff.target:
            return OfferAgain(handoff.id, TENANT)
        source = self.dump.executions[handoff.execution]
        new = handed_to(self.driver, source, handoff.key, handoff.body or b"")
        return OfferAgain(handoff.id, TENANT, new.admission)

    def units_of(self, id: ExecutionId) -> list[Unit]:
        return [unit for unit in self.dump.units.values() if unit.execution == id]

    def settle_dispatch(self, dispatch: Dispatch, rng: Random) -> SettleDispatch:
        fence = dispatch.fence - (rng.randint(0, 5) == 5)
        results = [Sent(), Denied("http-404", "gone"), Postponed("busy", 100, 2), Unsent()]
        return SettleDispatch(dispatch.id, fence, rng.choice(results))

    def take_over(self, row: Execution, rng: Random) -> TakeOver:
        filled = self.units_of(row.id)
        first = filled[-1].appended if filled else 0
        source = row.redriven_from or row.id
        known = [each for each in self.units_of(source) if each.total is not None]
        old = known[-1] if known else None
        items = (
            self.run(self.driver.store.askings(TENANT, old.id, first, rng.choice([1, 2])))
            if old
            else []
        )
        total = old.total if old and old.total is not None else 1
        done = old is not None and old.status is UnitStatus.COMPLETED
        return TakeOver(row.id, row.fence, row.units, first, tuple(items), total, done)

    # --- what has to hold ---------------------------------------------------------------------

    def check(self, move: Move, outcome: Outcome) -> None:
        came = outcome.outcome if isinstance(outcome, Received) else type(outcome).__name__
        SEEN[type(move).__name__, str(came)] += 1
        if isinstance(outcome, Submitted):
            assert outcome.execution in self.dump.executions  # I5
        if isinstance(outcome, Received) and outcome.outcome is ReceiptOutcome.APPLIED:
            assert isinstance(move, Admit | AdmitByKey)
            if isinstance(move, AdmitByKey):
                assert outcome.interaction is not None
                move = move.to(outcome.interaction)
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
        for id, dispatch in before.dispatches.items():
            assert now.dispatches[id].fence >= dispatch.fence
            if before.interactions[id].status.is_terminal:
                assert now.dispatches[id] == dispatch  # nothing is sent after its end
        for id, handoff in before.handoffs.items():
            assert now.handoffs[id].fence >= handoff.fence
            if handoff.status is HandoffStatus.ADMITTED:
                assert now.handoffs[id] == handoff
        admitted = {(each.key, each.admitted_as) for each in now.handoffs.values() if each.target}
        named = [key for key, made in admitted if made is not None]
        assert len(named) == len(set(named))  # one execution under a key
        for id, move in self.applied.items():
            row = now.interactions[id]
            if id._replace(generation=id.generation + 1) in now.interactions:
                assert move.failure
                continue
            assert row.answer_digest == move.digest  # I2, I5
            assert row.answer == (None if move.failure else move.body)
        for id, facts in now.journal.items():
            resumed = Counter(fact.unit for fact in facts if fact.kind is JournalKind.RESUMED)
            assert set(resumed.values()) <= {1}  # I3
            assert sorted(resumed) == list(range(1, now.executions[id].resumed + 1))
        for unit in now.units.values():
            rows = self.run(self.driver.store.answers(TENANT, unit.id, 0, 100))
            items = [row.item for row in rows]
            assert items == list(range(unit.appended))  # I4


# Without shrinking, which would take minutes to make a short story shorter.
WALKS = settings(
    max_examples=200,
    stateful_step_count=20,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


#: What has to have happened on the way: each move with success, and each way to be refused.
REFUSED = {
    ("Append", "Mismatch"),
    ("CloseUnit", "Mismatch"),
    ("Submit", "KeyTaken"),
    ("SettleDispatch", "Refused"),
    ("SettleHandoff", "Refused"),
    *(("AdmitByKey", came) for came in ("applied", "buffered", "duplicate", "conflict", "late")),
    *(("Admit", came) for came in ("applied", "duplicate", "conflict", "late", "unknown")),
}
GOOD = {"Moved", "Settled", "Assigned", "AskedAgain", "Noted", "applied", "Submitted", "Handed"}
#: What is drawn under a seed changes with whatever Hypothesis finds in the sources, so that no fixed
#: number of walks can be relied on to meet what is rare.
ROUNDS = 20


def _not_met() -> set[object]:
    made = {move for move, came in SEEN if came in GOOD}
    return ({kind.__name__ for kind in get_args(Move)} - made) | (REFUSED - set(SEEN))


def test_walk() -> None:
    """Nothing that may happen breaks an invariant; and all of it did happen."""
    SEEN.clear()

    for number in range(ROUNDS):
        run_state_machine_as_test(seed(number)(Walk), settings=WALKS)
        if not _not_met():
            break

    assert _not_met() == set()
