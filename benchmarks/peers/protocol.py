"""What every peer's script shares: arguments, load, clock, and the object that it prints.

Only the standard library is imported here: this module runs in each peer's own environment.

The workloads are those of `bide bench`. W1, `park-resume`: a step, a wait for one answer of about
a hundred bytes, a step; its latency is that of one execution at a time, from the answer to the
result. W2, `items`: one execution waits for n answers, which come in mixed order and must be
released in the order of their items. W3, `submit`: three plain steps. The clock runs from the first
submission to the last result, and every result is compared with what it must be.
"""

import argparse
import asyncio
import gc
import json
import random
import resource
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Protocol

#: What goes in and what comes back: a number, and a note that fills it up to a hundred bytes.
Parcel = dict[str, Any]

WORKLOADS = ("park-resume", "items", "submit")
_NOTE = "x" * 58
_WARM_UP = 20
_IDLE_SAMPLES = 100
#: Idle latency is sampled for at most so long: there are peers that take a second each.
_IDLE_S = 20.0
#: After a question was heard, so long passes before its answer: until then its execution may still
#: be on its way into the wait, and an answer that is there already would spare it the parking.
_SETTLE_S = 0.05


class WrongResult(Exception):
    """A workload gave something else than it must, so that its time means nothing."""


class Peer(Protocol):
    """One engine, running, with its pipelines."""

    async def park_resume(self, number: int) -> float:
        """Run one execution of W1; give the seconds from its answer to its result."""
        ...

    async def items(self, order: Sequence[int]) -> None:
        """Run W2 once, answering the items in this order."""
        ...

    async def submit(self, number: int) -> None:
        """Run one execution of W3."""
        ...


class Questions:
    """What executions ask, as the client hears of it.

    A step tells it through a pipe, since some engines run steps in a process of their own; so it
    stands for the mail or the message that tells a person of a question.
    """

    def __init__(self) -> None:
        self._receiver, self.asker = Pipe(duplex=False)
        self._loop = asyncio.get_running_loop()
        self._heard: dict[str, asyncio.Future[str]] = {}
        #: Answers come at any moment of so many seconds, and not in step with an engine that polls.
        self.spread_s = 0.0
        threading.Thread(target=self._listen, daemon=True).start()

    async def of(self, key: int | str) -> str:
        """Wait for the question under this key; give what to answer it by."""
        reference = await self._future(str(key))
        del self._heard[str(key)]
        await asyncio.sleep(_SETTLE_S + random.uniform(0, self.spread_s))
        return reference

    def _future(self, key: str) -> asyncio.Future[str]:
        return self._heard.setdefault(key, self._loop.create_future())

    def _hear(self, key: str, reference: str) -> None:
        future = self._future(key)
        if not future.done():  # a step that is repeated asks again
            future.set_result(reference)

    def close(self) -> None:
        """End the thread that listens, once no worker holds the pipe any more."""
        self.asker.close()

    def _listen(self) -> None:
        while True:
            try:
                key, reference = json.loads(self._receiver.recv_bytes())
            except EOFError:
                return
            self._loop.call_soon_threadsafe(self._hear, key, reference)


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure; `store` is where the engine keeps its state."""

    workload: str
    n: int
    store: str
    lanes: int
    polls_s: float
    questions: Questions


#: How a peer's script opens its engine for a job.
Opened = Callable[[Job], AbstractAsyncContextManager[Peer]]


def ask(asker: Connection, key: int | str, reference: str = "") -> None:
    """Tell the client of a question: one write, so that workers may share the pipe."""
    asker.send_bytes(json.dumps([str(key), reference]).encode())


def parcel(number: int) -> Parcel:
    """The payload of one execution or item."""
    return {"number": number, "note": _NOTE}


def expect(result: Any, number: int) -> None:
    """Raise `WrongResult` unless the result is that of this number."""
    if result != {"number": number}:
        raise WrongResult(f"execution {number} gave {result!r}")


def counted(parcels: Iterable[Parcel]) -> Parcel:
    """Count the answers of W2, which must come in the order of their items."""
    expected = 0
    for one in parcels:
        if one["number"] != expected:
            raise WrongResult(f"answer {one['number']} came where {expected} belongs")
        expected += 1
    return {"number": expected}


def calls(order: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    """The answers of each call, for engines that take many in one."""
    return (order[at : at + size] for at in range(0, len(order), size))


def main(opened: Opened, *, lanes: int, polls_s: float = 0.0) -> None:
    """Run the workload that the command line names, and print its figure as one JSON object.

    `lanes` is how many executions the client has under way at a time, unless the command line says
    another number: what suits this peer best. `polls_s` is how often it looks for what came.
    """
    reader = argparse.ArgumentParser(description="Measure one workload of one peer.")
    reader.add_argument("--workload", choices=WORKLOADS, required=True)
    reader.add_argument("--n", type=int, required=True, help="executions, or items")
    reader.add_argument("--store", required=True, help="where the engine keeps its state")
    reader.add_argument("--lanes", type=int, default=lanes, help="executions at a time")
    given = reader.parse_args()
    if given.n < 1 or given.lanes < 1:
        reader.error("--n and --lanes are at least 1")

    async def measured() -> dict[str, Any]:
        job = Job(given.workload, given.n, given.store, given.lanes, polls_s, Questions())
        async with opened(job) as peer:
            seconds, alone = await _measure(peer, job)
        job.questions.close()
        return _figure(job, seconds, alone)

    print(json.dumps(asyncio.run(measured())))


async def _measure(peer: Peer, job: Job) -> tuple[float, list[float]]:
    warm_up = range(-min(_WARM_UP, job.n), 0)
    if job.workload == "items":
        await peer.items(_mixed(len(warm_up)))
        return await _timed(peer.items(_mixed(job.n))), []
    run = peer.submit if job.workload == "submit" else peer.park_resume
    await _in_lanes(run, warm_up, job.lanes)
    seconds = await _timed(_in_lanes(run, range(job.n), job.lanes))
    alone = await _alone(peer, job) if job.workload == "park-resume" else []
    return seconds, alone


async def _timed(work: Awaitable[None]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def _alone(peer: Peer, job: Job) -> list[float]:
    """Idle latency: one execution at a time."""
    job.questions.spread_s = job.polls_s
    taken: list[float] = []
    until = time.perf_counter() + _IDLE_S
    while len(taken) < _IDLE_SAMPLES and time.perf_counter() < until:
        taken.append(await peer.park_resume(job.n + len(taken)))
    return taken


async def _in_lanes(
    run: Callable[[int], Awaitable[object]], numbers: Sequence[int], lanes: int
) -> None:
    async def lane(mine: Sequence[int]) -> None:
        for number in mine:
            await run(number)

    await asyncio.gather(*(lane(numbers[first::lanes]) for first in range(lanes)))


def _mixed(n: int) -> list[int]:
    """Items in an order that is mixed, and the same in every run."""
    order = list(range(n))
    random.Random(n).shuffle(order)
    return order


def _figure(job: Job, seconds: float, alone: list[float]) -> dict[str, Any]:
    """The fields of `bide bench --json`; None where one does not apply."""
    return {
        "workload": job.workload,
        "store": job.store.partition(":")[0],
        "n": job.n,
        "per_second": round(job.n / seconds, 1),
        "limit_per_second": None,
        "cpu_us": None,
        "latency_ms": _latency(alone),
        "rss_mib": _rss_mib(),
        "bytes_per_parked": None,
    }


def _latency(seconds: list[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    ordered = sorted(seconds)
    ranks = {"p50": 50, "p99": 99}
    return {
        name: round(ordered[-(-len(ordered) * percent // 100) - 1] * 1_000, 3)
        for name, percent in ranks.items()
    }


def _rss_mib() -> float:
    """The most memory that this process and the largest that it started have held, in MiB."""
    gc.collect()
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    held = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(sum(use.ru_maxrss for use in held) / unit, 1)
