"""A pipeline whose steps write to tables of its own, and a nursery of workers to be killed.

`python -m tests.chaos.ledger STORE FOLDER WORKERS` keeps so many workers alive: each is a process of
its own, forked from one that has imported everything, so that two hundred deaths take minutes. A
worker that claims says so by a file `PID.ready` in the folder; one that dies is replaced at once.
"""

import asyncio
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bide import App, Await, Context, Inbox, Pipeline, Retry, Settings, Transaction, step

#: No key keeps a row from being there twice: that is what the test looks for.
TABLES = (
    "create table entries (execution text not null, stage integer not null)",
    "create table account (entries integer not null)",
    "insert into account values (0)",
)
#: Kills take leases with them, never tries; and a busy machine may cost a transaction its time.
PATIENT = Retry(attempts=1_000, first="1ms", longest="10ms")


class Transfer(BaseModel):
    """What is submitted."""

    number: int


async def _enter(ctx: Context, tx: Transaction, stage: int) -> None:
    """Write a row and raise the count, with a rest between, so that kills fall in the midst."""
    [before] = await tx.fetch("select entries from account")
    with Path(os.environ["CALLS"]).open("ab", buffering=0) as calls:
        calls.write(b".")
    await tx.execute("insert into entries values ($1, $2)", ctx.execution_id, stage)
    await asyncio.sleep(random.uniform(0, 0.02))
    await tx.execute("update account set entries = entries + 1")
    [after] = await tx.fetch("select entries from account")
    assert after["entries"] > before["entries"]


@step(retry=PATIENT)
async def debit(transfer: Transfer, ctx: Context, tx: Transaction) -> Transfer:
    """The step before the wait."""
    await _enter(ctx, tx, 1)
    return transfer


@step(retry=PATIENT)
async def credit(confirmed: bool, ctx: Context, tx: Transaction) -> bool:
    """The step after it."""
    await _enter(ctx, tx, 2)
    return confirmed


confirm = Await("Confirm", Transfer, bool, via=Inbox(), timeout="1h")
transfers = Pipeline("transfers", Transfer).then(debit).wait(confirm).then(credit)


def _gate() -> None:
    """Stand still, event loop and all, until the test lets this process go on."""
    folder = Path(os.environ["GATES"])
    (folder / f"{os.getpid()}.reached").touch()
    while not (folder / f"{os.getpid()}.open").exists():
        time.sleep(0.01)


@step(retry=PATIENT)
async def enter_behind(_: int, ctx: Context, tx: Transaction) -> int:
    """Write once the test lets it."""
    _gate()
    await tx.execute("insert into entries values ($1, $2)", ctx.execution_id, os.getpid())
    return os.getpid()


@step(retry=PATIENT)
async def enter_and_wait(_: int, ctx: Context, tx: Transaction) -> int:
    """Write, and go on once the test lets it."""
    await tx.execute("insert into entries values ($1, $2)", ctx.execution_id, os.getpid())
    _gate()
    return os.getpid()


gated_before = Pipeline("gated-before", int).then(enter_behind)
gated_within = Pipeline("gated-within", int).then(enter_and_wait)


async def lay_tables(_: int, tx: Transaction) -> None:
    """Make the tables."""
    for sql in TABLES:
        await tx.execute(sql)


laying = Pipeline("laying", int).then(lay_tables)
LEASE_MS = 1_000
SETTINGS = Settings(
    lease_ms=LEASE_MS,
    lease_renew_ms=250,
    lease_takeovers_max=10_000,
    sweep_interval_ms=100,
    poll_max_ms=100,
    transaction_max_ms=int(os.environ.get("TRANSACTION_MAX_MS", "5000")),
    transaction_idle_ms=int(os.environ.get("TRANSACTION_MAX_MS", "1000")),
)
app = App(transfers, gated_before, gated_within, laying, settings=SETTINGS)


async def work(store: str, folder: Path) -> None:
    """Be a worker until somebody kills this process."""
    async with app.using(store=store).running():
        (folder / f"{os.getpid()}.ready").touch()
        await asyncio.Event().wait()


def raise_workers(store: str, folder: Path, count: int) -> Any:
    """Fork workers, and another one for each that dies."""
    living: set[int] = set()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            while len(living) < count:
                if (child := os.fork()) == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    asyncio.run(work(store, folder))
                    os._exit(0)
                living.add(child)
            dead, _ = os.wait()
            living.discard(dead)
            (folder / f"{dead}.ready").unlink(missing_ok=True)
            time.sleep(0.02)  # one that cannot start must not make a storm of forks
    finally:
        for child in living:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    raise_workers(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
