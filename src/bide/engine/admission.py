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
from bide.engine.moves import Admit, Expire, Received, Refused
from bide.engine.transitions import INTERACTION, UNIT, InteractionEvent, UnitEvent, after
from bide.engine.waiting import release
from bide.model.records import Execution, Interaction, Refusal, Unit
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
    settled = interaction._replace(
        status=status,
        answer=None if move.failure else move.body,
        answer_digest=move.digest,
        actor=move.actor,
        source=AnswerSource.PERSON,
        error_code=move.failure.code if move.failure else None,
        error_message=move.failure.message if move.failure else None,
        updated_at=now,
    )
    return _settle(settled, unit, execution, now)


def _duplicate(interaction: Interaction) -> Decision:
    return Decision(
        Received(ReceiptOutcome.DUPLICATE, interaction.status, interaction.step_id),
        interactions=(interaction._replace(duplicates=interaction.duplicates + 1),),
    )


def _refuse(
    move: Admit, interaction: Interaction, outcome: ReceiptOutcome, reason: str, now: int
) -> Decision:
    counted = interaction._replace(refusals=interaction.refusals + 1)
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
    interaction: Interaction, unit: Unit, execution: Execution | None, now: int
) -> Decision:
    """Count a settled interaction in its unit, and let the unit's end follow from it."""
    received = Received(ReceiptOutcome.APPLIED, interaction.status, interaction.step_id)
    counted = unit._replace(settled=unit.settled + 1, updated_at=now)
    if interaction.error_code is not None and execution is not None:
        return _fail_unit(
            interaction, counted, execution, UnitEvent.FAILED, now
        )._replace(outcome=received)  # fmt: skip
    if not counted.is_complete or execution is None:
        return Decision(received, unit=counted, interactions=(interaction,))
    body = None if unit.per_item else interaction.answer
    return release(counted, execution, now, body)._replace(
        outcome=received, interactions=(interaction,)
    )


def _fail_unit(
    interaction: Interaction, unit: Unit, execution: Execution, event: UnitEvent, now: int
) -> Decision:
    """End the unit, and with it the execution: the first failed item fails both."""
    status = after(UNIT, unit.status, event)
    if status is None:
        return Decision(Refused(f"the unit is {unit.status.name}"))
    return end_execution(
        execution,
        ExecutionStatus.FAILED,
        interaction.error_code or "failed",
        interaction.error_message or "",
        now,
        step_id=unit.step_id,
        unit=unit._replace(status=status, updated_at=now),
        interactions=(interaction,),
    )


def decide_expire(
    move: Expire,
    interaction: Interaction | None,
    unit: Unit | None,
    execution: Execution | None,
    now: int,
) -> Decision:
    """Time the interaction out; without a default answer its unit and execution fail with it."""
    del move
    if interaction is None or unit is None or execution is None:
        return Decision(Refused("no such interaction"))
    status = after(INTERACTION, interaction.status, InteractionEvent.TIMED_OUT)
    if status is None or unit.status.is_terminal:
        return Decision(Refused("it is settled already"))
    if now <= interaction.deadline_at:
        return Decision(Refused("its deadline has not passed"))
    expired = interaction._replace(
        status=status,
        error_code="await-timed-out",
        error_message=f"nobody answered {unit.step_id!r} in time",
        updated_at=now,
    )
    counted = unit._replace(settled=unit.settled + 1, updated_at=now)
    return _fail_unit(expired, counted, execution, UnitEvent.TIMED_OUT, now)
