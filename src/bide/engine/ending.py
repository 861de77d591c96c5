"""How executions end without success, and what ends with them.

Whatever ends an execution ends its open unit in the same commit and raises the fence, so that a
worker that still reads the source, or still runs a step, writes nothing any more. The unit's end
binds at once; its open interactions are closed behind it, in batches (`decide_close_behind`),
because a unit may have a hundred thousand of them. Until then they are shown as they will be
(`status_behind`).
"""

from bide.engine.decision import Decision, fact_of
from bide.engine.moves import Cancel, CloseBehind, Fail, Moved, Refused, Settled
from bide.engine.transitions import (
    EXECUTION,
    INTERACTION,
    UNIT,
    ExecutionEvent,
    InteractionEvent,
    UnitEvent,
    after,
)
from bide.engine.waiting import LEASE_LOST, holds
from bide.model.records import DeadLetter, Execution, Interaction, Unit, replace
from bide.model.status import (
    AnswerSource,
    DeadLetterKind,
    ExecutionStatus,
    InteractionStatus,
    JournalKind,
)

#: The code of what nobody answered in time.
TIMED_OUT = "await-timed-out"

_EVENT_OF = {
    ExecutionStatus.FAILED: (ExecutionEvent.FAILED, JournalKind.FAILED),
    ExecutionStatus.DLQ: (ExecutionEvent.DEAD_LETTERED, JournalKind.DEAD_LETTERED),
    ExecutionStatus.CANCELLED: (ExecutionEvent.CANCELLED, JournalKind.CANCELLED),
}


def end_execution(
    execution: Execution,
    status: ExecutionStatus,
    code: str,
    message: str,
    now: int,
    *,
    step_id: str | None = None,
    attempts: int = 0,
    unit: Unit | None = None,
    unit_event: UnitEvent | None = None,
    interactions: tuple[Interaction, ...] = (),
) -> Decision:
    """End `execution` without success, with the unit it has open.

    `unit` is the execution's last unit; it is ended here unless the caller has ended it already
    (then `unit_event` is None and the row is written as it came). FAILED and DLQ write a dead
    letter; a cancellation is wanted and writes none.
    """
    event, kind = _EVENT_OF[status]
    if after(EXECUTION, execution.status, event) is None:
        return Decision(Refused(f"a {execution.status.name} execution cannot be {event}"))
    ended = replace(
        execution,
        status=status,
        version=execution.version + 1,
        fence=execution.fence + 1,
        owner=None,
        due_at=None,
        updated_at=now,
        error_code=code,
        error_message=message,
    )
    if unit is not None and unit_event is not None:
        unit_status = after(UNIT, unit.status, unit_event)
        unit = replace(unit, status=unit_status, updated_at=now) if unit_status else None
    letter = DeadLetter(
        execution.id, execution.tenant, execution.pipeline, DeadLetterKind.EXECUTION,
        execution.id, status, code, message, step_id, attempts, now,
    )  # fmt: skip
    return Decision(
        Moved(ended),
        ended,
        fact_of(ended, kind, unit=unit.number if unit else None, detail=f"{code}: {message}"),
        unit,
        interactions,
        () if status is ExecutionStatus.CANCELLED else (letter,),
    )


def decide_fail(move: Fail, execution: Execution | None, unit: Unit | None, now: int) -> Decision:
    """A worker reports that a segment cannot go on."""
    if execution is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    if move.status not in {ExecutionStatus.FAILED, ExecutionStatus.DLQ}:
        return Decision(Refused(f"{move.status.name} is no failure"))
    return end_execution(
        replace(execution, step_index=move.step_index, attempt=move.attempts),
        move.status,
        move.code,
        move.message,
        now,
        step_id=move.step_id,
        attempts=move.attempts,
        unit=unit,
        unit_event=UnitEvent.FAILED,
    )


def decide_cancel(
    move: Cancel, execution: Execution | None, unit: Unit | None, now: int
) -> Decision:
    """Somebody cancels an execution, whatever it is doing."""
    if execution is None or execution.tenant != move.tenant:
        return Decision(Refused("no such execution"))
    return end_execution(
        execution,
        ExecutionStatus.CANCELLED,
        "cancelled",
        move.reason or "cancelled on request",
        now,
        unit=unit,
        unit_event=UnitEvent.CANCELLED,
    )


def decide_close_behind(
    move: CloseBehind, interaction: Interaction | None, unit: Unit | None, now: int
) -> Decision:
    """Close what an ended unit has left open; the unit counts it as settled."""
    if interaction is None or unit is None or not unit.status.is_terminal:
        return Decision(Refused("its unit is still open"))
    if interaction.status.is_terminal:
        return Decision(Refused("it is closed already"))
    status = status_behind(interaction, unit)
    if status is InteractionStatus.TIMED_OUT:
        closed = timed_out(interaction, now)
    else:
        closed = replace(interaction, status=status, updated_at=now)
    return Decision(
        Settled(move.interaction),
        unit=replace(unit, settled=unit.settled + 1),
        interactions=(closed,),
    )


def status_behind(interaction: Interaction, unit: Unit) -> InteractionStatus:
    """The status in which its unit's end leaves an interaction, closed behind it yet or not.

    TIMED_OUT when its time was over by then (the unit's last change was its end), else CANCELLED.
    """
    if not unit.status.is_terminal:
        return interaction.status
    timed_out = interaction.deadline_at < unit.updated_at
    event = InteractionEvent.TIMED_OUT if timed_out else InteractionEvent.CANCELLED
    return after(INTERACTION, interaction.status, event) or interaction.status


def timed_out(interaction: Interaction, now: int) -> Interaction:
    """An open interaction past its time: its fallback, if it has one, takes the answer's place."""
    return replace(
        interaction,
        status=INTERACTION[interaction.status][InteractionEvent.TIMED_OUT],
        output=interaction.fallback,
        source=AnswerSource.TIMEOUT,
        error_code=TIMED_OUT,
        error_message=f"nobody answered {interaction.step_id!r} in time",
        updated_at=now,
    )
