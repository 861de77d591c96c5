"""Taking in what other deployments publish: a line each, answered in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast

from starlette.responses import Response

from bide.errors import BideError
from bide.model.ids import parse_execution
from bide.planning.json_limits import MalformedJson, strict_loads
from bide.runtime.publishing import NotTaken
from bide.runtime.views import Published, Submission
from bide.web import body, problems, rendering
from bide.web.problems import Refused, malformed
from bide.web.routing import Call
from bide.web.schemas import AdmissionBody, Problem

LineAnswer: TypeAlias = AdmissionBody | Problem
_TEXTS: Final = ("publication", "handoffKey", "sourceExecutionId", "sourcePipeline")


async def take_lines(call: Call) -> Response:
    """Take in a batch of publications, one a line; each stands or falls alone."""
    settings = call.service.settings
    data = await body.read_bytes(call.request, call.headers, settings, rendering.NDJSON)
    if not data.strip():
        raise malformed("The body is empty; one publication a line is needed.")
    lines = data.removesuffix(b"\n").split(b"\n")
    if len(lines) > settings.batch_max_lines:
        raise Refused(
            "too-large",
            f"batch_max_lines allows {settings.batch_max_lines:,} lines,"
            f" and this has {len(lines):,}",
        )
    instance = problems.instance_of(call.request)
    read = [_read(line, f"{instance}#{number}") for number, line in enumerate(lines, 1)]
    published = [each for each in read if isinstance(each, Published)]
    with call.waiting.holding(len(published), settings.pending_rows):
        taken = iter(await call.service.take(call.tenant, published))
    answers = [
        _answer(next(taken), f"{instance}#{number}") if isinstance(each, Published) else each
        for number, each in enumerate(read, 1)
    ]
    return rendering.raw(rendering.lines(cast("list[Any]", answers)), media_type=rendering.NDJSON)


def _read(line: bytes, instance: str) -> Published | Problem:
    try:
        return _published(strict_loads(line))
    except (MalformedJson, Refused) as error:
        return problems.of_error(error, instance=instance)


def _published(given: object) -> Published:
    if not isinstance(given, dict):
        raise malformed("A publication is a JSON object.")
    fields = cast("Mapping[str, object]", given)
    publication, key, source, pipeline = (_text(fields, name) for name in _TEXTS)
    execution = parse_execution(source)
    if execution is None:
        raise malformed("is no id of an execution", "/sourceExecutionId")
    if "payload" not in fields:
        raise malformed("is missing", "/payload")
    return Published(
        publication=publication,
        key=key,
        payload=fields["payload"],
        source=execution,
        pipeline=pipeline,
        trace_parent=_optional(fields, "traceparent"),
        trace_state=_optional(fields, "tracestate"),
    )


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise malformed("must be a text that is not blank", f"/{name}")
    return value


def _optional(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _answer(taken: Submission | NotTaken | BideError, instance: str) -> LineAnswer:
    match taken:
        case Submission():
            return AdmissionBody(executionId=taken.execution_id, duplicate=taken.duplicate)
        case NotTaken():
            why = taken.failure
            return problems.problem(why.code, why.message, instance=instance)
        case _:
            return problems.of_error(taken, instance=instance)
