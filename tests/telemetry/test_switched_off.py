"""Without the settings nothing is imported, and without the extra everything else works."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

PROGRAM = """
import asyncio, sys
{before}
from bide import App, Await, Inbox, Pipeline
decide = Await("Decide", int, bool, via=Inbox(), timeout="1h")
orders = Pipeline("orders", int).wait(decide)
app = App(orders, store="sqlite:///{file}")
async def main():
    async with app.running():
        execution = await app.submit(orders, 1)
        [question] = await execution.parked(decide, timeout=30)
        await app.complete(question, True)
        print(await execution.result(timeout=30))
asyncio.run(main())
print(sorted({{name.split(".")[0] for name in sys.modules}} & {{"opentelemetry", "prometheus_client"}}))
"""
ABSENT = "sys.modules['opentelemetry'] = sys.modules['prometheus_client'] = None"


def run(folder: Path, before: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(before=before, file=folder / "bide.db")
    path = {"PYTHONPATH": str(ROOT / "src"), "PATH": ""}
    return subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        env=path | env,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.process
def test_nothing_is_imported(tmp_path: Path) -> None:
    """A process that nobody watches does not load what watching takes."""
    ended = run(tmp_path)

    assert ended.stdout.split("\n")[:2] == ["True", "[]"], ended.stderr


@pytest.mark.process
@pytest.mark.parametrize("setting", ["BIDE_METRICS", "BIDE_TRACES"])
def test_the_extra_is_named(tmp_path: Path, setting: str) -> None:
    """Without the extra the setting is refused in a line that says what to install."""
    ended = run(tmp_path, ABSENT, **{setting: "true"})

    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("bide.DefinitionError: BIDE_METRICS and BIDE_TRACES take ")
    assert 'pip install "bide[telemetry]"' in last
