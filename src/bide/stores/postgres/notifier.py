"""Telling other processes that there was a commit: a hint beside their polling, never a promise.

PostgreSQL lets one transaction at a time commit a notification, so none is sent by a business
transaction. A process tells of its first commit at once and then at most twenty times a second, over
a connection of its own, which listens as well. Through a pooler that shares connections between
transactions nothing is heard, and polling alone finds what is due.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from bide.stores.postgres.connection import Connection, is_expected

_CHANNEL = "bide"
_APART_S = 0.05
_RECONNECT_S = 1.0
_CLOSE_S = 1.0


class Notifier:
    """One connection that tells and listens."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._name = secrets.token_hex(4)
        self._to_tell = asyncio.Event()
        self._heard = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._listens = True

    async def open(self, *, listens: bool = True) -> None:
        """Begin to tell, and to listen unless a pooler would not hand on what is heard."""
        self._closing = False
        self._listens = listens
        self._task = asyncio.get_running_loop().create_task(self._work(), name="bide-notifier")

    async def close(self) -> None:
        """Disconnect, in good order where the server answers."""
        if self._task is not None:
            self._closing = True
            self._to_tell.set()
            await asyncio.wait([self._task], timeout=_CLOSE_S)
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def tell(self) -> None:
        """Say soon that there was a commit."""
        self._to_tell.set()

    async def wait(self, timeout_s: float) -> bool:
        """Give True soon after another process has told, False after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._heard.wait()
        except TimeoutError:
            return False
        self._heard.clear()
        return True

    async def _work(self) -> None:
        while not self._closing:
            try:
                db = await self._connect()
                try:
                    await self._listen(db)
                finally:
                    await db.close(timeout=_CLOSE_S)
            except Exception as error:
                if not is_expected(error):
                    raise
                await asyncio.sleep(_RECONNECT_S)
                self._heard.set()  # for what was told while nobody listened

    async def _listen(self, db: Connection) -> None:
        db.add_termination_listener(lambda _: self._to_tell.set())
        if self._listens:
            await db.add_listener(_CHANNEL, self._on_notification)
        while True:
            await self._to_tell.wait()
            if self._closing:
                return
            self._to_tell.clear()
            await db.execute(f"notify {_CHANNEL}, '{self._name}'")
            await asyncio.sleep(_APART_S)

    def _on_notification(self, _db: object, _pid: int, _channel: str, payload: str) -> None:
        if payload != self._name:
            self._heard.set()
