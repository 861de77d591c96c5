"""One thread that alone does what may block, and that nobody has to wait for in the end.

An executor's threads are waited for when the interpreter ends. A client whose brokers are away may
keep its thread for as long as they are, and a process must come to its end all the same.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Hand:
    """Does one piece of work after another, on a thread of its own; ends with the process."""

    def __init__(self, name: str) -> None:
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[], T]) -> T:
        """Do it after what was asked for before; it goes on when its caller is cancelled."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is the caller's to know
                _tell(loop, done, done.set_exception, error)
            else:
                _tell(loop, done, done.set_result, result)

        self._waiting.put(run)
        return await done

    def let_go(self) -> None:
        """End the thread once its work is done; does not wait for it."""
        self._waiting.put(None)

    def _work(self) -> None:
        while (run := self._waiting.get()) is not None:
            run()


def _tell(
    loop: asyncio.AbstractEventLoop,
    done: asyncio.Future[T],
    say: Callable[[Any], None],
    what: object,
) -> None:
    def tell() -> None:
        if not done.done():  # nobody waits any more
            say(what)

    with suppress(RuntimeError):  # the loop has ended, and nobody waits there either
        loop.call_soon_threadsafe(tell)
