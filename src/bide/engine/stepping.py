"""When what a transactional step wrote is kept.

Its rows and the end of its segment are one commit. They are there if, and only if, the execution has
gone on past the step: it waits, or has gone on from an answer that came early, or has succeeded.
"""

from bide.engine.fold import Transacted
from bide.engine.moves import Moved, Outcome
from bide.model.status import ExecutionStatus

_FAILED = frozenset({ExecutionStatus.FAILED, ExecutionStatus.DLQ, ExecutionStatus.CANCELLED})


def keeps_rows(outcome: Outcome) -> bool:
    """Whether a step's rows are committed with what its segment's end came to.

    Not where the end was refused (the lease was lost), and not where it could only fail, as a park
    under a correlation key that another interaction holds: then a redrive would write them twice.
    """
    return isinstance(outcome, Moved) and outcome.execution.status not in _FAILED


def undone(made: Transacted) -> Transacted:
    """What a commit came to that was not made after all: its outcomes, and nothing to go on with."""
    return Transacted(made.outcomes, [], 0, [])
