"""A thousand charges, a partner that misbehaves, and the proof that each was booked once.

    python -m examples.fraud_check.demo                    SQLite, a thousand charges
    python -m examples.fraud_check.demo -n 100 --kill      the service is killed half way
    python -m examples.fraud_check.demo --store postgresql://...

Two processes are started: the service (`bide serve`) and the partner, which knows only HTTP. Of the
partner's requests 5 % fail the first time, of its callbacks 10 % are posted twice, and 10 % arrive
before the request that asked for them is answered.
"""

import argparse
import asyncio
import base64
import json
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from examples.children import BIDE, ROOT, Child, DemoFailed, Service, free_port, leave_on_signals
from examples.fraud_check.partner import decide

APP = "examples.fraud_check:app"
ENDED = {"SUCCEEDED", "FAILED", "DLQ", "CANCELLED"}
#: Requests that the demo itself has under way at once.
AT_ONCE = 16
#: How long nothing may move before the demo gives up.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Proof:
    """What was found, and whether it is what it has to be."""

    charges: int
    #: How many executions ended with the result that the partner's verdict leads to.
    as_decided: int
    #: How many executions finished exactly once, by their timelines.
    once: int
    #: What completions came to, by what the service has stored.
    stored: dict[str, int]
    #: What the partner did and was told.
    partner: dict[str, Any]
    #: What the service logged as an error.
    errors: int

    def faults(self) -> list[str]:
        """Say what is not as it has to be; nothing for a good run."""
        told: Counter[str] = Counter(self.partner["receipts"])
        checks = {
            "an execution has no result, or a wrong one": self.as_decided != self.charges,
            "an execution did not finish exactly once": self.once != self.charges,
            "a charge was not asked about": self.partner["requests"] != self.charges,
            "a request was not signed as agreed": self.partner["forged"] > 0,
            "a request that failed did not come again": self.partner["repeated"]
            < self.partner["failed"],
            "an answer was not admitted exactly once": self.stored.get("applied") != self.charges,
            "a callback was refused": not set(told) <= {"applied", "duplicate"},
            "a callback got no receipt": told.total() < self.charges,
            "the service logged an error": self.errors > 0,
        }
        return [fault for fault, found in checks.items() if found]


def charge(number: int) -> dict[str, Any]:
    """One charge; every tenth is large enough to be a risk."""
    return {"order_id": f"order-{number}", "cents": 250_000 if number % 10 == 0 else 1_299}


class Api:
    """The few calls that the demo makes; a service that is away is asked again."""

    def __init__(self, service: Service, client: httpx.AsyncClient) -> None:
        self._service = service
        self._client = client
        self._free = asyncio.Semaphore(AT_ONCE)

    async def ask(self, method: str, path: str, **what: Any) -> Any:
        """Call until there is an answer."""
        deadline = time.monotonic() + PATIENCE_S
        async with self._free:
            while True:
                try:
                    answer = await self._client.request(method, path, **what)
                    if not answer.is_error:
                        return answer.json()
                    if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                        raise DemoFailed(f"{path} answered {answer.status_code}: {answer.text}")
                except httpx.TransportError as error:
                    if time.monotonic() > deadline:
                        raise DemoFailed(f"{path}: {error}; see {self._service.log}") from error
                await asyncio.sleep(0.1)

    async def submit(self, number: int, run_id: str) -> str:
        """Submit a charge; with the same key it is the same execution, however often."""
        headers = {"idempotency-key": f"{run_id}-{number}"}
        answer = await self.ask("POST", "/pipeline/run-async", json=charge(number), headers=headers)
        return str(answer["executionId"])

    async def state(self, execution: str) -> dict[str, Any]:
        """Where an execution stands."""
        return dict(await self.ask("GET", f"/pipeline/executions/{execution}"))

    async def receipts(self) -> Counter[str]:
        """How many completions came to what, by what is stored."""
        return Counter((await self.ask("GET", "/api/v1/receipts"))["stored"])


async def run(options: argparse.Namespace, children: ExitStack) -> Proof:
    """Start both processes, send the charges through, and look at what came out."""
    env = environment(options.folder)
    service = Service(APP, folder=options.folder, children=children, store=options.store, env=env)
    env |= {"BIDE_CALLBACK_BASE_URL": service.url}
    partner = start_partner(env, options.folder, children)
    service.start()
    async with _api(service) as api:
        before = await api.receipts()
        run_id = secrets.token_hex(4)
        executions = await asyncio.gather(*(api.submit(n, run_id) for n in range(options.n)))
        print(f"{options.n} charges are submitted to {service.url}", flush=True)
        await _until_answered(api, service, before, options.n, kill=options.kill)
        await asyncio.gather(*(_until_ended(api, each) for each in executions))
        partner.stop(within_s=PATIENCE_S)
        tally = json.loads(lines_of(partner.log)[-1])
        return await prove(api, executions, before, tally, lines_of(service.log))


def lines_of(log: Path) -> list[str]:
    """What a process has said."""
    return log.read_text(encoding="utf-8").splitlines()


def environment(folder: Path) -> dict[str, str]:
    """What both processes are told: secrets of this run alone, and that this is development."""
    folder.mkdir(parents=True, exist_ok=True)
    keyring = folder / "keyring.json"
    keyring.unlink(missing_ok=True)
    subprocess.run(
        [BIDE, "keys", "generate", "--file", keyring], check=True, stdout=subprocess.DEVNULL
    )
    return {
        "FRAUD_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "FRAUD_URL": f"http://127.0.0.1:{free_port()}/checks",
        "BIDE_KEYRING_FILE": str(keyring),
        "BIDE_WEBHOOK_ALLOW_LOOPBACK": "true",
    }


def start_partner(env: dict[str, str], folder: Path, children: ExitStack) -> Child:
    """Start the partner; requests that come before it listens fail, and come again."""
    script = ROOT / "examples" / "fraud_check" / "partner.py"
    url = httpx.URL(env["FRAUD_URL"])
    command = [sys.executable, str(script), "--port", str(url.port)]
    partner = Child("partner", command, log=folder / "partner.log", env=env)
    children.callback(partner.stop)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            httpx.get(url.join("/readyz")).raise_for_status()
            return partner
        except httpx.HTTPError:
            partner.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"the partner is not ready; see {partner.log}") from None
            time.sleep(0.05)


async def prove(
    api: Api,
    executions: list[str],
    before: Counter[str],
    tally: dict[str, Any],
    log: list[str],
) -> Proof:
    """Read results and timelines, and compare them with what the partner decided."""
    results = await asyncio.gather(
        *(api.ask("GET", f"/pipeline/executions/{each}/result") for each in executions)
    )
    lives = await asyncio.gather(
        *(api.ask("GET", f"/api/v1/executions/{each}/timeline") for each in executions)
    )
    stored = await api.receipts() - before
    as_decided = sum(
        result == {"order_id": f"order-{n}", "held": decide(charge(n))["risk"] != "low"}
        for n, result in enumerate(results)
    )
    once = sum(
        (facts.count("resumed"), facts.count("succeeded")) == (1, 1)
        for facts in ([fact["what"] for fact in life["items"]] for life in lives)
    )
    errors = sum('"level": "error"' in line for line in log)
    return Proof(len(executions), as_decided, once, dict(stored), tally, errors)


async def _until_answered(
    api: Api, service: Service, before: Counter[str], total: int, *, kill: bool
) -> None:
    """Wait until every charge has its answer; kill the service at half of them, if asked to."""
    answered, moved_at = 0, time.monotonic()
    while answered < total:
        now = (await api.receipts() - before)["applied"]
        if now > answered:
            answered, moved_at = now, time.monotonic()
        elif time.monotonic() - moved_at > PATIENCE_S:
            raise DemoFailed(f"{answered} of {total} are answered and no more; see {service.log}")
        if kill and total / 2 <= answered < total:
            kill = False
            service.kill()
            print(f"killed the service (SIGKILL) with {answered} charges answered", flush=True)
            service.start()
        await asyncio.sleep(0.02)


async def _until_ended(api: Api, execution: str) -> None:
    """Wait until an execution that was answered has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while (await api.state(execution))["status"] not in ENDED:
        if time.monotonic() > deadline:
            raise DemoFailed(f"execution {execution} does not end")
        await asyncio.sleep(0.1)


@asynccontextmanager
async def _api(service: Service) -> AsyncGenerator[Api]:
    async with httpx.AsyncClient(base_url=service.url, timeout=30, trust_env=False) as client:
        yield Api(service, client)


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.fraud_check.demo")
    parser.add_argument("-n", type=int, default=1_000, help="charges")
    parser.add_argument("--store", help="a store's URL; else a file in the folder")
    parser.add_argument("--folder", type=Path, default=Path("out/fraud_check"), help="for files")
    parser.add_argument("--kill", action="store_true", help="kill the service half way")
    return parser.parse_args(arguments)


def main() -> int:
    """Run it; 0 only if everything holds."""
    leave_on_signals()
    started = time.monotonic()
    try:
        with ExitStack() as children:
            proof = asyncio.run(run(options_of(), children))
    except DemoFailed as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1
    took = time.monotonic() - started
    print(f"{proof.once} of {proof.charges} finished once, in {took:.1f} s")
    print(f"partner: {json.dumps(proof.partner)}")
    print(f"stored:  {json.dumps(proof.stored)}")
    faults = proof.faults()
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
