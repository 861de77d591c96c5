"""The ASGI app: operations become routes, and whatever is not one becomes a problem."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bide.security.authentication import Authentication
from bide.web import api, decide, health, metrics, openapi, pipeline, problems, rendering
from bide.web.guard import Identify, bearer
from bide.web.routing import Call, Edge, Endpoint, Operation, Served

TITLE: Final = "Bide"
VERSION: Final = "1"


def create_asgi(
    app: Served,
    *,
    identify: Identify | None = None,
    authentication: Authentication | None = None,
) -> FastAPI:
    """Make the HTTP API of an app, to be served or to be mounted.

    It opens and closes nothing: whoever serves it does that with `async with app.running():`.

    Args:
        app: what is served; until it runs, every request is answered with 503.
        identify: makes a `Principal` of a request, or None or a `LookupError`, `ValueError` or
            `PermissionError` where it carries no valid credential.
        authentication: knows callers by their credentials, where there is no `identify`. Without
            both nobody is authenticated, and only this machine is served.
    """
    # The interactive pages would load their scripts from elsewhere.
    asgi = FastAPI(title=TITLE, version=VERSION, openapi_url=None, redirect_slashes=False)
    if identify is None and authentication is not None:
        identify = bearer(authentication)
    edge = Edge(app, identify)
    for operation in operations():
        endpoint = Endpoint(operation, edge)
        asgi.router.routes.append(Route(operation.path, endpoint, methods=[operation.method]))
    asgi.router.routes.append(Route(decide.PATH, decide.Decide(edge)))
    asgi.add_route(metrics.PATH, metrics.metrics(edge), methods=["GET"])
    asgi.add_route("/healthz", health.healthz, methods=["GET"])
    asgi.add_route("/readyz", health.readyz(edge), methods=["GET"])
    asgi.add_exception_handler(Exception, _respond)
    for status in (404, 405):
        asgi.add_exception_handler(status, _respond)
    return asgi


def operations() -> tuple[Operation, ...]:
    """Give every route but those of probes, the busiest first: they are tried in this order."""
    return (*pipeline.OPERATIONS, *api.OPERATIONS, DESCRIPTION)


def describe() -> dict[str, Any]:
    """Write the OpenAPI document; it is the same for every app."""
    asgi = FastAPI(title=TITLE, version=VERSION)
    for operation in operations():
        _describe_route(asgi, operation)
    document = get_openapi(
        title=TITLE,
        version=VERSION,
        openapi_version="3.1.0",
        summary="Typed, durable pipelines that wait well.",
        routes=asgi.routes,
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = dict(openapi.SECURITY_SCHEMES)
    components.setdefault("schemas", {}).update(openapi.components(operations()))
    return document


async def _describe(_: Call) -> Response:
    return rendering.raw(_description())


@cache
def _description() -> bytes:
    return rendering.encode(describe())


async def _respond(request: Request, error: Exception) -> Response:
    return problems.respond(request, error)


def _describe_route(asgi: FastAPI, operation: Operation) -> None:
    asgi.add_api_route(
        operation.path,
        _respond_nothing,
        methods=[operation.method],
        status_code=operation.responses[0][0],
        summary=operation.summary,
        tags=[operation.tag],
        operation_id=_operation_id(operation),
        response_class=Response,
        response_model=None,
        responses=openapi.responses_of(operation),
        openapi_extra=openapi.extra_of(operation),
    )


async def _respond_nothing() -> None:
    """Stand for a handler where only the description is wanted."""


def _operation_id(operation: Operation) -> str:
    words = operation.path.replace("{", "").replace("}", "").replace("-", "/").split("/")
    return "_".join([operation.method.lower(), *filter(None, words)])


DESCRIPTION: Final = Operation(
    method="GET",
    path="/api/v1/openapi.json",
    handle=_describe,
    summary="This description",
    tag="meta",
    responses=((200, Any, rendering.JSON),),
)
