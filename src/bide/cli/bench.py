"""`bide bench`: the figures, with the limit of this machine beside each."""

from __future__ import annotations

import statistics
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bide.cli import output
from bide.cli.complaints import USAGE, CliError
from bide.cli.options import JsonOption

if TYPE_CHECKING:
    from bide.bench.figures import Figure
    from bide.bench.measure import Job

_LABELS = {"park-resume": "W1", "items": "W2", "submit": "W3", "hot-unit": "W4"}
_LEGEND = """\
limit: the same rows by set-based SQL straight through the driver, in this run
cpu us: of the processor, in all threads of this process, for each execution or item
latency: W1 answer to result, one at a time; W2 and W4 a call with 1,000 answers; W3 submit, under load"""
_N = {"park-resume": 20_000, "items": 10_000, "submit": 20_000, "hot-unit": 40_000}
_ITEM_COUNTS = (1_000, 10_000, 100_000)


class Workload(StrEnum):
    """What can be measured."""

    PARK_RESUME = "park-resume"
    ITEMS = "items"
    SUBMIT = "submit"
    HOT_UNIT = "hot-unit"
    ALL = "all"


def bench(
    workload: Annotated[Workload, typer.Argument(help="What to measure.", show_default=False)],
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="URL", show_default=False,
                     help="Else a fresh SQLite file on this disk. Rows stay in a store you name."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("-n", min=1, metavar="N", help="Executions, or items.", show_default=False),
    ] = None,
    payload: Annotated[
        int, typer.Option("--payload", min=1, metavar="BYTES", help="Size of each payload.")
    ] = 100,
    parked: Annotated[
        int, typer.Option("--parked", min=0, metavar="N", help="So many wait in the store before.")
    ] = 0,
    old_snapshot: Annotated[
        bool,
        typer.Option("--old-snapshot",
                     help="While another connection holds the database open as it was before."),
    ] = False,
    sleepers: Annotated[
        str,
        typer.Option("--sleepers", metavar="SHARE",
                     help="Of the steps before the wait, these sleep 200 ms (1%); the latency is"
                          " that of the others."),
    ] = "0%",
    lanes: Annotated[
        int, typer.Option("--lanes", min=1, metavar="N", help="Clients at a time.")
    ] = 2000,
    processes: Annotated[
        int,
        typer.Option("--processes", min=1, metavar="N",
                     help="So many answer the items of the hot unit."),
    ] = 4,
    runs: Annotated[
        int, typer.Option("--runs", min=1, metavar="N", help="Take the median of so many.")
    ] = 1,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Measure this machine, with its limit beside each figure."""
    from bide.bench.measure import Job
    from bide.bench.workloads import Load

    share = _share(sleepers)

    def job(name: str, count: int) -> Job:
        return Job(name, Load(count, payload, lanes, share, processes), store, parked, old_snapshot)

    if workload is Workload.ALL:
        counts = [n] if n else list(_ITEM_COUNTS)
        jobs = [
            job("park-resume", n or _N["park-resume"]),
            *(job("items", count) for count in counts),
            job("submit", n or _N["submit"]),
            job("hot-unit", n or _N["hot-unit"]),
        ]
    else:
        jobs = [job(workload, n or _N[workload])]
    _report(jobs, runs, as_json=json)


def _report(jobs: list[Job], runs: int, *, as_json: bool) -> None:
    from bide.bench.environment import environment

    figures: list[Figure] = []
    with output.progress(len(jobs) * runs, "measuring", beside_json=as_json) as bar:
        for job in jobs:
            bar.update(bar.task_ids[0], description=f"{job.workload}, n={job.load.n:,}")
            taken: list[Figure] = []
            for _ in range(runs):
                taken.append(_measured(job))
                bar.advance(bar.task_ids[0])
            figures.append(_median(taken))
            if as_json:
                output.print_json(figures[-1].to_json())
    if not as_json:
        _print(figures)
        for line in (*_LEGEND.splitlines(), environment()):
            output.say(output.text(line, "dim"))


def _measured(job: Job) -> Figure:
    from bide.bench.figures import WrongResult
    from bide.bench.measure import measure

    try:
        return measure(job)
    except WrongResult as error:
        raise CliError(f"bench {job.workload}: {error}") from error


def _print(figures: list[Figure]) -> None:
    numbers = (
        "n",
        "a second",
        "limit",
        "of it",
        "cpu us",
        "p50 ms",
        "p99 ms",
        "MiB",
        "bytes parked",
    )
    output.print_table(
        "workload",
        *numbers,
        rows=[
            (
                f"{_LABELS[figure.workload]} {figure.workload}",
                f"{figure.n:,}",
                Text(f"{figure.per_second:,.0f}", style="bold"),
                _number(figure.limit_per_second),
                _ratio(figure),
                _number(figure.cpu_us),
                _number(figure.latency_ms.p50 if figure.latency_ms else None, 2),
                _number(figure.latency_ms.p99 if figure.latency_ms else None, 2),
                _number(figure.rss_mib),
                _number(figure.bytes_per_parked),
            )
            for figure in figures
        ],
        numbers=numbers,
    )


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _ratio(figure: Figure) -> str:
    if figure.limit_per_second is None:
        return ""
    return f"{figure.per_second / figure.limit_per_second:.0%}"


def _median(figures: list[Figure]) -> Figure:
    """The run in the middle by its rate: a whole run, and no mixture of several."""
    middle = statistics.median_low(figure.per_second for figure in figures)
    return next(figure for figure in figures if figure.per_second == middle)


def _share(written: str) -> float:
    number = written.strip().removesuffix("%")
    try:
        share = float(number) / (100 if written.strip().endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise CliError(f"--sleepers is {written!r}; write a share, as 1%", exit_code=USAGE)
    return share
