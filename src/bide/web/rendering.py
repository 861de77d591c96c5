"""Views as the bodies of the wire, and bodies as responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

import orjson
from starlette.responses import Response

from bide.authoring.answers import Receipt
from bide.model.status import ExecutionStatus
from bide.runtime.views import (
    AuditView,
    Check,
    DeadLetterView,
    DispatchView,
    ExecutionView,
    HandoffView,
    InteractionView,
    Lineage,
    PipelineView,
    RejectView,
    Reply,
    TimelineEntry,
    UnitView,
)
from bide.security.redaction import redact
from bide.web.schemas import (
    AuditBody,
    CheckBody,
    DeadLetterBody,
    DispatchBody,
    ExecutionBody,
    ExecutionDetail,
    ExecutionStatusName,
    HandoffBody,
    HeldBody,
    InteractionBody,
    LineageBody,
    PipelineBody,
    ReceiptBody,
    RejectBody,
    TimelineBody,
    UnitBody,
)

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

#: Answers are about one tenant's work now: no cache may keep them, no browser guess at their type.
COMMON_HEADERS: Final[Mapping[str, str]] = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}
#: The names are typed as the wire's; mypy takes an enum's name for any text.
_STATUS_NAMES: Final = cast(
    "Mapping[ExecutionStatus, ExecutionStatusName]",
    {status: status.name for status in ExecutionStatus},
)
_RAW_COMMON: Final = [(name.encode(), value.encode()) for name, value in COMMON_HEADERS.items()]


def encode(value: object) -> bytes:
    """Write JSON; integers of more than 64 bits are JSON too, and orjson does not take them."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def response(
    body: object,
    *,
    status: int = 200,
    media_type: str = JSON,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a JSON body."""
    return raw(encode(body), status=status, media_type=media_type, headers=headers)


def raw(
    encoded: bytes,
    *,
    status: int = 200,
    media_type: str = JSON,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a body that is JSON already."""
    answer = Response(encoded, status, headers, media_type)
    answer.raw_headers.extend(_RAW_COMMON)
    return answer


def receipt(of: Receipt) -> ReceiptBody:
    """What became of a completion; its id is as it was given, and may be a token in the wrong place."""
    return {
        "interactionId": redact(of.interaction_id),
        "executionId": of.execution_id,
        "stepId": of.step_id,
        "status": of.status,
        "duplicate": of.outcome == "duplicate",
        "receipt": of.outcome,
    }


def is_admitted(reply: Reply) -> bool:
    """Whether a completion is told as a receipt and not as a problem."""
    return reply.receipt.outcome in {"applied", "duplicate", "buffered"}


def execution(view: ExecutionView) -> ExecutionBody:
    """Where an execution stands, with exactly the fields of the compatible surface."""
    return {
        "executionId": view.execution_id,
        "status": _STATUS_NAMES[view.status],
        "stepIndex": view.step_index,
        "attempt": view.attempt,
        "version": view.version,
        "nextDueAtEpochMs": view.next_due_at_ms,
        "updatedAtEpochMs": view.updated_at_ms,
        "errorCode": view.error_code,
        "errorMessage": view.error_message,
        "held": None if view.held is None else HeldBody(reason=view.held),
    }


def execution_detail(view: ExecutionView) -> ExecutionDetail:
    """Where an execution stands, with its pipeline and its times."""
    return {
        **execution(view),
        "pipeline": view.pipeline,
        "step": view.step,
        "createdAtEpochMs": view.created_at_ms,
        "resultCount": view.result_count,
        "redrivenFrom": view.redriven_from,
        "fingerprint": view.fingerprint,
    }


def pipeline(view: PipelineView) -> PipelineBody:
    """One pipeline."""
    return {
        "pipeline": view.pipeline,
        "title": view.title,
        "paused": view.paused,
        "retired": view.retired,
        "fingerprints": view.fingerprints,
    }


def interaction(view: InteractionView) -> InteractionBody:
    """One question."""
    return {
        "interactionId": view.interaction_id,
        "correlationId": view.correlation_id,
        "executionId": view.execution_id,
        "stepId": view.step_id,
        "stepIndex": view.step_index,
        "outputType": view.output_type,
        "status": view.status.name,
        "requestPayload": view.request,
        "assignee": view.assignee,
        "group": view.group,
        "transportType": view.transport_type,
        "transportMetadata": view.transport_metadata,
        "deadlineEpochMs": view.deadline_ms,
        "createdAtEpochMs": view.created_at_ms,
        "updatedAtEpochMs": view.updated_at_ms,
        "unitId": view.unit_id,
        "itemIndex": view.item_index,
        "generation": view.generation,
        "pipeline": view.pipeline,
        "outputSchema": view.output_schema,
        "dispatch": None if view.dispatch is None else dispatch(view.dispatch),
    }


def dispatch(view: DispatchView) -> DispatchBody:
    """How the sending of a question stands."""
    return {
        "attempts": view.attempts,
        "nextAttemptEpochMs": view.next_attempt_ms,
        "dispatchedEpochMs": view.dispatched_ms,
        "exhausted": view.exhausted,
        "error": view.error,
    }


def unit(view: UnitView) -> UnitBody:
    """One await unit."""
    return {
        "unitId": view.unit_id,
        "stepId": view.step_id,
        "status": view.status.name,
        "perItem": view.per_item,
        "appended": view.appended,
        "total": view.total,
        "settled": view.settled,
        "missing": view.missing,
        "deadlineEpochMs": view.deadline_ms,
        "createdAtEpochMs": view.created_at_ms,
        "updatedAtEpochMs": view.updated_at_ms,
    }


def timeline_entry(entry: TimelineEntry) -> TimelineBody:
    """One fact."""
    return {
        "atEpochMs": entry.at_ms,
        "version": entry.version,
        "what": entry.what,
        "unitId": entry.unit_id,
        "detail": entry.detail,
    }


def lineage(view: Lineage) -> LineageBody:
    """What an execution was made of, and what it has led to."""
    return {
        "madeOf": [
            {
                "executionId": each.execution_id,
                "pipeline": each.pipeline,
                "publication": each.publication,
                "key": each.key,
                "atEpochMs": each.at_ms,
            }
            for each in view.made_of
        ],
        "published": [handoff(each) for each in view.published],
    }


def handoff(view: HandoffView) -> HandoffBody:
    """One publication, on its way to one target."""
    return {
        "handoffId": view.handoff_id,
        "publication": view.publication,
        "key": view.key,
        "status": view.status,
        "target": view.target,
        "executionId": view.execution_id,
        "duplicate": view.duplicate,
        "attempts": view.attempts,
        "nextAttemptEpochMs": view.next_attempt_ms,
        "error": view.error,
        "createdAtEpochMs": view.created_at_ms,
        "updatedAtEpochMs": view.updated_at_ms,
    }


def dead_letter(view: DeadLetterView) -> DeadLetterBody:
    """One dead letter."""
    return {
        "deadLetterId": view.dead_letter_id,
        "kind": view.kind,
        "executionId": view.execution_id,
        "pipeline": view.pipeline,
        "status": None if view.status is None else _STATUS_NAMES[view.status],
        "code": view.code,
        "message": view.message,
        "stepId": view.step_id,
        "attempts": view.attempts,
        "createdAtEpochMs": view.created_at_ms,
        "correlationId": view.correlation_id,
        "payload": view.payload,
        "actor": view.actor,
    }


def audit(view: AuditView) -> AuditBody:
    """One entry of the audit."""
    return {
        "auditId": view.audit_id,
        "atEpochMs": view.at_ms,
        "deed": view.deed,
        "outcome": view.outcome,
        "actor": view.actor,
        "credential": view.credential,
        "executionId": view.execution_id,
        "interactionId": view.interaction_id,
        "shown": view.shown,
        "detail": view.detail,
    }


def reject(view: RejectView) -> RejectBody:
    """One item that a step left out."""
    return {
        "rejectId": view.reject_id,
        "executionId": view.execution_id,
        "pipeline": view.pipeline,
        "stepId": view.step_id,
        "itemIndex": view.item_index,
        "fingerprint": view.fingerprint,
        "reason": view.reason,
        "createdAtEpochMs": view.created_at_ms,
        "item": view.item,
    }


def check(of: Check, *, in_full: bool) -> CheckBody:
    """One check; its message may name files and addresses, which strangers are not told."""
    return {
        "name": of.name,
        "ok": of.ok,
        "warning": of.warning,
        "message": of.message if in_full else None,
        "hint": of.hint if in_full else None,
    }


def lines(values: list[Any]) -> bytes:
    """Write NDJSON."""
    return b"".join([encode(value) + b"\n" for value in values])
