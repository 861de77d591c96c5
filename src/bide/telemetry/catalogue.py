"""Which metrics there are: names, labels and meanings, from which the reference page is made.

Names follow the conventions of Prometheus: base units, `_total` for counters. No label holds a
tenant, an id or anything that a sender may choose, so the number of series is bounded by the
pipelines. Counters and histograms are of one process since its start; levels whose help says "in
the store" are the same in every process that shares it.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What a metric is."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


class Metric(NamedTuple):
    """One metric."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


#: From a quick commit to a hung store, seconds.
_QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: From a partner that answers at once to a person who takes a month, seconds.
_PATIENT: Final = (0.1, 1, 10, 60, 300, 900, 3600, 14400, 86400, 259200, 604800, 2592000)
_ROWS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_AWAIT: Final = ("pipeline", "step", "transport")

SUBMISSIONS: Final = Metric(
    "bide_submissions_total",
    Kind.COUNTER,
    "Submissions by outcome: created, duplicate, conflict.",
    ("pipeline", "outcome"),
)
RECEIVED: Final = Metric(
    "bide_completions_received_total",
    Kind.COUNTER,
    "Completions that came in and got a receipt: the sum of bide_receipts_total.",
)
RECEIPTS: Final = Metric(
    "bide_receipts_total",
    Kind.COUNTER,
    "Receipts by outcome: applied, duplicate, conflict, late, buffered (early), rejected, unknown;"
    " with the reason of a refusal.",
    (*_AWAIT, "outcome", "reason"),
)
COMPLETION_LATENCY: Final = Metric(
    "bide_completion_latency_seconds",
    Kind.HISTOGRAM,
    "From the storing of a request to its first answer.",
    _AWAIT,
    _PATIENT,
)
ITEMS: Final = Metric(
    "bide_items_completed_total",
    Kind.COUNTER,
    "Interactions that an actor has settled: answered, failed.",
    (*_AWAIT, "outcome"),
)
UNITS: Final = Metric(
    "bide_units_ended_total",
    Kind.COUNTER,
    "Await units that came to their end: completed, failed, timed_out, cancelled.",
    (*_AWAIT, "outcome"),
)
UNIT_DURATION: Final = Metric(
    "bide_unit_duration_seconds",
    Kind.HISTOGRAM,
    "From the opening of an await unit to its end.",
    _AWAIT,
    _PATIENT,
)
RELEASES: Final = Metric(
    "bide_resumes_released_total",
    Kind.COUNTER,
    "Executions that go on because their await is complete.",
    _AWAIT,
)
EXECUTIONS: Final = Metric(
    "bide_executions_ended_total",
    Kind.COUNTER,
    "Executions that ended in a commit of this process: succeeded, failed, dlq, cancelled.",
    ("pipeline", "outcome"),
)
RETRIES: Final = Metric(
    "bide_retries_scheduled_total",
    Kind.COUNTER,
    "Segments given back to be tried again later.",
    ("pipeline",),
)
DISPATCHED: Final = Metric(
    "bide_dispatches_total",
    Kind.COUNTER,
    "Tries to send a request by what came of them: delivered, refused, unclear.",
    (*_AWAIT, "outcome"),
)
DISPATCH_SECONDS: Final = Metric(
    "bide_dispatch_seconds",
    Kind.HISTOGRAM,
    "How long one call of a transport took; it may carry several requests.",
    _AWAIT,
    _QUICK,
)
COMMIT_SECONDS: Final = Metric(
    "bide_commit_seconds", Kind.HISTOGRAM, "How long a commit took.", buckets=_QUICK
)
COMMIT_MOVES: Final = Metric(
    "bide_commit_moves", Kind.HISTOGRAM, "Moves that shared a commit.", buckets=_ROWS
)
COMMIT_FAILURES: Final = Metric(
    "bide_commit_failures_total", Kind.COUNTER, "Commits that the store did not take."
)
CLAIM_SECONDS: Final = Metric(
    "bide_claim_seconds", Kind.HISTOGRAM, "How long a claim took.", buckets=_QUICK
)
CLAIMED: Final = Metric(
    "bide_claim_executions", Kind.HISTOGRAM, "Executions that a claim brought.", buckets=_ROWS
)
HANDED_OVER: Final = Metric(
    "bide_handed_over_total",
    Kind.COUNTER,
    "Executions that the worker went straight on with, without a claim of their own.",
)
TAKE_OVERS: Final = Metric(
    "bide_take_overs_total",
    Kind.COUNTER,
    "Claims of executions whose worker had lost its lease.",
    ("pipeline",),
)
LEASES_LOST: Final = Metric(
    "bide_leases_lost_total", Kind.COUNTER, "Leases that this process found to be another's."
)
SWEPT: Final = Metric(
    "bide_swept_total",
    Kind.COUNTER,
    "Rows that the sweeper of this process settled or removed: interactions past their deadline,"
    " units past theirs, interactions closed behind an ended unit, early answers given up, retired"
    " executions, forgotten submit keys.",
    ("what",),
)
READY: Final = Metric(
    "bide_ready_executions",
    Kind.GAUGE,
    "Executions in the store that are due and that nobody has claimed.",
    ("pipeline",),
)
READY_AGE: Final = Metric(
    "bide_ready_age_seconds", Kind.GAUGE, "How long the oldest of them is due.", ("pipeline",)
)
TO_SEND: Final = Metric(
    "bide_dispatch_backlog",
    Kind.GAUGE,
    "Interactions in the store that are due to be sent.",
    _AWAIT,
)
TO_SEND_AGE: Final = Metric(
    "bide_dispatch_backlog_age_seconds",
    Kind.GAUGE,
    "How long the oldest of them is due.",
    _AWAIT,
)
UNTAKEN: Final = Metric(
    "bide_handoff_backlog",
    Kind.GAUGE,
    "Publications in the store that another deployment has neither taken nor refused yet.",
    ("publication",),
)
UNTAKEN_AGE: Final = Metric(
    "bide_handoff_backlog_age_seconds",
    Kind.GAUGE,
    "How long ago the oldest of them was published.",
    ("publication",),
)
PENDING_MOVES: Final = Metric(
    "bide_pending_moves", Kind.GAUGE, "Moves of this process that wait for a commit."
)
HELD_HERE: Final = Metric(
    "bide_worker_executions", Kind.GAUGE, "Executions that this process holds under a lease."
)
SENDING: Final = Metric("bide_sending", Kind.GAUGE, "Interactions that this process is sending.")
THREADS: Final = Metric(
    "bide_step_threads", Kind.GAUGE, "Threads for steps that this process may use."
)
THREADS_BUSY: Final = Metric("bide_step_threads_busy", Kind.GAUGE, "Those that run a step.")
JOBS_WAITING: Final = Metric(
    "bide_step_jobs_waiting", Kind.GAUGE, "Segments and steps that wait for one."
)

METRICS: Final = (
    SUBMISSIONS, RECEIVED, RECEIPTS, COMPLETION_LATENCY, ITEMS, UNITS, UNIT_DURATION, RELEASES,
    EXECUTIONS, RETRIES, DISPATCHED, DISPATCH_SECONDS, COMMIT_SECONDS, COMMIT_MOVES,
    COMMIT_FAILURES, CLAIM_SECONDS, CLAIMED, HANDED_OVER, TAKE_OVERS, LEASES_LOST, SWEPT, READY,
    READY_AGE, TO_SEND, TO_SEND_AGE, UNTAKEN, UNTAKEN_AGE, PENDING_MOVES, HELD_HERE, SENDING, THREADS, THREADS_BUSY,
    JOBS_WAITING,
)  # fmt: skip
