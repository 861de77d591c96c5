"""One measurement from beginning to end: a store, the workload, the limit, the figure."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from bide.bench import hot_unit, limit_postgres, workloads
from bide.bench.children import in_child, run
from bide.bench.databases import SQLITE, file_of, is_on_disk, is_postgres, old_snapshot, size_of
from bide.bench.figures import Figure, Latency, latency, rate, rss_mib
from bide.bench.limit import limit_hot_unit, limit_items, limit_park_resume, limit_submit
from bide.bench.workloads import Load, Run
from bide.stores.address import shown
from bide.wiring import store_of

_IDLE = 200
_PARKED_PROBE = 5_000
_LIMITS = {
    "park-resume": limit_park_resume,
    "items": limit_items,
    "hot-unit": limit_hot_unit,
    "submit": limit_submit,
}
_POSTGRES_LIMITS = {
    "park-resume": limit_postgres.limit_park_resume,
    "items": limit_postgres.limit_items,
    "hot-unit": limit_postgres.limit_hot_unit,
    "submit": limit_postgres.limit_submit,
}


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure."""

    workload: str
    load: Load
    #: None: a fresh SQLite file on the disk of the working directory.
    store: str | None = None
    #: Executions that wait in the store before the clock starts.
    parked: int = 0
    #: Whether somebody else holds a snapshot open while it runs.
    old_snapshot: bool = False


def measure(job: Job) -> Figure:
    """Measure one workload, each part in a process of its own, then its limit on the same disk."""
    with _folder() as folder:
        store = job.store or _address(folder / "bide.db")
        run(_make_tables(store))
        per_parked = _bytes_per_parked(job, store, folder)
        driven = in_child(drive, store, job)
        limit = _limit(job, store, folder)
    return Figure(
        workload=job.workload,
        store=shown(job.store or SQLITE),
        n=job.load.n,
        per_second=rate(job.load.n, driven.seconds),
        limit_per_second=limit,
        cpu_us=round(driven.cpu_seconds / job.load.n * 1e6, 1),
        latency_ms=driven.latency,
        rss_mib=driven.rss_mib,
        bytes_per_parked=per_parked,
    )


class Driven(NamedTuple):
    """What the process that ran the workload says of it."""

    seconds: float
    cpu_seconds: float
    latency: Latency | None
    rss_mib: float


def drive(store: str, job: Job) -> Driven:
    """Run one workload in this process."""
    done, taken = run(_drive(store, job))
    return Driven(done.seconds, done.cpu_seconds, taken, rss_mib())


def measure_parked(store: str, load: Load) -> float:
    """Park `n` executions in a store on disk, and say how many bytes each takes there."""
    run(_open_and_close(store))
    before = run(size_of(store))
    run(_park(store, load))
    return round((run(size_of(store)) - before) / load.n, 1)


async def _drive(store: str, job: Job) -> tuple[Run, Latency | None]:
    app = workloads.app_on(store)
    async with app.running(), old_snapshot(store) if job.old_snapshot else nullcontext():
        if job.workload == "items":
            done = await workloads.items(app, job.load)
        elif job.workload == "hot-unit":
            done = await hot_unit.hot_unit(app, store, job.load)
        elif job.workload == "submit":
            done = await workloads.submit(app, job.load)
        else:
            done = await workloads.park_resume(app, job.load)
            if not job.load.sleepers:
                alone = await workloads.idle(app, min(_IDLE, job.load.n), job.load)
                return done, latency(alone)
    return done, latency(done.latencies)


async def _park(store: str, load: Load) -> None:
    app = workloads.app_on(store)
    async with app.running():
        await workloads.park(app, load)


async def _open_and_close(store: str) -> None:
    async with workloads.app_on(store).running(workers=False):
        pass


async def _make_tables(store: str) -> None:
    """In an empty database only: one that somebody uses is brought up to date by its owner."""
    opened = store_of(store)
    if (await opened.schema()).present == 0:
        await opened.migrate()


def _bytes_per_parked(job: Job, store: str, folder: Path) -> float | None:
    if not is_on_disk(store):
        return None
    if job.parked:
        return in_child(measure_parked, store, replace(job.load, n=job.parked, sleepers=0.0))
    if job.workload != "park-resume":
        return None
    probe = replace(job.load, n=min(job.load.n, _PARKED_PROBE), sleepers=0.0)
    beside = _address(folder / "parked.db") if file_of(store) else store
    return in_child(measure_parked, beside, probe)


def _limit(job: Job, store: str, folder: Path) -> float | None:
    body = job.load.parcel(1).model_dump_json().encode()
    if file_of(store):
        return _LIMITS[job.workload](folder / "limit.db", job.load.n, body)
    if is_postgres(store):
        return run(_POSTGRES_LIMITS[job.workload](store, job.load.n, body))
    return None


def _address(path: Path) -> str:
    return f"{SQLITE}{path}"


@contextmanager
def _folder() -> Generator[Path]:
    """A folder on the disk of the working directory: /tmp may be memory, which syncs for free."""
    folder = Path(tempfile.mkdtemp(prefix=".bide-bench-", dir=Path.cwd()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
