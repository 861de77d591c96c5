"""Whether the process answers, and whether it takes work: for probes, which have no credential."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from bide.errors import NotRunning
from bide.runtime.views import Check
from bide.web import guard, problems, rendering
from bide.web.routing import Edge
from bide.web.schemas import HealthBody, ReadinessBody


async def healthz(_: Request) -> Response:
    """Say that the process answers; it tells nothing else and so has no door."""
    return rendering.response(HealthBody(status="ok"))


def readyz(edge: Edge) -> Callable[[Request], Awaitable[Response]]:
    """Make the route that says whether work is accepted.

    With authentication a probe is a stranger, and learns which check failed but not why.
    """

    async def readyz(request: Request) -> Response:
        try:
            if edge.identify is None:
                guard.refuse_strangers(request, guard.headers_of(request))
            return _readiness(await _checks(edge), in_full=edge.identify is None)
        except Exception as error:  # noqa: BLE001 - every error becomes a problem, none leaks
            return problems.respond(request, error)

    return readyz


def probed(edge: Edge, *, in_full: bool) -> Callable[[Request], Awaitable[Response]]:
    """Make the same route for a port that only probes can reach."""

    async def readyz(_: Request) -> Response:
        return _readiness(await _checks(edge), in_full=in_full)

    return readyz


async def _checks(edge: Edge) -> list[Check]:
    try:
        return await edge.app.service.checks()
    except NotRunning:
        return [Check(name="app", ok=False, message="The app is not open yet, or no more.")]


def _readiness(checks: list[Check], *, in_full: bool) -> Response:
    ready = all(check.ok or check.warning for check in checks)
    answer = ReadinessBody(
        status="ready" if ready else "not-ready",
        checks=[rendering.check(check, in_full=in_full) for check in checks],
    )
    return rendering.response(answer, status=200 if ready else 503)
