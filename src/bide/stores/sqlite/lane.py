"""A thread that does one thing after another for an event loop."""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_Work = Callable[[], Any]
_Future = asyncio.Future[Any]


class Lane:
    """Work goes in one by one; what came of it comes back in as few wake-ups as possible."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[tuple[_Work, _Future] | None] = queue.SimpleQueue()
        self._done: deque[tuple[_Future, Any, BaseException | None]] = deque()
        self._signalled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    @property
    def is_running(self) -> bool:
        """True between `start` and `stop`."""
        return self._thread is not None and not self._stopping

    def start(self) -> None:
        """Begin to work for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()

    async def stop(self, last: Callable[[], None] = lambda: None) -> None:
        """Do what is queued, then `last`, then end; nothing comes after it."""
        if self.is_running and self._thread is not None:
            self._stopping = True
            done = asyncio.get_running_loop().create_future()
            self._queue.put((last, done))
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
            await done

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` over there, and give what it gives or raise what it raises.

        A caller that is cancelled does not take the work with it.
        """
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((work, future))
        return await future

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            work, future = item
            try:
                result, error = work(), None
            except BaseException as raised:  # noqa: BLE001 - the caller gets it, the thread lives on
                result, error = None, raised
            self._done.append((future, result, error))
            if not self._signalled:
                self._signalled = True
                assert self._loop is not None
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._signalled = False
        while self._done:
            future, result, error = self._done.popleft()
            if future.done():  # the caller went away
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
