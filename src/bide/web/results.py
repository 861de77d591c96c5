"""Results that are read in parts: pages of JSON, or all of it as NDJSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final, cast

from starlette.responses import Response, StreamingResponse

from bide.errors import NotFinished, UnknownExecution
from bide.model.status import ExecutionStatus
from bide.runtime.views import ExecutionView
from bide.web import parsing, rendering
from bide.web.problems import malformed
from bide.web.routing import Call

#: Bytes that are sent at once while a result streams.
_PIECE_BYTES: Final = 64 * 1024
_CURSOR_DIGITS_MAX: Final = 9


async def results(call: Call) -> Response:
    """Give a page of a streaming result, or all of it to a client that accepts NDJSON."""
    view = await _finished(call)
    items = _items(call, view)
    accepted = call.headers.get(b"accept", b"").decode("latin-1").lower()
    if rendering.NDJSON in accepted:
        return StreamingResponse(
            _pieces(items), media_type=rendering.NDJSON, headers=rendering.COMMON_HEADERS
        )
    return await _page(call, items)


async def _finished(call: Call) -> ExecutionView:
    execution_id = call.path("executionId")
    view = await call.service.execution(call.tenant, execution_id)
    if view is None:
        raise UnknownExecution(f"there is no execution {execution_id}")
    if view.status is not ExecutionStatus.SUCCEEDED:
        raise NotFinished(
            f"execution {execution_id} is {view.status.name} and has no results",
            status=view.status.name,
        )
    return view


async def _items(call: Call, view: ExecutionView) -> AsyncIterator[Any]:
    """Give the items of a streaming result; any other result is one item."""
    if view.result_count is None:
        yield await call.service.result(call.tenant, view.execution_id)
        return
    async for item in call.service.results(call.tenant, view.execution_id):
        yield item


async def _page(call: Call, items: AsyncIterator[Any]) -> Response:
    """Collect one page, bounded by count and by the bytes of what is given in one piece."""
    limit, first = parsing.limit(call.request), _cursor(call)
    bytes_left = call.service.settings.result_max_bytes
    page: list[bytes] = []
    following: str | None = None
    async with aclosing(cast("Any", items)):
        index = 0
        async for item in items:
            if index >= first:
                encoded = rendering.encode(item)
                bytes_left -= len(encoded)
                if len(page) >= limit or (page and bytes_left < 0):
                    following = str(index)
                    break
                page.append(encoded)
            index += 1
    # The items are JSON already; they are not read again to be put into a list.
    cursor = b"null" if following is None else f'"{following}"'.encode()
    return rendering.raw(b'{"items":[' + b",".join(page) + b'],"nextCursor":' + cursor + b"}")


def _cursor(call: Call) -> int:
    given = parsing.query_text(call.request, "cursor")
    if given is None:
        return 0
    if not (given.isascii() and given.isdigit() and len(given) <= _CURSOR_DIGITS_MAX):
        raise malformed("cursor: give the nextCursor of the page before.")
    return int(given)


async def _pieces(items: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    piece = bytearray()
    async for item in items:
        piece += rendering.encode(item) + b"\n"
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
