"""The CSV payments over Kafka, timed: rows through the await and back, beside the same over HTTP.

    python -m benchmarks.kafka [--rows 10000] [--json]

Three processes: the service (`bide serve`, SQLite), the provider, and a broker that is started here
unless `BIDE_KAFKA_SERVERS` names one. The time goes from the submission to the whole result; both
outputs have to be the same, byte for byte.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from examples.children import ROOT, Child, DemoFailed, Service
from examples.csv_payments import broker, proof
from examples.csv_payments.demo import APP, APP_OVER_KAFKA, ENDED
from tests.kafka.support import KEYRING

GOAL_S = 10.0
PATIENCE_S = 300.0


class Run(NamedTuple):
    """One run: how long it took, and what came out."""

    seconds: float
    sha256: str
    rows: int


def pay(folder: Path, rows: int, servers: str | None) -> Run:
    """Pay so many rows, over Kafka if there is a broker, else over HTTP."""
    folder.mkdir(parents=True)
    proof.write_payments(folder / "payments.csv", rows)
    with ExitStack() as children:
        env = {"BIDE_KEYRING": KEYRING.render().decode()}
        if servers is not None:
            env["BIDE_KAFKA_SERVERS"] = servers
        app = APP if servers is None else APP_OVER_KAFKA
        service = Service(app, folder=folder, children=children, env=env)
        service.start()
        script = ROOT / "examples" / "csv_payments" / "provider.py"
        to = ["--url", service.url] if servers is None else ["--kafka", servers]
        command = [sys.executable, str(script), *to, "--batch", "500"]
        provider = Child("provider", command, log=folder / "provider.log")
        children.callback(provider.stop)
        with httpx.Client(base_url=service.url, timeout=60) as client:
            seconds = _timed(client, folder, provider)
    output = (folder / "payments.out.csv").read_bytes()
    return Run(seconds, hashlib.sha256(output).hexdigest(), output.count(b"\n") - 1)


def _timed(client: httpx.Client, folder: Path, provider: Child) -> float:
    body = {"filepath": "payments.csv", "csvFolderPath": str(folder)}
    began = time.perf_counter()
    answer = client.post("/pipeline/run-async", json=body).raise_for_status().json()
    while True:
        state = client.get(f"/pipeline/executions/{answer['executionId']}").json()
        if state["status"] in ENDED:
            break
        provider.check()
        if time.perf_counter() - began > PATIENCE_S:
            raise DemoFailed(f"still {state['status']} after {PATIENCE_S:.0f} s")
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    if state["status"] != "SUCCEEDED":
        raise DemoFailed(f"it ended {state['status']}: {state['errorMessage']}")
    return seconds


def main() -> int:
    """Run both; 0 if the outputs are equal."""
    parser = argparse.ArgumentParser(prog="benchmarks.kafka", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bide-bench-kafka-") as passing,
        ExitStack() as children,
    ):
        folder = Path(passing)
        servers = os.environ.get("BIDE_KAFKA_SERVERS") or broker.start(folder, children)
        broker.make_topics(servers)
        over_kafka = pay(folder / "over-kafka", options.rows, servers)
        over_http = pay(folder / "over-http", options.rows, None)
    is_same = over_kafka.sha256 == over_http.sha256 and over_kafka.rows == options.rows
    found: dict[str, Any] = {
        "rows": options.rows,
        "kafkaSeconds": round(over_kafka.seconds, 2),
        "httpSeconds": round(over_http.seconds, 2),
        "goalSeconds": GOAL_S,
        "sameBytes": is_same,
        "sha256": over_kafka.sha256,
    }
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"  {name:<14}{value}")
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
