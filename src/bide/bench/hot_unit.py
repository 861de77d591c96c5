"""A hot unit: one await with many items, answered by several processes at once.

One process asks about n items; then others, each with connections of its own to the store, divide
the answers among them, in mixed order, a thousand a call. Each answer has to be applied, and the
execution to go on once and to find every item in its place. The clock runs from when all of them
are ready to the result; the processor's time is that of all of them. Latency is that of a call.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from typing import Any, NamedTuple

from bide import App
from bide.bench import workloads
from bide.bench.children import in_child, run
from bide.bench.databases import is_on_disk
from bide.bench.figures import WrongResult
from bide.bench.limit import shuffled
from bide.bench.workloads import Load, Question, Run, Stopwatch
from bide.stores.address import shown

#: How long processes may take to be ready.
_START_S = 120.0


class _Answered(NamedTuple):
    """What one process took to answer its share: seconds of each call, and of the processor."""

    latencies: list[float]
    cpu_seconds: float


async def hot_unit(app: App, store: str, load: Load) -> Run:
    """Let `load.processes` processes answer the items of one unit.

    Raises:
        WrongResult: an answer was not applied, the execution did not go on once and with all, or
            the store is one that processes cannot share.
    """
    if not is_on_disk(store):
        raise WrongResult(f"several processes cannot share a store like {shown(store)}")
    execution, first = await workloads.ask(app, load)
    order, size = shuffled(load.n), load.processes
    ready = multiprocessing.get_context("spawn").Barrier(size + 1)
    answering = asyncio.gather(
        *(
            asyncio.to_thread(in_child, _answer, store, first, order[at::size], load, ready)
            for at in range(size)
        )
    )
    starting = asyncio.create_task(asyncio.to_thread(ready.wait, _START_S))
    try:
        # One that cannot start has an error to tell; the others would wait for it.
        either: list[asyncio.Future[Any]] = [starting, answering]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        watch = Stopwatch()
        done = await answering
    finally:
        ready.abort()
    await workloads.finish(execution, load)
    ours = watch.run([latency for each in done for latency in each.latencies])
    await _check_resumed_once(app, execution.execution_id)
    theirs = sum(each.cpu_seconds for each in done)
    return Run(ours.seconds, ours.cpu_seconds + theirs, ours.latencies)


async def _check_resumed_once(app: App, execution_id: str) -> None:
    timeline = await app.service.timeline("default", execution_id)
    resumed = sum(entry.what == "resumed" for entry in timeline)
    if resumed != 1:
        raise WrongResult(f"the execution was resumed {resumed} times")


def _answer(
    store: str, first: Question, numbers: Sequence[int], load: Load, ready: Barrier
) -> _Answered:
    """Answer a share of the items, in a process of its own, once all the others are ready."""

    async def share() -> _Answered:
        async with workloads.app_on(store).running(workers=False) as app:
            await asyncio.to_thread(ready.wait, _START_S)
            began = time.process_time()
            latencies = await workloads.answer(app, first, numbers, load)
            return _Answered(latencies, time.process_time() - began)

    return run(share())
