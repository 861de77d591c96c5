"""absurd: durable tasks in Postgres alone; workers are processes of their own that poll it."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from secrets import token_hex
from time import perf_counter
from typing import Any

import psycopg
from absurd_sdk import AsyncAbsurd, AsyncTaskContext
from absurdctl import BUNDLED_SCHEMA_SQL

from benchmarks.peers.protocol import (
    Job,
    Parcel,
    Questions,
    ask,
    counted,
    expect,
    main,
    parcel,
)

_WORKERS = 2
_TASKS_AT_ONCE = 20
#: How long a worker sleeps when there is nothing to do: the default of the SDK.
_POLL_S = 0.25


def tasks(app: AsyncAbsurd, asker: Connection) -> None:
    """Register the tasks with a worker or a client."""

    @app.register_task(name="park-resume")
    async def park_resume(sent: Parcel, ctx: AsyncTaskContext) -> Parcel:
        async def prepare() -> Parcel:
            ask(asker, sent["number"])
            return sent

        await ctx.step("prepare", prepare)
        return await conclude(ctx, await ctx.await_event(f"answer-{sent['number']}"))

    @app.register_task(name="items")
    async def items(sent: Parcel, ctx: AsyncTaskContext) -> Parcel:
        async def prepare() -> Parcel:
            ask(asker, sent["key"])
            return sent

        await ctx.step("prepare", prepare)
        return counted(
            [await ctx.await_event(f"{sent['key']}-{item}") for item in range(sent["n"])]
        )

    @app.register_task(name="submit")
    async def submit(sent: Parcel, ctx: AsyncTaskContext) -> Parcel:
        async def label() -> Parcel:
            return sent

        await ctx.step("prepare", label)
        return await conclude(ctx, await ctx.step("label", label))


async def conclude(ctx: AsyncTaskContext, answer: Any) -> Parcel:
    async def done() -> Parcel:
        return {"number": answer["number"]}

    return await ctx.step("conclude", done)


def work(store: str, asker: Connection, name: str) -> None:
    """The life of a worker process."""
    app = AsyncAbsurd(store)
    tasks(app, asker)
    asyncio.run(app.start_worker(name, concurrency=_TASKS_AT_ONCE, poll_interval=_POLL_S))


class Absurd:
    """The client's side."""

    def __init__(self, app: AsyncAbsurd, questions: Questions) -> None:
        self._app, self._questions = app, questions

    async def park_resume(self, number: int) -> float:
        spawned = await self._app.spawn("park-resume", parcel(number))
        await self._questions.of(number)
        sent = perf_counter()
        await self._app.emit_event(f"answer-{number}", parcel(number))
        await self._expect(spawned["task_id"], number)
        return perf_counter() - sent

    async def items(self, order: Sequence[int]) -> None:
        key, n = token_hex(4), len(order)
        spawned = await self._app.spawn("items", {"key": key, "n": n})
        await self._questions.of(key)
        for item in order:
            await self._app.emit_event(f"{key}-{item}", parcel(item))
        await self._expect(spawned["task_id"], n)

    async def submit(self, number: int) -> None:
        spawned = await self._app.spawn("submit", parcel(number))
        await self._expect(spawned["task_id"], number)

    async def _expect(self, task_id: str, number: int) -> None:
        ended = await self._app.await_task_result(task_id)
        expect(ended.result, number)


@asynccontextmanager
async def opened(job: Job) -> AsyncIterator[Absurd]:
    async with await psycopg.AsyncConnection.connect(job.store, autocommit=True) as connection:
        await connection.execute(BUNDLED_SCHEMA_SQL)
    app = AsyncAbsurd(job.store)
    tasks(app, job.questions.asker)
    await app.create_queue()
    fresh = multiprocessing.get_context("spawn")
    workers = [
        fresh.Process(target=work, args=(job.store, job.questions.asker, f"worker-{number}"))
        for number in range(_WORKERS)
    ]
    for worker in workers:
        worker.start()
    try:
        yield Absurd(app, job.questions)
    finally:
        await app.close()
        for worker in workers:
            worker.kill()
            worker.join()


if __name__ == "__main__":
    main(opened, lanes=200, polls_s=_POLL_S)
