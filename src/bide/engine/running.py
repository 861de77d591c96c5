"""Claiming executions and reporting what came of their segments.

A lease is an owner, a fence and an expiry by the store's clock. Each claim raises the fence and
counts an attempt; a claim of an execution that is RUNNING means that its lease ran out, which is
counted apart and bounded, so that a poisonous execution cannot kill worker after worker.
"""

from typing import NamedTuple

from bide.engine.decision import Decision, fact_of
from bide.engine.ending import end_execution
from bide.engine.moves import Finish, GiveBack, Moved, Refused, Retry, StoreRejects, StoreResults
from bide.engine.transitions import EXECUTION, ExecutionEvent, UnitEvent, after
from bide.engine.waiting import LEASE_LOST, STILL_OPEN, has_open_unit, holds
from bide.model.records import Execution, JournalFact, Result, Unit, replace
from bide.model.status import ExecutionStatus, JournalKind


class ClaimOffer(NamedTuple):
    """What a worker is ready to take."""

    owner: str
    lease_ms: int
    limit: int
    fingerprints: frozenset[str]
    #: Lost leases that one boundary may cost before the execution is given up.
    takeovers_max: int = 5


def lease(execution: Execution, owner: str, lease_ms: int, now: int) -> Execution:
    """`execution` as its claimant's: RUNNING, fence raised, attempt counted."""
    return replace(
        execution,
        status=ExecutionStatus.RUNNING,
        owner=owner,
        fence=execution.fence + 1,
        attempt=execution.attempt + 1,
        due_at=now + lease_ms,
        updated_at=now,
    )


def decide_claim(offer: ClaimOffer, execution: Execution, unit: Unit | None, now: int) -> Decision:
    """Claim what is due, take over what was abandoned, give up what was abandoned too often.

    `unit` is the unit that an earlier run of the segment opened and did not close, if there is one.
    """
    if after(EXECUTION, execution.status, ExecutionEvent.CLAIMED) is None or (
        execution.due_at is None or execution.due_at > now
    ):
        return Decision(Refused("not due"))
    abandoned = execution.status is ExecutionStatus.RUNNING
    takeovers = execution.takeovers + abandoned
    if takeovers > offer.takeovers_max:
        return end_execution(
            execution,
            ExecutionStatus.DLQ,
            "worker-lost",
            f"{takeovers} workers in turn lost their lease on it",
            now,
            attempts=execution.attempt,
            unit=unit,
            unit_event=UnitEvent.FAILED,
        )
    claimed = lease(
        replace(execution, version=execution.version + 1, takeovers=takeovers),
        offer.owner,
        offer.lease_ms,
        now,
    )
    kind = JournalKind.TAKEN_OVER if abandoned else JournalKind.CLAIMED
    return Decision(Moved(claimed), claimed, fact_of(claimed, kind, detail=offer.owner))


def hand_over(
    execution: Execution, fact: JournalFact, owner: str, lease_ms: int
) -> tuple[Execution, JournalFact]:
    """Claim an execution in the very commit that makes it ready, with the one fact of that commit."""
    claimed = lease(execution, owner, lease_ms, execution.updated_at)
    return claimed, replace(fact, detail=owner)


def decide_results(move: StoreResults, execution: Execution | None, now: int) -> Decision:
    """Store results by index; nobody sees them before the end."""
    del now
    if execution is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    rows = tuple(
        Result(move.execution, item, body) for item, body in enumerate(move.bodies, move.first_item)
    )
    return Decision(Moved(execution), written=rows)


def decide_rejects(move: StoreRejects, execution: Execution | None, now: int) -> Decision:
    """Record what a step left out, before the segment's end."""
    if execution is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    rows = tuple(replace(reject, created_at=now) for reject in move.rejects)
    return Decision(Moved(execution), written=rows)


def decide_finish(move: Finish, execution: Execution | None, now: int) -> Decision:
    """End with success."""
    if execution is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    if has_open_unit(execution):
        return Decision(STILL_OPEN)
    finished = replace(
        execution,
        status=ExecutionStatus.SUCCEEDED,
        version=execution.version + 1,
        step_index=move.step_index,
        owner=None,
        due_at=None,
        updated_at=now,
        result=move.result,
        result_count=move.result_count,
    )
    return Decision(Moved(finished), finished, fact_of(finished, JournalKind.SUCCEEDED))


def decide_retry(move: Retry, execution: Execution | None, now: int) -> Decision:
    """Give the segment back until a delay has passed."""
    if execution is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    waiting = replace(
        execution,
        status=ExecutionStatus.WAIT_RETRY,
        version=execution.version + 1,
        step_index=move.step_index,
        attempt=move.attempt,
        owner=None,
        due_at=now + move.delay_ms,
        updated_at=now,
    )
    fact = fact_of(waiting, JournalKind.RETRY_SCHEDULED, detail=move.message)
    return Decision(Moved(waiting), waiting, fact)


def decide_give_back(move: GiveBack, execution: Execution | None, now: int) -> Decision:
    """Return a claim that was not begun: queued again at once, the attempt not counted."""
    if execution is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    queued = replace(
        execution,
        status=ExecutionStatus.QUEUED,
        version=execution.version + 1,
        attempt=max(0, execution.attempt - 1),
        owner=None,
        due_at=now,
        updated_at=now,
    )
    return Decision(Moved(queued), queued, fact_of(queued, JournalKind.GIVEN_BACK), ready=True)
