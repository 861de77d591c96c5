"""Streams between the event loop and functions that take or give them, a page a hop."""

import asyncio
import time
from collections.abc import (
    AsyncIterator,
    Iterator,
)
from typing import Any, Self

from bide.planning.flow import Page
from bide.runtime.pool import StepPool
from bide.runtime.segment.failing import Abandoned

#: What a source has given goes on after this, though its page is not full: a slow source's first
#: items are asked about while it makes the next ones.
PAGE_FILLS_S = 0.2


class Taking:
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
        full_at = time.monotonic() + PAGE_FILLS_S
        for item in self._source:
            taken.append(item)
            if len(taken) == self._size or self._is_over or time.monotonic() > full_at:
                return taken
            self._pool.next_item()
        self.ended = True
        return taken


class Feed:
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


class Bound:
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


async def items_of(pages: AsyncIterator[Page], bound: Bound) -> AsyncIterator[Any]:
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
