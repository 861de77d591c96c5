"""Any segment, as a coroutine on the event loop."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Sequence,
)
from contextlib import aclosing
from itertools import chain
from typing import Any, Self

from bide.engine.moves import (
    Append,
    Claimed,
    CloseUnit,
    Finish,
    Mismatch,
    Move,
    Moved,
    NewHandoff,
    OpenUnit,
    Publishing,
    StoreRejects,
    StoreResults,
    TakeOver,
)
from bide.engine.redriving import is_taking_over
from bide.engine.stepping import keeps_rows
from bide.errors import (
    NonRetryable,
    PayloadError,
    ReplayMismatch,
    StoreUnavailable,
)
from bide.model.ids import UnitId, format_execution
from bide.model.records import Reject, Unit
from bide.model.status import UnitStatus
from bide.planning import flow
from bide.planning.flow import Ended, Page, Stream
from bide.planning.plan import PlanAwait, PlanStep
from bide.runtime.plans import Element, Stretch
from bide.runtime.segment.calls import HoppingCalls
from bide.runtime.segment.ends import (
    Made,
    failed_end,
    finish_of,
    given_of,
    interaction_of,
    last_position,
    park_of,
    publishing,
    start_value,
    starts_midway,
    stream_boundary_of,
    within,
)
from bide.runtime.segment.failing import Abandoned, Again, Unfit, failed, failing
from bide.runtime.segment.guards import guard_bytes, guard_items
from bide.runtime.segment.tools import Committed, CommittedApart, Tools, log
from bide.runtime.segment.transacting import AGAIN_S, StepTransaction


class SegmentTask:
    """Any segment, as a coroutine on the event loop."""

    def __init__(
        self,
        claimed: Claimed,
        stretch: Stretch,
        tools: Tools,
        commit: Committed,
        commit_apart: CommittedApart,
    ) -> None:
        self.execution = claimed.execution
        self.trace = tools.trace
        self._claimed = claimed
        self._stretch = stretch
        self._tools = tools
        self._commit = commit
        self._commit_apart = commit_apart
        #: By the position that it was published behind.
        self._published: dict[int | None, list[NewHandoff]] = {}
        self._calls = HoppingCalls(self.execution, tools, self._reject)

    async def run(self) -> Move | Made | None:
        """Run it; give the move that ends it, or what it has made itself, or None when there is
        nothing left to do.
        """
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
        finally:
            await self._calls.end()

    async def _run(self) -> Move | Made | None:
        reopened = self._claimed.reopened
        if reopened is not None and is_taking_over(self.execution, reopened):
            return await self._take_over(reopened)
        if starts_midway(self.execution):
            elements, start = self._midway()
        else:
            elements, start = self._stretch.elements, self._start()
        passed = self._passed if self._stretch.points else None
        if self._stretch.base is not None and not starts_midway(self.execution):
            self._publish(self._stretch.base.position, start)
        while True:
            ended = await flow.run(elements, start, self._calls, passed)
            move = publishing(await self._end_of(ended), chain(*self._published.values()))
            transaction = self._calls.transaction
            if transaction is None or not transaction.has_begun:
                return move
            try:
                return await self._commit_with(transaction, move, ended.boundary)
            except StoreUnavailable as error:
                id_ = format_execution(self.execution.id)
                log.warning("the last step of %s is called again: %s", id_, error)
            await self._calls.end()
            await asyncio.sleep(AGAIN_S)
            plan, step = self._stretch.plan, transaction.step
            elements = plan.elements[plan.element_index[step.position] :]
            start = transaction.value

    async def _commit_with(
        self, transaction: StepTransaction, move: Move, boundary: PlanAwait | None
    ) -> Move | Made:
        """Commit the segment's end with what its last step wrote."""
        move = within(move, self.trace)
        with failing(transaction.step, transaction.attempt):
            outcome = await self._commit_apart(move, transaction.commit)
        if isinstance(outcome, Moved) and not keeps_rows(outcome):
            return failed_end(self.execution, boundary, outcome.execution)
        return Made(move, outcome)

    async def _end_of(self, ended: Ended) -> Publishing:
        """The move that a segment ends in, once what is left of it is stored."""
        boundary, value = ended.boundary, ended.value
        if not isinstance(value, Stream):
            if boundary is None:
                self._publish(None, value)
                return finish_of(self.execution, self._stretch, value, self._tools.settings)
            return park_of(self.execution, boundary, value, self._tools.settings)
        async with aclosing(_closable(value.pages)) as pages:
            if boundary is None:
                return await self._store_results(pages)
            if boundary.per_item:
                return await self._fill_unit(boundary, pages)
            items = await self._gather(pages)
            return park_of(self.execution, boundary, items, self._tools.settings)

    def _passed(self, step: PlanStep, value: Any) -> None:
        self._publish(step.position, value)

    def _publish(self, position: int | None, value: Any) -> None:
        """Take down what is published behind a position; it goes out with the segment's end."""
        publications = self._stretch.points.get(position)
        if publications is not None:
            publisher = self._tools.publisher
            made = publisher.handoffs(self.execution, publications, value)
            self._published[position] = made  # again, where a last step is called again

    async def _take_over(self, unit: Unit) -> Move:
        """Fill the unit of a redriven execution from the old one; the last batch is the end."""
        source, base = self.execution.redriven_from, self._stretch.base
        assert source is not None
        assert base is not None
        of_source = await self._tools.store.units(self.execution.tenant, source)
        old = next((one for one in of_source if one.step_id == unit.step_id), None)
        first, size = unit.appended, self._tools.settings.page_items
        while old is not None and old.total is not None:
            items = await self._tools.store.askings(self.execution.tenant, old.id, first, size)
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
            self._stretch.base.output.many if self._stretch.base else self._stretch.plan.input.many
        )
        return Stream(self._pages(value)) if starts_many else value

    async def _pages(self, items: Sequence[Any]) -> AsyncIterator[Page]:
        size = self._tools.settings.page_items
        for start in range(0, len(items), size):
            yield items[start : start + size]

    async def _answers(self, number: int) -> AsyncIterator[Page]:
        """The answers of a unit by item, a page at a time."""
        base = self._stretch.base
        assert base is not None
        unit = UnitId(self.execution.id, number)
        size, first = self._tools.settings.page_items, 0
        while True:
            page = await self._tools.store.answers(self.execution.tenant, unit, first, size)
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

    async def _store_results(self, pages: AsyncIterator[Page]) -> Finish:
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

    async def _fill_unit(self, boundary: PlanAwait, pages: AsyncIterator[Page]) -> CloseUnit:
        execution, fence = self.execution.id, self.execution.fence
        reopened = self._claimed.reopened
        if reopened is None:
            opened = await self._made(
                OpenUnit(execution, fence, stream_boundary_of(boundary), self.trace.context)
            )
            unit = opened.execution.units
        elif self._stretch.plan.await_by_id(reopened.step_id) is not boundary:
            raise ReplayMismatch(
                f"an earlier run opened await {reopened.step_id!r} here, and this one meets"
                f" {boundary.id!r}"
            )
        else:
            unit = reopened.number
        count, settings, tenant = 0, self._tools.settings, self.execution.tenant
        async with _OneAhead(self._made) as commits:
            async for page in pages:
                items = tuple(interaction_of(tenant, boundary, value, settings) for value in page)
                await commits.put(Append(execution, fence, unit, count, items))
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
