"""`bide doctor --probe`: what only the network can tell, by one look at each address."""

from __future__ import annotations

import asyncio

import httpx

from bide import App, Webhook
from bide.authoring.urls import parse_url
from bide.errors import DefinitionError
from bide.planning.pipeline import plan_of
from bide.runtime.views import Check
from bide.transports.webhook.transport import completion_url

_PATIENCE_S = 5.0


async def probe(app: App) -> list[Check]:
    """Look whether the addresses that partners are told to answer at take requests.

    Seen from here: a partner may see it otherwise, but what fails here mostly fails there.
    """
    return list(await asyncio.gather(*(_look(url) for url in sorted(_callbacks(app)))))


def _callbacks(app: App) -> set[str]:
    found: set[str] = set()
    for pipeline in (*app.pipelines, *app.retired):
        for boundary in plan_of(pipeline).awaits():
            if isinstance(boundary.transport, Webhook):
                try:
                    found.add(completion_url(boundary.name, boundary.transport, app.settings))
                except DefinitionError:
                    continue  # the transport's own check tells of it
    return found


async def _look(url: str) -> Check:
    """Ask with GET, which changes nothing: an API that takes answers there says 405."""
    parts = parse_url("callback", url)
    shown = parts.origin + parts.target.partition("?")[0]
    try:
        async with httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False) as client:
            status = (await client.get(url)).status_code
    except httpx.HTTPError as error:
        why = f"cannot be reached from here: {str(error) or type(error).__name__}"
    else:
        if status != httpx.codes.NOT_FOUND and not 300 <= status < 400 and status < 500:
            return Check(name="callback", ok=True, message=f"{shown} answers")
        why = f"answers {status}, so nothing takes answers there"
    hint = "partners are told this address: see BIDE_CALLBACK_BASE_URL, and whether bide serve runs"
    return Check(name="callback", ok=False, message=f"{shown} {why}", hint=hint)
