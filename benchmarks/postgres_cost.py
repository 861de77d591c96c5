"""What a cycle of W1 costs on PostgreSQL, on both sides of the connection.

    python -m scripts.postgres --durable python -m benchmarks.postgres_cost {url} -n 20000

Drives the workload as `bide bench park-resume` does and prints, per cycle: CPU of this process and
of the server's, commits, statements, bytes of WAL, rows written, and which share of the updates was
HOT; then the bytes of a parked execution. CPU is what to compare on a machine that others use too:
it hardly moves with the noise, while cycles a second do. With `--profile FILE` this process's
profile is written there.

The address must be of a database of its own: the schema `bide` in it is dropped.
"""

import argparse
import asyncio
import cProfile
import time
from contextlib import nullcontext
from typing import Any

import psutil
import psycopg

from bide import App
from bide.bench import pipelines, workloads
from bide.bench.workloads import Load
from bide.runtime.process import loop_factory, tune_collector
from bide.stores.postgres.store import PostgresStore

_COUNTED = """
select pg_current_wal_lsn() - '0/0' as wal, d.xact_commit as commits,
    t.inserted, t.updated, t.hot, t.dead
from pg_stat_database d, (
    select sum(n_tup_ins) as inserted, sum(n_tup_upd) as updated, sum(n_tup_hot_upd) as hot,
        sum(n_dead_tup) as dead
    from pg_stat_user_tables where schemaname = 'bide'
) t
where d.datname = current_database()
"""
_PER_TABLE = """
select relname, n_tup_ins, n_tup_upd, n_tup_hot_upd, pg_table_size(relid), pg_indexes_size(relid)
from pg_stat_user_tables where schemaname = 'bide' and n_tup_ins > 0 order by relname
"""
_SIZE = (
    "select sum(pg_total_relation_size(relid)) from pg_stat_user_tables where schemaname = 'bide'"
)


class Server:
    """The server's processes and counters."""

    def __init__(self, url: str) -> None:
        self._db = psycopg.connect(url, autocommit=True)
        [pid] = self._row("select pg_backend_pid()")
        parent = psutil.Process(pid).parent()
        assert parent is not None, "the server must run on this machine"
        self._parent = parent

    def _row(self, text: str) -> Any:
        return self._db.execute(text).fetchone()  # type: ignore[arg-type]  # texts of this file

    def cpu_s(self) -> float:
        """Seconds of CPU that all of its processes have taken."""
        total = 0.0
        for process in [self._parent, *self._parent.children()]:
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def counted(self) -> dict[str, float]:
        """Counters of the database, once its backends have reported theirs."""
        time.sleep(1.5)
        row = self._row(_COUNTED)
        names = ("wal", "commits", "inserted", "updated", "hot", "dead")
        return dict(zip(names, map(float, row), strict=True))

    def per_table(self) -> list[Any]:
        """Rows and bytes of each table."""
        return self._db.execute(_PER_TABLE).fetchall()

    def size(self) -> int:
        """Bytes of all tables and indexes."""
        return int(self._row(_SIZE)[0])

    def reset(self) -> None:
        """Drop the tables."""
        self._db.execute("drop schema if exists bide cascade")


async def _cycles(url: str, load: Load, server: Server, profile: Any) -> dict[str, float]:
    app = App(pipelines.park_resume, store=url)
    async with app.running():
        await workloads.park_resume(app, Load(500))
        before = server.counted()
        cpu, theirs = time.process_time(), server.cpu_s()
        with profile:
            run = await workloads.park_resume(app, load)
        cpu, theirs = time.process_time() - cpu, server.cpu_s() - theirs
        after = server.counted()
        idle = sorted(await workloads.idle(app, 300, load))
    per = {name: (after[name] - before[name]) / load.n for name in after}
    per["hot"] /= per["updated"] or 1
    return {
        "cycles/s": load.n / run.seconds,
        "us CPU here": cpu / load.n * 1e6,
        "us CPU there": theirs / load.n * 1e6,
        **per,
        "idle p50 ms": idle[len(idle) // 2] * 1e3,
        "idle p99 ms": idle[len(idle) * 99 // 100] * 1e3,
    }


async def _parked(url: str, count: int, server: Server) -> float:
    app = App(pipelines.park_resume, store=url)
    async with app.running():
        before = server.size()
        await workloads.park(app, Load(count))
        return (server.size() - before) / count


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-n", type=int, default=20_000)
    parser.add_argument("--profile")
    parser.add_argument("--lanes", type=int, default=2_000)
    options = parser.parse_args()
    server = Server(options.url)
    server.reset()
    asyncio.run(PostgresStore(options.url).migrate())
    tune_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        profile = cProfile.Profile() if options.profile else nullcontext()
        load = Load(options.n, lanes=options.lanes)
        for name, value in runner.run(_cycles(options.url, load, server, profile)).items():
            print(f"{name:>14}: {value:,.2f}")
        if isinstance(profile, cProfile.Profile):
            profile.dump_stats(options.profile)
        for row in server.per_table():
            print("  ".join(str(each) for each in row))
        print(f"  bytes parked: {runner.run(_parked(options.url, 5_000, server)):,.0f}")


if __name__ == "__main__":
    main()
