"""Admission: what becomes of a completion, and of a deadline.

What happens when it crashes here: nothing. One commit holds the answer, the unit's count, the
unit's end and the execution's release; a caller that never hears of it may send the same answer
again and is told `duplicate`.

The interaction's state is looked at before its deadline, so an answered one tells duplicate from
conflict however late. The deadline is compared with the store's clock here and now; admission does
not wait for the sweeper to notice.
"""

from bide.engine.decision import Decision
from bide.engine.ending import end_execution
from bide.engine.moves import Admit, Expire, Received, Refused, Settled
from bide.engine.transitions import INTERACTION, UNIT, InteractionEvent, UnitEvent, after
from bide.engine.waiting import release
from bide.model.records import Execution, Interaction, Refusal, Unit, replace
from bide.model.status import AnswerSource, ExecutionStatus, ReceiptOutcome


def decide_admit(
    move: Admit,
    interaction: Interaction | None,
    unit: Unit | None,
    execution: Execution | None,
    now: int,
) -> Decision:
    """Give the completion its one receipt, and apply it if it is the first and in time."""
    if interaction is None or interaction.tenant != move.tenant or unit is None:
        return Decision(Received(ReceiptOutcome.UNKNOWN))
    if interaction.answer_digest is not None:
        if interaction.answer_digest == move.digest:
            return _duplicate(interaction)
        return _refuse(move, interaction, ReceiptOutcome.CONFLICT, "it has another answer", now)
    event = InteractionEvent.FAILED if move.failure else InteractionEvent.ANSWERED
    status = after(INTERACTION, interaction.status, event)
    if status is None:
        reason = f"the interaction is {interaction.status.name}"
        return _refuse(move, interaction, ReceiptOutcome.LATE, reason, now)
    if unit.status.is_terminal:
        reason = f"its unit is {unit.status.name}"
        return _refuse(move, interaction, ReceiptOutcome.LATE, reason, now)
    if now > interaction.deadline_at:
        return _refuse(move, interaction, ReceiptOutcome.LATE, "its deadline has passed", now)
    settled = replace(
        interaction,
        status=status,
        answer=None if move.failure else move.body,
        output=move.output,
        answer_digest=move.digest,
        actor=move.actor,
        source=AnswerSource.PERSON,
        error_code=move.failure.code if move.failure else None,
        error_message=move.failure.message if move.failure else None,
        updated_at=now,
    )
    received = Received(ReceiptOutcome.APPLIED, settled.status, settled.step_id)
    event_of_unit = UnitEvent.FAILED if move.failure else None
    return replace(_settle(settled, unit, execution, event_of_unit, now), outcome=received)


def _duplicate(interaction: Interaction) -> Decision:
    return Decision(
        Received(ReceiptOutcome.DUPLICATE, interaction.status, interaction.step_id),
        interactions=(replace(interaction, duplicates=interaction.duplicates + 1),),
    )


def _refuse(
    move: Admit, interaction: Interaction, outcome: ReceiptOutcome, reason: str, now: int
) -> Decision:
    counted = replace(interaction, refusals=interaction.refusals + 1)
    refusal = Refusal(
        *interaction.id,
        counted.refusals,
        interaction.tenant,
        outcome,
        move.digest,
        move.body if outcome is ReceiptOutcome.LATE else None,
        move.actor,
        now,
    )
    return Decision(
        Received(outcome, interaction.status, interaction.step_id, reason),
        interactions=(counted,),
        written=(refusal,),
    )


def _settle(
    interaction: Interaction,
    unit: Unit,
    execution: Execution | None,
    failed: UnitEvent | None,
    now: int,
) -> Decision:
    """Count a settled interaction in its unit, and let the unit's end follow from it.

    `failed` is what the unit ends with because of it: the first failed item fails unit and
    execution.
    """
    done = Settled(interaction.id)
    counted = replace(unit, settled=unit.settled + 1, updated_at=now)
    if execution is not None and failed is not None:
        return replace(_fail_unit(interaction, counted, execution, failed, now), outcome=done)
    if execution is None or not counted.is_complete:
        return Decision(done, unit=counted, interactions=(interaction,))
    body = None if unit.per_item else (interaction.output or interaction.answer)
    return replace(
        release(counted, execution, now, body), outcome=done, interactions=(interaction,)
    )


def _fail_unit(
    interaction: Interaction, unit: Unit, execution: Execution, event: UnitEvent, now: int
) -> Decision:
    """End the unit and its execution."""
    return end_execution(
        execution,
        ExecutionStatus.FAILED,
        interaction.error_code or "failed",
        interaction.error_message or "",
        now,
        step_id=unit.step_id,
        unit=replace(unit, status=UNIT[unit.status][event], updated_at=now),
        interactions=(interaction,),
    )


def decide_expire(
    move: Expire,
    interaction: Interaction | None,
    unit: Unit | None,
    execution: Execution | None,
    now: int,
) -> Decision:
    """Time the interaction out: its fallback takes the answer's place, or its unit fails."""
    if interaction is None or unit is None or execution is None:
        return Decision(Refused(f"there is no interaction {move.interaction}"))
    status = after(INTERACTION, interaction.status, InteractionEvent.TIMED_OUT)
    if status is None or unit.status.is_terminal:
        return Decision(Refused("it is settled already"))
    if now <= interaction.deadline_at:
        return Decision(Refused("its deadline has not passed"))
    expired = replace(
        interaction,
        status=status,
        output=interaction.fallback,
        source=AnswerSource.TIMEOUT,
        error_code="await-timed-out",
        error_message=f"nobody answered {unit.step_id!r} in time",
        updated_at=now,
    )
    failed = UnitEvent.TIMED_OUT if interaction.fallback is None else None
    return _settle(expired, unit, execution, failed, now)
