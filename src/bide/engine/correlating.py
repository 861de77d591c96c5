"""Correlation: answers that name a key of the author's choice, perhaps before anything asks for one.

A question and an answer under one key meet in the key's row, which both write first. The question
that comes second finds the answer there and adopts it in the commit that would have parked; the
answer that comes second finds the question and is admitted like any other. So neither waits for
something that is there already, in whatever order they commit.

A key names one open interaction per scope. Whoever asked last under it owns the answers that name
it, also after its end: a repeat is told `duplicate`, not kept for a later wait. An early answer
feeds one interaction and is gone from the row with it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from bide.engine.admission import decide_admit
from bide.engine.decision import Decision
from bide.engine.ending import end_execution
from bide.engine.moves import (
    AdmitByKey,
    Append,
    ExpireEarly,
    Moved,
    Park,
    Received,
    Refused,
    Settled,
    TakeOver,
)
from bide.engine.redriving import decide_take_over
from bide.engine.settling import settle
from bide.engine.transitions import INTERACTION, InteractionEvent, UnitEvent, after
from bide.engine.waiting import decide_append, decide_park
from bide.model.ids import CorrelationKey, ExecutionId
from bide.model.records import (
    Correlation,
    DeadLetter,
    Execution,
    Interaction,
    Refusal,
    Unit,
    replace,
)
from bide.model.status import AnswerSource, DeadLetterKind, ExecutionStatus, ReceiptOutcome

TAKEN = "correlation-taken"


class Standing(NamedTuple):
    """What a commit knows under one key: its row, and who asked under it last."""

    row: Correlation | None = None
    holder: Interaction | None = None
    unit: Unit | None = None
    execution: Execution | None = None

    def is_taken(self, now: int) -> bool:
        """True while an interaction that can still be answered has the key."""
        return (
            self.holder is not None
            and self.unit is not None
            and not self.holder.status.is_terminal
            and not self.unit.status.is_terminal
            and now <= self.holder.deadline_at
            and (self.unit.deadline_at is None or now <= self.unit.deadline_at)
        )

    def early_for(self, pipeline: str, step_id: str, now: int) -> Correlation | None:
        """The row, if it keeps an answer to that await."""
        row = self.row
        if row is None or row.early is None or now > (row.expires_at or 0):
            return None
        return row if (row.pipeline, row.step_id) == (pipeline, step_id) else None


# --- the answer's side ----------------------------------------------------------------------------


def decide_admit_by_key(move: AdmitByKey, standing: Standing, now: int) -> Decision:
    """Admit the answer to whoever asked last under its key; keep it if nobody has yet."""
    holder, execution = standing.holder, standing.execution
    if (
        holder is not None
        and execution is not None
        and (execution.pipeline, holder.step_id) == (move.pipeline, move.step_id)
    ):
        admitted = decide_admit(move.to(holder.id), holder, standing.unit, execution, now)
        assert isinstance(admitted.outcome, Received)
        return replace(admitted, outcome=replace(admitted.outcome, interaction=holder.id))
    row = standing.row
    if row is None or row.early is None:
        return _buffer(move, row, now)
    if now > (row.expires_at or 0):
        buffered = _buffer(move, row, now)
        return replace(buffered, written=(*buffered.written, _letter(row, now)))
    if standing.early_for(move.pipeline, move.step_id, now) and row.digest == move.digest:
        repeated = replace(row, version=row.version + 1, duplicates=row.duplicates + 1)
        outcome = Received(
            ReceiptOutcome.DUPLICATE, None, move.step_id, fingerprint=move.fingerprint
        )
        return Decision(outcome, written=(repeated,))
    return _conflict(move, row, row.early, now)


def _buffer(move: AdmitByKey, row: Correlation | None, now: int) -> Decision:
    row = _cleared(row or Correlation(*move.key, version=0))
    kept = replace(
        row,
        version=row.version + 1,
        early=move.early,
        pipeline=move.pipeline,
        step_id=move.step_id,
        answer=move.body,
        digest=move.digest,
        actor=move.actor,
        error_code=move.failure.code if move.failure else None,
        error_message=move.failure.message if move.failure else None,
        expires_at=now + move.ttl_ms,
        fingerprint=move.fingerprint,
    )
    outcome = Received(ReceiptOutcome.BUFFERED, None, move.step_id, fingerprint=move.fingerprint)
    return Decision(outcome, written=(kept,))


def _conflict(move: AdmitByKey, row: Correlation, early: ExecutionId, now: int) -> Decision:
    counted = replace(row, version=row.version + 1, refusals=row.refusals + 1)
    refusal = Refusal(
        early, 0, 0, 0, counted.refusals, row.tenant, ReceiptOutcome.CONFLICT, move.digest, None,
        move.actor, now,
    )  # fmt: skip
    reason = "another answer is kept under the key; it stays"
    outcome = Received(
        ReceiptOutcome.CONFLICT, None, move.step_id, reason, fingerprint=move.fingerprint
    )
    return Decision(outcome, written=(counted, refusal))


def decide_expire_early(move: ExpireEarly, row: Correlation | None, now: int) -> Decision:
    """Make a dead letter of an early answer that was kept long enough."""
    if row is None or row.early is None or now <= (row.expires_at or 0):
        return Decision(Refused("no early answer has expired there"))
    cleared = _cleared(replace(row, version=row.version + 1))
    return Decision(Settled(move.key), written=(cleared, _letter(row, now)))


def _letter(row: Correlation, now: int) -> DeadLetter:
    assert row.early is not None
    return DeadLetter(
        row.early,
        row.tenant,
        row.pipeline or "",
        DeadLetterKind.COMPLETION,
        None,
        None,
        "buffer-expired",
        f"await {row.step_id!r} did not ask under the answer's correlation key in time",
        row.step_id,
        1 + row.duplicates,
        now,
        row.key,
        row.answer,
        row.actor,
    )


def _cleared(row: Correlation) -> Correlation:
    """The row without its early answer."""
    return Correlation(
        row.tenant, row.key, row.scope, row.version, row.execution, row.unit, row.item,
        row.generation,
    )  # fmt: skip


# --- the question's side --------------------------------------------------------------------------


def decide_park_by_key(
    move: Park, execution: Execution | None, standing: Standing, now: int
) -> Decision:
    """Park under a key; go on at once with an answer that is there already."""
    key, parked = move.interaction.correlation, decide_park(move, execution, now)
    if key is None or parked.execution is None or parked.unit is None or execution is None:
        return parked
    if standing.is_taken(now):
        at = replace(execution, step_index=move.boundary.step_index)
        return _taken(key, at, move.boundary.step_id, None, now)
    [interaction] = parked.interactions
    early = standing.early_for(execution.pipeline, interaction.step_id, now)
    row = _held(key, standing.row, interaction, adopts=early is not None)
    if early is None:
        return replace(parked, written=(row,))
    return _with_adopted(replace(parked, interactions=(), written=(row,)), interaction, early, now)


def decide_append_by_key(
    move: Append,
    execution: Execution | None,
    unit: Unit | None,
    stored: dict[int, Interaction],
    standings: dict[CorrelationKey, Standing],
    now: int,
) -> Decision:
    """Store items under their keys; those whose answers are there already are born answered."""
    appended = decide_append(move, execution, unit, stored, now)
    if not appended.interactions or execution is None or unit is None:
        return appended
    keys = {item: one.correlation for item, one in enumerate(move.items, move.first_item)}
    return _claim_keys(appended, keys, execution, unit, standings, now)


def decide_take_over_by_key(
    move: TakeOver,
    execution: Execution | None,
    unit: Unit | None,
    standings: dict[CorrelationKey, Standing],
    now: int,
) -> Decision:
    """Take items over under their keys; what is asked anew has its key from now on."""
    taken_over = decide_take_over(move, execution, unit, now)
    if not taken_over.interactions or execution is None or unit is None:
        return taken_over
    keys = {item.item: move.key_of(item) for item in move.items}
    return _claim_keys(taken_over, keys, execution, unit, standings, now)


def ask_again_by_key(
    asked: Decision, key: CorrelationKey, standing: Standing, now: int
) -> Decision:
    """Give the key to the new asking, unless another interaction has got it meanwhile."""
    if not asked.interactions:
        return asked
    if standing.is_taken(now):
        return Decision(Refused(f"another open interaction has its correlation key {key.key!r}"))
    row = _held(key, standing.row, asked.interactions[-1], adopts=False)
    return replace(asked, written=(*asked.written, row))


def _claim_keys(
    opened: Decision,
    keys: Mapping[int, CorrelationKey | None],
    execution: Execution,
    unit: Unit,
    standings: Mapping[CorrelationKey, Standing],
    now: int,
) -> Decision:
    """Give the interactions that a decision opens their keys, by item, and the answers kept there."""
    made, seen = replace(opened, interactions=()), set[CorrelationKey]()
    for interaction in opened.interactions:
        key = keys[interaction.item]
        if key is None or interaction.status.is_terminal:
            made = replace(made, interactions=(*made.interactions, interaction))
            continue
        standing = standings.get(key, Standing())
        if key in seen or standing.is_taken(now):
            at = replace(execution, step_index=unit.step_index)
            return _taken(key, at, unit.step_id, unit, now)
        seen.add(key)
        early = standing.early_for(execution.pipeline, interaction.step_id, now)
        ended = made.execution is not None and made.execution.status.is_terminal
        adopts = early is not None and not ended
        row = _held(key, standing.row, interaction, adopts=adopts)
        made = replace(made, written=(*made.written, row))
        if early is None or ended:
            made = replace(made, interactions=(*made.interactions, interaction))
        else:
            made = _with_adopted(made, interaction, early, now, execution)
    return made


def _taken(
    key: CorrelationKey, execution: Execution, step_id: str, unit: Unit | None, now: int
) -> Decision:
    """End the execution that asks under a key which another open interaction has."""
    return end_execution(
        execution,
        ExecutionStatus.FAILED,
        TAKEN,
        f"another open interaction has the correlation key {key.key!r}",
        now,
        step_id=step_id,
        attempts=execution.attempt,
        unit=unit,
        unit_event=UnitEvent.FAILED if unit else None,
    )


def _held(
    key: CorrelationKey, row: Correlation | None, interaction: Interaction, *, adopts: bool
) -> Correlation:
    """The key's row, now naming this interaction."""
    row = row or Correlation(*key, version=0)
    if adopts:
        row = _cleared(row)
    execution, unit, item, generation = interaction.id
    return replace(
        row, version=row.version + 1, execution=execution, unit=unit, item=item,
        generation=generation,
    )  # fmt: skip


def _with_adopted(
    made: Decision,
    interaction: Interaction,
    early: Correlation,
    now: int,
    running: Execution | None = None,
) -> Decision:
    """Settle an interaction with the answer that was kept, on top of what opens it."""
    failed = early.error_code is not None
    event = InteractionEvent.FAILED if failed else InteractionEvent.ANSWERED
    status = after(INTERACTION, interaction.status, event)
    unit, execution = made.unit, made.execution or running
    assert status is not None
    assert unit is not None
    assert execution is not None
    unit = replace(unit, fingerprint=early.fingerprint or unit.fingerprint)
    answered = replace(
        interaction,
        status=status,
        answer=None if failed else early.answer,
        answer_digest=early.digest,
        actor=early.actor,
        source=AnswerSource.EARLY,
        duplicates=early.duplicates,
        error_code=early.error_code,
        error_message=early.error_message,
    )
    gave_up = UnitEvent.FAILED if failed else None
    settled = settle(answered, unit, execution, gave_up, now, Moved(execution))
    moved = settled.execution is not None
    return replace(
        settled,
        outcome=Moved(settled.execution or execution),
        execution=settled.execution if moved else made.execution,
        fact=settled.fact if moved else made.fact,
        earlier=(*made.earlier, made.fact) if moved and made.fact else made.earlier,
        unit=settled.unit or unit,
        interactions=(*made.interactions, *settled.interactions),
        written=(*made.written, *settled.written),
    )
