"""`/pipeline/...`: the surface that clients of the published await runtime know.

Field by field as that contract says, so nothing is added here but what it leaves room for; what the
app itself wants to offer stands in `bide.web.api`.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from bide.errors import UnknownExecution, UnknownPipeline
from bide.model.status import ExecutionStatus
from bide.web import completing, parsing, rendering, submitting
from bide.web.rendering import JSON
from bide.web.routing import Call, Operation, Parameter
from bide.web.schemas import (
    CompletionBody,
    ExecutionBody,
    InteractionBody,
    ReceiptBody,
    SubmissionBody,
)

LIMIT: Final = Parameter(
    name="limit",
    description="How many, at most 1,000.",
    schema={
        "type": "integer",
        "minimum": 0,
        "maximum": parsing.PAGE_MAX,
        "default": parsing.PAGE_DEFAULT,
    },
)
PENDING_FILTERS: Final = (
    Parameter(name="assignee", description="Asked of this person."),
    Parameter(name="group", description="Asked of this group."),
    Parameter(name="stepId", description="Of this await: its id, or its name."),
    LIMIT,
)
PREFER: Final = Parameter(
    name="Prefer",
    where="header",
    description="`wait=SECONDS`: how long to wait, 30 unless said, at most 300.",
)
COMPLETION_PROBLEMS: Final = (
    "invalid-token",
    "expired-token",
    "not-allowed",
    "wrong-token",
    "token-required",
    "not-found",
    "conflict",
    "ambiguous-correlation",
    "late",
    "too-large",
    "unsupported-media-type",
    "invalid-answer",
    "projection-failed",
    "wrong-step",
    "unknown-step",
)


def _first_pipeline(call: Call) -> str:
    names = call.service.pipelines
    if not names:
        raise UnknownPipeline("this app has no pipeline that takes submissions")
    return names[0]


async def _run_async(call: Call) -> Response:
    submission = await submitting.submit(call, _first_pipeline(call))
    return submitting.accepted(call, submission, f"/pipeline/executions/{submission.execution_id}")


async def _run(call: Call) -> Response:
    seconds = parsing.wait_seconds(call.headers)
    submission = await submitting.submit(call, _first_pipeline(call))
    execution_id = submission.execution_id
    view = await call.service.wait(call.tenant, execution_id, seconds, parked=True)
    if view is None:
        raise _unknown(execution_id)
    headers = {
        "location": call.url(f"/pipeline/executions/{execution_id}"),
        "preference-applied": f"wait={seconds:g}",
    }
    if view.status is ExecutionStatus.SUCCEEDED:
        result = await call.service.result(call.tenant, execution_id)
        return rendering.response(result, headers=headers)
    status = 200 if view.status.is_terminal else 202
    return rendering.response(rendering.execution(view), status=status, headers=headers)


async def _execution(call: Call) -> Response:
    execution_id = call.path("executionId")
    view = await call.service.execution(call.tenant, execution_id)
    if view is None:
        raise _unknown(execution_id)
    return rendering.response(rendering.execution(view))


async def result(call: Call) -> Response:
    """Give a result in one piece."""
    return rendering.response(await call.service.result(call.tenant, call.path("executionId")))


async def _pending(call: Call) -> Response:
    limit = parsing.limit(call.request)
    views = (
        await call.service.pending(
            call.tenant,
            group=parsing.query_text(call.request, "group"),
            assignee=parsing.query_text(call.request, "assignee"),
            step=parsing.query_text(call.request, "stepId"),
            limit=limit,
        )
        if limit
        else []
    )
    return rendering.response([rendering.interaction(view) for view in views])


async def _complete(call: Call) -> Response:
    return await completing.complete_one(call)


def _unknown(execution_id: str) -> UnknownExecution:
    return UnknownExecution(f"there is no execution {execution_id}")


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/pipeline/interactions/complete",
        handle=_complete,
        summary="Complete an interaction",
        tag="pipeline",
        role="decide",
        by_token=True,
        request=CompletionBody,
        responses=((200, ReceiptBody, JSON), (202, ReceiptBody, JSON)),
        problems=COMPLETION_PROBLEMS,
    ),
    Operation(
        method="POST",
        path="/pipeline/run-async",
        handle=_run_async,
        summary="Submit to the app's first pipeline",
        tag="pipeline",
        role="submit",
        parameters=(submitting.KEY,),
        request=Any,
        responses=((202, SubmissionBody, JSON),),
        problems=submitting.PROBLEMS,
    ),
    Operation(
        method="POST",
        path="/pipeline/run",
        handle=_run,
        summary="Submit to the app's first pipeline and wait a while for its end",
        tag="pipeline",
        role="submit",
        parameters=(submitting.KEY, PREFER),
        request=Any,
        responses=((200, Any, JSON), (202, ExecutionBody, JSON)),
        problems=(*submitting.PROBLEMS, "result-too-large"),
    ),
    Operation(
        method="GET",
        path="/pipeline/executions/{executionId}",
        handle=_execution,
        summary="Where an execution stands",
        tag="pipeline",
        responses=((200, ExecutionBody, JSON),),
        problems=("not-found",),
    ),
    Operation(
        method="GET",
        path="/pipeline/executions/{executionId}/result",
        handle=result,
        summary="The result of an execution",
        tag="pipeline",
        responses=((200, Any, JSON),),
        problems=("not-found", "not-finished", "result-too-large"),
    ),
    Operation(
        method="GET",
        path="/pipeline/interactions/pending",
        handle=_pending,
        summary="Open interactions, oldest deadline first",
        tag="pipeline",
        parameters=PENDING_FILTERS,
        responses=((200, list[InteractionBody], JSON),),
    ),
)
