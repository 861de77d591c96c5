"""What a segment starts from, and the moves that it ends in."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from bide.authoring.answers import Answered, Missing
from bide.authoring.transports import Inbox
from bide.engine.moves import (
    Boundary,
    Fail,
    Finish,
    Move,
    NewHandoff,
    NewInteraction,
    Outcome,
    Park,
    Publishing,
)
from bide.engine.settling import missing_because, taken
from bide.errors import (
    LimitExceeded,
    PayloadError,
)
from bide.model.ids import CorrelationKey
from bide.model.records import Execution, Interaction, replace
from bide.planning.plan import PlanAwait
from bide.runtime.plans import Stretch
from bide.runtime.segment.failing import BoundaryFailed, Unfit
from bide.runtime.segment.guards import guard_bytes, guard_items
from bide.settings import Settings
from bide.spi.telemetry import UNTRACED, Traced


def start_value(stretch: Stretch, body: bytes) -> Any:
    """What a segment starts from, read from what is stored.

    Raises:
        Unfit: it does not validate against the types of this process.
    """
    codec = stretch.base.output if stretch.base else stretch.plan.input
    try:
        return codec.decode(body)
    except PayloadError as error:
        raise Unfit(str(error)) from error


def starts_midway(execution: Execution) -> bool:
    """True for the first segment of an execution that redrives a reject."""
    return execution.entry is not None and execution.resumed == 0


def given_of(boundary: PlanAwait, asked: Interaction) -> Any:
    """What the next step takes of an item: its answer, or `Answered | Missing` where some may be.

    Raises:
        Unfit: there is none, and this process's await does not let any be missing.
    """
    body = taken(asked)
    if boundary.collect is None:
        if body is None:
            raise Unfit(
                f"item {asked.item} has no answer, and {boundary.id!r} has no items=Collect()"
            )
        return boundary.output.decode(body)
    if body is None:
        return Missing(asked.item, missing_because(asked))
    return Answered(boundary.output.decode(body), asked.item)


def park_of(execution: Execution, boundary: PlanAwait, value: Any, settings: Settings) -> Park:
    """The move that asks one question and waits."""
    return Park(
        execution.id,
        execution.fence,
        boundary_of(boundary),
        interaction_of(execution.tenant, boundary, value, settings),
    )


def boundary_of(boundary: PlanAwait) -> Boundary:
    """The await as the store knows it."""
    return Boundary(
        boundary.id,
        boundary.position,
        boundary.fingerprint,
        dispatched=isinstance(boundary.transport, Inbox),
    )


def stream_boundary_of(boundary: PlanAwait) -> Boundary:
    """The same for one question an item of a stream, with what its author says of the whole."""
    collect = boundary.collect
    return replace(
        boundary_of(boundary),
        unit_timeout_ms=boundary.unit_timeout_ms,
        tolerated=collect.count if collect and collect.ppm is None else None,
        tolerated_ppm=collect.ppm if collect else None,
        has_fallback=boundary.boundary.on_timeout is not None,
    )


def interaction_of(
    tenant: str, boundary: PlanAwait, value: Any, settings: Settings
) -> NewInteraction:
    """A request, written and measured.

    Raises:
        BoundaryFailed: it cannot be asked.
    """
    inbox = boundary.transport if isinstance(boundary.transport, Inbox) else Inbox()
    try:
        if boundary.request.many:
            guard_items(len(value), settings.await_aggregate_max_input_items, "input")
        request = boundary.request.encode(value)
        guard_bytes(request, settings)
        key = boundary.key_of(value)
        fallback = fallback_of(boundary, value, settings)
        correlation = None if boundary.scope is None else correlation_of(tenant, boundary, value)
    except Exception as error:
        raise BoundaryFailed(boundary, error) from error
    return NewInteraction(
        request, key, boundary.timeout_ms, inbox.group, inbox.assignee, fallback, correlation
    )


def correlation_of(tenant: str, boundary: PlanAwait, value: Any) -> CorrelationKey | None:
    """What an answer may name the interaction by; blanks around it do not count, as on the wire."""
    key = boundary.correlation_of(value)
    if key is None or boundary.scope is None:
        return None
    return CorrelationKey(tenant, key.strip(), boundary.scope)


def fallback_of(boundary: PlanAwait, value: Any, settings: Settings) -> bytes | None:
    """What the next step takes if nobody answers; made now, so that no deploy can change it."""
    make = boundary.boundary.on_timeout
    if make is None:
        return None
    fallback = boundary.output.encode(make(value))
    guard_bytes(fallback, settings)
    return fallback


def finish_of(execution: Execution, stretch: Stretch, value: Any, settings: Settings) -> Finish:
    """The move that ends with one result."""
    result = stretch.plan.output.encode(value)
    if len(result) > settings.result_max_bytes:
        raise LimitExceeded(
            "result_max_bytes", bound=settings.result_max_bytes, unit="bytes", actual=len(result)
        )
    return Finish(execution.id, execution.fence, last_position(stretch), result)


def publishing(move: Publishing, handoffs: Iterable[NewHandoff]) -> Publishing:
    """The move with what its segment has published."""
    published = tuple(handoffs)
    return replace(move, handoffs=published) if published else move


def last_position(stretch: Stretch) -> int:
    """The position after the plan's last step."""
    return len(stretch.plan.step_names)


class Made(NamedTuple):
    """A segment has ended and made its move itself, in its last step's transaction."""

    move: Move
    outcome: Outcome


def failed_end(execution: Execution, boundary: PlanAwait | None, after: Execution) -> Fail:
    """The move that ends an execution as its own end has failed, without what its last step wrote.

    Args:
        execution: as the segment has it.
        boundary: what it was to wait at.
        after: as its end would have left it.
    """
    return Fail(
        execution.id, execution.fence, after.status, after.step_index,
        boundary.id if boundary else None, execution.attempt,
        after.error_code or "step-failed", after.error_message or "",
    )  # fmt: skip


def traced(move: Move, trace: Traced) -> Move:
    """Say in the segment's trace what it came to; what it asks for goes on in that trace."""
    if trace is UNTRACED:
        return move
    trace.note(type(move).__name__.lower())
    if isinstance(move, Fail):
        trace.failed(move.code)
    trace.end()
    return within(move, trace)


def within(move: Move, trace: Traced) -> Move:
    """Let what a segment asks for and publishes go on in the segment's trace."""
    if trace is UNTRACED or not isinstance(move, Publishing):
        return move
    if move.handoffs:
        move = replace(move, handoffs=tuple(_traced(each, trace) for each in move.handoffs))
    return replace(move, trace=trace.context) if isinstance(move, Park) else move


def _traced(handoff: NewHandoff, trace: Traced) -> NewHandoff:
    if handoff.admission is None:
        return handoff
    return replace(handoff, admission=replace(handoff.admission, trace=trace.context))
