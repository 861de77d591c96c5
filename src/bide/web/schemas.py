"""The bodies on the wire, camelCase: what is rendered and what OpenAPI shows, written once.

They are typed dictionaries and not models: rendering builds them directly, so the type checkers
prove that what leaves is what is documented, and no request pays for a second validation.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

# pydantic reads the one of typing only from Python 3.12 on.
from typing_extensions import TypedDict

ExecutionStatusName = Literal[
    "QUEUED",
    "RUNNING",
    "WAITING_EXTERNAL",
    "WAIT_RETRY",
    "SUCCEEDED",
    "FAILED",
    "DLQ",
    "CANCELLED",
]


class FieldProblem(TypedDict):
    """One thing that is wrong with a payload: a JSON pointer ("" is the whole) and what."""

    path: str
    message: str


class LimitBody(TypedDict):
    """The guard that was exceeded, in what it counts."""

    setting: str
    bound: int
    unit: str
    actual: int | None


class Particulars(TypedDict, total=False):
    """What some problems say beside their text."""

    limit: LimitBody
    #: Where the execution stands that cannot do what was asked.
    executionStatus: str
    #: Whose the interaction is already.
    assignee: str | None


class Problem(Particulars):
    """An error (RFC 9457); the last part of `type` is its stable code."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: NotRequired[list[FieldProblem]]


class ReceiptBody(TypedDict):
    """What became of one completion; `status` is the interaction's."""

    interactionId: str
    executionId: str | None
    stepId: str | None
    status: str | None
    duplicate: bool
    receipt: Literal["applied", "duplicate", "conflict", "late", "buffered", "rejected", "unknown"]


class CompletionProblem(Problem):
    """A completion that was not admitted; the receipt's own fields stand in the problem."""

    interactionId: str
    executionId: str | None
    stepId: str | None
    interactionStatus: str | None
    duplicate: bool
    receipt: Literal["conflict", "late", "rejected", "unknown"]


class BatchReceipt(ReceiptBody):
    """The receipt of one line; `problem` says why where it was not admitted."""

    problem: NotRequired[Problem]


class FailureBody(TypedDict):
    """That the actor could not do what was asked."""

    code: str
    message: NotRequired[str | None]


class CompletionBody(TypedDict):
    """An answer, or a failure, and what it is for: an id or the token is required."""

    interactionId: NotRequired[str | None]
    correlationId: NotRequired[str | None]
    stepId: NotRequired[str | None]
    resumeToken: NotRequired[str | None]
    idempotencyKey: NotRequired[str | None]
    actor: NotRequired[str | None]
    #: Null is an answer as well; left out, there must be a failure.
    responsePayload: NotRequired[Any]
    failure: NotRequired[FailureBody | None]


class CancelBody(TypedDict):
    """Why an execution is withdrawn."""

    reason: NotRequired[str | None]


#: From where, and whether to make another one where it was redriven before.
RedriveBody = TypedDict(
    "RedriveBody",
    {"from": NotRequired[Literal["start", "await"] | None], "again": NotRequired[bool | None]},
)


class ReleaseBody(TypedDict):
    """As which of the app's boundaries an execution goes on; `by` unless the caller is known."""

    fingerprint: str
    by: NotRequired[str | None]


class HolderBody(TypedDict):
    """Who claims or puts back an interaction; left out where the caller is known."""

    actor: NotRequired[str | None]


class AssignBody(TypedDict):
    """Whose an interaction is from now on; null: nobody's."""

    assignee: str | None
    actor: NotRequired[str | None]


class PipelineBody(TypedDict):
    """A pipeline of the app; `fingerprints` by step id, "" for its input."""

    pipeline: str
    title: str
    paused: bool
    retired: bool
    fingerprints: dict[str, str]


class PipelineList(TypedDict):
    """The app's pipelines; the first is the default."""

    items: list[PipelineBody]


class SubmissionBody(TypedDict):
    """An execution that is stored; `duplicate` when its key named it before."""

    executionId: str
    duplicate: bool
    statusUrl: str
    submittedAtEpochMs: int


class HeldBody(TypedDict):
    """Why no live worker can go on with an execution."""

    reason: str


class ExecutionBody(TypedDict):
    """Where an execution stands."""

    executionId: str
    status: ExecutionStatusName
    stepIndex: int
    attempt: int
    version: int
    nextDueAtEpochMs: int | None
    updatedAtEpochMs: int
    errorCode: str | None
    errorMessage: str | None
    held: HeldBody | None


class ExecutionDetail(ExecutionBody):
    """Where an execution stands, with its pipeline and its times."""

    pipeline: str
    step: str | None
    createdAtEpochMs: int
    resultCount: int | None
    #: The execution that it does again; null for a submitted one.
    redrivenFrom: str | None
    fingerprint: str


class DispatchBody(TypedDict):
    """How the sending of a question stands."""

    attempts: int
    #: Null while it is tried, and when it is not tried any more.
    nextAttemptEpochMs: int | None
    dispatchedEpochMs: int | None
    #: All tries came to nothing certain; it may still be answered.
    exhausted: bool
    error: str | None


class InteractionBody(TypedDict):
    """One question, with what a completion of it must hold."""

    interactionId: str
    correlationId: str
    executionId: str
    stepId: str
    stepIndex: int
    outputType: str | None
    status: str
    requestPayload: Any
    assignee: str | None
    group: str | None
    transportType: str
    transportMetadata: dict[str, Any]
    deadlineEpochMs: int
    createdAtEpochMs: int
    updatedAtEpochMs: int
    unitId: str
    itemIndex: int | None
    generation: int
    pipeline: str
    outputSchema: dict[str, Any] | None
    #: Null where nothing has to be sent.
    dispatch: DispatchBody | None


class UnitBody(TypedDict):
    """One await unit and its counts."""

    unitId: str
    stepId: str
    status: str
    perItem: bool
    appended: int
    total: int | None
    settled: int
    missing: int
    deadlineEpochMs: int | None
    createdAtEpochMs: int
    updatedAtEpochMs: int


class TimelineBody(TypedDict):
    """One fact of an execution's life."""

    atEpochMs: int
    version: int
    what: str
    unitId: str | None
    detail: str | None


class OriginBody(TypedDict):
    """A publication that an execution was made of."""

    executionId: str
    pipeline: str
    publication: str
    key: str
    atEpochMs: int


class HandoffBody(TypedDict):
    """One publication of an execution, on its way to one target."""

    handoffId: str
    publication: str
    key: str
    status: str
    target: str | None
    executionId: str | None
    duplicate: bool
    attempts: int
    nextAttemptEpochMs: int | None
    error: str | None
    createdAtEpochMs: int
    updatedAtEpochMs: int


class HandoffOffer(TypedDict):
    """One publication that another deployment offers."""

    handoffId: NotRequired[str]
    publication: str
    handoffKey: str
    sourceExecutionId: str
    sourcePipeline: str
    publishedAtEpochMs: NotRequired[int]
    payload: Any
    traceparent: NotRequired[str]
    tracestate: NotRequired[str]


class AdmissionBody(TypedDict):
    """That a publication was admitted: as an execution made now, or by an equal one before."""

    executionId: str
    duplicate: bool


class LineageBody(TypedDict):
    """What an execution was made of, and what it has led to in other pipelines."""

    madeOf: list[OriginBody]
    published: list[HandoffBody]


class DeadLetterBody(TypedDict):
    """Why an execution did not succeed, an answer was asked for by nobody, or a publication was not
    taken.
    """

    deadLetterId: str
    kind: Literal["execution", "completion", "handoff"]
    executionId: str | None
    pipeline: str
    status: ExecutionStatusName | None
    code: str
    message: str
    stepId: str | None
    attempts: int
    createdAtEpochMs: int
    correlationId: str | None
    payload: Any
    actor: str | None


class AuditBody(TypedDict):
    """Who did what, by which credential; `shown` is the SHA-256 of the request decided on."""

    auditId: str
    atEpochMs: int
    deed: str
    outcome: str
    actor: str | None
    credential: str
    executionId: str | None
    interactionId: str | None
    shown: str | None
    detail: str | None


class AuditPage(TypedDict):
    """Entries of the audit, newest first; `nextCursor` asks for older ones."""

    items: list[AuditBody]
    nextCursor: str | None


class ReceiptCountsBody(TypedDict):
    """How many completions got which receipt: from this process, and by what is stored."""

    process: dict[str, int]
    stored: dict[str, int]


class RejectBody(TypedDict):
    """One item that a step left out; `item` is null in a list."""

    rejectId: str
    executionId: str
    pipeline: str
    stepId: str
    itemIndex: int
    fingerprint: str
    reason: str
    createdAtEpochMs: int
    item: Any


class ExecutionPage(TypedDict):
    """Executions, newest first; `nextCursor` asks for older ones."""

    items: list[ExecutionDetail]
    nextCursor: str | None


class InteractionList(TypedDict):
    """Open interactions, oldest deadline first."""

    items: list[InteractionBody]


class UnitList(TypedDict):
    """The await units of an execution, in the order of their opening."""

    items: list[UnitBody]


class TimelineList(TypedDict):
    """The facts of an execution's life, in order."""

    items: list[TimelineBody]


class DeadLetterPage(TypedDict):
    """Dead letters, newest first; `nextCursor` asks for older ones."""

    items: list[DeadLetterBody]
    nextCursor: str | None


class RejectPage(TypedDict):
    """Items that steps left out, the newest execution first; `nextCursor` asks for the rest."""

    items: list[RejectBody]
    nextCursor: str | None


class ResultPage(TypedDict):
    """A part of a streaming result, by item; `nextCursor` asks for what follows."""

    items: list[Any]
    nextCursor: str | None


class CheckBody(TypedDict):
    """One thing that was looked at before work is accepted."""

    name: str
    ok: bool
    warning: bool
    message: str | None
    hint: str | None


class ReadinessBody(TypedDict):
    """Whether work is accepted."""

    status: Literal["ready", "not-ready"]
    checks: list[CheckBody]


class HealthBody(TypedDict):
    """That the process answers."""

    status: Literal["ok"]
