"""Running one segment: from what a claim brings to the move that ends it.

Theory of operation
-------------------
A segment is what lies between two boundaries. It runs in one worker, in memory, and ends in one
move: a park, a finish, a retry, or an end without success. After a crash it runs again from its
boundary; its steps are told so by `Context.attempt`, and get the same `idempotency_key`.

There are two ways through. A *plain* segment (one value, no async step, the common case) runs from
end to end in one go on a pool thread (`run_plain`). Everything else is a coroutine over
`bide.planning.flow`, which hops to a thread once a page for steps that are not async (`SegmentTask`).
Both fail in the same way, through `failed`.

What happens when it crashes here: the lease runs out, another worker claims the execution and runs
the segment again. Nothing that it wrote before counts twice: items of a stream are recognised,
results overwrite themselves by index, and only one end can carry the current fence.
"""

import asyncio
import logging
import random
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Protocol, Self

from bide.authoring.answers import Answered, Missing
from bide.authoring.context import Context, entered
from bide.authoring.transports import Inbox
from bide.engine.moves import (
    Append,
    Boundary,
    Claimed,
    CloseUnit,
    Fail,
    Finish,
    GiveBack,
    Mismatch,
    Move,
    Moved,
    NewInteraction,
    OpenUnit,
    Outcome,
    Park,
    Retry,
    StoreRejects,
    StoreResults,
    TakeOver,
)
from bide.engine.redriving import is_taking_over
from bide.engine.settling import missing_because, taken
from bide.errors import (
    BideError,
    LimitExceeded,
    NonRetryable,
    PayloadError,
    RejectItem,
    ReplayMismatch,
    StoreUnavailable,
)
from bide.model.ids import CorrelationKey, format_execution
from bide.model.records import Execution, Interaction, Reject, Unit, replace
from bide.model.status import ExecutionStatus, UnitStatus
from bide.planning import flow
from bide.planning.flow import Page, Rejected, Stream
from bide.planning.hints import ResourceKey
from bide.planning.plan import PlanAwait, PlanRoute, PlanStep
from bide.runtime.plans import Element, Stretch
from bide.runtime.pool import StepPool
from bide.settings import Settings
from bide.spi.clock import Clock
from bide.spi.store import Store

log = logging.getLogger("bide.step")

_MESSAGE_MAX = 1_000
#: Async steps that one page of a stream runs at the same time.
_CONCURRENT_ITEMS = 64
#: What a source has given goes on after this, though its page is not full: a slow source's first
#: items are asked about while it makes the next ones.
_PAGE_FILLS_S = 0.2


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


class Tools(NamedTuple):
    """What every segment of a worker runs with."""

    store: Store
    pool: StepPool
    settings: Settings
    clock: Clock
    resources: Mapping[ResourceKey, object]


#: What is entered around a call of a step: its context, or what makes it.
_Context = Context | Callable[[], Context]


class Committed(Protocol):
    """Commits a move of a running segment and gives its outcome."""

    async def __call__(self, move: Move) -> Outcome: ...


# --- what both ways share -----------------------------------------------------------------------


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
) -> tuple[_Context, dict[str, Any]]:
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


def guard_bytes(body: bytes, settings: Settings) -> None:
    """Refuse a payload that is too large; nothing of it is stored."""
    if len(body) > settings.payload_max_bytes:
        raise LimitExceeded(
            "payload_max_bytes", bound=settings.payload_max_bytes, unit="bytes", actual=len(body)
        )


def guard_items(count: int, bound: int, side: str) -> None:
    """Refuse too many items in one aggregate."""
    if bound and count > bound:
        raise LimitExceeded(
            f"await_aggregate_max_{side}_items", bound=bound, unit="items", actual=count
        )


def starts_midway(execution: Execution) -> bool:
    """True for the first segment of an execution that redrives a reject."""
    return execution.entry is not None and execution.resumed == 0


def finish_of(execution: Execution, stretch: Stretch, value: Any, settings: Settings) -> Finish:
    """The move that ends with one result."""
    result = stretch.plan.output.encode(value)
    if len(result) > settings.result_max_bytes:
        raise LimitExceeded(
            "result_max_bytes", bound=settings.result_max_bytes, unit="bytes", actual=len(result)
        )
    return Finish(execution.id, execution.fence, last_position(stretch), result)


def last_position(stretch: Stretch) -> int:
    """The position after the plan's last step."""
    return len(stretch.plan.step_names)


class Again(NamedTuple):
    """The step that failed is worth another try, in place, after a rest."""

    delay_ms: int


def back_off_ms(step: PlanStep, attempt: int) -> int:
    """The rest after the `attempt`-th failed try: doubling, cut off, with jitter from half to full.

    Jitter keeps a thousand steps that failed together from coming back together.
    """
    doubled: int = step.retry.first_ms * 2 ** min(attempt - 1, 30)
    return round(min(step.retry.longest_ms, doubled) * random.uniform(0.5, 1.0))


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
    delay_ms = back_off_ms(step, attempt)
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
    return _storable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _storable(text: str) -> str:
    return text[:_MESSAGE_MAX].replace("\0", "\\0").encode("utf-8", "replace").decode("utf-8")


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


# --- the plain way ------------------------------------------------------------------------------


class PlainSegment:
    """A segment of one value and no async step, as a job of the pool."""

    def __init__(
        self,
        claimed: Claimed,
        stretch: Stretch,
        tools: Tools,
        done: Callable[["PlainSegment", Move | Again], None],
    ) -> None:
        self.execution = claimed.execution
        self._body = claimed.body
        self._stretch = stretch
        self._tools = tools
        self._done = done
        self._index = -1
        self._value: Any = None
        self._attempt: int | None = None
        self._step: PlanStep | None = None
        self._is_over = False
        self.ends_at: float | None = None

    def run(self) -> None:
        """Run it to its end, or to the step that fails; then hand in what follows."""
        try:
            move: Move | Again = self._run()
        except Abandoned:
            return
        except Exception as error:  # noqa: BLE001 - whatever a step raises has its consequence
            move = failed(self.execution, error, self._tools.settings, in_place=True)
            if isinstance(move, Again) and isinstance(error, StepFailed):
                self._attempt = error.attempt + 1
        self._done(self, move)

    def overrun(self) -> None:
        """The step hangs: the execution moves on without it, and it begins no other one."""
        self._is_over = True
        step = self._step
        assert step is not None
        attempt = self._attempt or attempt_of(self.execution, step)
        error = StepFailed(
            step, attempt, TimeoutError(f"it ran longer than {_limit(step, self._tools)} s")
        )
        move = failed(self.execution, error, self._tools.settings, in_place=False)
        self._done(self, move)

    def _run(self) -> Move:
        elements = self._stretch.elements
        if self._index < 0:
            assert self._body is not None
            self._value = start_value(self._stretch, self._body)
            self._index = 0
        while self._index < len(elements):
            element = elements[self._index]
            part = element.select(self._value) if isinstance(element, PlanRoute) else element
            if isinstance(part, PlanAwait):
                return park_of(self.execution, part, self._value, self._tools.settings)
            if isinstance(part, PlanStep):
                self._value = self._call(part)
                self._attempt = None
            self._index += 1
        return finish_of(self.execution, self._stretch, self._value, self._tools.settings)

    def _call(self, step: PlanStep) -> Any:
        attempt = self._attempt or attempt_of(self.execution, step)
        self._step = step
        self.ends_at = time.monotonic() + _limit(step, self._tools)
        context, arguments = prepared(self.execution, step, attempt, None, self._tools)
        try:
            with entered(context):
                return step.function(self._value, **arguments)
        except BaseException as error:  # whatever it is, it must not end the thread
            raise StepFailed(step, attempt, error) from error
        finally:
            self.ends_at = None
            if self._is_over:
                raise Abandoned("the step came back after its time")


def _limit(step: PlanStep, tools: Tools) -> float:
    return (step.timeout_ms or tools.settings.step_timeout_ms) / 1000


# --- the general way ----------------------------------------------------------------------------


class SegmentTask:
    """Any segment, as a coroutine on the event loop."""

    def __init__(self, claimed: Claimed, stretch: Stretch, tools: Tools, commit: Committed) -> None:
        self.execution = claimed.execution
        self._claimed = claimed
        self._stretch = stretch
        self._tools = tools
        self._commit = commit
        self._calls = _HoppingCalls(self.execution, tools, self._reject)

    async def run(self) -> Move | None:
        """Run it; give the move that ends it, or None when there is nothing left to do."""
        try:
            if not self._stretch.feeds_threads:
                return await self._run()
            async with self._tools.pool.feeders:
                return await self._run()
        except (Abandoned, StoreUnavailable) as error:
            log.warning("segment of %s dropped: %s", format_execution(self.execution.id), error)
            return None
        except Exception as error:  # noqa: BLE001 - whatever a step raises has its consequence
            move = failed(self.execution, error, self._tools.settings, in_place=False)
            assert not isinstance(move, Again)
            return move

    async def _run(self) -> Move | None:
        reopened = self._claimed.reopened
        if reopened is not None and is_taking_over(self.execution, reopened):
            return await self._take_over(reopened)
        if starts_midway(self.execution):
            elements, start = self._midway()
        else:
            elements, start = self._stretch.elements, self._start()
        ended = await flow.run(elements, start, self._calls)
        boundary, value = ended.boundary, ended.value
        if not isinstance(value, Stream):
            if boundary is None:
                return finish_of(self.execution, self._stretch, value, self._tools.settings)
            return park_of(self.execution, boundary, value, self._tools.settings)
        async with aclosing(_closable(value.pages)) as pages:
            if boundary is None:
                return await self._store_results(pages)
            if boundary.per_item:
                return await self._fill_unit(boundary, pages)
            items = await self._gather(pages)
            return park_of(self.execution, boundary, items, self._tools.settings)

    async def _take_over(self, unit: Unit) -> Move:
        """Fill the unit of a redriven execution from the old one; the last batch is the end."""
        source, base = self.execution.redriven_from, self._stretch.base
        assert source is not None
        assert base is not None
        of_source = await self._tools.store.units(self.execution.tenant, source)
        old = next((one for one in of_source if one.step_id == unit.step_id), None)
        first, size = unit.appended, self._tools.settings.page_items
        while old is not None and old.total is not None:
            items = await self._tools.store.askings(old.id, first, size)
            if first + len(items) < min(old.total, first + size):
                break
            move = TakeOver(
                self.execution.id,
                self.execution.fence,
                unit.number,
                first,
                tuple(items),
                old.total,
                old.status is UnitStatus.COMPLETED,
                isinstance(base.transport, Inbox),
                base.scope,
            )
            first += len(items)
            if first >= old.total:
                return move
            await self._made(move)
        raise NonRetryable(
            f"execution {format_execution(source)}, which this one redrives, is no longer stored"
        )

    def _midway(self) -> tuple[Sequence[Element], Any]:
        """What follows from the step that left an item out, and a stream of that item."""
        plan = self._stretch.plan
        for step in plan.steps():
            if step.id == self.execution.entry:
                assert self._claimed.body is not None
                value = step.input.decode(self._claimed.body)
                return plan.elements[plan.element_index[step.position] :], Stream(
                    self._pages([value])
                )
        raise NonRetryable(f"there is no step {self.execution.entry!r} any more to start at")

    async def _reject(self, step: PlanStep, rejected: Sequence[tuple[int, Any, str]]) -> None:
        """Record what a step left out of a page, in one commit."""
        rows: list[Reject] = []
        for item, value, reason in rejected:
            body = step.input.encode(value)
            guard_bytes(body, self._tools.settings)
            execution = self.execution
            rows.append(
                Reject(
                    execution.id, step.position, item, execution.tenant, execution.pipeline,
                    step.id, step.input.digest(value, body), reason, body, 0,
                )
            )  # fmt: skip
        await self._made(StoreRejects(self.execution.id, self.execution.fence, tuple(rows)))

    def _start(self) -> Any:
        body, base = self._claimed.body, self._claimed.base
        if body is None:
            assert base is not None
            return Stream(self._answers(base.number))
        value = start_value(self._stretch, body)
        starts_many = (
            self._stretch.base.output.many if self._stretch.base else self._stretch.plan.input_many
        )
        return Stream(self._pages(value)) if starts_many else value

    async def _pages(self, items: Sequence[Any]) -> AsyncIterator[Page]:
        size = self._tools.settings.page_items
        for start in range(0, len(items), size):
            yield items[start : start + size]

    async def _answers(self, unit: int) -> AsyncIterator[Page]:
        """The answers of a unit by item, a page at a time."""
        base = self._stretch.base
        assert base is not None
        size, first = self._tools.settings.page_items, 0
        while True:
            page = await self._tools.store.answers(self.execution.id, unit, first, size)
            if page:
                try:
                    yield [given_of(base, each) for each in page]
                except PayloadError as error:
                    raise Unfit(str(error)) from error
                first = page[-1].item + 1
            if len(page) < size:
                return

    async def _gather(self, pages: AsyncIterator[Page]) -> list[Any]:
        items: list[Any] = []
        bound = self._tools.settings.await_aggregate_max_input_items
        async for page in pages:
            items.extend(page)
            guard_items(len(items), bound, "input")
        return items

    async def _store_results(self, pages: AsyncIterator[Page]) -> Move:
        count, encode = 0, self._stretch.plan.output.item.encode
        async with _OneAhead(self._made) as commits:
            async for page in pages:
                bodies = tuple(map(encode, page))
                for body in bodies:
                    guard_bytes(body, self._tools.settings)
                await commits.put(
                    StoreResults(self.execution.id, self.execution.fence, count, bodies)
                )
                count += len(bodies)
        return Finish(
            self.execution.id, self.execution.fence, last_position(self._stretch), None, count
        )

    async def _fill_unit(self, boundary: PlanAwait, pages: AsyncIterator[Page]) -> Move:
        execution, fence = self.execution.id, self.execution.fence
        reopened = self._claimed.reopened
        if reopened is None:
            opened = await self._made(OpenUnit(execution, fence, stream_boundary_of(boundary)))
            unit = opened.execution.units
        elif self._stretch.plan.await_by_id(reopened.step_id) is not boundary:
            raise ReplayMismatch(
                f"an earlier run opened await {reopened.step_id!r} here, and this one meets"
                f" {boundary.id!r}"
            )
        else:
            unit = reopened.number
        count, settings, tenant = 0, self._tools.settings, self.execution.tenant
        dispatched = isinstance(boundary.transport, Inbox)
        async with _OneAhead(self._made) as commits:
            async for page in pages:
                items = tuple(interaction_of(tenant, boundary, value, settings) for value in page)
                await commits.put(Append(execution, fence, unit, count, items, dispatched))
                count += len(items)
        return CloseUnit(execution, fence, unit, count, boundary.position)

    async def _made(self, move: Move) -> Moved:
        outcome = await self._commit(move)
        match outcome:
            case Moved():
                return outcome
            case Mismatch():
                raise ReplayMismatch(outcome.message)
            case _:
                raise Abandoned(getattr(outcome, "reason", None) or str(outcome))


class _OneAhead:
    """Commits one page while the next is made; in order, and never more than one at a time."""

    def __init__(self, commit: Callable[[Move], Coroutine[Any, Any, Moved]]) -> None:
        self._commit = commit
        self._task: asyncio.Task[Moved] | None = None

    async def put(self, move: Move) -> None:
        """Begin to commit `move` once the one before is durable; raise what that one raised."""
        await self._settle()
        self._task = asyncio.ensure_future(self._commit(move))

    async def _settle(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            await self._settle()
        elif self._task is not None:  # the page that failed has its own reason to tell
            await asyncio.wait([self._task])


async def _closable(pages: AsyncIterator[Page]) -> AsyncGenerator[Page]:
    async for page in pages:
        yield page


#: Records what a step left out: position, value and reason of each item.
_Rejecting = Callable[[PlanStep, Sequence[tuple[int, Any, str]]], Awaitable[None]]


def _rejected(error: RejectItem) -> Rejected:
    return Rejected(_storable(str(error)) or "rejected")


class _HoppingCalls:
    """Calls async functions here, and others on a thread: one hop a page."""

    def __init__(self, execution: Execution, tools: Tools, reject: _Rejecting) -> None:
        self._execution = execution
        self._tools = tools
        self._reject = reject

    async def call(self, step: PlanStep, value: Any) -> Any:
        """One value in, one value out; retried in place while the rests are short."""
        attempt = attempt_of(self._execution, step)
        while True:
            try:
                return await self._call_once(step, value, attempt, None)
            except StepFailed as error:
                await self._rest(error)
                attempt += 1

    async def call_page(self, step: PlanStep, page: Page, numbers: Sequence[int]) -> list[Any]:
        """A page in, a page out."""
        if step.is_async:
            made = await self._call_async_page(step, page, numbers)
        else:
            made = await self._call_page_on_thread(step, page, numbers)
        rejected = [
            (number, value, came.reason)
            for number, value, came in zip(numbers, page, made, strict=True)
            if type(came) is Rejected
        ]
        if rejected:
            await self._reject(step, rejected)
        return made

    async def _call_page_on_thread(
        self, step: PlanStep, page: Page, numbers: Sequence[int]
    ) -> list[Any]:
        made: list[Any] = []
        attempt = attempt_of(self._execution, step)
        while True:
            part = _PageCall(
                self._execution, self._tools, step, page[len(made) :], numbers[len(made) :], attempt
            )
            try:
                await self._tools.pool.run(part, _limit(step, self._tools))
            except TimeoutError as error:
                part.failure = StepFailed(step, part.attempt, error)
            finally:
                part.is_over = True
            made += part.made
            if part.failure is None:
                return made
            await self._rest(part.failure)
            attempt = part.failure.attempt + 1

    async def _call_async_page(
        self, step: PlanStep, page: Page, numbers: Sequence[int]
    ) -> list[Any]:
        room = asyncio.Semaphore(_CONCURRENT_ITEMS)

        async def one(value: Any, number: int) -> Any:
            async with room:
                attempt = attempt_of(self._execution, step)
                while True:
                    try:
                        return await self._call_once(step, value, attempt, number)
                    except StepFailed as error:
                        if isinstance(error.error, RejectItem):
                            return _rejected(error.error)
                        await self._rest(error)
                        attempt += 1

        tasks = [asyncio.ensure_future(one(*each)) for each in zip(page, numbers, strict=True)]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def expand(self, step: PlanStep, value: Any, number: int | None) -> AsyncIterator[Page]:
        """One value in, a stream out.

        An item of a stream is left out whole: until the first page of it is given, for after that
        it cannot be taken back.
        """
        given = False
        try:
            async for page in self._yielded(step, value, number):
                yield page
                given = True
        except StepFailed as error:
            if number is None or given or not isinstance(error.error, RejectItem):
                raise
            await self._reject(step, [(number, value, _rejected(error.error).reason)])

    async def transform(self, step: PlanStep, pages: AsyncIterator[Page]) -> AsyncIterator[Page]:
        """A stream in, a stream out."""
        async for page in self._yielded(step, pages, None):
            yield page

    async def consume(self, step: PlanStep, pages: AsyncIterator[Page]) -> Any:
        """A stream in, one value out."""
        return await self._call_once(step, pages, attempt_of(self._execution, step), None)

    # --- one call -----------------------------------------------------------------------------

    async def _call_once(self, step: PlanStep, value: Any, attempt: int, item: int | None) -> Any:
        context, arguments = prepared(self._execution, step, attempt, item, self._tools)
        limit = _limit(step, self._tools)
        with _failing(step, attempt), entered(context):
            if step.is_async:
                bound = _Bound(limit)
                fed = _items(value, bound) if step.consumes else value
                async with asyncio.timeout(limit) as bound.timeout:
                    return await step.function(fed, **arguments)
            with self._feed(step, value) as fed:
                return await self._tools.pool.run(lambda: step.function(fed, **arguments), limit)

    async def _yielded(self, step: PlanStep, value: Any, item: int | None) -> AsyncIterator[Page]:
        attempt = attempt_of(self._execution, step)
        context, arguments = prepared(self._execution, step, attempt, item, self._tools)
        give = self._yielded_async if step.is_async else self._yielded_on_threads
        with _failing(step, attempt):
            async with aclosing(give(step, value, context, arguments)) as pages:
                async for page in pages:
                    yield page

    async def _yielded_async(
        self, step: PlanStep, value: Any, context: _Context, arguments: dict[str, Any]
    ) -> AsyncGenerator[Page]:
        size, limit = self._tools.settings.page_items, _limit(step, self._tools)
        bound = _Bound(limit)
        with entered(context):
            fed = _items(value, bound) if step.consumes else value
            items = step.function(fed, **arguments)
        page: list[Any] = []
        full_at = time.monotonic() + _PAGE_FILLS_S
        try:
            while True:
                try:
                    with entered(context):
                        async with asyncio.timeout(limit) as bound.timeout:
                            page.append(await anext(items))
                except StopAsyncIteration:
                    break
                if len(page) >= size or time.monotonic() > full_at:
                    yield page
                    page, full_at = [], time.monotonic() + _PAGE_FILLS_S
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
        if page:
            yield page

    async def _yielded_on_threads(
        self, step: PlanStep, value: Any, context: _Context, arguments: dict[str, Any]
    ) -> AsyncGenerator[Page]:
        pool, size = self._tools.pool, self._tools.settings.page_items
        limit = _limit(step, self._tools)
        with self._feed(step, value) as fed:
            with entered(context):
                source = iter(await pool.run(lambda: step.function(fed, **arguments), limit))
            while True:
                with entered(context), _Taking(source, size, pool) as taking:
                    made = await pool.run(taking, limit)
                if made:
                    yield made
                if taking.ended:
                    return

    @contextmanager
    def _feed(self, step: PlanStep, value: Any) -> Generator[Any]:
        """What a function on a thread takes; a stream ends for it when its caller goes on."""
        if not step.consumes:
            yield value
            return
        with _Feed(value, self._tools.pool) as feed:
            yield iter(feed)

    async def _rest(self, error: StepFailed) -> None:
        """Rest before another try in place, or raise when there is none."""
        move = failed(self._execution, error, self._tools.settings, in_place=True)
        if not isinstance(move, Again):
            raise error
        await asyncio.sleep(move.delay_ms / 1000)


@contextmanager
def _failing(step: PlanStep, attempt: int) -> Generator[None]:
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


class _PageCall:
    """A step over a part of a page, on a thread; stops at the item that fails."""

    def __init__(
        self,
        execution: Execution,
        tools: Tools,
        step: PlanStep,
        page: Page,
        numbers: Sequence[int],
        attempt: int,
    ) -> None:
        self._execution = execution
        self._tools = tools
        self._step = step
        self._page = page
        self._numbers = numbers
        #: Which try of the current item it is.
        self.attempt = attempt
        self.made: list[Any] = []
        self.failure: StepFailed | None = None
        #: The caller has gone on without it.
        self.is_over = False

    def __call__(self) -> None:
        step, made, page = self._step, self.made, self._page
        first = attempt_of(self._execution, step)
        with entered(self._context):
            while (place := len(made)) < len(page) and not self.is_over:
                self._tools.pool.next_item()
                try:
                    value = step.function(page[place], **self._arguments())
                except RejectItem as error:
                    value = _rejected(error)
                except BaseException as error:  # noqa: BLE001 - whatever a step raises
                    self.failure = StepFailed(step, self.attempt, error)
                    return
                self.attempt = first
                made.append(value)

    def _arguments(self) -> dict[str, Any]:
        if not self._step.wants:
            return {}
        item = self._numbers[len(self.made)]
        return prepared(self._execution, self._step, self.attempt, item, self._tools)[1]

    def _context(self) -> Context:
        """The context of the item that is being worked on."""
        item = self._numbers[len(self.made)]
        return context_of(self._execution, self._step, self.attempt, item, self._tools.clock)


class _Taking:
    """Takes the next items of a generator on a thread: a page of them, fewer from a slow one."""

    def __init__(self, source: Iterator[Any], size: int, pool: StepPool) -> None:
        self._source = source
        self._size = size
        self._pool = pool
        self._is_over = False
        #: The generator has come to its end.
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over = True

    def __call__(self) -> list[Any]:
        taken: list[Any] = []
        full_at = time.monotonic() + _PAGE_FILLS_S
        for item in self._source:
            taken.append(item)
            if len(taken) == self._size or self._is_over or time.monotonic() > full_at:
                return taken
            self._pool.next_item()
        self.ended = True
        return taken


class _Feed:
    """The items of a stream for a function on a thread: one hop to the event loop a page.

    Once its caller has gone on, because the function took too long or the segment was stopped, it
    gives nothing more: what comes before must not run for nobody.
    """

    def __init__(self, pages: AsyncIterator[Page], pool: StepPool) -> None:
        self._pages = pages
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over = True

    def __iter__(self) -> Iterator[Any]:
        while (page := self._next_page()) is not None:
            for item in page:
                if self._is_over:
                    raise Abandoned("nobody waits for the step any more")
                self._pool.next_item()
                yield item

    def _next_page(self) -> Page | None:
        if self._is_over:
            raise Abandoned("nobody waits for the step any more")
        with self._pool.aside():
            return asyncio.run_coroutine_threadsafe(self._pull(), self._loop).result()

    async def _pull(self) -> Page | None:
        return await anext(self._pages, None)


class _Bound:
    """The timeout under which an async function runs that consumes a stream."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self.timeout: asyncio.Timeout | None = None

    def rest(self) -> None:
        """Let it wait for what comes before, which has limits of its own."""
        if self.timeout is not None:
            self.timeout.reschedule(None)

    def begin(self) -> None:
        """Let it go on to its next item, which has the whole limit."""
        if self.timeout is not None:
            self.timeout.reschedule(self._loop.time() + self._limit_s)


async def _items(pages: AsyncIterator[Page], bound: _Bound) -> AsyncIterator[Any]:
    """The items of a stream for an async function."""
    more = True
    while more:
        bound.rest()
        page = await anext(pages, None)
        more = page is not None
        for item in page or ():
            bound.begin()
            yield item
    bound.begin()
