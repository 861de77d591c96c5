"""A search for requests that the HTTP API answers wrongly, by its own description.

    python -m tests.fuzz.search --cases 10000

A service is started as users start it, with an API key, and every operation of its OpenAPI document
is tried with values that fit, values that do not, edge values and sequences of calls. An answer is
wrong if it is a 5xx, has a status, a type or a body that the document does not know, or is given to
a caller without a good credential.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bide.security.apikeys import NO_KEYS
from bide.web.app import describe
from tests.processes import ROOT, Service

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
PHASES = ("examples", "coverage", "fuzzing", "stateful")
#: What has to hold. Whether a value that does not fit is refused is no property of this API: it
#: ignores fields that it does not know, as partners add their own.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,unsupported_method,ignored_auth"
)
#: It answers without end where it answers 200; tests/web/test_following.py looks at it.
ENDLESS = "/api/v1/executions/{executionId}/events"


class Found(NamedTuple):
    """What a search came to."""

    cases: int
    passed: bool
    told: str


async def search(
    folder: Path, *, examples: int, seed: int, phases: Sequence[str] = PHASES
) -> Found:
    """Start a service and search its API, with so many examples an operation."""
    roles = ["submit", "decide", "operate", "administer"]
    keys, _, key = NO_KEYS.issued(
        datetime.now(UTC), actor="ada", tenant="acme", groups=["kitchen"], roles=roles
    )
    env = {"BIDE_API_KEYS": keys.render().decode()}
    with Service("tests.fuzz.app:app", folder, env=env) as service:
        assert await service.ready(), service.output()
        (folder / "openapi.json").write_text(json.dumps(describe()), encoding="utf-8")
        command = [
            SCHEMATHESIS, "run", folder / "openapi.json", "--url", service.url,
            "--phases", ",".join(phases), "--checks", CHECKS, "--exclude-path", ENDLESS,
            "--header", f"Authorization: Bearer {key}",
            "--max-examples", str(examples), "--seed", str(seed),
            "--generation-database", "none", "--suppress-health-check", "all",
            "--continue-on-failure", "--request-timeout", "30", "--warnings", "off",
            "--no-color", "--report", "json", "--report-json-path", folder / "report.json",
        ]  # fmt: skip
        ran = await asyncio.to_thread(_run, command, folder)
        assert service.alive, service.output()
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    passed = ran.returncode == 0 and report["complete"] and not report["errors"]
    return Found(report["test_cases"]["generated"], passed, ran.stdout)


def _run(command: list[Any], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(word) for word in command], cwd=folder, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.lines", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def main() -> int:
    """Search until so many cases were tried; 0 only if all of them were answered rightly."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.search")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tried, seed = 0, options.seed
    while tried < options.cases:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(search(Path(folder), examples=100, seed=seed))
        print(found.told, flush=True)
        tried, seed = tried + found.cases, seed + 1
        if not found.passed:
            return 1
    print(f"{tried:,} cases, all answered as the description says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
