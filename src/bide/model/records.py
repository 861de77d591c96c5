"""The rows of the model, one class a table.

Records are immutable structs, their fields in the order of their table's columns, so that a store
hands them to its driver as they are. They are msgspec's and not dataclasses or named tuples, because
one parked execution is copied with a change fourteen times: that takes a sixth of the time, and the
garbage collector does not walk through them. `replace` makes such a copy. Times are Unix
milliseconds of the store's clock.

Invariants that every reader may rely on:

* `Execution.version` rises with every change of the row, and the journal holds one fact for each.
* `Execution.units` counts the units that were opened; `Execution.resumed` names the one whose
  answers feed the current segment (0: the input). They differ by at most one, and only while a
  unit is open.
* `due_at` is when somebody has to look at an execution again: ready at (QUEUED, WAIT_RETRY), lease
  expiry (RUNNING); None when nobody has to.
* An execution's row never holds an answer.
"""

import msgspec
from msgspec.structs import replace

from bide.model.ids import CorrelationKey, ExecutionId, InteractionId, RejectId, UnitId
from bide.model.status import (
    AnswerSource,
    DeadLetterKind,
    ExecutionStatus,
    HandoffStatus,
    InteractionStatus,
    JournalKind,
    UnitStatus,
)

__all__ = [
    "AuditEntry",
    "Correlation",
    "DeadLetter",
    "Dispatch",
    "Execution",
    "Handoff",
    "Input",
    "Interaction",
    "JournalFact",
    "Origin",
    "Record",
    "Refusal",
    "Reject",
    "Result",
    "StoredBoundary",
    "SubmitKey",
    "Trace",
    "TraceContext",
    "Unit",
    "WorkerSeen",
    "replace",
]


class Record(msgspec.Struct, frozen=True, gc=False):
    """A row: immutable, compared by value, holding nothing that could hold it."""


class Execution(Record, frozen=True):
    """One run of a pipeline; owns scheduling and waiting."""

    id: ExecutionId
    tenant: str
    pipeline: str
    status: ExecutionStatus
    version: int
    #: What a worker must know to run the current segment (see `bide.planning.fingerprint`).
    fingerprint: str
    #: Position in the plan of the step or await at which the execution stands, from 0.
    step_index: int
    #: Tries of that step so far; counted at claim.
    attempt: int
    #: Leases lost since the last boundary.
    takeovers: int
    #: Raised by every claim and by whatever ends a unit; each write of a worker carries it.
    fence: int
    owner: str | None
    due_at: int | None
    units: int
    resumed: int
    created_at: int
    updated_at: int
    error_code: str | None = None
    error_message: str | None = None
    result: bytes | None = None
    #: How many results a streaming pipeline gave; they lie in `Result` rows.
    result_count: int | None = None
    redriven_from: ExecutionId | None = None
    #: The step at which it starts, with a stream of one item, where it redrives a reject; None: at
    #: the pipeline's beginning.
    entry: str | None = None

    @property
    def await_unit(self) -> UnitId | None:
        """The unit that the execution waits for, or last waited for."""
        return UnitId(self.id, self.units) if self.units else None


class Input(Record, frozen=True):
    """What an execution was submitted with; apart from its row, which is rewritten often."""

    execution: ExecutionId
    body: bytes


class TraceContext(Record, frozen=True):
    """Where in a distributed trace something happens, in the words of W3C Trace Context."""

    #: The values of the headers `traceparent` and `tracestate`.
    parent: str
    state: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that carry it."""
        state = {"tracestate": self.state} if self.state else {}
        return {"traceparent": self.parent} | state


class Trace(Record, frozen=True):
    """In which trace an execution goes on; there is a row only for one that is traced.

    It names the last thing that moved the execution: its submission, the segment that asked, the
    answer that released it.
    """

    execution: ExecutionId
    tenant: str
    parent: str
    state: str | None

    @property
    def context(self) -> TraceContext:
        """The same without whose it is."""
        return TraceContext(self.parent, self.state)


class SubmitKey(Record, frozen=True):
    """The submit key of an execution: unique per tenant and pipeline."""

    tenant: str
    pipeline: str
    key: str
    execution: ExecutionId
    #: SHA-256 of the canonical input, by which a repeat is told from a conflict.
    digest: bytes
    created_at: int


class Unit(Record, frozen=True):
    """The durable completion contract of one await boundary in one execution."""

    execution: ExecutionId
    number: int
    tenant: str
    step_id: str
    step_index: int
    status: UnitStatus
    #: True for one interaction per item of a stream; else the unit has one interaction, item 0.
    per_item: bool
    #: Interactions stored so far.
    appended: int
    #: How many there will be; None while the source is still being read.
    total: int | None
    #: Interactions that are terminal.
    settled: int
    created_at: int
    updated_at: int
    #: Fingerprint of the boundary; the execution carries it once the unit is complete.
    fingerprint: str
    #: Until when all of its items may be answered; None where only the items have deadlines.
    deadline_at: int | None = None
    #: How many items may be missing, as a count or in millionths of all; neither: not one.
    tolerated: int | None = None
    tolerated_ppm: int | None = None
    #: Whether every item brought a fallback, so that none that times out is missing.
    has_fallback: bool = False
    #: Items that are settled and gave nothing: reported failures, and timeouts without fallback.
    missing: int = 0
    #: Whether its interactions have to be sent; each has a `Dispatch` then, once it was to be sent.
    sends: bool = False

    @property
    def id(self) -> UnitId:
        """The unit's path."""
        return UnitId(self.execution, self.number)

    @property
    def collects(self) -> bool:
        """True when items may be missing: no single one of them ends the unit."""
        return self.tolerated is not None or self.tolerated_ppm is not None

    @property
    def is_complete(self) -> bool:
        """True when the source has been read to its end and nothing is open."""
        return self.total is not None and self.settled >= self.total


class Interaction(Record, frozen=True):
    """One externally visible request of a unit."""

    execution: ExecutionId
    unit: int
    item: int
    generation: int
    tenant: str
    step_id: str
    status: InteractionStatus
    group: str | None
    assignee: str | None
    deadline_at: int
    created_at: int
    updated_at: int
    #: The await's business key (`idempotent_on`), or None.
    key: str | None
    #: None where the reader had no use for it; always stored, never changed.
    request: bytes | None
    #: What the next step takes if nobody answers in time; made when the unit parked.
    fallback: bytes | None = None
    answer: bytes | None = None
    #: What the next step takes, where it is not the answer itself: its projection, or `fallback`.
    output: bytes | None = None
    answer_digest: bytes | None = None
    actor: str | None = None
    source: AnswerSource | None = None
    #: Completions that repeated the admitted answer.
    duplicates: int = 0
    #: Completions that were refused with a row of their own (`Refusal`).
    refusals: int = 0
    error_code: str | None = None
    error_message: str | None = None
    #: What an answer may name it by in place of its id: `correlate_on`, where the await has one.
    correlation: str | None = None

    @property
    def id(self) -> InteractionId:
        """The interaction's path."""
        return InteractionId(self.execution, self.unit, self.item, self.generation)


class Dispatch(Record, frozen=True):
    """How the sending of one interaction stands; there is none where nothing is to be sent.

    It follows its interaction: it is due only while that one is open, and in flight only while that
    one is DISPATCHING or DISPATCHED.
    """

    execution: ExecutionId
    unit: int
    item: int
    generation: int
    tenant: str
    pipeline: str
    step_id: str
    #: The boundary's fingerprint: who knows it can send.
    route: str
    #: When somebody has to look at it: it may be sent, or the lease of who sends it runs out; None
    #: when nobody has to.
    due_at: int | None
    #: It is being sent, or was sent and is not answered.
    in_flight: bool = False
    #: Tries so far, counted at claim.
    attempts: int = 0
    #: Raised by every claim; what a dispatcher tells of a try carries it.
    fence: int = 0
    owner: str | None = None
    #: When its receiver was known to have it.
    dispatched_at: int | None = None
    #: All its tries came to nothing certain: it is not sent again, and may still be answered.
    exhausted: bool = False
    #: What came of the last try that did not succeed, in words for people.
    error: str | None = None

    @property
    def id(self) -> InteractionId:
        """Its interaction's path."""
        return InteractionId(self.execution, self.unit, self.item, self.generation)


class Result(Record, frozen=True):
    """One item of a streaming result; nobody sees it before the execution has succeeded."""

    execution: ExecutionId
    item: int
    body: bytes


class JournalFact(Record, frozen=True):
    """One fact of an execution's life, written in the commit that it tells of."""

    execution: ExecutionId
    version: int
    kind: JournalKind
    at: int
    unit: int | None = None
    #: Who, why or what, in words for people; never a payload.
    detail: str | None = None


class DeadLetter(Record, frozen=True):
    """Why an execution did not succeed, or an early answer fed none; written as it ended."""

    #: Its execution's id; of an early answer or a publication, its own.
    id: ExecutionId
    tenant: str
    pipeline: str
    kind: DeadLetterKind
    #: None for what never reached an execution.
    execution: ExecutionId | None
    #: What the execution ended with.
    status: ExecutionStatus | None
    code: str
    message: str
    step_id: str | None
    #: Tries of the step, or to hand a publication over; of an early answer, how often it came.
    attempts: int
    created_at: int
    #: The key that an early answer named, or under which was published; the payload; who sent it.
    correlation: str | None = None
    payload: bytes | None = None
    actor: str | None = None


class Correlation(Record, frozen=True):
    """What is known under one correlation key: who asked under it last, and an early answer.

    Both sides, the answer and the question, write this row first, so that neither misses the other.
    """

    tenant: str
    key: str
    scope: str
    #: Rises with every change of the row.
    version: int
    #: The interaction that asked last under the key; whether it is open, its own row says.
    execution: ExecutionId | None = None
    unit: int | None = None
    item: int | None = None
    generation: int | None = None
    #: Id of the early answer that is kept; None while there is none, and then nothing below is set.
    early: ExecutionId | None = None
    pipeline: str | None = None
    step_id: str | None = None
    answer: bytes | None = None
    digest: bytes | None = None
    actor: str | None = None
    #: Of a failure that was reported in the place of an answer.
    error_code: str | None = None
    error_message: str | None = None
    expires_at: int | None = None
    duplicates: int = 0
    refusals: int = 0
    #: The boundary that the early answer was fitted to.
    fingerprint: str | None = None

    @property
    def id(self) -> CorrelationKey:
        """The key, in full."""
        return CorrelationKey(self.tenant, self.key, self.scope)

    @property
    def holder(self) -> InteractionId | None:
        """The interaction that asked last under the key."""
        if self.execution is None:
            return None
        return InteractionId(self.execution, self.unit or 0, self.item or 0, self.generation or 0)

    @property
    def is_empty(self) -> bool:
        """True when it says nothing any more; such a row is deleted in place of being written."""
        return self.execution is None and self.early is None


class Reject(Record, frozen=True):
    """One item that a step left out, to go on with the others."""

    execution: ExecutionId
    step_index: int
    #: Its position in the stream at that step.
    item: int
    tenant: str
    pipeline: str
    step_id: str
    #: SHA-256 of the item's canonical form, by which equal items are known.
    fingerprint: bytes
    reason: str
    body: bytes
    created_at: int

    @property
    def id(self) -> RejectId:
        """Its path."""
        return RejectId(self.execution, self.step_index, self.item)


class Handoff(Record, frozen=True):
    """One publication on its way to one target; written in the commit that publishes.

    From its admission on the target's execution is on its own, and nothing here changes any more.
    """

    #: Given by who publishes, so that whoever takes it knows a repeat.
    id: ExecutionId
    tenant: str
    #: Who publishes.
    execution: ExecutionId
    pipeline: str
    publication: str
    #: The pipeline of this store that takes it; empty: another deployment does.
    target: str
    #: The business key: a target takes one publication under it, whoever publishes.
    key: str
    status: HandoffStatus
    created_at: int
    updated_at: int
    #: When somebody has to look at it: it may be sent, or the lease of who sends it runs out; None
    #: when nobody has to.
    due_at: int | None
    #: What is published; kept for as long as it is not admitted.
    body: bytes | None
    #: Tries so far, counted at claim.
    attempts: int = 0
    #: Raised by every claim; what is told of a try carries it.
    fence: int = 0
    owner: str | None = None
    #: The target's execution: made by this publication, or, `duplicate`, by an equal one before.
    admitted_as: ExecutionId | None = None
    duplicate: bool = False
    #: Why the target did not take it, once it has said so; a dead letter tells of it since.
    error_code: str | None = None
    #: What came of the last try that did not succeed, in words for people.
    error: str | None = None


class Origin(Record, frozen=True):
    """Which publication made an execution, or would have if it had not been there already."""

    #: The target's.
    execution: ExecutionId
    #: Whose publication it is; of another deployment, its execution's id there.
    source: ExecutionId
    tenant: str
    pipeline: str
    publication: str
    key: str
    at: int


class Refusal(Record, frozen=True):
    """A completion that came and changed nothing: a conflicting or a late one.

    One that met an early answer and no interaction stands under the early answer's id, as unit 0.
    """

    execution: ExecutionId
    unit: int
    item: int
    generation: int
    #: Counts the refusals of this interaction from 1.
    sequence: int
    tenant: str
    outcome: str
    digest: bytes
    #: Kept for a late completion; a conflicting one leaves its digest alone.
    payload: bytes | None
    actor: str | None
    created_at: int


class AuditEntry(Record, frozen=True):
    """Who did what, when, by which credential; written in the commit of the decision."""

    #: Given by who brought the decision, so that a repeat after an unknown outcome writes no second.
    id: ExecutionId
    tenant: str
    at: int
    #: `complete`, `cancel`, `release`, `assign`, `ask-again`, `redrive`, or what was refused.
    deed: str
    #: A receipt's outcome, `done`, or the code of a refusal.
    outcome: str
    actor: str | None
    #: Kind and key id (`api-key:a1b2`, `token:k1`, `os-user:ada`); never the credential itself.
    credential: str
    execution: ExecutionId | None = None
    unit: int | None = None
    item: int | None = None
    generation: int | None = None
    #: SHA-256 of the request that the decision was made on.
    shown: bytes | None = None
    #: What was said beside, in few words; never a payload.
    detail: str | None = None


class StoredBoundary(Record, frozen=True):
    """What a fingerprint stands for; written once, by the first worker that claims by it."""

    fingerprint: str
    pipeline: str
    #: Empty for the pipeline's input.
    step_id: str
    shape: str
    #: JSON Schemas as a JSON list: of the input, or of request, answer and output.
    schemas: str


class WorkerSeen(Record, frozen=True):
    """A worker, and what it claims; one that was not seen for a lease's time is not live."""

    id: str
    started_at: int
    seen_at: int
    fingerprints: frozenset[str]
