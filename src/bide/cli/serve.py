"""`bide serve` and `bide worker`: the processes that stay.

Both open the app, say so in the log, and stop on SIGTERM or SIGINT: no new work, what runs ends or
gives its lease back. A second signal ends the process at once.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Sequence
from typing import Annotated

import typer
import uvicorn

from bide import App
from bide.cli.complaints import USAGE, CliError
from bide.cli.listening import Server, is_loopback, listening, url_of
from bide.cli.locate import find_app
from bide.cli.logs import configure_logs
from bide.cli.options import AppArgument, AppOption, JsonOption, MigrateOption, StoreOption
from bide.cli.probes import probes
from bide.cli.process import on_signals, run
from bide.cli.protocol import bounded
from bide.runtime.runtime import DEFAULT_CONCURRENCY
from bide.stores.address import shown
from bide.wiring import authentication_of

_log = logging.getLogger("bide.cli")
#: How long requests that are being answered may hold up a stop, at most.
_REQUESTS_STOP_S = 5


def serve(
    module_app: AppArgument = None,
    host: Annotated[
        str, typer.Option("--host", help="Where to listen: this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    workers: Annotated[
        bool, typer.Option("--workers/--no-workers", help="Run pipelines in this process as well.")
    ] = True,
    migrate: MigrateOption = False,
    app: AppOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Serve the API, and run the pipelines, in one process."""
    configure_logs(as_json=json or None)
    served = find_app(module_app or app, store)
    if authentication_of(served.settings) is None:
        _insist_on_loopback(host)
    with listening(host, port) as listener:
        run(_serve(served, listener, workers=workers, migrate=migrate))


def worker(
    module_app: AppArgument = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", min=1, max=100_000, metavar="N", show_default=False,
            help="Hold so many executions at most.",
        ),
    ] = None,
    pipeline: Annotated[
        list[str] | None,
        typer.Option("--pipeline", metavar="NAME", show_default=False,
                     help="Run this one alone; may be repeated."),
    ] = None,
    migrate: MigrateOption = False,
    app: AppOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Run the pipelines, without an API; start as many as you like."""
    configure_logs(as_json=json or None)
    held = concurrency or DEFAULT_CONCURRENCY
    run(_work(find_app(module_app or app, store), held, pipeline or [], migrate=migrate))


async def _serve(app: App, listener: socket.socket, *, workers: bool, migrate: bool) -> None:
    settings = app.settings
    config = uvicorn.Config(
        app.asgi(),
        http=bounded(settings.http_receive_timeout_ms),
        ws="none",
        lifespan="off",  # the app is opened here, so that workers stop after the last request
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=min(_REQUESTS_STOP_S, -(-settings.stop_timeout_ms // 1_000)),
    )
    server = Server(config)

    def stop(number: signal.Signals) -> None:
        _log.info("stopping", extra={"signal": number.name})
        server.should_exit = True

    on_signals(stop)
    if migrate:
        await app.migrate()
    async with probes(app), app.running(workers=workers):
        await _log_checks(app)
        if authentication_of(settings) is None:
            _log.warning(
                "authentication is off: every program on this machine may do everything",
                extra={
                    "hint": "set BIDE_API_KEYS_FILE (bide keys generate --api) or BIDE_JWT_JWKS"
                },
            )
        _log.info(
            "serving",
            extra={
                "url": url_of(listener),
                "pipelines": list(app.service.pipelines),
                "store": shown(app.store),
                "workers": workers,
            },
        )
        await server.serve(sockets=[listener])
    _log.info("stopped")


async def _work(app: App, concurrency: int, pipelines: Sequence[str], *, migrate: bool) -> None:
    stopping = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        _log.info("stopping", extra={"signal": number.name})
        stopping.set()

    on_signals(stop)
    if migrate:
        await app.migrate()
    async with probes(app):
        try:
            await app.start(concurrency=concurrency, pipelines=pipelines)
            await _log_checks(app)
            names = list(pipelines or app.service.pipelines)
            _log.info("working", extra={"pipelines": names, "store": shown(app.store)})
            await stopping.wait()
        finally:
            await app.stop()
    _log.info("stopped")


async def _log_checks(app: App) -> None:
    """Say at the start what `bide doctor` would say."""
    for check in await app.service.checks():
        if not check.ok:
            level = logging.WARNING if check.warning else logging.ERROR
            hint = {} if check.hint is None else {"hint": check.hint}
            _log.log(level, check.message, extra={"check": check.name, **hint})


def _insist_on_loopback(host: str) -> None:
    """Nobody is asked who they are here, so nobody else may come in."""
    if is_loopback(host):
        return
    raise CliError(
        f"--host {host} is refused: without authentication bide serve listens on loopback"
        " (127.0.0.1, ::1, localhost) only; set BIDE_API_KEYS_FILE or BIDE_JWT_JWKS, or mount"
        " app.asgi(identify=...) in a server that knows its callers",
        exit_code=USAGE,
    )
