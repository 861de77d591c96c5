"""What a measurement comes to, and how the parts of it are computed."""

import gc
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds: half of all took less than `p50`, one in a hundred longer than `p99`."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measurement; None where it does not apply."""

    workload: str
    store: str
    n: int
    per_second: float
    limit_per_second: float | None
    #: Microseconds of the processor that this process spent on each, in all of its threads. Unlike
    #: the rate it hardly depends on what else the machine is doing.
    cpu_us: float
    latency_ms: Latency | None
    rss_mib: float
    bytes_per_parked: float | None

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return asdict(self)


class WrongResult(Exception):
    """A workload gave something else than it must, so that its time means nothing."""


def latency(seconds: Sequence[float]) -> Latency | None:
    """The middle and the tail of a number of durations; None of none."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return Latency(p50=_nearest_rank(ordered, 50), p99=_nearest_rank(ordered, 99))


def _nearest_rank(ordered: Sequence[float], percent: int) -> float:
    rank = -(-len(ordered) * percent // 100)
    return round(ordered[rank - 1] * 1_000, 3)


def rate(count: int, seconds: float) -> float:
    """How many a second, to three digits or so."""
    return round(count / seconds, 1)


def rss_mib() -> float:
    """The most memory that this process has held, in MiB."""
    gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (_KIB * _KIB if sys.platform == "darwin" else _KIB), 1)
