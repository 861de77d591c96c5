"""What a transactional step costs: cycles a second with one, beside the same cycle without.

python -m benchmarks.transactions [URL] [-n 1000] [--lanes 64]

A cycle is one execution of one step, from its submit to its result, with so many under way at a time.
`plain` writes nothing; `transactional` inserts a row in the commit that ends it; `apart` inserts it in
a transaction of its own beside the store, as a step without `Transaction` has to, and may so insert it
twice. Without a URL: an SQLite file on the disk of the working directory. On PostgreSQL, for instance:

    python -m scripts.postgres --durable python -m benchmarks.transactions {url}
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import asyncpg  # type: ignore[import-untyped]  # it comes without type hints

from bide import App, Pipeline, Transaction
from bide.runtime.process import loop_factory, tune_collector

INSERT = "insert into bookings (number, words) values ($1, 'a row of the user''s own')"
TABLE = "create table bookings (number bigint primary key, words text not null)"


class Own:
    """A connection of the step's own, used by one step at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = asyncio.Lock()
        self._file: apsw.Connection | None = None
        self._server: Any = None

    async def insert(self, number: int) -> None:
        """Insert and commit."""
        async with self._turn:
            if self._server is not None:
                await self._server.execute(INSERT, number)
            else:
                await asyncio.to_thread(self._insert_in_file, number)

    def _insert_in_file(self, number: int) -> None:
        assert self._file is not None
        self._file.execute(INSERT, {"1": number})

    async def open(self) -> None:
        if self._url.startswith("sqlite"):
            self._file = apsw.Connection(self._url.removeprefix("sqlite:///"))
            self._file.set_busy_timeout(10_000)
            self._file.execute("pragma synchronous = full")
        else:
            self._server = await asyncpg.connect(self._url)

    async def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._server is not None:
            await self._server.close()


def plain(number: int) -> int:
    return number


async def transactional(number: int, tx: Transaction) -> int:
    await tx.execute(INSERT, number)
    return number


async def apart(number: int, own: Own) -> int:
    await own.insert(number)
    return number


async def lay(_: int, tx: Transaction) -> None:
    await tx.execute("drop table if exists bookings")
    await tx.execute(TABLE)


KINDS = {each.__name__: Pipeline(each.__name__, int).then(each) for each in (plain, transactional)}
KINDS["apart"] = Pipeline("apart", int).then(apart)
laying = Pipeline("lay", int).then(lay)


async def cycles(app: App, kind: str, count: int, lanes: int) -> float:
    """Seconds that so many cycles take."""
    began = time.perf_counter()

    async def lane(first: int) -> None:
        for number in range(first, count, lanes):
            await (await app.submit(KINDS[kind], number)).result(timeout=600)

    await asyncio.gather(*(lane(first) for first in range(lanes)))
    return time.perf_counter() - began


async def measure(url: str, count: int, lanes: int) -> None:
    @asynccontextmanager
    async def own() -> AsyncGenerator[Own]:
        made = Own(url)
        await made.open()
        yield made
        await made.close()

    app = App(*KINDS.values(), laying, store=url, resources=[own])
    await app.migrate()
    async with app.running():
        print(f"{url.partition(':')[0]}, {count} cycles, {lanes} at a time, medians of 3:")
        for kind in KINDS:
            rates: list[float] = []
            for _ in range(3):
                await (await app.submit(laying, 0)).result(timeout=60)
                rates.append(count / await cycles(app, kind, count, lanes))
            print(f"  {kind:14} {statistics.median(rates):8,.0f} cycles/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?")
    parser.add_argument("-n", type=int, default=1_000)
    parser.add_argument("--lanes", type=int, default=64)
    options = parser.parse_args()
    tune_collector()
    with (
        tempfile.TemporaryDirectory(dir=".") as folder,
        asyncio.Runner(loop_factory=loop_factory()) as runner,
    ):
        url = options.url or f"sqlite:///{Path(folder) / 'bide.db'}"
        runner.run(measure(url, options.n, options.lanes))


if __name__ == "__main__":
    main()
