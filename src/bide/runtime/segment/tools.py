"""What every segment runs with, and what a step is told about its run."""

import logging
from collections.abc import (
    Callable,
    Coroutine,
    Mapping,
)
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from bide.authoring.context import Context
from bide.engine.fold import Transacted
from bide.engine.moves import (
    Move,
    Outcome,
)
from bide.model.ids import format_execution
from bide.model.records import Execution
from bide.planning.hints import ResourceKey
from bide.planning.plan import PlanStep
from bide.runtime.pool import StepPool
from bide.runtime.publishing import Publisher
from bide.runtime.segment.transacting import Transactions
from bide.settings import Settings
from bide.spi.clock import Clock
from bide.spi.store import Store
from bide.spi.telemetry import UNTRACED, Traced

log = logging.getLogger("bide.step")


class Tools(NamedTuple):
    """What every segment of a worker runs with."""

    store: Store
    pool: StepPool
    settings: Settings
    clock: Clock
    resources: Mapping[ResourceKey, object]
    #: Makes of what is published what the segment's end writes.
    publisher: Publisher
    #: The segment as a trace has it.
    trace: Traced = UNTRACED
    #: What transactional steps write in; None over a store that has no SQL.
    transactions: Transactions | None = None


#: What is entered around a call of a step: its context, or what makes it.
Entered = Context | Callable[[], Context]


class Committed(Protocol):
    """Commits a move of a running segment and gives its outcome."""

    async def __call__(self, move: Move) -> Outcome: ...


class CommittedApart(Protocol):
    """Commits the end of a segment in a transaction of its own and gives its outcome."""

    async def __call__(
        self, move: Move, commit: Callable[[Move], Coroutine[Any, Any, Transacted]]
    ) -> Outcome: ...


def attempt_of(execution: Execution, step: PlanStep) -> int:
    """Which try of `step` this claim is: the step it stood at counts on, others start at one."""
    return execution.attempt if execution.step_index == step.position else 1


def context_of(
    execution: Execution, step: PlanStep, attempt: int, item: int | None, clock: Clock
) -> Context:
    """What a step may know about its run."""
    execution_id = format_execution(execution.id)
    key = f"{execution_id}/{step.id}" if item is None else f"{execution_id}/{step.id}/{item}"
    extra = {"execution": execution_id, "step": step.id, "attempt": attempt}
    return Context(
        execution_id=execution_id,
        step_id=step.id,
        item_index=item,
        attempt=attempt,
        tenant=execution.tenant,
        idempotency_key=key,
        log=logging.LoggerAdapter(log, extra if item is None else {**extra, "item": item}),
        clock=lambda: datetime.fromtimestamp(clock() / 1000, UTC),
    )


def prepared(
    execution: Execution, step: PlanStep, attempt: int, item: int | None, tools: Tools
) -> tuple[Entered, dict[str, Any]]:
    """What to enter around one call of a step, and the parameters that it asks for by type.

    The context is made only if the step asks for it, or code deeper down does: a stream has many
    items, and most steps never look.
    """
    make = partial(context_of, execution, step, attempt, item, tools.clock)
    if not step.wants:
        return make, {}
    context = make()
    return context, {
        name: context if wanted is Context else tools.resources[wanted]
        for name, wanted in step.wants
    }


def limit_of(step: PlanStep, tools: Tools) -> float:
    """Seconds that one try of a step may take, or one item of a function that yields."""
    return (step.timeout_ms or tools.settings.step_timeout_ms) / 1000
