"""The statuses of executions, units and interactions, and the outcomes of completions.

Names are those of the wire (`QUEUED`, `WAITING_EXTERNAL`, ...); numbers are what stores keep, so
they never change their meaning. Which status may follow which is said in `bide.engine.transitions`.
"""

from enum import IntEnum, StrEnum


class ExecutionStatus(IntEnum):
    """Where one run of a pipeline stands."""

    QUEUED = 1
    RUNNING = 2
    WAITING_EXTERNAL = 3
    WAIT_RETRY = 4
    SUCCEEDED = 5
    FAILED = 6
    DLQ = 7
    CANCELLED = 8

    @property
    def is_terminal(self) -> bool:
        """True when nothing can follow any more."""
        return self >= ExecutionStatus.SUCCEEDED


class UnitStatus(IntEnum):
    """Where the completion contract of one boundary stands."""

    WAITING_EXTERNAL = 1
    COMPLETED = 2
    FAILED = 3
    TIMED_OUT = 4
    CANCELLED = 5
    #: Known on the wire and never written.
    EXPIRED = 6

    @property
    def is_terminal(self) -> bool:
        """True when the unit has ended, completed or not."""
        return self >= UnitStatus.COMPLETED


class InteractionStatus(IntEnum):
    """Where one externally visible request stands."""

    WAITING = 1
    DISPATCHING = 2
    DISPATCHED = 3
    COMPLETED = 4
    FAILED = 5
    TIMED_OUT = 6
    CANCELLED = 7
    #: Known on the wire and never written.
    EXPIRED = 8

    @property
    def is_terminal(self) -> bool:
        """True when no answer can be admitted any more."""
        return self >= InteractionStatus.COMPLETED


class ReceiptOutcome(StrEnum):
    """What became of one completion received; each gets exactly one."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    LATE = "late"
    BUFFERED = "buffered"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class JournalKind(IntEnum):
    """The facts that an execution's journal holds, one for each version of its row."""

    SUBMITTED = 1
    CLAIMED = 2
    TAKEN_OVER = 3
    UNIT_OPENED = 4
    PARKED = 5
    RESUMED = 6
    RETRY_SCHEDULED = 7
    GIVEN_BACK = 8
    SUCCEEDED = 9
    FAILED = 10
    DEAD_LETTERED = 11
    CANCELLED = 12
    RELEASED = 13


class HandoffStatus(IntEnum):
    """Where a publication stands on its way to one target."""

    WAITING = 1
    SENDING = 2
    ADMITTED = 3
    REFUSED = 4

    @property
    def is_terminal(self) -> bool:
        """True when nobody has to look at it any more."""
        return self >= HandoffStatus.ADMITTED


class AnswerSource(IntEnum):
    """Who an admitted answer came from."""

    PERSON = 1
    RULE = 2
    TIMEOUT = 3
    #: It came before its question, under the question's correlation key.
    EARLY = 4


class DeadLetterKind(IntEnum):
    """What a dead letter is kept of."""

    EXECUTION = 1
    #: An answer that came under a correlation key and was asked for by nobody in time.
    COMPLETION = 2
    #: A completion that was refused where no sender waits to be told so.
    ARRIVAL = 3
    #: A publication that its target does not take.
    HANDOFF = 4
