"""`make demo`: a thousand payments, a service that is killed half way, and the proof.

`make demo-kafka` is the same over Kafka: requests go to one topic and answers come from another, on a
broker that is started here unless `BIDE_KAFKA_SERVERS` names one.

Two processes are started: the service (`bide serve`, on an SQLite file of its own) and the payment
provider, which knows only HTTP. When half of the answers are in, the service is killed as a power
cut would kill it, and started again. Nothing is told to either of them: the service goes on from
its file, the provider sends again what got no receipt.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.children import BIDE, ROOT, Child, DemoFailed, Service, leave_on_signals
from examples.csv_payments import proof

APP = "examples.csv_payments:app"
APP_OVER_KAFKA = "examples.csv_payments.over_kafka:app"
ENDED = {"SUCCEEDED", "FAILED", "DLQ", "CANCELLED"}
PAYMENTS = 1000
#: How long nothing may move before the demo gives up.
PATIENCE_S = 60


@dataclass(frozen=True)
class Way:
    """How requests reach the provider and answers come back."""

    app: str
    #: What the service is told, beside its store.
    env: Mapping[str, str]
    #: What the provider is told.
    provider: Sequence[str]
    #: What makes all of it.
    target: str = "demo"


class Api:
    """The few calls that the demo makes; a service that is away is asked again."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._client = httpx.Client(base_url=service.url, timeout=10)

    def get(self, path: str) -> Any:
        """Read something that is there."""
        return self._ask("GET", path).json()

    def submit(self, file: Path, key: str) -> str:
        """Submit a file; with the same key it is the same execution, however often."""
        body = {"filepath": file.name, "csvFolderPath": str(file.parent)}
        answer = self._ask(
            "POST", "/pipeline/run-async", json=body, headers={"idempotency-key": key}
        )
        execution: str = answer.json()["executionId"]
        return execution

    def _ask(self, method: str, path: str, **what: Any) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                response = self._client.request(method, path, **what)
            except httpx.TransportError as error:
                self._service.check()
                if time.monotonic() > deadline:
                    raise DemoFailed(f"{path}: {error}; see {self._service.log}") from error
                time.sleep(0.1)
                continue
            if response.is_error:
                raise DemoFailed(f"{path} answered {response.status_code}: {response.text}")
            return response


class Display:
    """Progress for people: a bar on a terminal, else a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Tell what happens, with the seconds since the start."""
        since = time.monotonic() - self._started
        self.console.print(f"[dim]{since:5.1f} s[/]  {text}", soft_wrap=True)

    @contextmanager
    def counting(self, total: int) -> Generator["Counting"]:
        """Show how far it is, out of `total`."""
        columns = (
            TextColumn("        answers"),
            BarColumn(40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as bar:
            yield Counting(self, bar, total)


class Counting:
    """How many answers are in."""

    def __init__(self, display: Display, bar: Progress, total: int) -> None:
        self._display = display
        self._bar = bar
        self._task = bar.add_task("answers", total=total)
        self._total = total
        self._told = 0

    def update(self, settled: int) -> None:
        """Show it; without a terminal only at every tenth."""
        self._bar.update(self._task, completed=settled)
        tenth = settled * 10 // self._total
        if tenth > self._told and self._bar.disable:
            self._told = tenth
            self._display.say(f"{settled} of {self._total} answers are in")


def main() -> int:
    """Run the demo; 0 only if everything holds."""
    options = _options()
    console = Console(highlight=False)
    leave_on_signals()
    try:
        with ExitStack() as children:
            return _demo(Display(console), options, children)
    except DemoFailed as error:
        console.print(f"[bold red]The demo failed:[/] {error}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; both processes have ended.")
        return 128 + signal.SIGINT


def _demo(display: Display, options: argparse.Namespace, children: ExitStack) -> int:
    file, ids = _prepare(options)
    display.say(f"{len(ids)} payments in {_short(file)}")

    way = _over_kafka(display, file.parent, children) if options.kafka else Way(APP, {}, [])
    service = Service(way.app, folder=file.parent, children=children, env=way.env)
    service.start()
    display.say(f"the service runs at {service.url}")
    api = Api(service)
    provider = _start_provider(service, way, len(ids), options, children)

    execution = api.submit(file, key="demo")
    display.say(f"submitted as execution {execution}; each payment waits for the provider")
    _watch(display, api, service, provider, execution, len(ids))
    provider.stop()

    output = file.with_suffix(".out.csv")
    tally = json.loads(provider.log.read_text(encoding="utf-8").splitlines()[-1])
    found = proof.prove(ids, output)
    _tell_timeline(display, api, execution)
    refused = len(api.get("/api/v1/dead-letters")["items"])
    _tell_proof(display, found, tally, refused)
    _tell_more(display, way, execution, output, service)
    return 0 if found.holds and not refused else 1


def _over_kafka(display: Display, folder: Path, children: ExitStack) -> Way:
    """Start a broker unless one is named, make the topics, and a key for the tokens."""
    from examples.csv_payments import broker

    try:
        servers = os.environ.get("BIDE_KAFKA_SERVERS") or broker.start(folder, children)
        broker.make_topics(servers)
    except RuntimeError as error:
        raise DemoFailed(str(error)) from error
    display.say(f"the broker runs at {servers}")
    keyring = folder.resolve() / "keyring.json"
    command = [str(BIDE), "keys", "generate", "--file", str(keyring)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    # A service that was killed is missed by its group after 6 s, and not after 45.
    config = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500}
    env = {
        "BIDE_KAFKA_SERVERS": servers,
        "BIDE_KAFKA_CONFIG": json.dumps(config),
        "BIDE_KEYRING_FILE": str(keyring),
    }
    return Way(APP_OVER_KAFKA, env, ["--kafka", servers], "demo-kafka")


def _watch(
    display: Display, api: Api, service: Service, provider: Child, execution: str, total: int
) -> None:
    """Follow an execution to its end, and kill the service on the way."""
    killed = False
    status, settled, moved_at = "", 0, time.monotonic()
    with display.counting(total) as counting:
        while status not in ENDED:
            if not killed and settled >= total // 2:
                service.kill()
                killed = True
                display.say(f"[bold red]killed the service[/] (SIGKILL) with {settled} answers in")
                service.start()
                display.say("[bold green]started it again[/]; nobody told it what it was doing")
            time.sleep(0.05)
            provider.check()
            before = status, settled
            units = api.get(f"/api/v1/executions/{execution}/units")["items"]
            settled = sum(unit["settled"] for unit in units)
            status = api.get(f"/pipeline/executions/{execution}")["status"]
            counting.update(settled)
            if (status, settled) != before:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > PATIENCE_S:
                raise DemoFailed(f"nothing moved for {PATIENCE_S} s; see {service.log}")
    if status != "SUCCEEDED":
        state = api.get(f"/pipeline/executions/{execution}")
        raise DemoFailed(f"the execution ended {status}: {state['errorMessage']}")


def _prepare(options: argparse.Namespace) -> tuple[Path, list[str]]:
    """Lay out a fresh folder with the input; an older one of the same name is removed."""
    folder: Path = options.folder
    given: Path | None = options.input
    try:
        # Before anything is removed: it may be wrong, and it may lie in the folder itself.
        content = None if given is None else given.read_bytes()
        if folder.exists() and not (folder / ".demo").exists() and any(folder.iterdir()):
            raise DemoFailed(f"{folder} was not made by the demo; give another --folder")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / ".demo").touch()
        file = folder / (given.name if given else "payments.csv")
        if content is None:
            proof.write_payments(file, PAYMENTS)
        else:
            file.write_bytes(content)
        ids = proof.read_ids(file)
    except (OSError, ValueError, csv.Error) as error:
        raise DemoFailed(str(error)) from error
    if not ids:
        raise DemoFailed(f"{given} has no payments")
    return file, ids


def _start_provider(
    service: Service, way: Way, total: int, options: argparse.Namespace, children: ExitStack
) -> Child:
    """Start a provider that takes its time, so that there is something to see and to kill."""
    rate = total / options.seconds
    script = ROOT / "examples" / "csv_payments" / "provider.py"
    batch = min(max(round(rate / 5), 2), 500)
    command = [sys.executable, str(script), *(way.provider or ["--url", service.url])]
    command += ["--per-second", f"{rate:g}", "--batch", str(batch)]
    provider = Child("provider", command, log=service.log.with_name("provider.log"))
    children.callback(provider.stop)
    return provider


def _tell_timeline(display: Display, api: Api, execution: str) -> None:
    display.console.print("\nThe life of the execution, as its journal tells it:\n")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("at", style="dim")
    table.add_column("what")
    table.add_column("detail")
    for fact in api.get(f"/api/v1/executions/{execution}/timeline")["items"]:
        at = datetime.fromtimestamp(fact["atEpochMs"] / 1000, UTC)
        table.add_row(f"{at:%H:%M:%S.%f}"[:-3], fact["what"], fact["detail"] or "")
    display.console.print(table)
    for unit in api.get(f"/api/v1/executions/{execution}/units")["items"]:
        display.console.print(
            f"\nUnit [bold]{unit['stepId']}[/] is {unit['status']}:"
            f" {unit['settled']} of {unit['total']} answered"
        )


def _tell_proof(display: Display, found: proof.Proof, tally: dict[str, Any], refused: int) -> None:
    lines = {
        "rows in": found.rows_in,
        "rows out": found.rows_out,
        "duplicates": found.duplicates,
        "missing": found.missing,
        "in the order of the input": _yes(found.in_order),
        "each as the provider decided": _yes(found.as_decided),
        "answers that were refused": refused,
        "requests answered again": tally["repeated"],
    }
    if tally["receipts"]:
        lines["of these, already taken before"] = tally["receipts"].get("duplicate", 0)
    say = display.console.print
    say(f"\n[bold]{found.approved} approved, {found.unapproved} unapproved[/]\n")
    for name, value in lines.items():
        say(f"  {name:<36}{value}")


def _tell_more(display: Display, way: Way, execution: str, output: Path, service: Service) -> None:
    say = display.console.print
    store = f"sqlite:///{_short(service.log.with_name('bide.db'))}"
    say(f"\nOutput: {_short(output)}", soft_wrap=True)
    say("Try next:")
    say(f"  .venv/bin/bide show {execution} --app {way.app} --store {store}", soft_wrap=True)
    say(f"  make {way.target} INPUT=your.csv      (header: ID,Recipient,Amount,Currency)")
    say("  less docs/tutorial.md         (your own pipeline in ten minutes)")


def _yes(value: bool) -> str:
    return "yes" if value else "[bold red]NO[/]"


def _short(path: Path) -> str:
    absolute = path.resolve()
    return str(absolute.relative_to(ROOT) if absolute.is_relative_to(ROOT) else absolute)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="A thousand payments and a kill.")
    parser.add_argument(
        "--input", type=Path, help="a CSV of your own: ID,Recipient,Amount,Currency"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "out" / "demo-csv-payments", help="where it runs"
    )
    parser.add_argument("--kafka", action="store_true", help="over Kafka in place of HTTP")
    parser.add_argument("--seconds", type=float, default=7, help="how long the provider takes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
