"""Opening units, and the one check that releases an execution from its wait.

A unit of one interaction is parked in one commit. A unit over a stream is opened, its items are
appended in batches while the source is read, and it is closed with their number; answers may be
admitted from the first append on. What the unit then comes to is said in `bide.engine.settling`,
and `release` is the one way to go on.

After a crash the segment runs again from its boundary. The unit is found open, and what the source
gives is compared with what is stored: by the business key where the await has one, else by the
whole request. The stored request always wins; something else, or fewer items, is a `Mismatch`.
"""

from bide.engine.decision import Decision, fact_of
from bide.engine.moves import (
    Append,
    Boundary,
    Mismatch,
    Moved,
    NewInteraction,
    OpenUnit,
    Park,
    Refused,
)
from bide.engine.transitions import EXECUTION, UNIT, ExecutionEvent, UnitEvent, after
from bide.model.records import Execution, Interaction, Unit, replace
from bide.model.status import ExecutionStatus, InteractionStatus, JournalKind, UnitStatus

LEASE_LOST = Refused("the lease was lost")
STILL_OPEN = Refused("an await of the execution is still open")


def holds(execution: Execution | None, fence: int) -> bool:
    """True while the worker with this fence still runs the execution."""
    return (
        execution is not None
        and execution.status is ExecutionStatus.RUNNING
        and execution.fence == fence
    )


def has_open_unit(execution: Execution) -> bool:
    """True from the opening of a unit until its answers feed a segment, or its end ends all."""
    return execution.units > execution.resumed


def new_unit(
    execution: Execution, boundary: Boundary, now: int, *, per_item: bool, total: int | None
) -> Unit:
    """The unit that `execution` opens next."""
    return Unit(
        execution=execution.id,
        number=execution.units + 1,
        tenant=execution.tenant,
        step_id=boundary.step_id,
        step_index=boundary.step_index,
        status=UnitStatus.WAITING_EXTERNAL,
        per_item=per_item,
        appended=total or 0,
        total=total,
        settled=0,
        created_at=now,
        updated_at=now,
        fingerprint=boundary.fingerprint,
        deadline_at=None if boundary.unit_timeout_ms is None else now + boundary.unit_timeout_ms,
        tolerated=boundary.tolerated,
        tolerated_ppm=boundary.tolerated_ppm,
        has_fallback=boundary.has_fallback,
        sends=not boundary.dispatched,
    )


def unsent(unit: Unit) -> InteractionStatus:
    """How an interaction of the unit is born: to be sent, or out by being stored."""
    return InteractionStatus.WAITING if unit.sends else InteractionStatus.DISPATCHED


def new_interaction(unit: Unit, item: int, request: NewInteraction, now: int) -> Interaction:
    """The first asking for one item; its deadline is never later than its unit's."""
    deadline_at = now + request.timeout_ms
    if unit.deadline_at is not None:
        deadline_at = min(deadline_at, unit.deadline_at)
    return Interaction(
        execution=unit.execution,
        unit=unit.number,
        item=item,
        generation=0,
        tenant=unit.tenant,
        step_id=unit.step_id,
        status=unsent(unit),
        group=request.group,
        assignee=request.assignee,
        deadline_at=deadline_at,
        created_at=now,
        updated_at=now,
        key=request.key,
        request=request.request,
        fallback=request.fallback,
        correlation=request.correlation.key if request.correlation else None,
    )


def waiting_at(execution: Execution, step_index: int, units: int, now: int) -> Execution:
    """`execution` as it waits for its unit: nobody's, and due for nobody."""
    return replace(
        execution,
        status=ExecutionStatus.WAITING_EXTERNAL,
        version=execution.version + 1,
        step_index=step_index,
        attempt=0,
        takeovers=0,
        owner=None,
        due_at=None,
        units=units,
        updated_at=now,
    )


def decide_park(move: Park, execution: Execution | None, now: int) -> Decision:
    """Open a unit with its one interaction and wait for it."""
    if execution is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    if has_open_unit(execution):
        return Decision(STILL_OPEN)
    unit = new_unit(execution, move.boundary, now, per_item=False, total=1)
    interaction = new_interaction(unit, 0, move.interaction, now)
    parked = waiting_at(execution, unit.step_index, unit.number, now)
    return Decision(
        Moved(parked, (unit, interaction)),
        parked,
        fact_of(parked, JournalKind.PARKED, unit=unit.number),
        unit,
        (interaction,),
    )


def decide_open(move: OpenUnit, execution: Execution | None, now: int) -> Decision:
    """Open a unit over a stream; the execution goes on running and fills it."""
    if execution is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    if has_open_unit(execution):
        return Decision(STILL_OPEN)
    unit = new_unit(execution, move.boundary, now, per_item=True, total=None)
    opened = replace(
        execution,
        version=execution.version + 1,
        step_index=unit.step_index,
        units=unit.number,
        updated_at=now,
    )
    return Decision(
        Moved(opened), opened, fact_of(opened, JournalKind.UNIT_OPENED, unit=unit.number), unit
    )


def _replayed(stored: Interaction, item: NewInteraction) -> bool:
    if stored.key is not None or item.key is not None:
        return stored.key == item.key
    return stored.request == item.request


def decide_append(
    move: Append,
    execution: Execution | None,
    unit: Unit | None,
    stored: dict[int, Interaction],
    now: int,
) -> Decision:
    """Store the items that are new; compare those that an earlier run has stored.

    `stored` holds the interactions of the move's items that exist, first generation, by item.
    """
    if execution is None or unit is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    if unit.status.is_terminal or unit.total is not None:
        return Decision(Refused("the unit is no longer open"))
    if not unit.per_item:
        return Decision(Refused("the unit asks once, and not an item at a time"))
    fresh: list[Interaction] = []
    for item, request in enumerate(move.items, move.first_item):
        known = stored.get(item)
        if known is None:
            fresh.append(new_interaction(unit, item, request, now))
        elif not _replayed(known, request):
            return Decision(
                Mismatch(
                    f"item {item} of await {unit.step_id!r} was stored by an earlier run of the"
                    " source, which now gives another one; a source must repeat itself"
                )
            )
    if fresh and fresh[0].item != unit.appended:
        return Decision(Refused(f"item {unit.appended} comes before item {fresh[0].item}"))
    grown = replace(unit, appended=unit.appended + len(fresh), updated_at=now)
    return Decision(Moved(execution), unit=grown if fresh else None, interactions=tuple(fresh))


def release(unit: Unit, execution: Execution, now: int, body: bytes | None = None) -> Decision:
    """Resume the execution of a unit that is complete.

    The unit becomes terminal in this commit, so a second release finds nothing to do: an execution
    is resumed once per unit.
    """
    unit_status = after(UNIT, unit.status, UnitEvent.COMPLETED)
    status = after(EXECUTION, execution.status, ExecutionEvent.RESUMED)
    if unit_status is None or status is None:
        return Decision(Refused(f"a {execution.status.name} execution cannot be resumed"))
    resumed = replace(
        execution,
        status=status,
        version=execution.version + 1,
        fingerprint=unit.fingerprint,
        step_index=unit.step_index + 1,
        attempt=0,
        takeovers=0,
        owner=None,
        due_at=now,
        resumed=unit.number,
        updated_at=now,
    )
    return Decision(
        Moved(resumed),
        resumed,
        fact_of(resumed, JournalKind.RESUMED, unit=unit.number),
        replace(unit, status=unit_status, updated_at=now),
        ready=True,
        ready_body=body,
    )
