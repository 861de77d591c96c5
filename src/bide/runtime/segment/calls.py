"""How a segment's task calls its steps: async ones here, others on a thread."""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Sequence,
)
from contextlib import aclosing, contextmanager
from typing import Any

from bide.authoring.context import Context, entered
from bide.authoring.transaction import Transaction
from bide.errors import (
    RejectItem,
)
from bide.model.records import Execution
from bide.planning.flow import Page, Rejected
from bide.planning.plan import PlanStep
from bide.runtime.segment.failing import Again, StepFailed, failed, failing
from bide.runtime.segment.feeding import PAGE_FILLS_S, Bound, Feed, Taking, items_of
from bide.runtime.segment.tools import Entered, Tools, attempt_of, context_of, limit_of, prepared
from bide.runtime.segment.transacting import StepTransaction
from bide.runtime.texts import storable
from bide.spi.telemetry import UNTRACED

#: Async steps that one page of a stream runs at the same time.
_CONCURRENT_ITEMS = 64


#: Records what a step left out: position, value and reason of each item.
Rejecting = Callable[[PlanStep, Sequence[tuple[int, Any, str]]], Awaitable[None]]


def rejected(error: RejectItem) -> Rejected:
    """What stands in a page for an item that a step left out."""
    return Rejected(storable(str(error)) or "rejected")


class HoppingCalls:
    """Calls async functions here, and others on a thread: one hop a page."""

    def __init__(self, execution: Execution, tools: Tools, reject: Rejecting) -> None:
        self._execution = execution
        self._tools = tools
        self._reject = reject
        #: That of the segment's last step; None where that takes none, or has not been called.
        self.transaction: StepTransaction | None = None
        self._has_room = False

    async def call(self, step: PlanStep, value: Any) -> Any:
        """One value in, one value out; retried in place while the rests are short."""
        attempt = attempt_of(self._execution, step)
        while True:
            try:
                if step.transaction is not None:
                    await self._find_room()
                return await self._call_once(step, value, attempt, None)
            except StepFailed as error:
                await self.end()
                await self._rest(error)
                attempt += 1

    async def _find_room(self) -> None:
        assert self._tools.transactions is not None, "an app is not started without them"
        await self._tools.transactions.room.acquire()
        self._has_room = True

    async def end(self) -> None:
        """Undo what the segment's last step has written, unless it was committed."""
        transaction, self.transaction = self.transaction, None
        try:
            if transaction is not None:
                await transaction.roll_back()
        finally:
            if self._has_room:
                assert self._tools.transactions is not None
                self._tools.transactions.room.release()
                self._has_room = False

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
                with self._tools.trace.step(step.id, attempt):
                    await self._tools.pool.run(part, limit_of(step, self._tools))
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
                            return rejected(error.error)
                        await self._rest(error)
                        attempt += 1

        with self._tools.trace.step(step.id, attempt_of(self._execution, step)):
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
            await self._reject(step, [(number, value, rejected(error.error).reason)])

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
        limit = limit_of(step, self._tools)
        # Items of a stream share the span of their page.
        trace = self._tools.trace if item is None else UNTRACED
        with failing(step, attempt), trace.step(step.id, attempt), entered(context):
            if step.transaction is not None:
                return await self._call_in_transaction(step, value, attempt, arguments)
            if step.is_async:
                bound = Bound(limit)
                fed = items_of(value, bound) if step.consumes else value
                async with asyncio.timeout(limit) as bound.timeout:
                    return await step.function(fed, **arguments)
            with self._feed(step, value) as fed:
                return await self._tools.pool.run(lambda: step.function(fed, **arguments), limit)

    async def _call_in_transaction(
        self, step: PlanStep, value: Any, attempt: int, arguments: dict[str, Any]
    ) -> Any:
        """One call of a step that writes in its segment's commit; what it wrote stays open."""
        assert step.transaction is not None
        assert self._tools.transactions is not None
        transaction = self.transaction = StepTransaction(
            self._execution, step, attempt, value, self._tools.transactions
        )
        arguments = {**arguments, step.transaction: Transaction(transaction)}
        async with asyncio.timeout(limit_of(step, self._tools)):
            made = await step.function(value, **arguments)
            await transaction.returned()
        return made

    async def _yielded(self, step: PlanStep, value: Any, item: int | None) -> AsyncIterator[Page]:
        attempt = attempt_of(self._execution, step)
        context, arguments = prepared(self._execution, step, attempt, item, self._tools)
        give = self._yielded_async if step.is_async else self._yielded_on_threads
        with failing(step, attempt), self._tools.trace.step(step.id, attempt, enters=False):
            async with aclosing(give(step, value, context, arguments)) as pages:
                async for page in pages:
                    yield page

    async def _yielded_async(
        self, step: PlanStep, value: Any, context: Entered, arguments: dict[str, Any]
    ) -> AsyncGenerator[Page]:
        size, limit = self._tools.settings.page_items, limit_of(step, self._tools)
        bound = Bound(limit)
        with entered(context):
            fed = items_of(value, bound) if step.consumes else value
            items = step.function(fed, **arguments)
        page: list[Any] = []
        full_at = time.monotonic() + PAGE_FILLS_S
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
                    page, full_at = [], time.monotonic() + PAGE_FILLS_S
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
        if page:
            yield page

    async def _yielded_on_threads(
        self, step: PlanStep, value: Any, context: Entered, arguments: dict[str, Any]
    ) -> AsyncGenerator[Page]:
        pool, size = self._tools.pool, self._tools.settings.page_items
        limit = limit_of(step, self._tools)
        with self._feed(step, value) as fed:
            with entered(context):
                source = iter(await pool.run(lambda: step.function(fed, **arguments), limit))
            while True:
                with entered(context), Taking(source, size, pool) as taking:
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
        with Feed(value, self._tools.pool) as feed:
            yield iter(feed)

    async def _rest(self, error: StepFailed) -> None:
        """Rest before another try in place, or raise when there is none."""
        move = failed(self._execution, error, self._tools.settings, in_place=True)
        if not isinstance(move, Again):
            raise error
        await asyncio.sleep(move.delay_ms / 1000)


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
                    value = rejected(error)
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
