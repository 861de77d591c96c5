"""What the audit costs: the cycle of `bide bench park-resume` on SQLite, signed and unsigned in turn.

python scripts/audit_cost.py [-n 4000] [--rounds 5]

Both bring the answer in as JSON to the same door, from a caller in the group that is asked; the
unsigned one is nobody in particular, the signed one has an API key, so its answer writes an entry.
"""

import argparse
import asyncio
import statistics
import tempfile
import time

from bide import App, Principal, Settings
from bide.bench import pipelines
from bide.bench.pipelines import Parcel
from bide.runtime.process import loop_factory, tune_collector
from bide.runtime.views import Completion
from bide.security.access import Caller

SIGNED = Caller("default", Principal("ada", credential="api-key:a1"))
UNSIGNED = Caller("default")
LANES = 1_000


async def cycle(app: App, number: int, caller: Caller) -> None:
    """Submit, park, answer, resume, result."""
    parcel = Parcel(number=number, note="x" * 58)
    execution = await app.submit(pipelines.park_resume, parcel)
    [question] = await execution.parked(pipelines.answer, timeout=600)
    completion = Completion(
        interaction_id=question.interaction_id, payload=question.request.model_dump(), actor="ada"
    )
    reply = await app.service.complete("default", completion, by=caller)
    assert reply.receipt.outcome == "applied", reply
    await execution.result(timeout=600)


async def rate(caller: Caller, n: int) -> float:
    """Cycles a second on a new file."""
    with tempfile.TemporaryDirectory() as folder:
        app = App(pipelines.park_resume, store=f"sqlite:///{folder}/bide.db", settings=Settings())
        async with app.running():
            numbers = iter(range(n))

            async def lane() -> None:
                for number in numbers:
                    await cycle(app, number, caller)

            started = time.perf_counter()
            await asyncio.gather(*(lane() for _ in range(LANES)))
            return n / (time.perf_counter() - started)


async def measure(n: int, rounds: int) -> None:
    """Alternate, so that a slow minute of the machine concerns both."""
    await rate(UNSIGNED, n // 4)
    pairs = [(await rate(UNSIGNED, n), await rate(SIGNED, n)) for _ in range(rounds)]
    unsigned, signed = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"unsigned {unsigned:,.0f} cycles/s, signed {signed:,.0f} cycles/s")
    print(f"an entry of the audit costs {1 - signed / unsigned:.1%} (medians of {rounds})")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Measure what the audit costs.")
    parser.add_argument("-n", type=int, default=4_000, help="cycles of one round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each")
    arguments = parser.parse_args()
    tune_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(measure(arguments.n, arguments.rounds))


if __name__ == "__main__":
    main()
