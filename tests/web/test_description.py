"""OpenAPI and the reference page say what the code does."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ConfigDict, TypeAdapter

from bide.web import schemas
from bide.web.app import describe, operations
from bide.web.problems import PROBLEMS, TYPE_BASE
from tests.web.expect import Park

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"
PROBES = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
#: For people; no part of the API.
PAGES = {("GET", "/decide/{token}"), ("POST", "/decide/{token}")}


def test_it_is_openapi_3_1_and_refers_to_what_is_there():
    """Every reference of the document leads to a schema, and every schema is used."""
    document = describe()
    references = set(re.findall(r"'#/components/schemas/(\w+)'", str(document)))

    assert document["openapi"].startswith("3.1")
    assert references == set(document["components"]["schemas"])


def test_every_route_is_described_once():
    """Paths, methods and operation ids are those of the operations."""
    described = {
        (method.upper(), path): entry
        for path, methods in describe()["paths"].items()
        for method, entry in methods.items()
    }
    ids = [entry["operationId"] for entry in described.values()]

    assert set(described) == {(one.method, one.path) for one in operations()}
    assert len(ids) == len(set(ids))
    for (_, path), entry in described.items():
        in_path = {one["name"] for one in entry["parameters"] if one["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path))


async def test_it_is_served(client: httpx.AsyncClient):
    """The document is found where the contract says."""
    answer = await client.get("/api/v1/openapi.json")

    assert answer.status_code == 200
    assert answer.json() == describe()


def closed(schema: Any) -> TypeAdapter[Any]:
    """Take bodies of exactly this type, without a field more."""
    schema.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    return TypeAdapter(schema)


@pytest.mark.parametrize(
    ("method", "path", "body", "schema"),
    [
        ("POST", "/pipeline/run-async", {"item": "x"}, schemas.SubmissionBody),
        ("POST", "/pipeline/run", {"item": "x"}, schemas.ExecutionBody),
        ("GET", "/pipeline/executions/{executionId}", None, schemas.ExecutionBody),
        ("GET", "/api/v1/executions/{executionId}", None, schemas.ExecutionDetail),
        ("GET", "/api/v1/executions", None, schemas.ExecutionPage),
        ("GET", "/api/v1/executions/{executionId}/units", None, schemas.UnitList),
        ("GET", "/api/v1/executions/{executionId}/timeline", None, schemas.TimelineList),
        ("GET", "/api/v1/interactions", None, schemas.InteractionList),
        ("GET", "/api/v1/interactions/{interactionId}", None, schemas.InteractionBody),
        ("GET", "/api/v1/dead-letters", None, schemas.DeadLetterPage),
        ("GET", "/pipeline/executions/x", None, schemas.Problem),
        ("POST", "/pipeline/interactions/complete", {"no": 1}, schemas.Problem),
        (
            "POST",
            "/pipeline/interactions/complete",
            {"interactionId": "x", "responsePayload": 1},
            schemas.CompletionProblem,
        ),
        (
            "POST",
            "/api/v1/interactions/{interactionId}/complete",
            {"responsePayload": {"accepted": {}}},
            schemas.ReceiptBody,
        ),
        ("POST", "/api/v1/executions/{executionId}/cancel", {}, schemas.ExecutionDetail),
        ("GET", "/api/v1/pipelines", None, schemas.PipelineList),
        ("POST", "/api/v1/pipelines/echo/pause", None, schemas.PipelineBody),
        (
            "POST",
            "/api/v1/interactions/{interactionId}/claim",
            {"actor": "ada"},
            schemas.InteractionBody,
        ),
        (
            "POST",
            "/api/v1/interactions/{interactionId}/release",
            {"actor": "ada"},
            schemas.InteractionBody,
        ),
        (
            "POST",
            "/api/v1/interactions/{interactionId}/assign",
            {"assignee": "ada"},
            schemas.InteractionBody,
        ),
        ("GET", "/readyz", None, schemas.ReadinessBody),
    ],
)
async def test_answers_are_what_is_described(
    client: httpx.AsyncClient, park: Park, method: str, path: str, body: Any, schema: Any
):
    """Real answers validate against the documented types, without a field more or less."""
    asked = await park()
    refused = await client.post("/api/v1/pipelines/refusals/executions", json="no")
    assert refused.status_code == 202

    answer = await client.request(
        method, path.format(**asked), **({"json": body} if body is not None else {})
    )

    closed(schema).validate_json(answer.content)


def section(title: str) -> str:
    text = REFERENCE.read_text(encoding="utf-8")
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_reference_lists_every_route():
    """No route is missing from the page, and none is on it that is not there."""
    listed = re.findall(r"^\| `(GET|POST) (/[^`]*)` \|", section("Routes"), re.MULTILINE)

    assert len(listed) == len(set(listed))
    assert set(listed) == {(one.method, one.path) for one in operations()} | PROBES | PAGES


def test_the_reference_lists_every_problem():
    """Each code stands there with its status."""
    listed = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", section("Problems"), re.MULTILINE)

    assert {code: int(status) for code, status in listed} == {
        code: kind.status for code, kind in PROBLEMS.items()
    }
    assert f"`{TYPE_BASE}" in section("Problems")
