"""Taking submissions in, for both surfaces."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from bide.runtime.texts import NAME_MAX
from bide.runtime.views import Submission
from bide.web import body, parsing, rendering
from bide.web.routing import Call, Parameter
from bide.web.schemas import SubmissionBody

KEY: Final = Parameter(
    name="Idempotency-Key",
    where="header",
    description="The submit key: the same key with the same input names the same execution.",
    schema={"type": "string", "maxLength": NAME_MAX},
)
#: What can be wrong with a submission.
PROBLEMS: Final = (
    "unknown-pipeline",
    "submit-conflict",
    "too-large",
    "limit-exceeded",
    "quota-exceeded",
    "unsupported-media-type",
    "invalid-input",
)


async def submit(call: Call, pipeline: str) -> Submission:
    """Store the body as an execution of a pipeline, or find the one that its key names."""
    settings = call.service.settings
    key = parsing.idempotency_key(call.headers, required=settings.require_idempotency_key)
    value = await body.read_json(call.request, call.headers, settings)
    return await call.service.submit(pipeline, value, key=key, tenant=call.tenant)


def accepted(call: Call, submission: Submission, path: str) -> Response:
    """Say where an execution is followed."""
    status_url = call.url(path)
    answer = SubmissionBody(
        executionId=submission.execution_id,
        duplicate=submission.duplicate,
        statusUrl=status_url,
        submittedAtEpochMs=submission.submitted_at_ms,
    )
    return rendering.response(answer, status=202, headers={"location": status_url})
