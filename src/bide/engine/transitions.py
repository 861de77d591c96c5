"""The law: which status follows which, for executions, units and interactions.

Theory of operation
-------------------
There are three machines, one a layer. An event that a table does not hold for the current status
is refused and changes nothing; there are no rules beside the tables, and the diagrams in the
documentation are drawn from them.

Where two events can meet, the store's lock on the row decides which comes first, and the table
says what the second one finds:

* An answer and a deadline: whichever commits first ends the interaction. The other finds a
  terminal status: the answer is receipted `late`, the deadline does nothing.
* The last answer and the close of the unit's source: both run the same release check; the one
  that commits second sees the other's work and releases the execution.
* A lost lease and the worker that held it: a claim raises the fence, and every event of a worker
  is refused when its fence is not the row's. So it is with dispatchers.
* An answer and the record that its question was sent: an answer may come first, and ends the
  interaction. The record then finds a terminal status and does nothing.

A hand-over is `SUBMITTED` or `RESUMED` and `CLAIMED` in one commit; it reads as if the execution
had been queued and claimed at once, and it is refused wherever that would be.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from bide.model.status import ExecutionStatus as E
from bide.model.status import InteractionStatus as I
from bide.model.status import UnitStatus as U


class ExecutionEvent(StrEnum):
    """What can happen to an execution."""

    CLAIMED = "claimed"
    UNIT_OPENED = "unit opened"
    PARKED = "parked"
    RESUMED = "resumed"
    RETRY_SCHEDULED = "retry scheduled"
    GIVEN_BACK = "given back"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DEAD_LETTERED = "dead-lettered"
    CANCELLED = "cancelled"
    RELEASED = "released"


class UnitEvent(StrEnum):
    """What can happen to an await unit."""

    ITEM_SETTLED = "item settled"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"


class InteractionEvent(StrEnum):
    """What can happen to an interaction."""

    DISPATCH_STARTED = "dispatch started"
    DISPATCHED = "dispatched"
    DISPATCH_POSTPONED = "dispatch postponed"
    ANSWERED = "answered"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"


S = TypeVar("S")
V = TypeVar("V")
Table = Mapping[S, Mapping[V, S]]


def _table(rows: dict[S, dict[V, S]]) -> Table[S, V]:
    return MappingProxyType({status: MappingProxyType(events) for status, events in rows.items()})


# What no worker has to be running for: a cancellation, and the failure of an open unit. The unit
# outlives a segment that was given back or is to be tried again while it read the source, and its
# end binds at once.
_ENDED_BY_OTHERS = {ExecutionEvent.FAILED: E.FAILED, ExecutionEvent.CANCELLED: E.CANCELLED}

EXECUTION: Table[E, ExecutionEvent] = _table(
    {
        E.QUEUED: {
            ExecutionEvent.CLAIMED: E.RUNNING,
            ExecutionEvent.RELEASED: E.QUEUED,
            **_ENDED_BY_OTHERS,
        },
        E.RUNNING: {
            # A lease that ran out: the claim takes the execution over, or gives it up.
            ExecutionEvent.CLAIMED: E.RUNNING,
            ExecutionEvent.UNIT_OPENED: E.RUNNING,
            ExecutionEvent.PARKED: E.WAITING_EXTERNAL,
            # The source was read to its end and nothing of it is open: no park at all.
            ExecutionEvent.RESUMED: E.QUEUED,
            ExecutionEvent.RETRY_SCHEDULED: E.WAIT_RETRY,
            ExecutionEvent.GIVEN_BACK: E.QUEUED,
            # Once its lease has run out.
            ExecutionEvent.RELEASED: E.QUEUED,
            ExecutionEvent.SUCCEEDED: E.SUCCEEDED,
            ExecutionEvent.DEAD_LETTERED: E.DLQ,
            **_ENDED_BY_OTHERS,
        },
        E.WAITING_EXTERNAL: {
            ExecutionEvent.RESUMED: E.QUEUED,
            ExecutionEvent.RELEASED: E.WAITING_EXTERNAL,
            **_ENDED_BY_OTHERS,
        },
        E.WAIT_RETRY: {
            ExecutionEvent.CLAIMED: E.RUNNING,
            ExecutionEvent.RELEASED: E.WAIT_RETRY,
            **_ENDED_BY_OTHERS,
        },
        E.SUCCEEDED: {},
        E.FAILED: {},
        E.DLQ: {},
        E.CANCELLED: {},
    }
)

UNIT: Table[U, UnitEvent] = _table(
    {
        U.WAITING_EXTERNAL: {
            UnitEvent.ITEM_SETTLED: U.WAITING_EXTERNAL,
            UnitEvent.COMPLETED: U.COMPLETED,
            UnitEvent.FAILED: U.FAILED,
            UnitEvent.TIMED_OUT: U.TIMED_OUT,
            UnitEvent.CANCELLED: U.CANCELLED,
        },
        U.COMPLETED: {},
        U.FAILED: {},
        U.TIMED_OUT: {},
        U.CANCELLED: {},
        U.EXPIRED: {},
    }
)

_OPEN = {
    InteractionEvent.ANSWERED: I.COMPLETED,
    InteractionEvent.FAILED: I.FAILED,
    InteractionEvent.TIMED_OUT: I.TIMED_OUT,
    InteractionEvent.CANCELLED: I.CANCELLED,
}

INTERACTION: Table[I, InteractionEvent] = _table(
    {
        I.WAITING: {InteractionEvent.DISPATCH_STARTED: I.DISPATCHING, **_OPEN},
        I.DISPATCHING: {
            # A lease that ran out: another dispatcher sends it once more.
            InteractionEvent.DISPATCH_STARTED: I.DISPATCHING,
            InteractionEvent.DISPATCHED: I.DISPATCHED,
            InteractionEvent.DISPATCH_POSTPONED: I.WAITING,
            # An answer may overtake the record of its own dispatch.
            **_OPEN,
        },
        I.DISPATCHED: _OPEN,
        I.COMPLETED: {},
        I.FAILED: {},
        I.TIMED_OUT: {},
        I.CANCELLED: {},
        I.EXPIRED: {},
    }
)


def after(table: Table[S, V], status: S, event: V) -> S | None:
    """The status that follows, or None when the event is illegal there."""
    return table[status].get(event)
