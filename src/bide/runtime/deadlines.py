"""Many deadlines and one timer: most waits end long before theirs.

A timer of the event loop for each wait costs more than everything else that waiting does.
"""

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

#: Fewer than this are not worth looking through for what has ended.
_FEW = 1_000


class Deadlines:
    """Ends futures with `TimeoutError` when their time has come; for use on the event loop."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, asyncio.Future[Any]]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._look_through_at = _FEW

    def add(self, future: "asyncio.Future[Any]", timeout_s: float) -> None:
        """Give a future so many seconds from now."""
        loop = asyncio.get_running_loop()
        at = loop.time() + timeout_s
        heappush(self._heap, (at, next(self._order), future))
        if len(self._heap) > self._look_through_at:
            self._drop_ended()
        if self._timer is None or at < self._timer.when():
            self._wait_until(loop, at)

    def stop(self) -> None:
        """End no future any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heap.clear()

    def _drop_ended(self) -> None:
        """Keep what is still waited for; so often that an entry costs the same however many."""
        self._heap = [entry for entry in self._heap if not entry[2].done()]
        heapify(self._heap)
        self._look_through_at = max(_FEW, 2 * len(self._heap))

    def _wait_until(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(at, self._expire)

    def _expire(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._heap:
            at, _, future = self._heap[0]
            if not future.done():
                if at > loop.time():
                    self._wait_until(loop, at)
                    return
                future.set_exception(TimeoutError("it did not come to that in time"))
            heappop(self._heap)
