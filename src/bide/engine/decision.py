"""The value that every decision returns: what to answer, and which rows to write."""

from bide.engine.moves import Outcome
from bide.model.ids import UnitId
from bide.model.records import (
    AuditEntry,
    Correlation,
    DeadLetter,
    Dispatch,
    Execution,
    Handoff,
    Input,
    Interaction,
    JournalFact,
    Origin,
    Record,
    Refusal,
    Reject,
    Result,
    SubmitKey,
    Unit,
)
from bide.model.status import JournalKind


class Rerouted(Record, frozen=True):
    """What of a unit is still to be sent goes by another route from now on."""

    unit: UnitId
    route: str


Written = (
    Input
    | SubmitKey
    | Result
    | DeadLetter
    | Refusal
    | Reject
    | Correlation
    | Dispatch
    | Rerouted
    | AuditEntry
    | Handoff
    | Origin
)


class Decision(Record, frozen=True):
    """What one move leads to; nothing but `outcome` when it was refused."""

    outcome: Outcome
    #: The execution after the move, and the fact that tells of it. A fact comes with every change
    #: of the row, and the row's version is the fact's.
    execution: Execution | None = None
    fact: JournalFact | None = None
    unit: Unit | None = None
    interactions: tuple[Interaction, ...] = ()
    written: tuple[Written, ...] = ()
    #: True when the execution became ready to run, so that a worker may be handed it.
    ready: bool = False
    #: What the next segment starts from, where the move itself carries it.
    ready_body: bytes | None = None
    #: Facts before `fact`, where a commit makes more than one change of the execution.
    earlier: tuple[JournalFact, ...] = ()


def fact_of(
    execution: Execution, kind: JournalKind, *, unit: int | None = None, detail: str | None = None
) -> JournalFact:
    """The journal's line for a change that `execution` has just been through."""
    return JournalFact(execution.id, execution.version, kind, execution.updated_at, unit, detail)
