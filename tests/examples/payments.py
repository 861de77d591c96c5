"""The CSV payments run as a user runs them, disturbed as a test asks: what comes out in the end."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from examples.csv_payments.proof import write_payments
from examples.csv_payments.provider import Provider, Tally
from tests.processes import IMPATIENT, PATIENCE_S, Service

APP = "examples.csv_payments:app"
ENDED = {"SUCCEEDED", "FAILED", "DLQ", "CANCELLED"}


@dataclass
class Run:
    """What one run came to."""

    output: bytes = b""
    results: list[Any] = field(default_factory=list)
    kills: int = 0
    tally: Tally = field(default_factory=Tally)
    #: Names of what lies in the folder in the end.
    files: set[str] = field(default_factory=set)

    @property
    def sha256(self) -> str:
        """Name the output's bytes."""
        return hashlib.sha256(self.output).hexdigest()


async def run_payments(
    folder: Path,
    rows: int,
    *,
    app: str = APP,
    batch: int = 5,
    per_second: float = 0,
    failpoint: str | None = None,
    kill_after_s: Sequence[float] = (),
) -> Run:
    """Pay `rows` payments over HTTP and give what came out.

    The first service dies at `failpoint`; or one service after another is killed, each so many
    seconds after it was ready. Each that died is started again, until the execution has ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_payments(folder / "payments.csv", rows)
    failing = {"BIDE_FAILPOINT": failpoint} if failpoint else {}
    run = Run()
    with Service(app, folder, env=IMPATIENT | failing) as service:
        async with httpx.AsyncClient(base_url=service.url, timeout=10) as client:
            provider = Provider(client, batch=batch, per_second=per_second)
            run.tally = provider.tally
            async with (
                _beside(_keep_alive(service, run, kill_after_s)),
                _beside(provider.run(asyncio.Event())),
                asyncio.timeout(PATIENCE_S),
            ):
                run.results = await _pay(client, folder)
    run.output = (folder / "payments.out.csv").read_bytes()
    run.files = {path.name for path in folder.glob("payments*")}
    return run


async def _pay(client: httpx.AsyncClient, folder: Path) -> list[Any]:
    """Submit, with a key, until it is acknowledged; then wait for the results."""
    submission = await _ask(
        client,
        "POST",
        "/pipeline/run-async",
        json={"filepath": "payments.csv", "csvFolderPath": str(folder)},
        headers={"idempotency-key": "run"},
    )
    execution = f"/pipeline/executions/{submission['executionId']}"
    while (state := await _ask(client, "GET", execution))["status"] not in ENDED:
        await asyncio.sleep(0.01)
    assert state["status"] == "SUCCEEDED", state
    results: list[Any] = await _ask(client, "GET", f"{execution}/result")
    return results


async def _ask(client: httpx.AsyncClient, method: str, path: str, **what: Any) -> Any:
    while True:
        try:
            response = await client.request(method, path, **what)
        except httpx.TransportError:
            await asyncio.sleep(0.01)
            continue
        if response.is_server_error:
            await asyncio.sleep(0.01)
            continue
        assert response.is_success, response.text
        return response.json()


async def _keep_alive(service: Service, run: Run, kill_after_s: Sequence[float]) -> None:
    """Start the service whenever it is dead, and kill it at the given instants of its lives."""
    instants = iter(kill_after_s)
    while True:
        instant = next(instants, None) if await service.ready() else None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_death(service), instant)
        service.kill()
        run.kills += 1
        service.env.pop("BIDE_FAILPOINT", None)
        service.start()


async def _death(service: Service) -> None:
    while service.alive:
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def _beside(work: Any) -> AsyncIterator[None]:
    """Let something run beside the block; what it raises ends the block, too."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        try:
            yield
        finally:
            task.cancel()
