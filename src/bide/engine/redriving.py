"""Redriving: a new execution for one that did not succeed, and a failed item asked for once more.

Nothing that has ended is opened again. A redrive makes a new execution that names the old one
(`redriven_from`); its units are numbered from 1, and the submit key goes on naming the first.

From the start it is a submission of the stored input. From an await it is born with that await's
unit open, under the unit's own fingerprint, and with nothing in it: whichever worker claims it takes
the old unit over, batch by batch (`decide_take_over`), under its fence like any other segment. Items
that have an answer keep it; the rest are asked anew, with new deadlines. The last batch closes the
unit: it waits for the rest, or goes on at once when there is none.

What happens when it crashes here: the next claim finds the unit open, and goes on after the last
item that it holds.

A redrive that is repeated is the same one: its name stands among the submit keys, in a scope that no
pipeline has. By that it survives both the old execution's retirement and two callers at once.
"""

from collections.abc import Sequence

from bide.engine.decision import Decision, fact_of
from bide.engine.moves import (
    AskAgain,
    AskedAgain,
    KeyTaken,
    Moved,
    Redrive,
    Refused,
    Submitted,
    TakeOver,
)
from bide.engine.rows import next_generation, redrive_scope
from bide.engine.settling import conclude, has_too_many_missing
from bide.engine.settling import taken as taken_of
from bide.engine.submitting import new_execution
from bide.engine.waiting import LEASE_LOST, holds, unsent, waiting_at
from bide.model.ids import format_execution, format_interaction
from bide.model.records import Execution, Input, Interaction, SubmitKey, Unit, replace
from bide.model.status import ExecutionStatus, InteractionStatus, JournalKind, UnitStatus

_REDRIVABLE = frozenset({ExecutionStatus.FAILED, ExecutionStatus.DLQ})
_ASKED_AGAIN = frozenset({InteractionStatus.FAILED, InteractionStatus.TIMED_OUT})


def check_redrivable(execution: Execution) -> Refused | None:
    """Only what ended without success, and not on request, is done again."""
    if execution.status in _REDRIVABLE:
        return None
    return Refused(f"it is {execution.status.name}; only what FAILED or is in the DLQ is redriven")


def unit_to_take_over(units: Sequence[Unit]) -> Unit | Refused:
    """The await from which an execution goes on: the failed one, else the last one passed.

    One whose source was still being read is neither: nobody knows how many items it would have.
    """
    known = [unit for unit in units if unit.total is not None]
    if known:
        return known[-1]
    return Refused("it has no await whose requests are all stored; redrive it from the start")


def is_taking_over(execution: Execution, unit: Unit | None) -> bool:
    """True while a redriven execution fills its first unit from the old one.

    Its fingerprint is that unit's from the beginning; that of an execution which reads a source is
    the boundary's before it.
    """
    return (
        unit is not None
        and execution.redriven_from is not None
        and execution.resumed == 0
        and execution.fingerprint == unit.fingerprint
    )


def decide_redrive(
    move: Redrive, taken: SubmitKey | None, known: Execution | None, now: int
) -> Decision:
    """Create the execution, unless what it redrives was redriven before."""
    if taken is not None:
        if taken.digest == move.digest:
            return Decision(Submitted(taken.execution, True, taken.created_at))
        return Decision(KeyTaken(taken.execution))
    if known is not None:
        return Decision(Submitted(known.id, True, known.created_at))
    execution = replace(new_execution(move, now), redriven_from=move.source, entry=move.entry)
    unit = None
    if move.unit is not None:
        unit = _empty(move.unit, execution, now)
        execution = replace(execution, units=unit.number, step_index=unit.step_index)
    written: tuple[Input] | tuple[Input, SubmitKey] = (Input(move.execution, move.body),)
    if move.name is not None:
        scope = redrive_scope(move.pipeline)
        key = SubmitKey(move.tenant, scope, move.name, move.execution, move.digest, now)
        written = (*written, key)
    return Decision(
        Submitted(move.execution, False, now),
        execution,
        fact_of(
            execution,
            JournalKind.SUBMITTED,
            unit=unit.number if unit else None,
            detail=f"redriven from {format_execution(move.source)}",
        ),
        unit,
        written=written,
        ready=True,
        ready_body=move.body,
    )


def _empty(unit: Unit, execution: Execution, now: int) -> Unit:
    """The same promise, the first one of another execution, with nothing in it yet."""
    return replace(
        unit,
        execution=execution.id,
        number=1,
        status=UnitStatus.WAITING_EXTERNAL,
        appended=0,
        total=None,
        settled=0,
        missing=0,
        created_at=now,
        updated_at=now,
        deadline_at=None if unit.deadline_at is None else now + unit.deadline_at - unit.created_at,
    )


def decide_take_over(
    move: TakeOver, execution: Execution | None, unit: Unit | None, now: int
) -> Decision:
    """Store the items that the unit has not got yet; close it with the last one."""
    if execution is None or unit is None or not holds(execution, move.fence):
        return Decision(LEASE_LOST)
    if unit.status.is_terminal or unit.total is not None:
        return Decision(Refused("the unit is no longer open"))
    if not is_taking_over(execution, unit):
        return Decision(Refused("its requests come from its own source"))
    if move.first_item > unit.appended:
        return Decision(Refused(f"item {unit.appended} comes before item {move.first_item}"))
    if move.total < unit.appended:
        return Decision(Refused(f"the unit has {unit.appended} items already, not {move.total}"))
    fresh = tuple(
        _taken_over(item, unit, move, now) for item in move.items[unit.appended - move.first_item :]
    )
    grown = replace(
        unit,
        appended=unit.appended + len(fresh),
        settled=unit.settled + sum(item.status.is_terminal for item in fresh),
        missing=unit.missing
        + sum(item.status.is_terminal and taken_of(item) is None for item in fresh),
        updated_at=now,
    )
    if grown.appended < move.total:
        return Decision(Moved(execution), unit=grown if fresh else None, interactions=fresh)
    closed = replace(grown, total=move.total)
    # What was asked anew may have failed already, as for a unit whose source was just read.
    if closed.is_complete or has_too_many_missing(closed):
        body = None if unit.per_item or not fresh else taken_of(fresh[0])
        return replace(conclude(closed, execution, now, body), interactions=fresh)
    parked = waiting_at(execution, unit.step_index, execution.units, now)
    return Decision(
        Moved(parked),
        parked,
        fact_of(parked, JournalKind.PARKED, unit=unit.number),
        closed,
        fresh,
    )


def _taken_over(item: Interaction, unit: Unit, move: TakeOver, now: int) -> Interaction:
    """An item as it was answered; else asked for anew."""
    mine = replace(item, execution=unit.execution, unit=unit.number, generation=0)
    # It is this unit's from now on; when it was answered, the old row tells.
    kept = replace(mine, created_at=now, updated_at=now, duplicates=0, refusals=0)
    if item.answer is not None or item.output is not None:
        return kept
    if not move.completed:
        return _asked_anew(mine, unit, now)
    # Missing, as the old unit tolerated; what its end left open is closed.
    status = item.status if item.status.is_terminal else InteractionStatus.CANCELLED
    return replace(kept, status=status)


def _asked_anew(item: Interaction, unit: Unit, now: int) -> Interaction:
    """The same question with a new deadline, just as long; all that came of the old one left out."""
    deadline_at = now + item.deadline_at - item.created_at
    if unit.deadline_at is not None:
        deadline_at = min(deadline_at, unit.deadline_at)
    return replace(
        item,
        status=unsent(unit),
        deadline_at=deadline_at,
        created_at=now,
        updated_at=now,
        answer=None,
        output=None,
        answer_digest=None,
        actor=None,
        source=None,
        duplicates=0,
        refusals=0,
        error_code=None,
        error_message=None,
    )


def decide_ask_again(
    move: AskAgain,
    interaction: Interaction | None,
    newer: Interaction | None,
    unit: Unit | None,
    now: int,
) -> Decision:
    """Ask for a failed item of an open unit once more; whatever comes for the old asking is late.

    The old row stays as it ended. It gives up its digest, by which a completion would be found equal
    to the failure or in conflict with it: neither says anything any more.
    """
    if interaction is None or unit is None or interaction.tenant != move.tenant:
        return Decision(Refused("there is no such interaction"))
    if unit.status.is_terminal:
        return Decision(
            Refused(f"its unit is {unit.status.name}; redrive the execution from its await")
        )
    if unit.deadline_at is not None and now > unit.deadline_at:
        return Decision(Refused("the deadline of its unit has passed"))
    if newer is not None:
        return Decision(Refused(f"it was asked again as {format_interaction(newer.id)}"))
    stood_in = (
        interaction.status is InteractionStatus.TIMED_OUT and interaction.fallback is not None
    )
    if interaction.status not in _ASKED_AGAIN or stood_in:
        return Decision(
            Refused(f"it is {interaction.status.name}; only an item that failed is asked again")
        )
    left = replace(interaction, answer_digest=None, updated_at=now)
    again = _asked_anew(
        replace(
            interaction,
            generation=next_generation(interaction.id).generation,
            request=move.request,
        ),
        unit,
        now,
    )
    return Decision(
        AskedAgain(again.id),
        unit=replace(unit, settled=unit.settled - 1, missing=unit.missing - 1, updated_at=now),
        interactions=(left, again),
    )
