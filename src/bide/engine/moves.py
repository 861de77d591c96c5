"""What callers ask of a store, and what they are told: plain values, one class a move.

A move names the rows it concerns by their paths, so a store knows what to read before anything is
decided. Moves of a worker carry the fence of its claim. Every move may be repeated after an
unknown outcome: the second run finds the rows of the first.
"""

from bide.model.ids import CorrelationKey, ExecutionId, InteractionId, UnitId
from bide.model.records import (
    AuditEntry,
    DeadLetter,
    Dispatch,
    Execution,
    Handoff,
    Interaction,
    Origin,
    Record,
    Reject,
    TraceContext,
    Unit,
)
from bide.model.status import ExecutionStatus, InteractionStatus, ReceiptOutcome


class Handover(Record, frozen=True):
    """A worker's offer to go straight on with what a commit makes ready."""

    owner: str
    lease_ms: int
    #: How many executions it takes at most, so that its queue stays short.
    slots: int
    #: What it can run.
    fingerprints: frozenset[str]


class Failure(Record, frozen=True):
    """A business failure that an actor reports in place of an answer."""

    code: str
    message: str


class NewInteraction(Record, frozen=True):
    """One request to store with a unit."""

    request: bytes
    key: str | None
    #: The answer is due this many milliseconds after the commit that stores the request.
    timeout_ms: int
    group: str | None = None
    assignee: str | None = None
    #: What the next step takes if nobody answers in time; without it the unit fails then.
    fallback: bytes | None = None
    #: What an answer may name it by; no other open interaction may have it.
    correlation: CorrelationKey | None = None


class Boundary(Record, frozen=True):
    """The await at which a unit opens."""

    step_id: str
    step_index: int
    fingerprint: str
    #: Whether the interaction still has to be sent by a dispatcher. One of an inbox has not: being
    #: visible is all the dispatch it needs.
    dispatched: bool
    #: All items of a stream are due this many milliseconds after the unit was opened.
    unit_timeout_ms: int | None = None
    #: How many of them may be missing, as a count or in millionths of all; neither: not one.
    tolerated: int | None = None
    tolerated_ppm: int | None = None
    #: Whether every item brings a fallback.
    has_fallback: bool = False


# --- moves ------------------------------------------------------------------------------------


class Audit(Record, frozen=True):
    """Who makes a move, for its entry in the audit."""

    #: The entry's id.
    id: ExecutionId
    credential: str
    actor: str | None
    #: SHA-256 of the request that they were shown.
    shown: bytes | None = None


class Submit(Record, frozen=True):
    """Create an execution, or find the one that its key already names."""

    execution: ExecutionId
    tenant: str
    pipeline: str
    fingerprint: str
    body: bytes
    digest: bytes
    key: str | None = None
    #: Where in a trace it is made; None where nobody traces it.
    trace: TraceContext | None = None
    #: The publication that it takes; then the key is the publication's, and is unique among what
    #: the pipeline takes of it. Of its times and its execution the commit knows.
    origin: Origin | None = None


class NewHandoff(Record, frozen=True):
    """One publication for one target, to be written in the commit that ends its segment."""

    id: ExecutionId
    publication: str
    #: A pipeline of this store; empty: another deployment.
    target: str
    key: str
    body: bytes
    #: Makes the target's execution in the same commit.
    admission: Submit | None = None
    #: Why the target cannot take it.
    refused: Failure | None = None


class Redrive(Record, frozen=True):
    """Create the execution that does an ended one again, or one item that a step left out.

    What it carries of the old one was read beforehand: terminal rows do not change.
    """

    execution: ExecutionId
    tenant: str
    pipeline: str
    fingerprint: str
    body: bytes
    source: ExecutionId
    #: What is redriven, by which a repeat is known; None to make another one in any case.
    name: str | None
    #: From where, so that a repeat from elsewhere is told from an equal one.
    digest: bytes
    #: The step at which it starts, with the body as the one item of a stream.
    entry: str | None = None
    #: The old unit whose requests and answers it takes over; None: from the start.
    unit: Unit | None = None
    #: Where in a trace it is made; None where nobody traces it.
    trace: TraceContext | None = None
    audit: Audit | None = None


class TakeOver(Record, frozen=True):
    """Store a batch of what a redriven execution takes over; the last one closes the unit."""

    execution: ExecutionId
    fence: int
    unit: int
    first_item: int
    #: The last asking for each item, as the old execution left it.
    items: tuple[Interaction, ...]
    #: How many items the old unit has.
    total: int
    #: The old unit was complete: nothing of it is asked again.
    completed: bool
    #: Where the await's correlation keys are unique; None where it has none.
    scope: str | None = None

    def key_of(self, item: Interaction) -> CorrelationKey | None:
        """What an answer may name the item by."""
        if self.scope is None or item.correlation is None:
            return None
        return CorrelationKey(item.tenant, item.correlation, self.scope)

    def keys(self) -> list[CorrelationKey]:
        """The keys of all items that have one."""
        return [key for item in self.items if (key := self.key_of(item)) is not None]


class AskAgain(Record, frozen=True):
    """Ask for a failed item once more, in place, with the next generation."""

    interaction: InteractionId
    tenant: str
    #: The stored request, which never changes.
    request: bytes
    #: What an answer may name it by.
    correlation: CorrelationKey | None = None
    audit: Audit | None = None


class Park(Record, frozen=True):
    """Open a unit with its one interaction and wait for it."""

    execution: ExecutionId
    fence: int
    boundary: Boundary
    interaction: NewInteraction
    #: Where in a trace it is made; None where nobody traces it.
    trace: TraceContext | None = None
    #: What the segment has published.
    handoffs: tuple[NewHandoff, ...] = ()


class OpenUnit(Record, frozen=True):
    """Open a unit whose items will be appended while the source is read."""

    execution: ExecutionId
    fence: int
    boundary: Boundary
    #: Where in a trace it is made; None where nobody traces it.
    trace: TraceContext | None = None


class Append(Record, frozen=True):
    """Store a batch of a unit's items, or recognise those that an earlier run has stored."""

    execution: ExecutionId
    fence: int
    unit: int
    first_item: int
    items: tuple[NewInteraction, ...]


class CloseUnit(Record, frozen=True):
    """Say how many items the source gave; then wait, or go on when nothing is open."""

    execution: ExecutionId
    fence: int
    unit: int
    total: int
    step_index: int
    #: What the segment has published.
    handoffs: tuple[NewHandoff, ...] = ()


class Admit(Record, frozen=True):
    """Take in a completion: an answer, or a failure."""

    interaction: InteractionId
    tenant: str
    body: bytes
    digest: bytes
    actor: str | None = None
    failure: Failure | None = None
    #: The answer's projection, where the await has one.
    output: bytes | None = None
    #: The boundary that it was fitted to; the unit goes on under it.
    fingerprint: str | None = None
    #: Where in a trace it is made; None where nobody traces it.
    trace: TraceContext | None = None
    audit: Audit | None = None


class AdmitByKey(Record, frozen=True):
    """Take in a completion that names a correlation key, perhaps before anything asks under it."""

    key: CorrelationKey
    #: The await that it answers; several may share a scope.
    pipeline: str
    step_id: str
    body: bytes
    digest: bytes
    #: The id that the answer gets if it has to be kept, and how long it is.
    early: ExecutionId
    ttl_ms: int
    actor: str | None = None
    failure: Failure | None = None
    #: The boundary that it was fitted to; the unit goes on under it.
    fingerprint: str | None = None
    audit: Audit | None = None
    #: Where in a trace it is made; None where nobody traces it.
    trace: TraceContext | None = None

    def to(self, interaction: InteractionId) -> Admit:
        """The same completion, naming the interaction that asked under the key."""
        return Admit(
            interaction, self.key.tenant, self.body, self.digest, self.actor, self.failure, None,
            self.fingerprint,
        )  # fmt: skip


class ExpireEarly(Record, frozen=True):
    """Give up an early answer that nobody asked for in time: it becomes a dead letter."""

    key: CorrelationKey


class Expire(Record, frozen=True):
    """Time an interaction out if its deadline has passed."""

    interaction: InteractionId


class ExpireUnit(Record, frozen=True):
    """End a unit whose own deadline has passed, with whatever its items have come to."""

    unit: UnitId


class CloseBehind(Record, frozen=True):
    """Close an interaction that its unit's end has left open."""

    interaction: InteractionId


class StoreResults(Record, frozen=True):
    """Store a batch of a streaming result; a repeat of the segment overwrites by index."""

    execution: ExecutionId
    fence: int
    first_item: int
    bodies: tuple[bytes, ...]


class StoreRejects(Record, frozen=True):
    """Record items that a step left out; a repeat of the segment overwrites them."""

    execution: ExecutionId
    fence: int
    rejects: tuple[Reject, ...]


class Finish(Record, frozen=True):
    """End with success: one result, or the count of those stored."""

    execution: ExecutionId
    fence: int
    step_index: int
    result: bytes | None
    result_count: int | None = None
    #: What the segment has published.
    handoffs: tuple[NewHandoff, ...] = ()


class Retry(Record, frozen=True):
    """Give the segment back and try again after a delay."""

    execution: ExecutionId
    fence: int
    step_index: int
    #: Tries of that step so far, those made in place included.
    attempt: int
    delay_ms: int
    message: str


class GiveBack(Record, frozen=True):
    """Return a claim that was not begun; it does not count as an attempt."""

    execution: ExecutionId
    fence: int


class Fail(Record, frozen=True):
    """End without success: FAILED as the author declared, DLQ when the machine gave up."""

    execution: ExecutionId
    fence: int
    status: ExecutionStatus
    step_index: int
    step_id: str | None
    attempts: int
    code: str
    message: str


class Cancel(Record, frozen=True):
    """End an execution and its unit because somebody wants it."""

    execution: ExecutionId
    tenant: str
    reason: str
    audit: Audit | None = None


class Release(Record, frozen=True):
    """Let an execution go on as another fingerprint than that under which it was stored."""

    execution: ExecutionId
    tenant: str
    fingerprint: str
    by: str | None = None
    audit: Audit | None = None


class Assign(Record, frozen=True):
    """Say whose an open interaction is; None: nobody's."""

    interaction: InteractionId
    tenant: str
    assignee: str | None
    #: Whose it must be for that, None standing for nobody's; None in its place: anybody's.
    only_from: frozenset[str | None] | None = None
    audit: Audit | None = None


class Note(Record, frozen=True):
    """Write an entry of the audit about what was refused at the door; its time is the commit's."""

    entry: AuditEntry


class KeepLetter(Record, frozen=True):
    """Keep a dead letter of a completion that was refused and whose sender hears nothing of it.

    Its time is the commit's. One that comes again is known by its id and writes no second.
    """

    letter: DeadLetter


class Sent(Record, frozen=True):
    """The receiver has it."""


class Denied(Record, frozen=True):
    """The receiver will never take it."""

    code: str
    message: str


class Postponed(Record, frozen=True):
    """It may have arrived or not; another try follows, unless there were enough."""

    message: str
    delay_ms: int
    #: Tries that it has in all.
    attempts_max: int


class Unsent(Record, frozen=True):
    """It was not tried after all, which does not count."""


class SettleDispatch(Record, frozen=True):
    """Say what came of sending an interaction."""

    interaction: InteractionId
    fence: int
    result: Sent | Denied | Postponed | Unsent


class HandedOver(Record, frozen=True):
    """The target has admitted it, durably."""

    execution: ExecutionId
    duplicate: bool


class Later(Record, frozen=True):
    """It may have arrived or not; another try follows."""

    message: str
    delay_ms: int


class SettleHandoff(Record, frozen=True):
    """Say what came of offering a publication to another deployment."""

    handoff: ExecutionId
    fence: int
    result: HandedOver | Denied | Later | Unsent


class OfferAgain(Record, frozen=True):
    """Offer a publication once more that its target has refused."""

    handoff: ExecutionId
    tenant: str
    #: Makes the target's execution in the same commit; None for another deployment.
    admission: Submit | None = None
    audit: Audit | None = None


Move = (
    Submit
    | Redrive
    | TakeOver
    | AskAgain
    | Park
    | OpenUnit
    | Append
    | CloseUnit
    | Admit
    | AdmitByKey
    | ExpireEarly
    | Expire
    | ExpireUnit
    | CloseBehind
    | StoreResults
    | StoreRejects
    | Finish
    | Retry
    | GiveBack
    | Fail
    | Cancel
    | Release
    | Assign
    | SettleDispatch
    | SettleHandoff
    | OfferAgain
    | Note
    | KeepLetter
)

#: Moves that end a segment well, and write what it has published.
Publishing = Park | CloseUnit | Finish

#: Moves that may say where in a trace they are made.
Traceable = Submit | Redrive | Park | OpenUnit | Admit | AdmitByKey


# --- outcomes ---------------------------------------------------------------------------------


class Submitted(Record, frozen=True):
    """The execution exists: made by this move, or found by its key."""

    execution: ExecutionId
    duplicate: bool
    created_at: int


class KeyTaken(Record, frozen=True):
    """The submit key names an execution with another input."""

    execution: ExecutionId


class Moved(Record, frozen=True):
    """The move was made; this is the execution after it."""

    execution: Execution
    #: Of a park: the unit and its one interaction, as they were stored.
    asked: tuple[Unit, Interaction] | None = None


class ToSend(Record, frozen=True):
    """An interaction that a dispatcher may send now, with its request."""

    interaction: Interaction
    unit: Unit
    dispatch: Dispatch


class Settled(Record, frozen=True):
    """What was recorded of an interaction that nobody answered: its dispatch, its deadline, its
    unit's end; or what became of an early answer.
    """

    interaction: InteractionId | CorrelationKey


class Handed(Record, frozen=True):
    """What was recorded of a publication on its way."""

    handoff: Handoff


class AskedAgain(Record, frozen=True):
    """The item is asked for once more, as this interaction."""

    interaction: InteractionId


class Assigned(Record, frozen=True):
    """The interaction is that person's now."""

    assignee: str | None


class TakenBy(Record, frozen=True):
    """The interaction is another's; nothing changed."""

    assignee: str | None


class Refused(Record, frozen=True):
    """The move is illegal there, or its fence is stale; nothing changed."""

    reason: str


class Mismatch(Record, frozen=True):
    """A replayed source gave something else than what is stored; nothing changed."""

    message: str


class Received(Record, frozen=True):
    """What became of a completion."""

    outcome: ReceiptOutcome
    status: InteractionStatus | None = None
    step_id: str | None = None
    reason: str = ""
    #: Where the completion named a key: the interaction that it was for, if there is one.
    interaction: InteractionId | None = None
    #: The boundary of the await that it was for; None where that is not known.
    fingerprint: str | None = None
    #: Of one that was applied: how long its interaction was open, milliseconds.
    waited_ms: int | None = None


class Noted(Record, frozen=True):
    """The entry, or the letter, is written."""


class Unstorable(Record, frozen=True):
    """The database refused this row alone; its neighbours were written."""

    message: str


Outcome = (
    Submitted
    | KeyTaken
    | Moved
    | Settled
    | Handed
    | AskedAgain
    | Assigned
    | TakenBy
    | Refused
    | Mismatch
    | Received
    | Noted
    | Unstorable
)


# --- what a worker gets --------------------------------------------------------------------------


class Claimed(Record, frozen=True):
    """An execution that a worker may run now, and what its segment starts from."""

    execution: Execution
    #: The input, or the one answer of the unit it resumes from; None when that unit is a stream,
    #: whose answers are read in pages.
    body: bytes | None
    #: The unit it resumes from; None at the start.
    base: Unit | None
    #: A unit that an earlier run of this segment opened and did not close.
    reopened: Unit | None
    #: Another worker had it, and its lease ran out.
    taken_over: bool = False
