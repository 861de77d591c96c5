"""One measurement from beginning to end: a store, the workload, the limit, the figure."""

import asyncio
import multiprocessing
import shutil
import signal
import tempfile
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

from bide import App
from bide.bench import limit_postgres, pipelines, workloads
from bide.bench.databases import SQLITE, file_of, is_on_disk, is_postgres, old_snapshot, size_of
from bide.bench.figures import Figure, Latency, WrongResult, latency, rate, rss_mib
from bide.bench.limit import limit_items, limit_park_resume, limit_submit
from bide.bench.workloads import Load, Run
from bide.errors import BideError
from bide.runtime.process import loop_factory, tune_collector
from bide.stores.address import shown
from bide.wiring import store_of

T = TypeVar("T")
P = ParamSpec("P")

WORKLOADS = ("park-resume", "items", "submit")
_IDLE = 200
_PARKED_PROBE = 5_000
_LIMITS = {"park-resume": limit_park_resume, "items": limit_items, "submit": limit_submit}
_POSTGRES_LIMITS = {
    "park-resume": limit_postgres.limit_park_resume,
    "items": limit_postgres.limit_items,
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


def in_child(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run in a fresh process, so that memory and caches are those of this measurement alone.

    When the wait for it is given up, the process is ended: what it wrote is of no use to anybody.
    """
    fresh = multiprocessing.get_context("spawn")
    receiver, sender = fresh.Pipe(duplex=False)
    child = fresh.Process(target=_send_outcome, args=(sender, function, arguments, named))
    child.start()
    sender.close()
    try:
        outcome, problem = receiver.recv()
    except EOFError:
        raise WrongResult("the measuring process ended without a figure") from None
    finally:
        child.kill()
        child.join()
    if problem is not None:
        raise WrongResult(problem)
    return cast("T", outcome)


def _send_outcome(
    sender: Connection, function: Callable[..., Any], arguments: Any, named: Any
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends this process
    try:
        sender.send((function(*arguments, **named), None))
    except Exception as error:  # noqa: BLE001 - the parent tells its user
        said = str(error) if isinstance(error, BideError) else f"{type(error).__name__}: {error}"
        sender.send((None, said))


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on the loop that servers run on."""
    tune_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)


async def _drive(store: str, job: Job) -> tuple[Run, Latency | None]:
    app = _app(store)
    async with app.running(), old_snapshot(store) if job.old_snapshot else nullcontext():
        if job.workload == "items":
            done = await workloads.items(app, job.load)
        elif job.workload == "submit":
            done = await workloads.submit(app, job.load)
        else:
            done = await workloads.park_resume(app, job.load)
            if not job.load.sleepers:
                alone = await workloads.idle(app, min(_IDLE, job.load.n), job.load)
                return done, latency(alone)
    return done, latency(done.latencies)


async def _park(store: str, load: Load) -> None:
    app = _app(store)
    async with app.running():
        await workloads.park(app, load)


async def _open_and_close(store: str) -> None:
    async with _app(store).running(workers=False):
        pass


async def _make_tables(store: str) -> None:
    """In an empty database only: one that somebody uses is brought up to date by its owner."""
    opened = store_of(store)
    if (await opened.schema()).present == 0:
        await opened.migrate()


def _app(store: str) -> App:
    return App(pipelines.park_resume, pipelines.items, pipelines.submit, store=store)


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
