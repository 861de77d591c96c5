"""One trace over two processes, as a collector gets it."""

import asyncio
import sys
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from tests.processes import PATIENCE_S, ROOT, Process, Service, free_port
from tests.telemetry.collector import Collector, Spanned

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PAYLOAD = 4711
SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0cmFjZSB0ZXN0cyB0aGF0IGlzIGxvbmc="
NAMES = {
    "submit checks", "run checks", "step doubled", "dispatch check", "handle check",
    "complete check", "resume checks", "step said",
}  # fmt: skip


async def traced(folder: Path, collector: Collector) -> list[Spanned]:
    """Run one check from end to end over two processes and give the spans of all of it."""
    partner_port = free_port()
    tracing = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
    }
    partner = Process(
        [sys.executable, "-m", "tests.telemetry.partner_process", str(partner_port)],
        log=folder / "partner.log",
        env={**tracing, "OTEL_SERVICE_NAME": "partner"},
    )
    service = Service("tests.telemetry.traced_app:app", folder)
    service.env |= {
        **tracing,
        "BIDE_TRACES": "true",
        "BIDE_WEBHOOK_ALLOW_LOOPBACK": "true",
        "BIDE_WEBHOOK_SECRETS": SECRET,
        "BIDE_CALLBACK_BASE_URL": service.url,
        "PARTNER_URL": f"http://127.0.0.1:{partner_port}/checks",
    }
    with partner, service:
        await service.must_be_ready()
        async with httpx.AsyncClient(base_url=service.url, timeout=PATIENCE_S) as client:
            ran = await client.post(
                "/pipeline/run-async", json=PAYLOAD, headers={"traceparent": CALLER}
            )
            result = f"/pipeline/executions/{ran.json()['executionId']}/result"
            async with asyncio.timeout(PATIENCE_S):
                while (found := await client.get(result)).status_code != httpx.codes.OK:
                    await asyncio.sleep(0.02)
                while not {span.name for span in collector.spans} >= NAMES:
                    await asyncio.sleep(0.02)
        assert found.json() == "it is fine"
    return collector.spans


@pytest.mark.process
@pytest.mark.slow
async def test_one_trace(tmp_path: Path) -> None:
    """Submit, segment, dispatch, the partner's handling, completion and resume: one line of causes."""
    with Collector() as collector:
        spans = await traced(tmp_path, collector)

    by_name = {span.name: span for span in spans}
    trace, caller = CALLER.split("-")[1:3]
    assert {span.trace for span in spans} == {trace}
    assert {span.service for span in spans} == {"bide", "partner"}
    assert set(by_name) == NAMES
    line = ["submit checks", "run checks", "dispatch check", "handle check", "complete check",
            "resume checks"]  # fmt: skip
    assert by_name["submit checks"].parent == caller
    for cause, effect in pairwise(line):
        assert by_name[effect].parent == by_name[cause].id, effect
    assert by_name["step doubled"].parent == by_name["run checks"].id
    assert by_name["step said"].parent == by_name["resume checks"].id
    executions = {
        span.attributes["bide.execution.id"] for span in spans if "bide.pipeline" in span.attributes
    }
    assert len(executions) == 1
    assert not any(span.failed for span in spans)
    exported = b"".join(collector.bodies)
    for private in (str(PAYLOAD), str(PAYLOAD * 2), "it is fine", SECRET):
        assert private.encode() not in exported
