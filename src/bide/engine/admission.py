"""Admission: what becomes of a completion, and of a deadline.

What happens when it crashes here: nothing. One commit holds the answer, the unit's count, the
unit's end and the execution's release; a caller that never hears of it may send the same answer
again and is told `duplicate`.

The interaction's state is looked at before its deadline, so an answered one tells duplicate from
conflict however late. The deadline is compared with the store's clock here and now; admission does
not wait for the sweeper to notice.
"""

from collections.abc import Sequence

from bide.engine.decision import Decision
from bide.engine.ending import TIMED_OUT, status_behind, timed_out
from bide.engine.moves import Admit, Expire, KeepLetter, Noted, Received, Refused, Settled
from bide.engine.settling import conclude, fail_unit, settle
from bide.engine.transitions import INTERACTION, InteractionEvent, UnitEvent, after
from bide.model.records import DeadLetter, Execution, Interaction, Refusal, Unit, replace
from bide.model.status import AnswerSource, ReceiptOutcome


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
            return _duplicate(interaction, unit)
        reason = "it has another answer"
        return _refuse(move, interaction, unit, ReceiptOutcome.CONFLICT, reason, now)
    event = InteractionEvent.FAILED if move.failure else InteractionEvent.ANSWERED
    status = after(INTERACTION, interaction.status, event)
    if status is None:
        reason = f"the interaction is {interaction.status.name}"
        return _refuse(move, interaction, unit, ReceiptOutcome.LATE, reason, now)
    if unit.status.is_terminal:
        reason = f"its unit is {unit.status.name}"
        return _refuse(move, interaction, unit, ReceiptOutcome.LATE, reason, now, ended=True)
    if now > interaction.deadline_at:
        reason = "its deadline has passed"
        return _refuse(move, interaction, unit, ReceiptOutcome.LATE, reason, now)
    if unit.deadline_at is not None and now > unit.deadline_at:
        reason = "its unit's deadline has passed"
        return _refuse(move, interaction, unit, ReceiptOutcome.LATE, reason, now)
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
    if move.fingerprint is not None and move.fingerprint != unit.fingerprint:
        # Fitted by another deployment than the one that asked: who reads it must know that one's.
        unit = replace(unit, fingerprint=move.fingerprint)
    received = Received(
        ReceiptOutcome.APPLIED,
        settled.status,
        settled.step_id,
        fingerprint=unit.fingerprint,
        waited_ms=now - interaction.created_at,
    )
    gave_up = UnitEvent.FAILED if move.failure else None
    return settle(settled, unit, execution, gave_up, now, received)


def _duplicate(interaction: Interaction, unit: Unit) -> Decision:
    return Decision(
        Received(
            ReceiptOutcome.DUPLICATE,
            interaction.status,
            interaction.step_id,
            fingerprint=unit.fingerprint,
        ),
        interactions=(replace(interaction, duplicates=interaction.duplicates + 1),),
    )


def _refuse(
    move: Admit,
    interaction: Interaction,
    unit: Unit,
    outcome: ReceiptOutcome,
    reason: str,
    now: int,
    *,
    ended: bool = False,
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
    status = status_behind(interaction, unit) if ended else interaction.status
    return Decision(
        Received(outcome, status, interaction.step_id, reason, fingerprint=unit.fingerprint),
        interactions=(counted,),
        written=(refusal,),
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
    gave_up = UnitEvent.TIMED_OUT if interaction.fallback is None else None
    outcome = Settled(interaction.id)
    return settle(timed_out(interaction, now), unit, execution, gave_up, now, outcome)


def decide_expire_unit(unit: Unit | None, execution: Execution | None, now: int) -> Decision:
    """End a unit at its own deadline; what its items came to decides how.

    Items without an answer get their fallback, or are missing where some may be; otherwise unit and
    execution fail, and so they do while the source is still being read: nobody knows then how many
    items there would have been. The items themselves are closed behind it.
    """
    if unit is None or execution is None:
        return Decision(Refused("there is no such unit"))
    if unit.status.is_terminal:
        return Decision(Refused("it has ended already"))
    if unit.deadline_at is None or now <= unit.deadline_at:
        return Decision(Refused("its deadline has not passed"))
    if unit.total is None:
        reason = f"the source of await {unit.step_id!r} was still being read at its deadline"
        return fail_unit(unit, execution, UnitEvent.TIMED_OUT, TIMED_OUT, reason, now)
    left = unit.total - unit.settled
    if not unit.has_fallback and not unit.collects:
        reason = f"{left} of {unit.total} items of await {unit.step_id!r} were not answered in time"
        return fail_unit(unit, execution, UnitEvent.TIMED_OUT, TIMED_OUT, reason, now)
    gone = unit.missing if unit.has_fallback else unit.missing + left
    return conclude(replace(unit, missing=gone, updated_at=now), execution, now)


def decide_keep_letter(move: KeepLetter, letters: Sequence[DeadLetter], now: int) -> Decision:
    """Keep a letter of a completion that was refused; `letters` are those of this commit so far."""
    if any(letter.id == move.letter.id for letter in letters):
        return Decision(Noted())
    return Decision(Noted(), written=(replace(move.letter, created_at=now),))
