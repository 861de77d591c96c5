"""The port of its own, for whoever probes and scrapes a process."""

import asyncio
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.processes import BIDE, PATIENCE_S, ROOT, Process, free_port

APP = "tests.telemetry.traced_app:app"


def watched(folder: Path, port: int, **env: str) -> Process:
    """A worker, which has no API, with that port."""
    settings = {
        "BIDE_METRICS": "true",
        "BIDE_METRICS_PORT": str(port),
        "BIDE_WEBHOOK_ALLOW_LOOPBACK": "true",
        "BIDE_WEBHOOK_SECRETS": "whsec_c2VjcmV0IG9mIHRoZSB0cmFjZSB0ZXN0cyB0aGF0IGlzIGxvbmc=",
        "BIDE_CALLBACK_BASE_URL": "http://127.0.0.1:1",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
    }
    command = [BIDE, "worker", APP, "--store", f"sqlite:///{folder / 'bide.db'}"]
    return Process(command, log=folder / "worker.log", env=settings | env)


@pytest.mark.process
@pytest.mark.slow
async def test_a_worker_is_probed_and_scraped(tmp_path: Path) -> None:
    """Live, ready and metrics answer there, nothing else does, and its stop is a clean one."""
    port = free_port()
    with watched(tmp_path, port) as worker:
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
            asyncio.timeout(PATIENCE_S),
        ):
            while True:
                assert worker.alive, worker.output()
                try:
                    ready = await client.get("/readyz")
                    if ready.status_code == httpx.codes.OK:
                        break
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)
            live, metrics = await client.get("/healthz"), await client.get("/metrics")
            other = await client.get("/api/v1/executions")
        assert worker.stop() == 0, worker.output()

    assert live.json() == {"status": "ok"}
    assert {check["name"] for check in ready.json()["checks"]} >= {"store", "leases", "sweeper"}
    assert "bide_claim_seconds_bucket" in metrics.text
    assert other.status_code == 404


@pytest.mark.process
def test_metrics_are_not_shown_to_other_machines_in_passing(tmp_path: Path) -> None:
    """A port that others can reach wants a token, and says so before anything is opened."""
    process = watched(tmp_path, free_port(), BIDE_METRICS_HOST="0.0.0.0")

    ended = subprocess.run(
        process.command, env=process.env, cwd=ROOT, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip

    assert ended.returncode == 2
    assert "BIDE_METRICS_TOKEN" in ended.stderr
    assert not (tmp_path / "bide.db").exists()
