"""The port of a process that stays, for whoever probes and scrapes it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

import uvicorn

from bide import App
from bide.cli.complaints import USAGE, CliError
from bide.cli.listening import Server, is_loopback, listening, url_of
from bide.web.metrics import create_probes

_log = logging.getLogger("bide.cli")


@contextlib.asynccontextmanager
async def probes(app: App) -> AsyncGenerator[None]:
    """Serve `/metrics`, `/healthz` and `/readyz` beside the body, if the settings name a port."""
    settings = app.settings
    if settings.metrics_port is None:
        yield
        return
    is_local = is_loopback(settings.metrics_host)
    if settings.metrics and settings.metrics_token is None and not is_local:
        raise CliError(
            f"BIDE_METRICS_HOST={settings.metrics_host} shows metrics to other machines; set"
            " BIDE_METRICS_TOKEN, which they must send",
            exit_code=USAGE,
        )
    config = uvicorn.Config(
        create_probes(app, in_full=is_local),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = Server(config)
    with listening(settings.metrics_host, settings.metrics_port) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="bide-probes")
        _log.info("probes", extra={"url": url_of(listener)})
        try:
            yield
        finally:
            server.should_exit = True
            await serving
