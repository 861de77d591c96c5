"""What edges show: plain values with ids as text, one class a thing people ask for."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from bide.authoring.answers import Receipt
from bide.errors import FieldError
from bide.model.status import ExecutionStatus, InteractionStatus, UnitStatus
from bide.spi.receiving import MISSING as MISSING  # noqa: PLC0414 - typing reads a re-export from it
from bide.spi.receiving import Completion as Completion  # noqa: PLC0414 - typing reads a re-export from it
from bide.spi.receiving import Published as Published  # noqa: PLC0414 - typing reads a re-export from it
from bide.spi.store import Check as Check  # noqa: PLC0414 - typing reads a re-export from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An execution that exists now; `duplicate` when its key named it before."""

    execution_id: str
    duplicate: bool
    submitted_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionView:
    """Where an execution stands."""

    execution_id: str
    tenant: str
    pipeline: str
    status: ExecutionStatus
    step_index: int
    #: Name of the step or await at `step_index`; None past the last, or when the plan is unknown.
    step: str | None
    attempt: int
    version: int
    next_due_at_ms: int | None
    created_at_ms: int
    updated_at_ms: int
    error_code: str | None
    error_message: str | None
    result_count: int | None
    #: Why no live worker can claim it, or None.
    held: str | None
    #: The execution that it does again, in whole or in part; None for a submitted one.
    redriven_from: str | None = None
    #: What a worker must know to go on with it.
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineView:
    """A pipeline of the app."""

    pipeline: str
    title: str
    #: Nothing of it is claimed.
    paused: bool
    #: It takes no submissions any more.
    retired: bool
    #: What an execution can be released as: fingerprints by step id, "" for the input.
    fingerprints: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchView:
    """How the sending of an interaction stands."""

    #: Tries so far, the one under way included.
    attempts: int
    #: When it is tried next; None while it is tried, and when it is not tried any more.
    next_attempt_ms: int | None
    #: Since when its receiver is known to have it.
    dispatched_ms: int | None
    #: All tries came to nothing certain; it may still be answered.
    exhausted: bool
    #: What came of the last try that did not succeed.
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionView:
    """One interaction, with what its pipeline's plan says of it."""

    interaction_id: str
    correlation_id: str
    execution_id: str
    unit_id: str
    item_index: int | None
    generation: int
    pipeline: str
    step_id: str
    step: str | None
    step_index: int
    status: InteractionStatus
    group: str | None
    assignee: str | None
    deadline_ms: int
    created_at_ms: int
    updated_at_ms: int
    #: The stored request, a JSON value.
    request: Any
    #: Declared name of the answer's type, and its JSON Schema; None when the plan is unknown.
    output_type: str | None
    output_schema: dict[str, Any] | None
    transport_type: str
    transport_metadata: dict[str, Any]
    #: None where nothing has to be sent.
    dispatch: DispatchView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitView:
    """One await unit and its counts."""

    unit_id: str
    step_id: str
    status: UnitStatus
    per_item: bool
    appended: int
    total: int | None
    settled: int
    #: Items that ended without an answer, or with a failure, where no fallback stood in.
    missing: int
    #: Until when all of its items may be answered; None where only the items have deadlines.
    deadline_ms: int | None
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One fact of an execution's life."""

    at_ms: int
    version: int
    what: str
    unit_id: str | None
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginView:
    """A publication that an execution was made of."""

    #: Of who published; in another deployment, its execution there.
    execution_id: str
    pipeline: str
    publication: str
    key: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffView:
    """One publication of an execution, on its way to one target."""

    handoff_id: str
    publication: str
    key: str
    #: `waiting`, `sending`, `admitted` or `refused`.
    status: str
    #: The pipeline that takes it; None: another deployment does.
    target: str | None
    #: The target's execution, once it is admitted.
    execution_id: str | None
    #: An equal publication had been admitted before.
    duplicate: bool
    #: Tries so far; a target of the same store needs none.
    attempts: int
    #: When it is tried next; None while it is tried, and when it is not tried any more.
    next_attempt_ms: int | None
    #: What came of the last try that did not succeed, or why it was refused.
    error: str | None
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What an execution was made of, and what it has led to in other pipelines."""

    made_of: list[OriginView]
    published: list[HandoffView]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterView:
    """Why an execution did not succeed, an answer was asked for by nobody, or a publication was not
    taken.
    """

    dead_letter_id: str
    kind: Literal["execution", "completion", "handoff"]
    #: None for an answer that never met an execution; only an execution has a status.
    execution_id: str | None
    pipeline: str
    status: ExecutionStatus | None
    code: str
    message: str
    step_id: str | None
    attempts: int
    created_at_ms: int
    #: Of an answer: the key that it named, the answer itself, and who sent it; of a publication: its
    #: key, and what was published.
    correlation_id: str | None = None
    payload: Any = None
    actor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """Who did what, by which credential, on what they were shown."""

    audit_id: str
    at_ms: int
    deed: str
    outcome: str
    actor: str | None
    credential: str
    execution_id: str | None
    interaction_id: str | None
    #: SHA-256 of the request that was decided on, in hexadecimal digits.
    shown: str | None
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptCounts:
    """How many completions got which receipt."""

    #: By this process, since it started.
    process: dict[str, int]
    #: By what rows keep; what is rejected or unknown leaves none, and retention removes them.
    stored: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectView:
    """One item that a step left out, to go on with the others."""

    reject_id: str
    execution_id: str
    pipeline: str
    step_id: str
    #: Its position in the stream at that step.
    item_index: int
    #: SHA-256 of its canonical form in hexadecimal digits, by which equal items are known.
    fingerprint: str
    reason: str
    created_at_ms: int
    #: The item, a JSON value; None in a list.
    item: Any = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What an edge answers to a completion: its receipt, and why."""

    receipt: Receipt
    #: `applied`, `duplicate`, `buffered`, `conflict`, `late`, `not-found`, `invalid-answer`,
    #: `ambiguous-correlation`, `not-allowed`, `too-large`: the last part of a problem's type.
    code: str
    detail: str = ""
    errors: tuple[FieldError, ...] = ()
    #: The boundary of the await that it was for, where that is known; for counting.
    fingerprint: str | None = None
