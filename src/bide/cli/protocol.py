"""How `bide serve` reads the heads of requests: bounded in bytes and in time.

The server bounds neither by itself, and no application is asked before a head is complete.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Request line and headers of one request; a little more may be read before it is noticed.
HEAD_BYTES_MAX: Final = 64 * 1024


def bounded(timeout_ms: int) -> type[HttpToolsProtocol]:
    """Make a protocol whose clients have so long to send a head, and to begin with the first."""

    class Bounded(_BoundedHeads):
        head_timeout_s = timeout_ms / 1_000

    return Bounded


class _BoundedHeads(HttpToolsProtocol):
    """Cuts off whoever sends a head without end.

    Most heads come in one piece, and then no timer is ever set.
    """

    head_timeout_s: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base
        self._in_head, self._head_bytes = True, 0
        super().connection_made(transport)
        self._cut_off = self.loop.call_later(self.head_timeout_s, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cut_off.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head:
            return
        if not self._head_bytes:
            self._cut_off.cancel()
            self._cut_off = self.loop.call_later(self.head_timeout_s, self.transport.close)
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._cut_off.cancel()
        super().on_headers_complete()
