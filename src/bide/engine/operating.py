"""What people do about work that runs or waits: release what is held, say whose a question is.

A fingerprint says what a worker must know to go on. Where no worker fits any more, somebody may say
under which other one an execution goes on; whether its stored values validate there is looked at
before, by whoever asks. An execution that waits outside carries the fingerprint of its unit once
that is complete, so there the unit's is changed.
"""

from bide.engine.decision import Decision, Rerouted, fact_of
from bide.engine.moves import Assign, Assigned, Moved, Refused, Release, TakenBy
from bide.engine.redriving import is_taking_over
from bide.engine.transitions import EXECUTION, ExecutionEvent, after
from bide.model.records import Execution, Interaction, Unit, replace
from bide.model.status import ExecutionStatus, JournalKind


def decide_release(
    move: Release, execution: Execution | None, unit: Unit | None, now: int
) -> Decision:
    """Let it go on under another fingerprint; a worker that still has it is not disturbed.

    `unit` is the unit that the execution has open, if it has.
    """
    if execution is None or execution.tenant != move.tenant:
        return Decision(Refused("no such execution"))
    status = after(EXECUTION, execution.status, ExecutionEvent.RELEASED)
    if status is None:
        return Decision(Refused(f"a {execution.status.name} execution cannot be released"))
    running = execution.status is ExecutionStatus.RUNNING
    if running and (execution.due_at or 0) > now:
        return Decision(Refused("a worker is running it"))
    waiting = status is ExecutionStatus.WAITING_EXTERNAL
    carried = unit.fingerprint if waiting and unit else execution.fingerprint
    if carried == move.fingerprint:
        return Decision(Moved(execution))
    released = replace(
        execution,
        status=status,
        version=execution.version + 1,
        fingerprint=execution.fingerprint if waiting else move.fingerprint,
        fence=execution.fence + running,
        owner=None,
        due_at=now if running else execution.due_at,
        updated_at=now,
    )
    # A redrive that still takes its unit over is told by the two being equal.
    of_unit = waiting or is_taking_over(execution, unit)
    renewed = replace(unit, fingerprint=move.fingerprint) if of_unit and unit else None
    by = f" by {move.by}" if move.by else ""
    fact = fact_of(
        released,
        JournalKind.RELEASED,
        unit=renewed.number if renewed else None,
        detail=f"as {move.fingerprint}{by}",
    )
    rerouted = (Rerouted(renewed.id, renewed.fingerprint),) if renewed and renewed.sends else ()
    ready = status is ExecutionStatus.QUEUED
    return Decision(Moved(released), released, fact, renewed, written=rerouted, ready=ready)


def decide_assign(
    move: Assign, interaction: Interaction | None, unit: Unit | None, now: int
) -> Decision:
    """Give an open interaction to somebody, unless it is another's than the move allows."""
    if interaction is None or unit is None or interaction.tenant != move.tenant:
        return Decision(Refused("no such interaction"))
    if interaction.status.is_terminal or unit.status.is_terminal:
        return Decision(Refused("it takes no answer any more"))
    if move.only_from is not None and interaction.assignee not in move.only_from:
        return Decision(TakenBy(interaction.assignee))
    if interaction.assignee == move.assignee:
        return Decision(Assigned(move.assignee))
    given = replace(interaction, assignee=move.assignee, updated_at=now)
    return Decision(Assigned(move.assignee), interactions=(given,))
