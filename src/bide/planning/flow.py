"""How values go through the steps of a segment: the one interpreter of a plan.

A value goes through one step after another. A stream goes in pages: each step takes a page and
gives a page, so that what happens once a page (a hop to a thread, a commit) is shared by its items,
and nothing holds more than a page or two. Who calls the functions, where, and what is done when
one fails, is the business of `Calls`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from bide.planning.plan import PlanAwait, PlanBranch, PlanKeep, PlanRoute, PlanStep

Page: TypeAlias = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """Items in order, in pages; `first` numbers the first one."""

    pages: AsyncIterator[Page]


@dataclass(frozen=True, slots=True)
class Ended:
    """What came out of a segment: one value or a stream, and the await that it meets, if any."""

    value: Any
    boundary: PlanAwait | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Stands in a page where a step left an item out; it goes no further."""

    reason: str


class Calls(Protocol):
    """Calls the functions of steps."""

    async def call(self, step: PlanStep, value: Any) -> Any:
        """One value in, one value out."""
        ...

    async def call_page(self, step: PlanStep, page: Page, numbers: Sequence[int]) -> list[Any]:
        """Items in, as many values out, in their order; `numbers` are the items' positions.

        An item that the step leaves out comes back as `Rejected`.
        """
        ...

    def expand(self, step: PlanStep, value: Any, number: int | None) -> AsyncIterator[Page]:
        """One value in, a stream out."""
        ...

    async def consume(self, step: PlanStep, pages: AsyncIterator[Page]) -> Any:
        """A stream in, one value out."""
        ...

    def transform(self, step: PlanStep, pages: AsyncIterator[Page]) -> AsyncIterator[Page]:
        """A stream in, a stream out."""
        ...


async def run(
    elements: Iterable[PlanStep | PlanAwait | PlanRoute],
    value: Any,
    calls: Calls,
    passed: Callable[[PlanStep, Any], None] | None = None,
) -> Ended:
    """Take a value or a `Stream` through `elements` up to the first await that it meets.

    `passed` is told what each step gave that was called with the whole of it.
    """
    for element in elements:
        match element:
            case PlanAwait():
                return Ended(value, element)
            case PlanStep():
                value = await _through(element, value, calls)
                if passed is not None:
                    passed(element, value)
            case PlanRoute():
                if isinstance(value, Stream):
                    value = Stream(_routed(element, value.pages, calls))
                    continue
                branch = element.select(value)
                if isinstance(branch, PlanAwait):
                    return Ended(value, branch)
                if isinstance(branch, PlanStep):
                    value = await _through(branch, value, calls)
                    if passed is not None:
                        passed(branch, value)
    return Ended(value, None)


async def _through(step: PlanStep, value: Any, calls: Calls) -> Any:
    if not isinstance(value, Stream):
        if step.yields:
            return Stream(calls.expand(step, value, None))
        return await calls.call(step, value)
    if step.consumes:
        if step.yields:
            return Stream(calls.transform(step, value.pages))
        return await calls.consume(step, value.pages)
    if step.yields:
        return Stream(_expanded(step, value.pages, calls))
    return Stream(_mapped(step, value.pages, calls))


async def _mapped(step: PlanStep, pages: AsyncIterator[Page], calls: Calls) -> AsyncIterator[Page]:
    first = 0
    async for page in pages:
        made = await calls.call_page(step, page, range(first, first + len(page)))
        yield _accepted(made)
        first += len(page)


async def _expanded(
    step: PlanStep, pages: AsyncIterator[Page], calls: Calls
) -> AsyncIterator[Page]:
    number = 0
    async for page in pages:
        for item in page:
            async for made in calls.expand(step, item, number):
                yield made
            number += 1


async def _routed(
    route: PlanRoute, pages: AsyncIterator[Page], calls: Calls
) -> AsyncIterator[Page]:
    """Each item through its own branch; a page's items of one branch go together."""
    first = 0
    async for page in pages:
        routed = list(page)
        places: dict[int, list[int]] = {}
        branches: dict[int, PlanBranch] = {}
        for place, item in enumerate(page):
            branch = route.select(item)
            branches[id(branch)] = branch
            places.setdefault(id(branch), []).append(place)
        for which, chosen in places.items():
            branch = branches[which]
            if isinstance(branch, PlanKeep):
                continue
            assert isinstance(branch, PlanStep), "an await is no branch after a stream"
            items = [page[place] for place in chosen]
            made = await calls.call_page(branch, items, [first + place for place in chosen])
            for place, value in zip(chosen, made, strict=True):
                routed[place] = value
        yield _accepted(routed)
        first += len(page)


def _accepted(page: Page) -> Page:
    return [value for value in page if type(value) is not Rejected]
