"""DBOS: durable functions in the application's own process, in Postgres or an SQLite file."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter

from dbos import DBOS, DBOSConfig, SendMessage

from benchmarks.peers.protocol import (
    Job,
    Parcel,
    Questions,
    ask,
    calls,
    counted,
    expect,
    main,
    parcel,
)

_DAY_S = 86_400.0
_ANSWERS_PER_CALL = 1_000
#: The questions of this process; its steps run where the client runs.
_questions: list[Questions] = []


@DBOS.step()
async def prepare(sent: Parcel) -> Parcel:
    ask(_questions[0].asker, sent["number"])
    return sent


@DBOS.step()
async def label(sent: Parcel) -> Parcel:
    return sent


@DBOS.step()
async def conclude(answer: Parcel) -> Parcel:
    return {"number": answer["number"]}


@DBOS.workflow()
async def park_resume(sent: Parcel) -> Parcel:
    await prepare(sent)
    answer = await DBOS.recv_async("answer", timeout_seconds=_DAY_S)
    return await conclude(answer)


@DBOS.workflow()
async def items(n: int) -> Parcel:
    await prepare({"number": f"items-{n}"})
    return counted(
        [await DBOS.recv_async(f"item-{item}", timeout_seconds=_DAY_S) for item in range(n)]
    )


@DBOS.workflow()
async def submit(sent: Parcel) -> Parcel:
    return await conclude(await label(await label(sent)))


class Dbos:
    """The client's side."""

    async def park_resume(self, number: int) -> float:
        handle = await DBOS.start_workflow_async(park_resume, parcel(number))
        await _questions[0].of(number)
        sent = perf_counter()
        await DBOS.send_async(handle.workflow_id, parcel(number), "answer")
        expect(await handle.get_result(), number)
        return perf_counter() - sent

    async def items(self, order: Sequence[int]) -> None:
        handle = await DBOS.start_workflow_async(items, len(order))
        await _questions[0].of(f"items-{len(order)}")
        for numbers in calls(order, _ANSWERS_PER_CALL):
            await DBOS.send_bulk_async(
                [SendMessage(handle.workflow_id, parcel(item), f"item-{item}") for item in numbers]
            )
        expect(await handle.get_result(), len(order))

    async def submit(self, number: int) -> None:
        handle = await DBOS.start_workflow_async(submit, parcel(number))
        expect(await handle.get_result(), number)


@asynccontextmanager
async def opened(job: Job) -> AsyncIterator[Dbos]:
    config: DBOSConfig = {"name": "peers", "system_database_url": job.store, "log_level": "ERROR"}
    _questions.append(job.questions)
    DBOS(config=config)
    DBOS.launch()
    try:
        yield Dbos()
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main(opened, lanes=20, polls_s=1.0)
