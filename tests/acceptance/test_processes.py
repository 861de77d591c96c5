"""Several processes on one SQLite file: they share the work, and one that dies loses nothing."""

import asyncio
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import BIDE, IMPATIENT, PATIENCE_S, ROOT, Process, Service

APP = "tests.acceptance.shared_app:app"
JOBS = 2000
#: Of these, jobs that are submitted while one worker alone is there.
FEW = 100

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(300)]


async def test_workers_share_executions_and_a_killed_one_loses_none(tmp_path: Path) -> None:
    """Two workers and a service finish 2,000 executions once each; a third dies holding some."""
    hung = tmp_path / "hung"
    service = Service(APP, tmp_path, env=IMPATIENT)
    doomed = _worker(service, tmp_path / "doomed.log", HANG=str(hung))
    first, second = (_worker(service, tmp_path / f"{name}.log") for name in ("first", "second"))

    with doomed:
        _submit_by_command(service, tmp_path, range(FEW))
        await _until(hung.exists)
        doomed.kill()
    with first:
        _submit_by_command(service, tmp_path, range(FEW, 2 * FEW))
        async with asyncio.timeout(PATIENCE_S):
            while len(_pending_by_command(service)) < 2 * FEW:
                await asyncio.sleep(0.05)
        with second, service:
            await service.must_be_ready()
            async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
                await _submit(client, range(2 * FEW, JOBS))
                async with asyncio.timeout(PATIENCE_S):
                    prepared_by = await _answer_all(client, kill_half_way=second)
                    executions = await _all_ended(client)
                results = await _each(client, executions, "/pipeline/executions/{}/result")
                timelines = await _each(client, executions[::10], "/api/v1/executions/{}/timeline")
            assert second.returncode == -9

    assert sorted(result["number"] for result in results) == list(range(JOBS))
    for timeline in timelines:
        facts = Counter(fact["what"] for fact in timeline["items"])
        assert facts["submitted"] == facts["resumed"] == facts["succeeded"] == 1
    assert {first.pid, service.pid} <= prepared_by <= {first.pid, second.pid, service.pid}


def _worker(service: Service, log: Path, **env: str) -> Process:
    command = [str(BIDE), "worker", APP, "--store", service.store]
    return Process(command, log=log, env=IMPATIENT | env)


def _submit_by_command(service: Service, folder: Path, numbers: range) -> None:
    """Submit with the command line, which runs no steps itself."""
    lines = folder / "jobs.ndjson"
    lines.write_text("".join(json.dumps({"number": number}) + "\n" for number in numbers))
    _bide(service, "submit", "jobs", "--input", str(lines))


def _pending_by_command(service: Service) -> list[str]:
    return _bide(service, "pending", "--limit", "1000", "--json").splitlines()


def _bide(service: Service, *words: str) -> str:
    ran = subprocess.run(
        [BIDE, *words, "--app", APP, "--store", service.store],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


async def _submit(client: httpx.AsyncClient, numbers: range) -> None:
    slots = asyncio.Semaphore(100)

    async def one(number: int) -> None:
        async with slots:
            answer = await client.post("/pipeline/run-async", json={"number": number})
            assert answer.status_code == 202, answer.text

    await asyncio.gather(*map(one, numbers))


async def _answer_all(client: httpx.AsyncClient, *, kill_half_way: Process) -> set[int]:
    """Answer every question once, and kill a worker half way; gives who had prepared them."""
    answered: set[str] = set()
    prepared_by: set[int] = set()
    while len(answered) < JOBS:
        listed = await client.get("/pipeline/interactions/pending", params={"limit": 300})
        questions = listed.json()
        receipts = await _complete(client, questions)
        assert set(receipts) <= {"applied"}
        answered.update(one["interactionId"] for one in questions)
        prepared_by.update(one["requestPayload"]["prepared_by"] for one in questions)
        if len(answered) >= JOBS // 2 and kill_half_way.alive:
            kill_half_way.kill()
        if not questions:
            await asyncio.sleep(0.02)
    return prepared_by


async def _complete(client: httpx.AsyncClient, questions: list[dict[str, Any]]) -> list[str]:
    if not questions:
        return []
    lines = [
        {
            "interactionId": question["interactionId"],
            "responsePayload": question["requestPayload"]["number"],
        }
        for question in questions
    ]
    answer = await client.post(
        "/api/v1/interactions/complete-batch",
        content="".join(json.dumps(line) + "\n" for line in lines),
        headers={"content-type": "application/x-ndjson"},
    )
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["receipt"] for line in answer.text.splitlines()]


async def _all_ended(client: httpx.AsyncClient) -> list[str]:
    """Wait until every execution has succeeded; gives their ids, page by page."""
    while True:
        ids: list[str] = []
        cursor: str | None = None
        while True:
            query: dict[str, str | int] = {
                "status": "SUCCEEDED",
                "limit": 1000,
                **({"cursor": cursor} if cursor else {}),
            }
            page = (await client.get("/api/v1/executions", params=query)).json()
            ids += [one["executionId"] for one in page["items"]]
            cursor = page["nextCursor"]
            if cursor is None:
                break
        if len(ids) == JOBS:
            return ids
        assert len(ids) < JOBS
        await asyncio.sleep(0.05)


async def _each(client: httpx.AsyncClient, ids: list[str], path: str) -> list[Any]:
    slots = asyncio.Semaphore(50)

    async def one(execution: str) -> Any:
        async with slots:
            answer = await client.get(path.format(execution))
            assert answer.status_code == 200, answer.text
            return answer.json()

    return await asyncio.gather(*map(one, ids))


async def _until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.02)
