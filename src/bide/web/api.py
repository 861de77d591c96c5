"""`/api/v1/...`: the app's own surface, for every pipeline, with filters and cursors."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from bide.errors import UnknownExecution
from bide.model.ids import parse_execution
from bide.web import body, completing, following, parsing, rendering, results, submitting, taking
from bide.web.pipeline import COMPLETION_PROBLEMS, LIMIT, PENDING_FILTERS, result
from bide.web.problems import Refused, malformed
from bide.web.rendering import JSON, NDJSON
from bide.web.routing import Call, Handler, Operation, Parameter
from bide.web.schemas import (
    AdmissionBody,
    AssignBody,
    AuditPage,
    BatchReceipt,
    CancelBody,
    CompletionBody,
    DeadLetterBody,
    DeadLetterPage,
    ExecutionDetail,
    ExecutionPage,
    HandoffOffer,
    HolderBody,
    InteractionBody,
    InteractionList,
    LineageBody,
    PipelineBody,
    PipelineList,
    ReceiptBody,
    ReceiptCountsBody,
    RedriveBody,
    RejectBody,
    RejectPage,
    ReleaseBody,
    ResultPage,
    SubmissionBody,
    TimelineList,
    UnitList,
)

_PREFIX: Final = "/api/v1"
_CURSOR: Final = Parameter(name="cursor", description="The `nextCursor` of the page before.")
_STATUS: Final = Parameter(name="status", description="Only executions that stand there.")
_HELD: Final = Parameter(
    name="held",
    description="true: only those that are due and that no live worker can claim.",
    schema={"type": "boolean"},
)
_WAIT: Final = Parameter(
    name="Prefer",
    where="header",
    description="`wait=SECONDS`: answer when it has ended, at the latest after so many seconds.",
)
_PIPELINE: Final = Parameter(name="pipeline", description="Only of this pipeline.")


async def _submit(call: Call) -> Response:
    submission = await submitting.submit(call, call.path("pipeline"))
    return submitting.accepted(call, submission, f"{_PREFIX}/executions/{submission.execution_id}")


async def _executions_of_pipeline(call: Call) -> Response:
    return await _execution_page(call, call.path("pipeline"))


async def _executions(call: Call) -> Response:
    return await _execution_page(call, parsing.query_text(call.request, "pipeline"))


async def _execution_page(call: Call, pipeline: str | None) -> Response:
    limit = parsing.limit(call.request)
    views = (
        await call.service.executions(
            call.tenant,
            pipeline=pipeline,
            status=parsing.query_status(call.request),
            before=_execution_cursor(call),
            limit=limit,
            held=parsing.query_flag(call.request, "held"),
        )
        if limit
        else []
    )
    items = [rendering.execution_detail(view) for view in views]
    following = views[-1].execution_id if limit and len(views) >= limit else None
    return rendering.response(ExecutionPage(items=items, nextCursor=following))


async def _execution(call: Call) -> Response:
    execution_id, seconds = call.path("executionId"), parsing.wait_seconds(call.headers, 0)
    if seconds:
        view = await call.service.wait(call.tenant, execution_id, seconds)
    else:
        view = await call.service.execution(call.tenant, execution_id)
    if view is None:
        raise _unknown(execution_id)
    return rendering.response(rendering.execution_detail(view))


async def _timeline(call: Call) -> Response:
    entries = await call.service.timeline(call.tenant, await _known(call))
    items = [rendering.timeline_entry(entry) for entry in entries]
    return rendering.response(TimelineList(items=items))


async def _units(call: Call) -> Response:
    views = await call.service.units(call.tenant, await _known(call))
    return rendering.response(UnitList(items=[rendering.unit(view) for view in views]))


async def _lineage(call: Call) -> Response:
    view = await call.service.lineage(call.tenant, await _known(call))
    return rendering.response(rendering.lineage(view))


async def _cancel(call: Call) -> Response:
    given = await _optional_json(call)
    view = await call.service.cancel(
        call.tenant, call.path("executionId"), parsing.reason(given), caller=call.caller
    )
    return rendering.response(rendering.execution_detail(view))


async def _release(call: Call) -> Response:
    given = await _json(call)
    fingerprint, by = parsing.release(given, call.caller)
    view = await call.service.release(
        call.tenant, call.path("executionId"), fingerprint, by=by, caller=call.caller
    )
    return rendering.response(rendering.execution_detail(view))


async def _pipelines(call: Call) -> Response:
    views = await call.service.pipeline_views()
    return rendering.response(PipelineList(items=[rendering.pipeline(view) for view in views]))


async def _pause(call: Call) -> Response:
    view = await call.service.pause(call.path("pipeline"))
    return rendering.response(rendering.pipeline(view))


async def _resume(call: Call) -> Response:
    view = await call.service.pause(call.path("pipeline"), paused=False)
    return rendering.response(rendering.pipeline(view))


async def _claim(call: Call) -> Response:
    by = parsing.holder(await _optional_json(call), call.caller)
    view = await call.service.claim(call.tenant, await _decidable(call), by, caller=call.caller)
    return rendering.response(rendering.interaction(view))


async def _unclaim(call: Call) -> Response:
    by = parsing.holder(await _optional_json(call), call.caller)
    view = await call.service.unclaim(call.tenant, await _decidable(call), by, caller=call.caller)
    return rendering.response(rendering.interaction(view))


async def _assign(call: Call) -> Response:
    assignee, by = parsing.assignment(await _json(call), call.caller)
    view = await call.service.assign(
        call.tenant, await _decidable(call), assignee, by=by, caller=call.caller
    )
    return rendering.response(rendering.interaction(view))


async def _decidable(call: Call) -> str:
    """The interaction of the path, if this caller is among those that it asks."""
    interaction_id = call.path("interactionId")
    view = await call.service.interaction(call.tenant, interaction_id)
    if view is None:
        raise Refused("not-found", f"there is no interaction {interaction_id}")
    if not call.caller.may_decide(view.group, view.assignee):
        call.service.note_refusal(
            call.caller, "assign", "not-allowed", interaction_id=interaction_id
        )
        raise Refused("not-allowed", "The interaction asks others than this caller.")
    return interaction_id


async def _json(call: Call) -> object:
    return await body.read_json(call.request, call.headers, call.service.settings)


async def _optional_json(call: Call) -> object:
    return await body.read_optional_json(call.request, call.headers, call.service.settings)


async def _interactions(call: Call) -> Response:
    limit = parsing.limit(call.request)
    views = (
        await call.service.pending(
            call.tenant,
            group=parsing.query_text(call.request, "group"),
            assignee=parsing.query_text(call.request, "assignee"),
            step=parsing.query_text(call.request, "stepId"),
            execution_id=parsing.query_text(call.request, "executionId"),
            limit=limit,
        )
        if limit
        else []
    )
    items = [rendering.interaction(view) for view in views]
    return rendering.response(InteractionList(items=items))


async def _interaction(call: Call) -> Response:
    interaction_id = call.path("interactionId")
    view = await call.service.interaction(call.tenant, interaction_id)
    if view is None:
        raise Refused("not-found", f"there is no interaction {interaction_id}")
    return rendering.response(rendering.interaction(view))


async def _complete(call: Call) -> Response:
    return await completing.complete_one(call, named=call.path("interactionId"))


async def _receipts(call: Call) -> Response:
    counts = await call.service.receipts(call.tenant)
    return rendering.response(ReceiptCountsBody(process=counts.process, stored=counts.stored))


async def _dead_letters(call: Call) -> Response:
    limit = parsing.limit(call.request)
    views = (
        await call.service.dead_letters(
            call.tenant,
            pipeline=parsing.query_text(call.request, "pipeline"),
            before=_execution_cursor(call),
            limit=limit,
        )
        if limit
        else []
    )
    items = [rendering.dead_letter(view) for view in views]
    following = views[-1].dead_letter_id if limit and len(views) >= limit else None
    return rendering.response(DeadLetterPage(items=items, nextCursor=following))


async def _dead_letter(call: Call) -> Response:
    dead_letter_id = call.path("deadLetterId")
    view = await call.service.dead_letter(call.tenant, dead_letter_id)
    if view is None:
        raise Refused("not-found", f"there is no dead letter {dead_letter_id}")
    return rendering.response(rendering.dead_letter(view))


async def _redrive_execution(call: Call) -> Response:
    return await _redrive(call, call.path("executionId"))


async def _redrive_dead_letter(call: Call) -> Response:
    return await _redrive(call, call.path("deadLetterId"))


async def _redrive_reject(call: Call) -> Response:
    return await _redrive(call, call.path("rejectId"))


async def _redrive(call: Call, id: str) -> Response:
    given = await _optional_json(call)
    from_await, again = parsing.redrive(given)
    made = await call.service.redrive(
        call.tenant, id, from_await=from_await, again=again, caller=call.caller
    )
    return submitting.accepted(call, made, f"{_PREFIX}/executions/{made.execution_id}")


async def _ask_again(call: Call) -> Response:
    view = await call.service.ask_again(call.tenant, call.path("interactionId"), caller=call.caller)
    return rendering.response(rendering.interaction(view))


async def _audit(call: Call) -> Response:
    limit = parsing.limit(call.request)
    views = (
        await call.service.audit(
            call.tenant,
            execution_id=parsing.query_text(call.request, "executionId"),
            before=_execution_cursor(call),
            limit=limit,
        )
        if limit
        else []
    )
    items = [rendering.audit(view) for view in views]
    following = views[-1].audit_id if limit and len(views) >= limit else None
    return rendering.response(AuditPage(items=items, nextCursor=following))


async def _rejects(call: Call) -> Response:
    limit = parsing.limit(call.request)
    views = (
        await call.service.rejects(
            call.tenant,
            pipeline=parsing.query_text(call.request, "pipeline"),
            after=parsing.reject_cursor(call.request),
            limit=limit,
        )
        if limit
        else []
    )
    items = [rendering.reject(view) for view in views]
    following = views[-1].reject_id if limit and len(views) >= limit else None
    return rendering.response(RejectPage(items=items, nextCursor=following))


async def _reject(call: Call) -> Response:
    reject_id = call.path("rejectId")
    view = await call.service.reject(call.tenant, reject_id)
    if view is None:
        raise Refused("not-found", f"there is no reject {reject_id}")
    return rendering.response(rendering.reject(view))


async def _known(call: Call) -> str:
    """The execution of the path; an unknown one has no empty lists, it is not there."""
    execution_id = call.path("executionId")
    if await call.service.execution(call.tenant, execution_id) is None:
        raise _unknown(execution_id)
    return execution_id


def _unknown(execution_id: str) -> UnknownExecution:
    return UnknownExecution(f"there is no execution {execution_id}")


def _execution_cursor(call: Call) -> str | None:
    """The last id of the page before. One that is none would silently give the first page again."""
    given = parsing.query_text(call.request, "cursor")
    if given is not None and parse_execution(given) is None:
        raise malformed("cursor: give the nextCursor of the page before.")
    return given


_EXECUTION: Final = f"{_PREFIX}/executions/{{executionId}}"
_INTERACTION: Final = f"{_PREFIX}/interactions/{{interactionId}}"
_ASSIGNING: Final = (
    "not-found", "not-allowed", "already-assigned", "already-ended", "invalid-input", "too-large",
    "unsupported-media-type",
)  # fmt: skip

_REDRIVE_PROBLEMS: Final = (
    "not-found",
    "unknown-pipeline",
    "not-redrivable",
    "submit-conflict",
    "invalid-input",
    "too-large",
    "unsupported-media-type",
)


def _redriving(path: str, handle: Handler, summary: str, tag: str) -> Operation:
    return Operation(
        method="POST",
        path=f"{path}/redrive",
        handle=handle,
        summary=summary,
        tag=tag,
        role="submit",
        request=RedriveBody,
        responses=((202, SubmissionBody, JSON),),
        problems=_REDRIVE_PROBLEMS,
    )


OPERATIONS: Final = (
    Operation(
        method="POST",
        path=f"{_PREFIX}/interactions/complete-batch",
        handle=completing.complete_lines,
        summary="Complete many interactions, one a line, with a receipt a line",
        tag="interactions",
        role="decide",
        by_token=True,
        request=CompletionBody,
        request_is_ndjson=True,
        responses=((200, BatchReceipt, NDJSON),),
        problems=("not-allowed", "too-large", "unsupported-media-type"),
    ),
    Operation(
        method="POST",
        path=f"{_PREFIX}/handoffs",
        handle=taking.take_lines,
        summary="Take what another deployment publishes, one publication a line, an answer a line",
        tag="executions",
        role="submit",
        request=HandoffOffer,
        request_is_ndjson=True,
        responses=((200, AdmissionBody, NDJSON),),
        problems=("too-large", "unsupported-media-type"),
    ),
    Operation(
        method="POST",
        path=f"{_PREFIX}/pipelines/{{pipeline}}/executions",
        handle=_submit,
        summary="Submit to a pipeline",
        tag="executions",
        role="submit",
        parameters=(submitting.KEY,),
        request=Any,
        responses=((202, SubmissionBody, JSON),),
        problems=submitting.PROBLEMS,
    ),
    Operation(
        method="GET",
        path=f"{_PREFIX}/pipelines/{{pipeline}}/executions",
        handle=_executions_of_pipeline,
        summary="Executions of a pipeline, newest first",
        tag="executions",
        parameters=(_STATUS, _HELD, LIMIT, _CURSOR),
        responses=((200, ExecutionPage, JSON),),
    ),
    Operation(
        method="GET",
        path=f"{_PREFIX}/executions",
        handle=_executions,
        summary="Executions, newest first",
        tag="executions",
        parameters=(_PIPELINE, _STATUS, _HELD, LIMIT, _CURSOR),
        responses=((200, ExecutionPage, JSON),),
    ),
    Operation(
        method="GET",
        path=_EXECUTION,
        handle=_execution,
        summary="Where an execution stands; with `Prefer: wait=SECONDS`, once it has ended",
        tag="executions",
        parameters=(_WAIT,),
        responses=((200, ExecutionDetail, JSON),),
        problems=("not-found",),
    ),
    Operation(
        method="GET",
        path=f"{_EXECUTION}/result",
        handle=result,
        summary="The result of an execution, in one piece",
        tag="executions",
        responses=((200, Any, JSON),),
        problems=("not-found", "not-finished", "result-too-large"),
    ),
    Operation(
        method="GET",
        path=f"{_EXECUTION}/results",
        handle=results.results,
        summary="A streaming result, in pages or as NDJSON",
        tag="executions",
        parameters=(LIMIT, _CURSOR),
        responses=((200, ResultPage, JSON), (200, Any, NDJSON)),
        problems=("not-found", "not-finished"),
    ),
    Operation(
        method="GET",
        path=f"{_EXECUTION}/timeline",
        handle=_timeline,
        summary="The facts of an execution's life",
        tag="executions",
        responses=((200, TimelineList, JSON),),
        problems=("not-found",),
    ),
    Operation(
        method="GET",
        path=f"{_EXECUTION}/events",
        handle=following.events,
        summary="The facts of an execution's life as they come, as server-sent events",
        tag="executions",
        parameters=(following.LAST_EVENT_ID,),
        responses=((200, Any, following.EVENT_STREAM),),
        problems=("not-found",),
    ),
    Operation(
        method="GET",
        path=f"{_EXECUTION}/replay",
        handle=following.replay,
        summary="An execution's life as one document: topology, lineage, units and every fact",
        tag="executions",
        parameters=(following.PAYLOADS,),
        responses=((200, Any, JSON),),
        problems=("not-found",),
    ),
    Operation(
        method="GET",
        path=f"{_EXECUTION}/units",
        handle=_units,
        summary="The await units of an execution",
        tag="executions",
        responses=((200, UnitList, JSON),),
        problems=("not-found",),
    ),
    Operation(
        method="GET",
        path=f"{_EXECUTION}/lineage",
        handle=_lineage,
        summary="The publications that an execution was made of, and those that it has made",
        tag="executions",
        responses=((200, LineageBody, JSON),),
        problems=("not-found",),
    ),
    Operation(
        method="POST",
        path=f"{_EXECUTION}/cancel",
        handle=_cancel,
        summary="Cancel an execution and whatever it waits for",
        tag="executions",
        role="submit",
        request=CancelBody,
        responses=((200, ExecutionDetail, JSON),),
        problems=("not-found", "already-ended", "too-large", "unsupported-media-type"),
    ),
    _redriving(_EXECUTION, _redrive_execution, "Do a failed execution again", "executions"),
    Operation(
        method="POST",
        path=f"{_EXECUTION}/release",
        handle=_release,
        summary="Let an execution that no worker fits go on as another boundary",
        tag="executions",
        role="operate",
        request=ReleaseBody,
        responses=((200, ExecutionDetail, JSON),),
        problems=(
            "not-found",
            "already-ended",
            "not-releasable",
            "too-large",
            "unsupported-media-type",
        ),
    ),
    Operation(
        method="GET",
        path=f"{_PREFIX}/pipelines",
        handle=_pipelines,
        summary="The app's pipelines, and which are paused",
        tag="pipelines",
        responses=((200, PipelineList, JSON),),
    ),
    Operation(
        method="POST",
        path=f"{_PREFIX}/pipelines/{{pipeline}}/pause",
        handle=_pause,
        summary="Stop the claims of a pipeline in every process",
        tag="pipelines",
        role="operate",
        responses=((200, PipelineBody, JSON),),
        problems=("unknown-pipeline",),
    ),
    Operation(
        method="POST",
        path=f"{_PREFIX}/pipelines/{{pipeline}}/resume",
        handle=_resume,
        summary="Let a paused pipeline go on",
        tag="pipelines",
        role="operate",
        responses=((200, PipelineBody, JSON),),
        problems=("unknown-pipeline",),
    ),
    Operation(
        method="POST",
        path=f"{_INTERACTION}/claim",
        handle=_claim,
        summary="Take an interaction that nobody has",
        tag="interactions",
        role="decide",
        request=HolderBody,
        responses=((200, InteractionBody, JSON),),
        problems=_ASSIGNING,
    ),
    Operation(
        method="POST",
        path=f"{_INTERACTION}/release",
        handle=_unclaim,
        summary="Put an interaction of one's own back",
        tag="interactions",
        role="decide",
        request=HolderBody,
        responses=((200, InteractionBody, JSON),),
        problems=_ASSIGNING,
    ),
    Operation(
        method="POST",
        path=f"{_INTERACTION}/assign",
        handle=_assign,
        summary="Say whose an interaction is, whoever has it",
        tag="interactions",
        role="decide",
        request=AssignBody,
        responses=((200, InteractionBody, JSON),),
        problems=_ASSIGNING,
    ),
    Operation(
        method="GET",
        path=f"{_PREFIX}/interactions",
        handle=_interactions,
        summary="Open interactions, oldest deadline first",
        tag="interactions",
        parameters=(
            *PENDING_FILTERS,
            Parameter(name="executionId", description="Only of this execution."),
        ),
        responses=((200, InteractionList, JSON),),
    ),
    Operation(
        method="GET",
        path=_INTERACTION,
        handle=_interaction,
        summary="One interaction",
        tag="interactions",
        responses=((200, InteractionBody, JSON),),
        problems=("not-found",),
    ),
    Operation(
        method="POST",
        path=f"{_INTERACTION}/complete",
        handle=_complete,
        summary="Complete the interaction that the path names",
        tag="interactions",
        role="decide",
        by_token=True,
        request=CompletionBody,
        responses=((200, ReceiptBody, JSON), (202, ReceiptBody, JSON)),
        problems=COMPLETION_PROBLEMS,
    ),
    Operation(
        method="POST",
        path=f"{_INTERACTION}/redrive",
        handle=_ask_again,
        summary="Ask for a failed item of an open await once more",
        tag="interactions",
        role="submit",
        responses=((200, InteractionBody, JSON),),
        problems=("not-found", "unknown-pipeline", "not-redrivable"),
    ),
    Operation(
        method="GET",
        path=f"{_PREFIX}/receipts",
        handle=_receipts,
        summary="How many completions got which receipt",
        tag="interactions",
        responses=((200, ReceiptCountsBody, JSON),),
    ),
    Operation(
        method="GET",
        path=f"{_PREFIX}/dead-letters",
        handle=_dead_letters,
        summary="Dead letters, newest first",
        tag="dead-letters",
        parameters=(_PIPELINE, LIMIT, _CURSOR),
        responses=((200, DeadLetterPage, JSON),),
    ),
    Operation(
        method="GET",
        path=f"{_PREFIX}/dead-letters/{{deadLetterId}}",
        handle=_dead_letter,
        summary="One dead letter",
        tag="dead-letters",
        responses=((200, DeadLetterBody, JSON),),
        problems=("not-found",),
    ),
    _redriving(
        f"{_PREFIX}/dead-letters/{{deadLetterId}}",
        _redrive_dead_letter,
        "Do the execution of a dead letter again, or offer its publication once more",
        "dead-letters",
    ),
    Operation(
        method="GET",
        path=f"{_PREFIX}/audit",
        handle=_audit,
        summary="Who decided what, by which credential, newest first",
        tag="audit",
        role="administer",
        parameters=(
            Parameter(name="executionId", description="Only about this execution."),
            LIMIT,
            _CURSOR,
        ),
        responses=((200, AuditPage, JSON),),
    ),
    Operation(
        method="GET",
        path=f"{_PREFIX}/rejects",
        handle=_rejects,
        summary="Items that steps left out, the newest execution first",
        tag="dead-letters",
        parameters=(_PIPELINE, LIMIT, _CURSOR),
        responses=((200, RejectPage, JSON),),
    ),
    Operation(
        method="GET",
        path=f"{_PREFIX}/rejects/{{rejectId}}",
        handle=_reject,
        summary="One item that a step left out",
        tag="dead-letters",
        responses=((200, RejectBody, JSON),),
        problems=("not-found",),
    ),
    _redriving(
        f"{_PREFIX}/rejects/{{rejectId}}",
        _redrive_reject,
        "Take an item that a step left out through the rest of the pipeline",
        "dead-letters",
    ),
)
