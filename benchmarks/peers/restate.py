"""Restate: a server of its own that keeps the journal; handlers are served over HTTP/2 to it."""

import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import restate
from hypercorn import Config
from hypercorn.asyncio import serve
from restate.client import Client

from benchmarks.peers.protocol import (
    Job,
    Parcel,
    Questions,
    ask,
    counted,
    expect,
    main,
    parcel,
)

_PATIENCE_S = 60.0
_ANSWERS_AT_ONCE = 50
bench = restate.Service("bench")
#: The pipe to the client, in the process that serves the handlers.
_askers: list[Connection] = []


@bench.handler()
async def park_resume(ctx: restate.Context, sent: Parcel) -> Parcel:
    awakeable, answered = ctx.awakeable()
    await ctx.run_typed("prepare", _ask, key=str(sent["number"]), reference=awakeable)
    return await conclude(ctx, await answered)


@bench.handler()
async def items(ctx: restate.Context, n: int) -> Parcel:
    awaited = [ctx.awakeable() for _ in range(n)]
    await ctx.run_typed("prepare", _ask_all, awakeables=[name for name, _ in awaited])
    return counted([await answered for _, answered in awaited])


@bench.handler()
async def submit(ctx: restate.Context, sent: Parcel) -> Parcel:
    await ctx.run_typed("prepare", _same, sent=sent)
    return await conclude(ctx, await ctx.run_typed("label", _same, sent=sent))


async def conclude(ctx: restate.Context, answer: Any) -> Parcel:
    return await ctx.run_typed("conclude", _done, answer=answer)


def _ask(key: str, reference: str) -> None:
    ask(_askers[0], key, reference)


def _ask_all(awakeables: list[str]) -> None:
    for item, name in enumerate(awakeables):
        ask(_askers[0], f"item-{item}", name)


def _same(sent: Parcel) -> Parcel:
    return sent


def _done(answer: Parcel) -> Parcel:
    return {"number": answer["number"]}


def serve_handlers(port: int, asker: Connection) -> None:
    """The life of the process that runs the handlers."""
    _askers.append(asker)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "ERROR"
    asyncio.run(serve(restate.app(services=[bench]), config))


class Restate:
    """The client's side, through the server's ingress."""

    def __init__(self, ingress: Client, http: httpx.AsyncClient, questions: Questions) -> None:
        self._ingress, self._http, self._questions = ingress, http, questions

    async def park_resume(self, number: int) -> float:
        running = asyncio.ensure_future(self._ingress.service_call(park_resume, parcel(number)))
        awakeable = await self._questions.of(number)
        sent = perf_counter()
        await self._answer(awakeable, number)
        expect(await running, number)
        return perf_counter() - sent

    async def items(self, order: Sequence[int]) -> None:
        n = len(order)
        running = asyncio.ensure_future(self._ingress.service_call(items, n))
        names = await asyncio.gather(*(self._questions.of(f"item-{item}") for item in order))
        answers = list(zip(names, order, strict=True))

        async def client(mine: Sequence[tuple[str, int]]) -> None:
            for name, item in mine:
                await self._answer(name, item)

        lanes = (answers[first::_ANSWERS_AT_ONCE] for first in range(_ANSWERS_AT_ONCE))
        await asyncio.gather(*map(client, lanes))
        expect(await running, n)

    async def submit(self, number: int) -> None:
        expect(await self._ingress.service_call(submit, parcel(number)), number)

    async def _answer(self, awakeable: str, number: int) -> None:
        path = f"/restate/awakeables/{awakeable}/resolve"
        (await self._http.post(path, json=parcel(number))).raise_for_status()


@contextmanager
def server(folder: Path, ports: dict[str, int]) -> Iterator[None]:
    """The server, with its defaults, on ports of ours."""
    [binary] = Path(sys.prefix).glob("node_modules/@restatedev/restate-server-*/bin/restate-server")
    surroundings = {
        "RESTATE_BASE_DIR": str(folder),
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_BIND_PORT": str(ports["node"]),
        "RESTATE_INGRESS__BIND_PORT": str(ports["ingress"]),
        "RESTATE_ADMIN__BIND_PORT": str(ports["admin"]),
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "server.log").open("wb") as log:
        running = subprocess.Popen(
            [binary, "--no-logo"], env={**os.environ, **surroundings}, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            running.kill()
            running.wait()


@asynccontextmanager
async def opened(job: Job) -> AsyncIterator[Restate]:
    ports = {name: _free_port() for name in ("node", "ingress", "admin", "handlers")}
    fresh = multiprocessing.get_context("spawn")
    handlers = fresh.Process(
        target=serve_handlers, args=(ports["handlers"], job.questions.asker), daemon=True
    )
    handlers.start()
    ingress = f"http://127.0.0.1:{ports['ingress']}"
    with server(Path(job.store.removeprefix("file://")), ports):
        try:
            await _register(ports)
            # Calls last as long as their executions and take up the streams of a connection, so
            # that answers need another one.
            async with _client(ingress) as callers, _client(ingress) as answerers:
                yield Restate(Client(callers), answerers, job.questions)
        finally:
            handlers.kill()
            handlers.join()


def _client(ingress: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=ingress, http1=False, http2=True, timeout=None)


async def _register(ports: dict[str, int]) -> None:
    """Wait for the server, and tell it where the handlers are."""
    until = perf_counter() + _PATIENCE_S
    deployment = {"uri": f"http://127.0.0.1:{ports['handlers']}"}
    async with httpx.AsyncClient(timeout=_PATIENCE_S) as http:
        while True:
            try:
                address = f"http://127.0.0.1:{ports['admin']}/deployments"
                response = await http.post(address, json=deployment)
                if response.is_success:
                    return
                said = response.text
            except httpx.TransportError as error:
                said = str(error)
            if perf_counter() > until:
                raise TimeoutError(f"the server does not take the handlers: {said}")
            await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main(opened, lanes=200)
