"""Look-ups that are shared: while one is under way, the next one gathers.

Hundreds of callers that each want a row cost one read, as hundreds of commits cost one commit
(`bide.runtime.committer`), and a single caller waits for nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LookUps(Generic[K, V]):
    """Gathers the keys that callers want into calls of `fetch`."""

    def __init__(
        self, fetch: Callable[[Sequence[K]], Awaitable[Sequence[V]]], *, most: int
    ) -> None:
        self._fetch = fetch
        self._most = most
        self._wanted: list[tuple[K, asyncio.Future[V]]] = []
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V:
        """What `fetch` gives for `key`, read after this call began; raises what it raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[V] = loop.create_future()
        self._wanted.append((key, future))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._wanted:
                page, self._wanted = self._wanted[: self._most], self._wanted[self._most :]
                await self._answer(page)
        finally:
            self._task = None

    async def _answer(self, page: Sequence[tuple[K, asyncio.Future[V]]]) -> None:
        try:
            found = await self._fetch([key for key, _ in page])
        except Exception as error:  # noqa: BLE001 - every caller of the page gets it
            for _, future in page:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), value in zip(page, found, strict=True):
            if not future.done():
                future.set_result(value)
