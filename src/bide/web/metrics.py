"""Metrics for Prometheus, and the small app of a port of its own for whoever probes and scrapes."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bide.web import guard, health, problems
from bide.web.problems import Refused
from bide.web.routing import Edge, Served

PATH = "/metrics"


def metrics(edge: Edge) -> Callable[[Request], Awaitable[Response]]:
    """Make the route that shows the metrics of this process.

    It wants `metrics_token` where that is set; else a caller with the role `operate`; and without
    authentication it serves this machine alone, like everything else.
    """

    async def metrics(request: Request) -> Response:
        try:
            await _let_in(request, edge)
            shown = await edge.app.service.metrics()
            if shown is None:
                raise Refused("not-found", "Metrics are switched off; BIDE_METRICS=true counts.")
            body, media_type = shown
            return Response(body, headers={"content-type": media_type, "cache-control": "no-store"})
        except Exception as error:  # noqa: BLE001 - every error becomes a problem, none leaks
            return problems.respond(request, error)

    return metrics


def create_probes(app: Served, *, in_full: bool) -> Starlette:
    """Make what a port for probes serves: `/metrics`, `/healthz` and `/readyz`.

    Args:
        app: what is probed; until it runs it is not ready.
        in_full: readiness says why a check failed, and not only which.
    """
    edge = Edge(app, None)
    return Starlette(
        routes=[
            Route(PATH, metrics(edge), methods=["GET"]),
            Route("/healthz", health.healthz, methods=["GET"]),
            Route("/readyz", health.probed(edge, in_full=in_full), methods=["GET"]),
        ]
    )


async def _let_in(request: Request, edge: Edge) -> None:
    headers = guard.headers_of(request)
    token = edge.app.service.settings.metrics_token
    if token is not None:
        sent = headers.get(b"authorization", b"")
        if not hmac.compare_digest(sent, b"Bearer " + token.get_secret_value().encode()):
            raise Refused("unauthenticated", "Metrics take the bearer token that is set for them.")
    elif edge.identify is None:
        guard.refuse_strangers(request, headers)
    else:
        guard.require(await guard.admit(request, headers, edge.identify), "operate")
