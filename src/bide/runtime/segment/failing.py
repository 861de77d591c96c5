"""What follows when a segment fails: another try, a retry later, a dead letter, or giving it back.

Whatever a step raises has its consequence here, and nowhere else.
"""

import asyncio
import random
from collections.abc import (
    Generator,
)
from contextlib import contextmanager
from typing import NamedTuple

from bide.engine.moves import (
    Fail,
    GiveBack,
    Move,
    Retry,
)
from bide.errors import (
    BideError,
    LimitExceeded,
    NonRetryable,
    PayloadError,
    RejectItem,
    StoreUnavailable,
)
from bide.model.records import Execution, replace
from bide.model.status import ExecutionStatus
from bide.planning.plan import PlanAwait, PlanStep
from bide.runtime.texts import storable
from bide.settings import Settings


class Unfit(Exception):
    """What is stored does not validate against this process's types."""


class StepFailed(Exception):
    """A step raised; `attempt` tells which try of it that was."""

    def __init__(self, step: PlanStep, attempt: int, error: BaseException) -> None:
        super().__init__(str(error))
        self.step = step
        self.attempt = attempt
        self.error = error


class BoundaryFailed(Exception):
    """What was to be asked cannot be: it does not fit, is too large, or a callable of it raised."""

    def __init__(self, boundary: PlanAwait, error: Exception) -> None:
        super().__init__(str(error))
        self.boundary = boundary
        self.error = error


class Abandoned(Exception):
    """The lease was lost, or the unit has ended: whatever this segment does comes to nothing."""


class Again(NamedTuple):
    """The step that failed is worth another try, in place, after a rest."""

    delay_ms: int


def failed(
    execution: Execution, error: Exception, settings: Settings, *, in_place: bool
) -> Move | Again:
    """What follows from an exception: another try, a retry later, the DLQ, or giving it back."""
    if isinstance(error, Unfit):
        return GiveBack(execution.id, execution.fence)
    if isinstance(error, BoundaryFailed):
        boundary = error.boundary
        return _dead(execution, boundary.position, boundary.id, execution.attempt, error.error)
    if not isinstance(error, StepFailed):
        # The segment's own doing: a value that does not fit, a guard, a source that changed.
        return _dead(execution, execution.step_index, None, execution.attempt, error)
    step, attempt, cause = error.step, error.attempt, error.error
    final = isinstance(cause, NonRetryable | PayloadError | LimitExceeded)
    if isinstance(cause, RejectItem):
        # There is nothing to go on with: the step has said that its one value is no good.
        return replace(
            _dead(execution, step.position, step.id, attempt, cause), status=ExecutionStatus.FAILED
        )
    if final or attempt >= step.retry.attempts:
        return _dead(execution, step.position, step.id, attempt, cause)
    delay_ms = step.retry.rest_ms(attempt, random.random())
    if in_place and delay_ms < settings.retry_in_place_ms:
        return Again(delay_ms)
    message = f"{step.id}: {_describe(cause)}"
    return Retry(execution.id, execution.fence, step.position, attempt, delay_ms, message)


def _dead(
    execution: Execution, position: int, step_id: str | None, attempts: int, error: BaseException
) -> Fail:
    return Fail(
        execution.id,
        execution.fence,
        ExecutionStatus.DLQ,
        position,
        step_id,
        attempts,
        # Ours only: what other libraries call a code is anything.
        error.code if isinstance(error, BideError) else "step-failed",
        _describe(error),
    )


def _describe(error: BaseException) -> str:
    """An exception in a line that every store can keep."""
    return storable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


@contextmanager
def failing(step: PlanStep, attempt: int) -> Generator[None]:
    """Say which step failed, and in which try, whatever it raised."""
    try:
        yield
    except (Abandoned, StoreUnavailable, Unfit, StepFailed):
        raise
    except (Exception, SystemExit) as error:
        raise StepFailed(step, attempt, error) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # somebody stops the segment
        raise StepFailed(step, attempt, error) from error  # the step awaited what was cancelled
