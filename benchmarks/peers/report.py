"""Medians, the table with its ratios, and the object that is written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.peers.contenders import Contender

#: Which of Bide's stores stands beside a peer's: a server that keeps its own files beside a file.
_BESIDE = {"sqlite": "sqlite", "files": "sqlite", "postgres": "postgres"}
LEGEND = """\
xN: Bide is so many times as fast, on SQLite beside SQLite and beside Restate's own files, on
Postgres beside Postgres. Idle: from the answer to the result, one execution at a time, W1."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What all runs of one contender come to, per workload; each number is a median of its own."""

    contender: Contender
    label: str
    figures: Mapping[str, Mapping[str, Any]]

    def rate(self, workload: str) -> float | None:
        """Executions or items a second."""
        figure = self.figures.get(workload)
        return None if figure is None else float(figure["per_second"])

    def idle_ms(self, rank: str) -> float | None:
        """Idle latency, `p50` or `p99`."""
        figure = self.figures.get("park-resume")
        return None if figure is None else float(figure["latency_ms"][rank])


def merged(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One figure of several runs: the median of each number; the texts of the first run."""
    first = runs[0]
    return {key: _merged([run[key] for run in runs]) for key in first}


def _merged(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        return merged(values)
    if isinstance(values[0], (int, float)):
        return median(values)
    return values[0]


def ratio(standings: Iterable[Standing], peer: Standing, workload: str) -> float | None:
    """How many times the rate of this peer Bide has, on the store that stands beside it."""
    bide = _beside(standings, peer)
    ours, theirs = bide and bide.rate(workload), peer.rate(workload)
    return ours / theirs if ours and theirs else None


def idle_ratio(standings: Iterable[Standing], peer: Standing) -> float | None:
    """How many times as long as Bide this peer takes when idle, at the median."""
    bide = _beside(standings, peer)
    ours, theirs = bide and bide.idle_ms("p50"), peer.idle_ms("p50")
    return theirs / ours if ours and theirs else None


def _beside(standings: Iterable[Standing], peer: Standing) -> Standing | None:
    if peer.contender.peer is None:
        return None
    store = _BESIDE[peer.contender.store]
    bides = (one for one in standings if one.contender.peer is None)
    return next((one for one in bides if one.contender.store == store), None)


def table(standings: Sequence[Standing]) -> str:
    """The table, as Markdown that is also read well in a terminal."""
    heads = [
        "",
        "W1 a second",
        "",
        "idle p50 ms",
        "p99 ms",
        "",
        "W2 items/s",
        "",
        "W3 a second",
        "",
    ]
    rows = [heads, *(_row(standings, one) for one in standings)]
    widths = [max(3, *(len(row[at]) for row in rows)) for at in range(len(heads))]
    lines = [
        "| " + " | ".join(_padded(cell, widths[at], at) for at, cell in enumerate(row)) + " |"
        for row in rows
    ]
    rule = "| " + " | ".join(_rule(width, at) for at, width in enumerate(widths)) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def _row(standings: Sequence[Standing], one: Standing) -> list[str]:
    row = [one.label]
    for workload in ("park-resume", "items", "submit"):
        row += [_number(one.rate(workload)), _times(ratio(standings, one, workload))]
        if workload == "park-resume":
            idle = [_number(one.idle_ms(rank), 1) for rank in ("p50", "p99")]
            row += [*idle, _times(idle_ratio(standings, one))]
    return row


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _times(value: float | None) -> str:
    return "" if value is None else f"x{value:.0f}" if value >= 10 else f"x{value:.1f}"


def _padded(cell: str, width: int, at: int) -> str:
    return cell.ljust(width) if at == 0 else cell.rjust(width)


def _rule(width: int, at: int) -> str:
    return "-" * width if at == 0 else "-" * (width - 1) + ":"
