"""The audit: who decided what, by which credential, on what they were shown.

An entry is one of the rows that its decision writes, so there is no decision without its entry and
no entry without its decision. A move that nobody signed (`audit` is None) writes none and costs
nothing. What was refused before it came to a decision is noted by a move of its own.
"""

from collections.abc import Mapping
from typing import Final

from bide.engine.decision import Decision
from bide.engine.moves import (
    Admit,
    AdmitByKey,
    AskAgain,
    AskedAgain,
    Assign,
    Assigned,
    Audit,
    Cancel,
    Handed,
    Moved,
    Note,
    Noted,
    OfferAgain,
    Received,
    Redrive,
    Release,
    Submitted,
)
from bide.model.ids import ExecutionId, InteractionId
from bide.model.records import AuditEntry, replace
from bide.model.status import ReceiptOutcome

Signed = Admit | AdmitByKey | Cancel | Release | Assign | AskAgain | Redrive | OfferAgain

#: What each signed move is called in the audit.
_DEEDS: Final[Mapping[type, str]] = {
    Admit: "complete",
    AdmitByKey: "complete",
    Cancel: "cancel",
    Release: "release",
    Assign: "assign",
    AskAgain: "ask-again",
    Redrive: "redrive",
    OfferAgain: "redrive",
}
#: A repeat is counted on its interaction, and of an unknown one there is nothing to tell.
_UNTOLD: Final = frozenset({ReceiptOutcome.DUPLICATE, ReceiptOutcome.UNKNOWN})


def audited(move: Signed, by: Audit, decision: Decision, now: int) -> Decision:
    """Add the entry of a signed move to what it writes, if it came to anything."""
    outcome = _outcome(decision)
    if outcome is None:
        return decision
    execution, place = _place(move, decision)
    entry = AuditEntry(
        id=by.id,
        tenant=move.key.tenant if isinstance(move, AdmitByKey) else move.tenant,
        at=now,
        deed=_DEEDS[type(move)],
        outcome=outcome,
        actor=by.actor,
        credential=by.credential,
        execution=execution,
        unit=place.unit if place else None,
        item=place.item if place else None,
        generation=place.generation if place else None,
        shown=by.shown,
        detail=_detail(move),
    )
    return replace(decision, written=(*decision.written, entry))


def decide_note(move: Note, now: int) -> Decision:
    """Write an entry about what was refused at the door."""
    return Decision(Noted(), written=(replace(move.entry, at=now),))


def _outcome(decision: Decision) -> str | None:
    """How it ended; None where there is nothing to tell."""
    match decision.outcome:
        case Received(outcome):
            return None if outcome in _UNTOLD else str(outcome)
        case Submitted(duplicate=False) | Moved() | Assigned() | AskedAgain() | Handed():
            return "done"
        case _:
            return None


def _place(move: Signed, decision: Decision) -> tuple[ExecutionId | None, InteractionId | None]:
    match move:
        case Admit() | Assign() | AskAgain():
            return move.interaction.execution, move.interaction
        case AdmitByKey():
            outcome = decision.outcome
            found = outcome.interaction if isinstance(outcome, Received) else None
            return (found.execution, found) if found else (None, None)
        case Redrive():
            return move.source, None
        case OfferAgain():
            outcome = decision.outcome
            return (outcome.handoff.execution if isinstance(outcome, Handed) else None), None
        case _:
            return move.execution, None


def _detail(move: Signed) -> str | None:
    """What was said beside, in few words; never a payload."""
    match move:
        case Admit() | AdmitByKey():
            return move.failure.code if move.failure else None
        case Cancel():
            return move.reason or None
        case Release():
            return move.fingerprint
        case Assign():
            return move.assignee
        case _:
            return None
