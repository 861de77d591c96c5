"""OpenAPI 3.1 from the operations: what is rendered and what is described are the same types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, get_args

from pydantic import TypeAdapter
from typing_extensions import is_typeddict

from bide.web import problems
from bide.web.rendering import JSON, NDJSON
from bide.web.routing import Operation, Parameter
from bide.web.schemas import CompletionProblem, Problem

_COMPONENTS: Final = "#/components/schemas/"
_IN_PATH: Final = re.compile(r"\{(\w+)\}")
_TENANT: Final = Parameter(
    name="x-tenant-id",
    where="header",
    description="The tenant, without authentication; with it, it must be the caller's own.",
)
SECURITY_SCHEMES: Final[Mapping[str, Any]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key or a JWT. Without authentication only this machine is served.",
    }
}
#: What any request can meet.
_ALWAYS: Final = (
    "malformed",
    "too-many-headers",
    "unauthenticated",
    "foreign-host",
    "foreign-origin",
    "tenant-mismatch",
    "internal",
    "unavailable",
)


def extra_of(operation: Operation) -> dict[str, Any]:
    """Describe what FastAPI cannot see, since handlers read the request themselves."""
    # A resume token in the body does as well where one is taken: then no credential is needed.
    alternatives: list[dict[str, list[str]]] = [
        {"bearer": []},
        *([{}] if operation.by_token else []),
    ]
    described: dict[str, Any] = {
        "security": alternatives,
        "parameters": [
            *(_path_parameter(name) for name in _IN_PATH.findall(operation.path)),
            *map(_parameter, (*operation.parameters, _TENANT)),
        ],
    }
    if operation.request is not None:
        media_type = NDJSON if operation.request_is_ndjson else JSON
        described["requestBody"] = {
            "required": not operation.path.endswith("/cancel"),
            "content": {media_type: {"schema": _schema(operation.request)}},
        }
    return described


def responses_of(operation: Operation) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a route, its problems by status."""
    responses: dict[int | str, dict[str, Any]] = {}
    for status, body, media_type in operation.responses:
        content = responses.setdefault(status, _response(HTTPStatus(status).phrase))["content"]
        content[media_type] = {"schema": _schema(body)}
    codes = {*operation.problems, *_ALWAYS}
    if operation.request is not None:
        codes.add("slow-body")
    if operation.role is not None:
        codes.add("not-allowed")
    of_completions = any(media == JSON for _, _, media in operation.responses) and (
        "invalid-answer" in operation.problems
    )
    for code in sorted(codes):
        kind = problems.PROBLEMS[code]
        entry = responses.setdefault(kind.status, _response(""))
        entry["description"] = ", ".join(filter(None, (entry["description"], f"`{code}`")))
        body = Any
        if of_completions and code in {"conflict", "late", "not-found", "invalid-answer"}:
            body = CompletionProblem
        content = entry["content"].setdefault(problems.MEDIA_TYPE, {"schema": _schema(Problem)})
        if body is CompletionProblem:
            content["schema"] = _schema(CompletionProblem)
    return responses


def components(operations: Iterable[Operation]) -> dict[str, Any]:
    """Collect the schemas that the operations refer to."""
    bodies: list[Any] = [Problem, CompletionProblem]
    for operation in operations:
        bodies += [operation.request, *(body for _, body, _ in operation.responses)]
    named = {
        one.__name__: one for body in bodies for one in (body, *get_args(body)) if is_typeddict(one)
    }
    _, schema = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter[Any](one)) for name, one in sorted(named.items())],
        ref_template=_COMPONENTS + "{model}",
    )
    found: dict[str, Any] = schema["$defs"]
    return found


def _response(description: str) -> dict[str, Any]:
    return {"description": description, "content": {}}


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": False,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _schema(body: Any) -> dict[str, Any]:
    if is_typeddict(body):
        return {"$ref": _COMPONENTS + body.__name__}
    if items := get_args(body):
        return {"type": "array", "items": _schema(items[0])}
    return {}
