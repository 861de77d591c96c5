"""What a client can do, each as a flow of exchanges; `Client` and `AsyncClient` drive them.

Every request may be sent again: a submission has a key, a completion is compared by its content,
and a repeated redrive gives the execution that the first one made. Only a cancellation has nothing
to be known again by, and is repeated where it cannot have arrived.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Generic, Literal, cast
from urllib.parse import quote

import orjson
from pydantic_core import to_json
from typing_extensions import TypeVar

from bide.authoring.answers import Interaction, Receipt
from bide.authoring.awaits import Await
from bide.authoring.retry import Retry
from bide.client import refusals
from bide.client.exchange import Answered, Exchange, Flow, Rest, exchanged
from bide.client.refusals import refused_completion
from bide.errors import (
    BideError,
    DefinitionError,
    ExecutionCancelled,
    ExecutionFailed,
    StoreUnavailable,
)
from bide.model.ids import format_execution
from bide.model.status import ExecutionStatus
from bide.planning.codec import Codec
from bide.planning.codec_of import codec_of
from bide.planning.pipeline import Pipeline, plan_of
from bide.runtime.clock import ExecutionIds
from bide.runtime.views import DeadLetterView, ExecutionView

A = TypeVar("A")
B = TypeVar("B")

_API: Final = "/api/v1"
#: How long one request waits for an execution's end; proxies cut longer ones.
_WAIT_AT_ONCE_S: Final = 20.0
_PARKED_POLL_S: Final = (0.02, 1.0)
#: One request of a batch; half of what a server takes unless told otherwise.
_LINES_AT_ONCE: Final = 5_000
_BATCH_BYTES: Final = 4 * 1024 * 1024
_PAGE: Final = 1_000
#: Keys that sort by time, as ids do: random ones cost a store dearly.
_new_id: Final = ExecutionIds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Interaction[A, B], Generic[A, B]):
    """An open interaction that remembers how its answer is written."""

    answers: Codec[Any] | None = None


# --- executions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submitted:
    """An execution that is stored now."""

    execution_id: str
    duplicate: bool


def submit(
    pipeline: Pipeline[Any, Any] | str, value: Any, key: str | None, retry: Retry
) -> Flow[Submitted]:
    """Submit a value, encoded as the pipeline's input where its definition is at hand."""
    if isinstance(pipeline, str):
        name, content = pipeline, to_json(value)
    else:
        name, content = pipeline.id, plan_of(pipeline).input.encode(value)
    # Without a key of its own a repeat would be a second execution.
    headers = {"idempotency-key": key or f"client-{format_execution(_new_id())}"}
    path = f"{_API}/pipelines/{_segment(name)}/executions"
    return exchanged(_post(path, content, headers), _submitted, retry)


def view(execution_id: str, retry: Retry, wait_s: float = 0) -> Flow[ExecutionView]:
    """Where it stands, at once or when it has ended."""
    headers = {"prefer": f"wait={wait_s:.3f}"} if wait_s else {}
    path = f"{_API}/executions/{_segment(execution_id)}"
    exchange = Exchange(method="GET", path=path, headers=headers, patience_s=wait_s)
    return exchanged(exchange, _view, retry)


def result(
    execution_id: str, output: Codec[Any] | None, timeout_s: float | None, retry: Retry
) -> Flow[Any]:
    """Wait for the end, then read the result in one piece, or why there is none."""
    yield from _succeeded(execution_id, timeout_s, retry)
    path = f"{_API}/executions/{_segment(execution_id)}/result"
    read = _json if output is None else _decoded(output)
    return (yield from exchanged(Exchange(method="GET", path=path), read, retry))


def page(
    execution_id: str, output: Codec[Any] | None, cursor: str | None, retry: Retry
) -> Flow[tuple[list[Any], str | None]]:
    """A page of a streaming result, and where the next one begins; None after the last."""
    if cursor is None:
        yield from _succeeded(execution_id, 0, retry)
    params = _given(cursor=cursor, limit=_PAGE)
    path = f"{_API}/executions/{_segment(execution_id)}/results"
    exchange = Exchange(method="GET", path=path, params=params)
    body = yield from exchanged(exchange, _json, retry)
    items: list[Any] = body["items"]
    return [output.item.parse(item) for item in items] if output else items, body["nextCursor"]


def cancel(execution_id: str, reason: str, retry: Retry) -> Flow[None]:
    """Cancel it."""
    path = f"{_API}/executions/{_segment(execution_id)}/cancel"
    exchange = _post(path, to_json({"reason": reason}))
    return exchanged(exchange, _nothing, retry, repeatable=False)


def redrive(
    id: str, from_: Literal["start", "await"], again: bool, retry: Retry
) -> Flow[Submitted]:
    """Do it again as a new execution."""
    path = f"{_API}/executions/{_segment(id)}/redrive"
    exchange = _post(path, to_json({"from": from_, "again": again}))
    return exchanged(exchange, _submitted, retry, repeatable=not again)


def dead_letters(
    pipeline: str | None, limit: int, cursor: str | None, retry: Retry
) -> Flow[list[DeadLetterView]]:
    """A page of what did not succeed, newest first."""
    params = _given(pipeline=pipeline, limit=limit, cursor=cursor)
    exchange = Exchange(method="GET", path=f"{_API}/dead-letters", params=params)
    return exchanged(exchange, lambda came: [_letter(one) for one in _json(came)["items"]], retry)


def _succeeded(execution_id: str, timeout_s: float | None, retry: Retry) -> Flow[ExecutionView]:
    ends_at = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = _WAIT_AT_ONCE_S if ends_at is None else max(0.0, ends_at - time.monotonic())
        found = yield from view(execution_id, retry, min(left, _WAIT_AT_ONCE_S))
        if found.status is ExecutionStatus.SUCCEEDED:
            return found
        if found.status.is_terminal:
            raise (yield from _ended(found, retry))
        if left <= _WAIT_AT_ONCE_S and ends_at is not None:
            raise TimeoutError(f"execution {execution_id} is {found.status.name}")


def _ended(found: ExecutionView, retry: Retry) -> Flow[BideError]:
    reason, id_ = found.error_message or "", found.execution_id
    if found.status is ExecutionStatus.CANCELLED:
        return ExecutionCancelled(f"execution {id_} was cancelled: {reason}", reason=reason)
    exchange = Exchange(method="GET", path=f"{_API}/dead-letters/{_segment(id_)}")
    letter = yield from exchanged(exchange, lambda came: _letter(_json(came)), retry)
    return ExecutionFailed(
        f"execution {id_} ended {found.status.name}: {found.error_code}: {reason}",
        code=found.error_code or "failed",
        step_id=letter.step_id,
        attempts=letter.attempts,
        dead_letter_id=letter.dead_letter_id,
    )


# --- what waits ---------------------------------------------------------------------------------


def pending(
    boundary: Await[Any, Any, Any] | str | None,
    retry: Retry,
    *,
    group: str | None = None,
    assignee: str | None = None,
    execution_id: str | None = None,
    limit: int = 100,
) -> Flow[list[Question[Any, Any]]]:
    """Open interactions, oldest deadline first."""
    step = boundary.id if isinstance(boundary, Await) else boundary
    params = _given(
        stepId=step, group=group, assignee=assignee, executionId=execution_id, limit=limit
    )
    typed = boundary if isinstance(boundary, Await) else None
    exchange = Exchange(method="GET", path=f"{_API}/interactions", params=params)
    return exchanged(
        exchange, lambda came: [_question(one, typed) for one in _json(came)["items"]], retry
    )


def parked(
    execution_id: str, boundary: Await[Any, Any, Any], timeout_s: float, retry: Retry
) -> Flow[list[Question[Any, Any]]]:
    """Wait until it waits at that boundary, and give what is open there in item order."""
    ends_at, (rest_s, longest_s) = time.monotonic() + timeout_s, _PARKED_POLL_S
    while True:
        found = yield from view(execution_id, retry)
        if found.status is ExecutionStatus.WAITING_EXTERNAL:
            there = yield from pending(boundary, retry, execution_id=execution_id, limit=_PAGE)
            if there:
                return sorted(there, key=lambda question: question.item_index or 0)
        if found.status is ExecutionStatus.SUCCEEDED:
            return []
        if found.status.is_terminal:
            raise (yield from _ended(found, retry))
        if time.monotonic() > ends_at:
            raise TimeoutError(f"execution {execution_id} is {found.status.name}")
        yield Rest(rest_s)
        rest_s = min(longest_s, rest_s * 1.5)


# --- answers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer or a failure, with what it is for; encoded, so that nothing of it can be refused
    here after the first of a batch was sent.
    """

    fields: dict[str, Any]

    def encoded(self) -> bytes:
        """Its line on the wire."""
        return orjson.dumps(self.fields)


def completion(
    interaction: Interaction[Any, Any] | Await[Any, Any, Any] | str | None,
    answer: Any,
    *,
    correlation_id: str | None = None,
    resume_token: str | None = None,
    actor: str | None = None,
) -> Completion:
    """An answer to an interaction, to an await's correlation id, or by its token alone.

    Raises:
        DefinitionError: it names nothing, or an await without a correlation id.
        PayloadError: the answer has no JSON form.
    """
    named = _named(interaction, correlation_id, resume_token)
    payload = orjson.Fragment(_encoded(interaction, answer))
    return Completion(fields=_given(**named, actor=actor) | {"responsePayload": payload})


def failure(
    interaction: Interaction[Any, Any] | str | None,
    code: str,
    message: str,
    *,
    resume_token: str | None = None,
    actor: str | None = None,
) -> Completion:
    """That the actor could not do what was asked."""
    named = _named(interaction, None, resume_token)
    told = {"code": code, "message": message or code}
    return Completion(fields=_given(**named, actor=actor) | {"failure": told})


def complete(given: Completion, retry: Retry) -> Flow[Receipt]:
    """Send one completion; a refusal is raised with its receipt."""
    exchange = _post("/pipeline/interactions/complete", given.encoded())
    return exchanged(exchange, _receipt, retry, on_refusal=refused_completion)


def complete_many(given: Sequence[Completion], retry: Retry) -> Flow[list[Receipt]]:
    """Send many, in shared commits; a receipt each, in order, whatever it says.

    Raises:
        StoreUnavailable: it failed midway; `.receipts` holds those that were committed.
    """
    receipts: list[Receipt] = []
    lines = [each.encoded() for each in given]
    tries = 0
    while len(receipts) < len(lines):
        batch = _batch(lines, len(receipts))
        try:
            answers = yield from _send_lines(batch, retry)
        except StoreUnavailable as error:
            raise StoreUnavailable(str(error), receipts=receipts) from error
        for answer in answers:
            if "receipt" not in answer:
                break
            receipts.append(refusals.receipt_of(answer))
        else:
            tries = 0
            continue
        refused = refusals.of_problem(answer, int(answer.get("status", 0)))
        tries += 1
        if not isinstance(refused, StoreUnavailable):
            raise refused
        if tries >= retry.attempts:
            raise StoreUnavailable(str(refused), receipts=receipts)
        yield Rest(retry.rest_ms(tries, 1) / 1000)
    return receipts


def _send_lines(lines: Sequence[bytes], retry: Retry) -> Flow[list[dict[str, Any]]]:
    content = b"\n".join(lines)
    exchange = Exchange(
        method="POST",
        path=f"{_API}/interactions/complete-batch",
        headers={"content-type": "application/x-ndjson"},
        content=content,
        patience_s=len(lines) / 100,
    )
    return exchanged(
        exchange, lambda came: [orjson.loads(line) for line in came.body.splitlines()], retry
    )


def _batch(lines: Sequence[bytes], start: int) -> Sequence[bytes]:
    size, end = 0, start
    while end < len(lines) and end - start < _LINES_AT_ONCE:
        size += len(lines[end]) + 1
        if size > _BATCH_BYTES and end > start:
            break
        end += 1
    return lines[start:end]


def _named(
    interaction: Interaction[Any, Any] | Await[Any, Any, Any] | str | None,
    correlation_id: str | None,
    resume_token: str | None,
) -> dict[str, str | None]:
    match interaction:
        case None if resume_token is None:
            raise DefinitionError("name the interaction, or give its resume_token=")
        case None:
            return {"resumeToken": resume_token}
        case str():
            return {"interactionId": interaction, "resumeToken": resume_token}
        case Interaction():
            named = {"interactionId": interaction.interaction_id, "stepId": interaction.step_id}
            return {**named, "resumeToken": resume_token}
        case Await() if correlation_id is None:
            raise DefinitionError("an await alone names no interaction; add correlation_id=...")
        case Await():
            return {"correlationId": correlation_id, "stepId": interaction.id}


def _encoded(interaction: object, answer: Any) -> bytes:
    codec: Codec[Any] | None = None
    if isinstance(interaction, Await):
        codec = _codec(interaction.answer_type)
    elif isinstance(interaction, Question):
        codec = interaction.answers
    return to_json(answer) if codec is None else codec.encode(answer)


# --- reading and writing ------------------------------------------------------------------------


def _post(path: str, content: bytes, headers: dict[str, str] | None = None) -> Exchange:
    typed = {"content-type": "application/json", **(headers or {})}
    return Exchange(method="POST", path=path, headers=typed, content=content)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _segment(text: str) -> str:
    return quote(text, safe="")


@lru_cache(maxsize=1_000)
def _codec(form: Any) -> Codec[Any]:
    return codec_of(form)


def _json(came: Answered) -> Any:
    return orjson.loads(came.body)


def _nothing(came: Answered) -> None:
    del came


def _decoded(codec: Codec[Any]) -> Callable[[Answered], Any]:
    def read(came: Answered) -> Any:
        value = codec.parse(_json(came))
        return list(cast("Iterable[Any]", value)) if codec.many else value

    return read


def _submitted(came: Answered) -> Submitted:
    body = _json(came)
    return Submitted(body["executionId"], body["duplicate"])


def _receipt(came: Answered) -> Receipt:
    return refusals.receipt_of(_json(came))


def _view(came: Answered) -> ExecutionView:
    body = _json(came)
    held = body["held"]
    return ExecutionView(
        execution_id=body["executionId"],
        tenant="",
        pipeline=body["pipeline"],
        status=ExecutionStatus[body["status"]],
        step_index=body["stepIndex"],
        step=body["step"],
        attempt=body["attempt"],
        version=body["version"],
        next_due_at_ms=body["nextDueAtEpochMs"],
        created_at_ms=body["createdAtEpochMs"],
        updated_at_ms=body["updatedAtEpochMs"],
        error_code=body["errorCode"],
        error_message=body["errorMessage"],
        result_count=body["resultCount"],
        held=None if held is None else held["reason"],
        redriven_from=body["redrivenFrom"],
        fingerprint=body["fingerprint"],
    )


def _letter(body: dict[str, Any]) -> DeadLetterView:
    status = body["status"]
    return DeadLetterView(
        dead_letter_id=body["deadLetterId"],
        kind=body["kind"],
        execution_id=body["executionId"],
        pipeline=body["pipeline"],
        status=None if status is None else ExecutionStatus[status],
        code=body["code"],
        message=body["message"],
        step_id=body["stepId"],
        attempts=body["attempts"],
        created_at_ms=body["createdAtEpochMs"],
        correlation_id=body["correlationId"],
        payload=body["payload"],
        actor=body["actor"],
    )


def _question(body: dict[str, Any], boundary: Await[Any, Any, Any] | None) -> Question[Any, Any]:
    request = body["requestPayload"]
    if boundary is not None:
        codec = _codec(boundary.request_type)
        parsed: Any = codec.parse(request)
        request = list(parsed) if codec.many else parsed
    return Question(
        interaction_id=body["interactionId"],
        execution_id=body["executionId"],
        step_id=body["stepId"],
        request=request,
        deadline=datetime.fromtimestamp(body["deadlineEpochMs"] / 1000, UTC),
        correlation_id=body["correlationId"],
        group=body["group"],
        assignee=body["assignee"],
        item_index=body["itemIndex"],
        answers=None if boundary is None else _codec(boundary.answer_type),
    )
