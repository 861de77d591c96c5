"""`Pipeline.run_inline`: a pipeline without a store, in the caller's own task and thread.

For tests and scripts, and for flows that need no durability. There is no retry, no lease and no
await: whatever a step raises, the caller gets, but for `RejectItem` over the items of a stream:
such an item is left out, and a warning says so.
"""

import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bide.authoring.context import Context, entered
from bide.errors import DefinitionError, RejectItem
from bide.planning import flow
from bide.planning.flow import Page, Rejected, Stream
from bide.planning.hints import ResourceKey
from bide.planning.plan import Plan, PlanStep
from bide.runtime.clock import system_clock

_PAGE = 500
log = logging.getLogger("bide.step")


async def run_inline(plan: Plan, value: Any, resources: Mapping[ResourceKey, object]) -> Any:
    """Run a pipeline in memory; gives its result, a list for a stream.

    Raises:
        DefinitionError: the pipeline has an await, which needs the durable mode, or a step asks for
            a transaction, or for a resource that is not given.
    """
    boundary = next(plan.awaits(), None)
    if boundary is not None:
        raise DefinitionError(
            f"pipeline {plan.title!r} waits at {boundary.name!r}, and nothing can wait in memory.\n"
            "  Run it durably:   async with App(pipeline).running() as app: await app.submit(...)"
        )
    step = next((each for each in plan.steps() if each.transaction is not None), None)
    if step is not None:
        raise DefinitionError(
            f"step '{step.id}' of pipeline {plan.title!r} takes a Transaction, and there is no database"
            " in memory.\n"
            "  Run it durably:   async with App(pipeline).running() as app: await app.submit(...)"
        )
    if plan.publishes:
        raise DefinitionError(
            f"pipeline {plan.title!r} publishes {plan.publishes[0].name!r}, and nobody takes it in"
            " memory.\n"
            "  Run it durably:   async with App(pipeline).running() as app: await app.submit(...)"
        )
    missing = plan.resources - {Context, *resources}
    if missing:
        names = ", ".join(sorted(str(getattr(each, "__name__", each)) for each in missing))
        raise DefinitionError(
            f"steps of pipeline {plan.title!r} ask for {names}, which are not given.\n"
            "  Give them:   run_inline(value, resources={Type: object})"
        )
    start = plan.input.decode(plan.input.encode(value))
    calls = _DirectCalls(secrets.token_hex(8), resources)
    if plan.input.many:
        start = Stream(_pages(start))
    ended = await flow.run(plan.elements, start, calls)
    if not isinstance(ended.value, Stream):
        return ended.value
    results: list[Any] = []
    async for page in ended.value.pages:
        results.extend(page)
    return results


class _DirectCalls:
    """Calls functions where they stand."""

    def __init__(self, execution_id: str, resources: Mapping[ResourceKey, object]) -> None:
        self._execution_id = execution_id
        self._resources = resources

    async def call(self, step: PlanStep, value: Any) -> Any:
        """One value in, one value out."""
        return await self._call(step, value, None)

    async def call_page(self, step: PlanStep, page: Page, numbers: Sequence[int]) -> list[Any]:
        """A page in, a page out."""
        return [await self._call_item(step, *each) for each in zip(page, numbers, strict=True)]

    async def expand(self, step: PlanStep, value: Any, number: int | None) -> AsyncIterator[Page]:
        """One value in, a stream out."""
        given = False
        try:
            async for page in self._yielded(step, value, number):
                yield page
                given = True
        except RejectItem as error:
            if number is None or given:
                raise
            _log_reject(step, number, error)

    async def consume(self, step: PlanStep, pages: AsyncIterator[Page]) -> Any:
        """A stream in, one value out."""
        return await self._call(step, await self._fed(step, pages), None)

    async def transform(self, step: PlanStep, pages: AsyncIterator[Page]) -> AsyncIterator[Page]:
        """A stream in, a stream out."""
        async for page in self.expand(step, await self._fed(step, pages), None):
            yield page

    async def _yielded(self, step: PlanStep, value: Any, number: int | None) -> AsyncIterator[Page]:
        context, arguments = self._prepared(step, number)
        with entered(context):
            made = step.function(value, **arguments)
            items = made if step.is_async else iter(made)
        missing = object()
        try:
            while True:
                with entered(context):  # not around the yield: other steps run meanwhile
                    item = await anext(items, missing) if step.is_async else next(items, missing)
                if item is missing:
                    return
                yield [item]
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()

    async def _call_item(self, step: PlanStep, value: Any, number: int) -> Any:
        try:
            return await self._call(step, value, number)
        except RejectItem as error:
            _log_reject(step, number, error)
            return Rejected(str(error))

    async def _fed(self, step: PlanStep, pages: AsyncIterator[Page]) -> Any:
        if step.is_async:
            return _items(pages)
        # A function that is not async cannot be fed bit by bit from this very thread.
        return iter([item async for item in _items(pages)])

    async def _call(self, step: PlanStep, value: Any, number: int | None) -> Any:
        context, arguments = self._prepared(step, number)
        with entered(context):
            made = step.function(value, **arguments)
            return await made if step.is_async else made

    def _prepared(self, step: PlanStep, number: int | None) -> tuple[Context, dict[str, Any]]:
        context = Context(
            execution_id=self._execution_id,
            step_id=step.id,
            item_index=number,
            attempt=1,
            tenant="default",
            idempotency_key="/".join(
                [self._execution_id, step.id, *([] if number is None else [str(number)])]
            ),
            log=logging.LoggerAdapter(log, {"step": step.id}),
            clock=lambda: datetime.fromtimestamp(system_clock() / 1000, UTC),
        )
        return context, {
            name: context if kind is Context else self._resources[kind] for name, kind in step.wants
        }


def _log_reject(step: PlanStep, number: int, error: RejectItem) -> None:
    log.warning("step %s left out item %d: %s", step.id, number, error)


async def _items(pages: AsyncIterator[Page]) -> AsyncIterator[Any]:
    async for page in pages:
        for item in page:
            yield item


async def _pages(items: Sequence[Any]) -> AsyncIterator[Page]:
    for start in range(0, len(items), _PAGE):
        yield items[start : start + _PAGE]
