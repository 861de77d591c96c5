"""What the integration tests share: short intervals, and waiting for conditions."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from bide import App, Execution
from bide.settings import Settings

#: No test is decided by it: only a test that fails waits so long.
PATIENCE_S = 30.0


def quick(**changes: Any) -> Settings:
    """Settings under which everything periodic happens often."""
    short: dict[str, Any] = {"poll_max_ms": 20, "sweep_interval_ms": 20, "stop_timeout_ms": 20_000}
    return Settings(**(short | changes))


async def eventually(condition: Callable[[], Awaitable[Any] | Any]) -> Any:
    """Wait until the condition gives something true, and give that."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.005)


async def until_status(execution: Execution[Any], status: str) -> None:
    """Wait until the execution stands there."""

    async def reached() -> bool:
        return (await execution.status()).status.name == status

    await eventually(reached)


async def answer_all(app: App, boundary: Any, answer: Callable[[Any], Any]) -> int:
    """Answer everything that waits at a boundary until nothing more does; gives how many."""
    count = 0
    while questions := await app.pending(boundary, limit=1_000):
        await app.complete_many([(each, answer(each.request)) for each in questions])
        count += len(questions)
    return count


class Gate:
    """Holds steps until the test opens it, and tells how many have come."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.arrived = 0

    def open(self) -> None:
        self._event.set()

    def wait(self) -> None:
        """Block the thread of a step."""
        self.arrived += 1
        assert self._event.wait(PATIENCE_S)

    async def pause(self) -> None:
        """Hold an async step."""
        self.arrived += 1
        while not self._event.is_set():
            await asyncio.sleep(0.002)
