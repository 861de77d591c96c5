"""An execution's life: as it goes on, as server-sent events; and all of it as a replay document.

An event's id is the version of the execution that it tells of, so a client that was cut off asks
for what follows with `Last-Event-ID`, as browsers do by themselves. A stream ends after the
terminal fact, or after an hour. Each one holds a connection, so only so many are served at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Final, cast

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from bide.errors import StoreUnavailable
from bide.runtime.views import TimelineEntry
from bide.web import parsing, rendering
from bide.web.problems import malformed
from bide.web.routing import Call, Parameter

EVENT_STREAM: Final = "text/event-stream"
LAST_EVENT_ID: Final = Parameter(
    name="last-event-id",
    where="header",
    description="Only what follows this event; a browser that reconnects says it by itself.",
)
PAYLOADS: Final = Parameter(
    name="payloads",
    description="`true`: with what was submitted, asked and answered.",
    schema={"type": "boolean"},
)

#: How long a line stays silent before a comment says that it is alive.
_HEARTBEAT_S: Final = 10.0
_STREAM_MAX_S: Final = 3_600.0
_STREAMS_MAX: Final = 1_000
_RETRY_MS: Final = 1_000
_VERSION_DIGITS_MAX: Final = 9


async def replay(call: Call) -> Response:
    """Give the replay document, a piece at a time."""
    pieces = await call.service.replay(
        call.tenant, call.path("executionId"), payloads=_payloads(call)
    )
    return StreamingResponse(pieces, media_type=rendering.JSON, headers=rendering.COMMON_HEADERS)


async def events(call: Call) -> Response:
    """Follow an execution."""
    if call.following.count >= _STREAMS_MAX:
        raise StoreUnavailable(f"{_STREAMS_MAX:,} clients follow executions already")
    execution_id, after = call.path("executionId"), _last_event_id(call)
    view = await call.service.execution(call.tenant, execution_id)
    if view is not None and view.status.is_terminal and view.version <= after:
        # What tells a browser not to come again.
        return rendering.raw(b"", status=HTTPStatus.NO_CONTENT)
    entries = await call.service.follow(call.tenant, execution_id, after, pause_s=_HEARTBEAT_S)
    headers = {**rendering.COMMON_HEADERS, "x-accel-buffering": "no"}
    return _Stream(call, _lines(entries), media_type=EVENT_STREAM, headers=headers)


class _Stream(StreamingResponse):
    """A stream that is counted from its first byte until its client has gone."""

    def __init__(self, call: Call, lines: AsyncIterator[bytes], **options: Any) -> None:
        super().__init__(lines, **options)
        self._following = call.following

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._following.count += 1
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            pass
        finally:
            self._following.count -= 1


async def _lines(entries: AsyncIterator[list[TimelineEntry]]) -> AsyncGenerator[bytes]:
    ends_at = time.monotonic() + _STREAM_MAX_S
    yield f"retry: {_RETRY_MS}\n\n".encode()
    async with aclosing(cast("Any", entries)):
        async for page in entries:
            yield _written(page) if page else b": still here\n\n"
            if time.monotonic() > ends_at:
                return


def _written(entries: Sequence[TimelineEntry]) -> bytes:
    """Write events; JSON holds no line break, so that each is one line of data."""
    return "".join(
        f"id: {entry.version}\nevent: fact\n"
        f"data: {json.dumps(rendering.timeline_entry(entry), separators=(',', ':'))}\n\n"
        for entry in entries
    ).encode()


def _last_event_id(call: Call) -> int:
    given = call.headers.get(b"last-event-id", b"").decode("latin-1").strip()
    if not given:
        return 0
    if not (given.isascii() and given.isdigit() and len(given) <= _VERSION_DIGITS_MAX):
        raise malformed("Last-Event-ID: give the id of an event of this stream.")
    return int(given)


def _payloads(call: Call) -> bool:
    given = parsing.query_text(call.request, "payloads")
    if given not in {None, "true", "false"}:
        raise malformed("payloads: true or false.")
    return given == "true"
