"""A flow that is killed right after each of its commits in turn: run by test_every_commit.py.

    python -m tests.integration.mortal FOLDER SHAPE

For the N-th commit a child process runs the flow with `BIDE_FAILPOINT=after-commit:N`, which ends it
by SIGKILL; a second child goes on from what it left and writes how that ended. Children are forked
from a process that has imported everything and started nothing, so that each is quick. What the
second ones wrote goes to stdout, a line of JSON a kill; the last line is a run without one.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from bide import App
from bide.settings import Settings
from bide.stores.sqlite.store import SqliteStore
from bide.testing import FakeClock
from bide.testing.store_contract import StoreFactory, check_invariants
from bide.testing.store_contract.harness import Driver
from tests.obligations.registry import Shape
from tests.obligations.world import answer_to, input_of, pipeline_of

_COMMITS_MAX = 60
_SETTINGS = Settings(
    lease_ms=200, lease_renew_ms=50, poll_max_ms=10, sweep_interval_ms=20, page_items=2
)


async def live(file: Path, shape: Shape) -> object:
    """Run the flow to its end, or as far as this process gets."""
    app = App(pipeline_of(shape), store=f"sqlite:///{file}", settings=_SETTINGS)
    async with app.running():
        execution = await app.submit("flow", input_of(shape), idempotency_key="the one")
        while not (await execution.status()).status.is_terminal:
            for question in reversed(await app.pending()):
                await app.complete(question, answer_to(shape, question), actor="ada")
            await asyncio.sleep(0.002)
        return await execution.result(timeout=30)


async def check(file: Path) -> dict[str, int]:
    """Check what holds in every state, and count what has to be there once."""
    store = SqliteStore(str(file), FakeClock())
    await store.open()
    try:
        factory = StoreFactory(name="sqlite", fresh=None)  # type: ignore[arg-type]  # opens no other
        dump = await Driver(store, FakeClock(), factory).dump()
    finally:
        await store.close()
    check_invariants(dump)
    return {
        "executions": len(dump.executions),
        "interactions": len(dump.interactions),
        "repeated": sum(row.duplicates + row.refusals for row in dump.interactions.values()),
    }


def in_child(work: object, failpoint: str = "") -> tuple[int, str]:
    """Do work in a forked child; gives how it ended, and what it wrote."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.environ["BIDE_FAILPOINT"] = failpoint
        try:
            os.write(writing, json.dumps(asyncio.run(work())).encode())  # type: ignore[operator]  # a coroutine function
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        written = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), written


def main(folder: Path, shape: Shape) -> int:
    for number in range(1, _COMMITS_MAX):
        file = folder / f"{number}.db"

        async def run(file: Path = file) -> dict[str, object]:
            result = await live(file, shape)
            return {"result": result, **await check(file)}

        code, written = in_child(run, f"after-commit:{number}")
        killed = code == -signal.SIGKILL
        if killed:
            code, written = in_child(run)
        if code != 0:
            return code
        print(json.dumps({"killed": killed, **json.loads(written)}), flush=True)
        if not killed:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Shape(sys.argv[2])))
