"""What a unit comes to: each item that settles, and the close of its source, ask here.

The item policy is data in the unit's row. Without a tolerance, the first item that gives nothing
ends unit and execution. With one, it is counted as missing, and the unit goes on until more are
missing than are tolerated: a count is judged at once, a share when the number of items is known.
"""

from bide.engine.decision import Decision, fact_of
from bide.engine.ending import end_execution
from bide.engine.moves import CloseUnit, Mismatch, Moved, Outcome, Refused
from bide.engine.transitions import UnitEvent
from bide.engine.waiting import LEASE_LOST, holds, release, waiting_at
from bide.model.records import Execution, Interaction, Unit, replace
from bide.model.status import ExecutionStatus, InteractionStatus, JournalKind

TOO_MANY_MISSING = "too-many-missing"


def has_too_many_missing(unit: Unit) -> bool:
    """Say whether the unit can no longer be completed as its author tolerates."""
    if unit.tolerated is not None:
        return unit.missing > unit.tolerated
    if unit.tolerated_ppm is not None and unit.total is not None:
        return unit.missing * 1_000_000 > unit.tolerated_ppm * unit.total
    return False


def decide_close(
    move: CloseUnit, execution: Execution | None, unit: Unit | None, now: int
) -> Decision:
    """Close the unit with its count; wait, or go on when nothing of it is open."""
    if execution is None or unit is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    if unit.status.is_terminal or unit.total is not None:
        return Decision(Refused("the unit is no longer open"))
    if not unit.per_item:
        return Decision(Refused("the unit asks once, and not an item at a time"))
    if move.total != unit.appended:
        return Decision(
            Mismatch(
                f"the source of await {unit.step_id!r} gave {move.total} items, but"
                f" {unit.appended} were stored by an earlier run; a source must repeat itself"
            )
        )
    closed = replace(unit, total=move.total, updated_at=now)
    if closed.is_complete or has_too_many_missing(closed):
        return conclude(closed, execution, now)
    parked = waiting_at(execution, move.step_index, execution.units, now)
    return Decision(
        Moved(parked), parked, fact_of(parked, JournalKind.PARKED, unit=unit.number), closed
    )


def settle(
    interaction: Interaction,
    unit: Unit,
    execution: Execution | None,
    gave_up: UnitEvent | None,
    now: int,
    outcome: Outcome,
) -> Decision:
    """Count a settled interaction in its unit, and let the unit's end follow from it.

    `gave_up` tells how it came that the next step has nothing to take of it; None when it has.
    """
    counted = replace(
        unit,
        settled=unit.settled + 1,
        missing=unit.missing + (gave_up is not None),
        updated_at=now,
    )
    if execution is not None and gave_up is not None and not unit.collects:
        code, message = interaction.error_code or "failed", interaction.error_message or ""
        ended = fail_unit(counted, execution, gave_up, code, message, now)
    elif execution is not None and (counted.is_complete or has_too_many_missing(counted)):
        body = None if unit.per_item else taken(interaction)
        ended = conclude(counted, execution, now, body)
    else:
        return Decision(outcome, unit=counted, interactions=(interaction,))
    return replace(ended, outcome=outcome, interactions=(interaction,))


def taken(interaction: Interaction) -> bytes | None:
    """What the next step takes of an item of a completed unit; None when it is missing.

    An item that the unit's end has left open has its fallback already, closed behind it or not.
    """
    if interaction.output is not None:
        return interaction.output
    if interaction.status is InteractionStatus.FAILED:
        return None
    return interaction.answer if interaction.answer is not None else interaction.fallback


def missing_because(interaction: Interaction) -> str:
    """Why the next step has nothing of it: the code of a reported failure, or `timed-out`."""
    if interaction.status is InteractionStatus.FAILED:
        return interaction.error_code or "failed"
    return "timed-out"


def conclude(unit: Unit, execution: Execution, now: int, body: bytes | None = None) -> Decision:
    """End a unit that waits no longer: fail it, or go on with what it has."""
    if not has_too_many_missing(unit):
        return release(unit, execution, now, body)
    known = "some" if unit.total is None else unit.total
    reason = f"{unit.missing} of {known} items of await {unit.step_id!r} are missing"
    return fail_unit(unit, execution, UnitEvent.FAILED, TOO_MANY_MISSING, reason, now)


def fail_unit(
    unit: Unit, execution: Execution, event: UnitEvent, code: str, message: str, now: int
) -> Decision:
    """End the unit and its execution."""
    return end_execution(
        execution,
        ExecutionStatus.FAILED,
        code,
        message,
        now,
        step_id=unit.step_id,
        unit=unit,
        unit_event=event,
    )
