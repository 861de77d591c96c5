"""The three workloads, driven through the public API in one process.

W1, `park-resume`: each of `lanes` clients runs its share of the executions one after another:
submit, wait for the question, answer it, wait for the result. The rate counts everything from the
first submit to the last result. Idle latency is taken afterwards with one execution at a time:
from the call that sends the answer to the moment the result is there.

W2, `items`: one execution asks about n items in one unit. The time runs from its submit to its
result; the answers go out in mixed order, a thousand a call, a few calls at a time, once the unit
is closed. The step after the wait checks that they come in the order of their items. Latency is
that of one call with a thousand answers. (`bide.bench.hot_unit` answers from several processes.)

W3, `submit`: as W1 with three plain steps and no wait. Latency is that of the submit call, under
the load of all lanes.

A few executions run before the clock starts, so that it measures the engine and not its imports.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bide import App, Execution, Interaction
from bide.bench import pipelines
from bide.bench.figures import WrongResult
from bide.bench.limit import shuffled
from bide.bench.pipelines import Batch, Done, Parcel

_WARM_UP = 200
_ANSWERS_PER_CALL = 1_000
_CALLS_AT_ONCE = 4
_PENDING_WAIT_S = 600.0
#: What the JSON of a parcel takes beside its note, about.
_FRAME_BYTES = 42

Question = Interaction[Parcel, Parcel]


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took: seconds by the clock, seconds of the processor in all threads, latencies."""

    seconds: float
    cpu_seconds: float
    latencies: list[float]


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._clock = time.perf_counter()
        self._cpu = time.process_time()

    def run(self, latencies: list[float]) -> Run:
        """What it shows now."""
        seconds, cpu_seconds = time.perf_counter() - self._clock, time.process_time() - self._cpu
        return Run(seconds, cpu_seconds, latencies)


@dataclass(frozen=True, slots=True)
class Load:
    """How much, how large, how many at a time, and which share of the steps sleeps."""

    n: int
    payload: int = 100
    lanes: int = 2_000
    sleepers: float = 0.0
    #: Of a hot unit: how many processes answer.
    processes: int = 4

    @property
    def note(self) -> str:
        """What fills a payload up to its size."""
        return "x" * max(0, self.payload - _FRAME_BYTES)

    def parcel(self, number: int) -> Parcel:
        """The payload of one execution."""
        every = round(1 / self.sleepers) if self.sleepers else 0
        sleeps = bool(every) and number % every == 0
        return Parcel(number=number, note=self.note, sleeps=sleeps)


def app_on(store: str) -> App:
    """The app that is measured; cheap, nothing is opened."""
    return App(pipelines.park_resume, pipelines.items, pipelines.submit, store=store)


async def park_resume(app: App, load: Load) -> Run:
    """W1; with sleepers the latencies are those of the others, from answer to result."""
    latencies: list[float] = []

    async def cycle(number: int) -> None:
        parcel = load.parcel(number)
        took = await _cycle(app, parcel)
        if load.sleepers and not parcel.sleeps:
            latencies.append(took)

    await _warm_up(lambda number: _cycle(app, Parcel(number=number, note=load.note)), load)
    watch = Stopwatch()
    await _in_lanes(cycle, load)
    return watch.run(latencies)


async def idle(app: App, count: int, load: Load) -> list[float]:
    """One execution at a time: seconds from each answer to its result."""
    return [await _cycle(app, Parcel(number=number, note=load.note)) for number in range(count)]


async def park(app: App, load: Load) -> None:
    """Leave `n` executions parked."""

    async def leave(number: int) -> None:
        execution = await app.submit(pipelines.park_resume, load.parcel(number))
        await execution.parked(pipelines.answer, timeout=_PENDING_WAIT_S)

    await _in_lanes(leave, load)


async def items(app: App, load: Load) -> Run:
    """W2."""
    await _unit(app, Load(min(load.n, _WARM_UP), load.payload))
    return await _unit(app, load)


async def submit(app: App, load: Load) -> Run:
    """W3."""
    latencies: list[float] = []

    async def run(number: int) -> None:
        started = time.perf_counter()
        execution = await app.submit(pipelines.submit, load.parcel(number))
        latencies.append(time.perf_counter() - started)
        expect(await execution.result(timeout=_PENDING_WAIT_S), number)

    await _warm_up(run, load)
    latencies.clear()
    watch = Stopwatch()
    await _in_lanes(run, load)
    return watch.run(latencies)


async def _cycle(app: App, parcel: Parcel) -> float:
    execution = await app.submit(pipelines.park_resume, parcel)
    [question] = await execution.parked(pipelines.answer, timeout=_PENDING_WAIT_S)
    sent = time.perf_counter()
    await app.complete(question, question.request)
    expect(await execution.result(timeout=_PENDING_WAIT_S), parcel.number)
    return time.perf_counter() - sent


async def ask(app: App, load: Load) -> tuple[Execution[Done], Question]:
    """Let one execution ask about n items; gives it and its first question once all are asked."""
    execution = await app.submit(pipelines.items, Batch(count=load.n, note=load.note))
    questions = await execution.parked(pipelines.item_answer, timeout=_PENDING_WAIT_S)
    return execution, questions[0]


async def answer(app: App, first: Question, numbers: Sequence[int], load: Load) -> list[float]:
    """Answer those items of the unit of the `first` one; gives the seconds of each call.

    Raises:
        WrongResult: an answer was not the one that was applied.
    """
    latencies: list[float] = []
    unit = first.interaction_id.rpartition("_")[0]
    calls = [
        numbers[at : at + _ANSWERS_PER_CALL] for at in range(0, len(numbers), _ANSWERS_PER_CALL)
    ]

    async def client(mine: Iterable[Sequence[int]]) -> None:
        for part in mine:
            completions = [
                (
                    replace(first, interaction_id=f"{unit}_{number}", item_index=number),
                    Parcel(number=number, note=load.note),
                )
                for number in part
            ]
            sent = time.perf_counter()
            receipts = await app.complete_many(completions)
            latencies.append(time.perf_counter() - sent)
            if any(receipt.outcome != "applied" for receipt in receipts):
                raise WrongResult("an answer was not applied")

    await asyncio.gather(*(client(calls[at::_CALLS_AT_ONCE]) for at in range(_CALLS_AT_ONCE)))
    return latencies


async def finish(execution: Execution[Done], load: Load) -> None:
    """Wait until the execution has counted its answers, in order, and found all of them.

    Raises:
        WrongResult: it has found another number.
    """
    expect(await execution.result(timeout=_PENDING_WAIT_S), load.n)


async def _unit(app: App, load: Load) -> Run:
    watch = Stopwatch()
    execution, first = await ask(app, load)
    latencies = await answer(app, first, shuffled(load.n), load)
    await finish(execution, load)
    return watch.run(latencies)


async def _in_lanes(run: Callable[[int], Awaitable[Any]], load: Load) -> None:
    """Run every number, each lane one after another."""

    async def lane(first: int) -> None:
        for number in range(first, load.n, load.lanes):
            await run(number)

    await asyncio.gather(*(lane(first) for first in range(min(load.lanes, load.n))))


async def _warm_up(run: Callable[[int], Awaitable[Any]], load: Load) -> None:
    await asyncio.gather(*(run(number) for number in range(min(load.n, _WARM_UP))))


def expect(result: Done, number: int) -> None:
    """Raise `WrongResult` unless that is the number."""
    if result.number != number:
        raise WrongResult(f"execution {number} gave {result.number}")
