"""The processes that stay: they start, say so, serve, work and stop when told."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.driver import Cli

BIDE = Path(sys.executable).with_name("bide")
PATIENCE_S = 60


class Running:
    """A process with its log, a line an event."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self.child = child
        self.events: list[dict[str, Any]] = []

    def until(self, event: str) -> dict[str, Any]:
        """Read the log up to an event."""
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]
        raise AssertionError(f"it ended without {event!r}: {self.events}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and give the exit code."""
        self.child.send_signal(number)
        return self.child.wait(PATIENCE_S)


@contextmanager
def started(*arguments: str) -> Iterator[Running]:
    """A `bide` process, killed at the end if it still runs."""
    with subprocess.Popen(
        [BIDE, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as child:
        try:
            yield Running(child)
        finally:
            child.kill()


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_works_and_stops_when_told(
    cli: Cli, shop: Path, number: signal.Signals
) -> None:
    """One process takes a submission over HTTP, runs it, and leaves with 0 on a signal."""
    with started("serve", "--port", "0") as process:
        url = process.until("serving")["url"]

        assert httpx.get(f"{url}/healthz").status_code == 200
        answer = httpx.post(
            f"{url}/api/v1/pipelines/doubles/executions", json=21, timeout=PATIENCE_S
        )
        assert answer.status_code == 202
        execution = answer.json()["executionId"]
        submitted = cli("submit", "doubles", "--input", "-", "--wait", "60", "--json", stdin="4")

        assert submitted.json["result"] == 8
        assert cli("show", execution, "--json").json["status"] == "SUCCEEDED"
        assert process.stop(number) == 0


@pytest.mark.process
def test_serve_says_loudly_that_nobody_is_asked(cli: Cli, shop: Path) -> None:
    """Without authentication the log warns, and other machines are refused from the start."""
    with started("serve", "--port", "0") as process:
        process.until("serving")

        warnings = [event for event in process.events if event["level"] == "warning"]
        assert any("authentication is off" in event["event"] for event in warnings)
    assert "BIDE_API_KEYS_FILE" in cli("serve", "--host", "0.0.0.0", "--port", "0").complaint()


@pytest.mark.process
def test_serve_asks_for_keys_on_every_address(
    cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With API keys it listens anywhere, and serves those who bring one."""
    monkeypatch.setenv("BIDE_API_KEYS_FILE", str(shop / "api.json"))
    key = cli("keys", "generate", "--api", "--actor", "ada", "--role", "submit").out.strip()
    with started("serve", "--host", "0.0.0.0", "--port", "0") as process:
        url = process.until("serving")["url"].replace("0.0.0.0", "127.0.0.1")
        path, headers = f"{url}/api/v1/pipelines/doubles/executions", {"host": "bide.example"}
        nobody = httpx.post(path, json=21, headers=headers, timeout=PATIENCE_S)
        known = {**headers, "authorization": f"Bearer {key}"}
        ada = httpx.post(path, json=21, headers=known, timeout=PATIENCE_S)

        assert (nobody.status_code, ada.status_code) == (401, 202)
        assert not [event for event in process.events if "authentication is off" in event["event"]]


@pytest.mark.process
def test_serve_without_workers_takes_work_and_leaves_it(cli: Cli, shop: Path) -> None:
    """With --no-workers a submission stays queued until a worker comes."""
    with started("serve", "shop:app", "--port", "0", "--no-workers") as process:
        process.until("serving")
        execution = cli.submit("doubles", "2")
        assert cli("show", execution, "--json").json["status"] == "QUEUED"

        with started("worker", "--app", "shop:app") as worker:
            worker.until("working")
            waited = cli("submit", "doubles", "--input", "-", "--wait", "60", "--json", stdin="3")
            assert waited.json["result"] == 6
            assert worker.stop() == 0
        assert process.stop() == 0


SLOW = """
import time
from pathlib import Path
from bide import App, Pipeline

def sleep(number: int) -> int:
    Path("began").touch()
    time.sleep(60)
    return number

app = App(Pipeline("slow", int).then(sleep))
"""


@pytest.mark.process
def test_a_second_signal_ends_a_worker_at_once(cli: Cli, shop: Path) -> None:
    """A worker that waits for a long step to end is ended by the second signal."""
    (shop / "slow_shop.py").write_text(SLOW)
    cli("submit", "slow", "--input", "-", "--app", "slow_shop:app", stdin="1")
    with started("worker", "slow_shop:app") as process:
        process.until("working")
        deadline = time.monotonic() + PATIENCE_S
        while not (shop / "began").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

        process.child.send_signal(signal.SIGTERM)
        process.until("stopping")

        assert process.stop(signal.SIGTERM) == 128 + signal.SIGTERM


@pytest.mark.process
def test_a_worker_for_one_pipeline_leaves_the_others(cli: Cli, shop: Path) -> None:
    """--pipeline narrows what a worker runs."""
    order = cli.submit("orders")
    with started("worker", "--pipeline", "doubles", "--concurrency", "2") as process:
        process.until("working")
        cli("submit", "doubles", "--input", "-", "--wait", "60", "--json", stdin="3")

        assert cli("show", order, "--json").json["status"] == "QUEUED"
        assert process.stop() == 0


def test_a_pipeline_that_is_not_there_is_refused(cli: Cli, shop: Path) -> None:
    """A worker for a pipeline that the app does not have is a mistake in its name."""
    assert "'order'" in cli("worker", "--pipeline", "order").complaint()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_without_authentication_only_this_machine_is_served(
    cli: Cli, shop: Path, host: str
) -> None:
    """Any address that others can reach is refused, with the way out."""
    result = cli("serve", "--host", host)

    assert result.code == 2
    assert "identify" in result.complaint()


def test_a_port_that_is_taken_is_said_at_once(cli: Cli, shop: Path) -> None:
    """The line names host and port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert f"port {port}" in cli("serve", "--port", str(port)).complaint()
