"""A `Meter` for Prometheus.

What a commit tells is counted in a dictionary first and handed to the client library once a label
set and batch: a batch of hundreds costs a few of its locked additions.
"""

import logging
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from bide.engine.fold import Transacted
from bide.engine.moves import (
    Claimed,
    KeyTaken,
    Move,
    Moved,
    Outcome,
    Received,
    Retry,
    Submit,
    Submitted,
)
from bide.model.status import ExecutionStatus, InteractionStatus, ReceiptOutcome, UnitStatus
from bide.spi.telemetry import AwaitNames, Levels, NamesOf, Untaken, Waiting
from bide.spi.transport import Delivered, Delivery, Refused
from bide.telemetry import catalogue as all_of
from bide.telemetry.catalogue import METRICS, Kind, Metric

Labels: TypeAlias = tuple[str, ...]

log = logging.getLogger(__name__)


class PrometheusMeter:
    """Counts what it hears of in a registry of its own."""

    def __init__(self, names_of: NamesOf) -> None:
        self._names_of = names_of
        self._registry = CollectorRegistry()
        self._counters: dict[Metric, Counter] = {}
        self._histograms: dict[Metric, Histogram] = {}
        self._gauges: dict[Metric, Gauge] = {}
        for metric in METRICS:
            name, labels = metric.name, metric.labels
            match metric.kind:
                case Kind.COUNTER:
                    counter = Counter(name, metric.help, labels, registry=self._registry)
                    self._counters[metric] = counter
                case Kind.HISTOGRAM:
                    self._histograms[metric] = Histogram(
                        name, metric.help, labels, registry=self._registry, buckets=metric.buckets
                    )
                case Kind.GAUGE:
                    self._gauges[metric] = Gauge(name, metric.help, labels, registry=self._registry)

    # --- what it hears ------------------------------------------------------------------------

    def committed(self, moves: Sequence[Move], done: Transacted, seconds: float) -> None:
        """Count what went through the gates."""
        try:
            self._count(moves, done, seconds)
        except Exception:  # a defect here must not keep anybody from hearing of the commit
            log.exception("a commit of %d moves was not counted", len(moves))

    def _count(self, moves: Sequence[Move], done: Transacted, seconds: float) -> None:
        self._observe(all_of.COMMIT_SECONDS, (), seconds)
        self._observe(all_of.COMMIT_MOVES, (), len(moves))
        counted: Tally[tuple[Metric, Labels]] = Tally()
        for move, outcome in zip(moves, done.outcomes, strict=True):
            counted.update(self._gates(move, outcome))
        for unit in done.ended:
            names = self._names_of(unit.fingerprint)
            counted[all_of.UNITS, (*names, unit.status.name.lower())] += 1
            counted[all_of.RELEASES, names] += unit.status is UnitStatus.COMPLETED
            lasted = (unit.updated_at - unit.created_at) / 1000
            self._observe(all_of.UNIT_DURATION, names, lasted)
        for execution in done.executions:
            if execution.status.is_terminal:
                ended = (execution.pipeline, execution.status.name.lower())
                counted[all_of.EXECUTIONS, ended] += 1
        self._add(counted)

    def _gates(self, move: Move, outcome: Outcome) -> Iterable[tuple[Metric, Labels]]:
        """What one move went through."""
        match outcome:
            case Submitted() if isinstance(move, Submit):
                made = "duplicate" if outcome.duplicate else "created"
                yield all_of.SUBMISSIONS, (move.pipeline, made)
            case KeyTaken() if isinstance(move, Submit):
                yield all_of.SUBMISSIONS, (move.pipeline, "conflict")
            case Received(outcome=ReceiptOutcome.APPLIED, fingerprint=fingerprint, status=status):
                names = self._names_of(fingerprint or "")
                came = "failed" if status is InteractionStatus.FAILED else "answered"
                yield all_of.ITEMS, (*names, came)
                self._observe(all_of.COMPLETION_LATENCY, names, (outcome.waited_ms or 0) / 1000)
            case Moved(execution=execution) if isinstance(move, Retry):
                if execution.status is ExecutionStatus.WAIT_RETRY:
                    yield all_of.RETRIES, (execution.pipeline,)
            case _:
                pass

    def commit_failed(self, moves: int) -> None:
        """Count a commit that failed."""
        self._counters[all_of.COMMIT_FAILURES].inc()

    def claimed(self, claims: Sequence[Claimed], seconds: float) -> None:
        """Measure a claim, and count take-overs."""
        self._observe(all_of.CLAIM_SECONDS, (), seconds)
        self._observe(all_of.CLAIMED, (), len(claims))
        lost = (each.execution.pipeline for each in claims if each.taken_over)
        self._add(Tally((all_of.TAKE_OVERS, (pipeline,)) for pipeline in lost))

    def handed_over(self, claims: int) -> None:
        """Count hand-overs."""
        self._counters[all_of.HANDED_OVER].inc(claims)

    def leases_lost(self, leases: int) -> None:
        """Count lost leases."""
        self._counters[all_of.LEASES_LOST].inc(leases)

    def received(self, completions: int) -> None:
        """Count what came in."""
        self._counters[all_of.RECEIVED].inc(completions)

    def receipted(self, names: AwaitNames, outcome: str, reason: str) -> None:
        """Count a receipt."""
        self._counters[all_of.RECEIPTS].labels(*names, outcome, reason).inc()

    def dispatched(self, names: AwaitNames, deliveries: Sequence[Delivery], seconds: float) -> None:
        """Count tries by what came of them."""
        self._observe(all_of.DISPATCH_SECONDS, names, seconds)
        self._add(Tally((all_of.DISPATCHED, (*names, _came_of(each))) for each in deliveries))

    def swept(self, what: str, rows: int) -> None:
        """Count what a sweep did."""
        if rows:
            self._counters[all_of.SWEPT].labels(what).inc(rows)

    # --- what it shows ------------------------------------------------------------------------

    def exposition(self, levels: Levels) -> tuple[bytes, str]:
        """Everything so far."""
        self._set_waiting(all_of.READY, all_of.READY_AGE, levels.ready)
        self._set_waiting(all_of.TO_SEND, all_of.TO_SEND_AGE, levels.to_send)
        self._set_untaken(levels.untaken)
        for metric, value in {
            all_of.PENDING_MOVES: levels.pending_moves,
            all_of.HELD_HERE: levels.executions_held,
            all_of.SENDING: levels.sending,
            all_of.THREADS: levels.threads,
            all_of.THREADS_BUSY: levels.threads_busy,
            all_of.JOBS_WAITING: levels.jobs_waiting,
        }.items():
            self._gauges[metric].set(value)
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def _set_waiting(self, count: Metric, age: Metric, waiting: Iterable[Waiting]) -> None:
        """Show what waits now, and nothing of what waited before."""
        width = len(count.labels)
        self._gauges[count].clear()
        self._gauges[age].clear()
        in_order = sorted(waiting, key=lambda each: each.names[:width])
        for labels, group in groupby(in_order, key=lambda each: each.names[:width]):
            same = list(group)
            self._gauges[count].labels(*labels).set(sum(each.length for each in same))
            self._gauges[age].labels(*labels).set(max(each.age_s for each in same))

    def _set_untaken(self, untaken: Iterable[Untaken]) -> None:
        """Show what is not taken now, and nothing of what has been since."""
        self._gauges[all_of.UNTAKEN].clear()
        self._gauges[all_of.UNTAKEN_AGE].clear()
        for publication, length, age_s in untaken:
            self._gauges[all_of.UNTAKEN].labels(publication).set(length)
            self._gauges[all_of.UNTAKEN_AGE].labels(publication).set(age_s)

    def _observe(self, metric: Metric, labels: Labels, value: float) -> None:
        histogram = self._histograms[metric]
        (histogram.labels(*labels) if labels else histogram).observe(value)

    def _add(self, counted: Mapping[tuple[Metric, Labels], int]) -> None:
        for (metric, labels), count in counted.items():
            if count:
                self._counters[metric].labels(*labels).inc(count)


def _came_of(delivery: Delivery) -> str:
    match delivery:
        case Delivered():
            return "delivered"
        case Refused():
            return "refused"
        case _:
            return "unclear"
