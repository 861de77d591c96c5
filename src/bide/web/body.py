"""Reading a request's body: bounded, of the type that the route takes, with one meaning."""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from typing import Final

from starlette.requests import ClientDisconnect, Request

from bide.planning.json_limits import strict_loads
from bide.settings import Settings
from bide.web.guard import Headers
from bide.web.problems import CutOff, Refused, malformed
from bide.web.rendering import JSON

#: A client that is still sending cannot hear a refusal, so so much more is read and thrown away.
_DRAIN_FACTOR: Final = 4
_CHARSET: Final = re.compile(r'charset="?utf-?8"?', re.IGNORECASE)


async def read_json(request: Request, headers: Headers, settings: Settings) -> object:
    """Read a JSON value; see `bide.planning.json_limits` for what is taken."""
    data = await read_bytes(request, headers, settings)
    if not data.strip():
        raise malformed("The body is empty; a JSON value is needed.")
    return strict_loads(data)


async def read_optional_json(request: Request, headers: Headers, settings: Settings) -> object:
    """Read a JSON value, or None where no body was sent."""
    if b"content-type" not in headers and not await read_raw(request, headers, settings):
        return None
    return await read_json(request, headers, settings)


async def read_bytes(
    request: Request, headers: Headers, settings: Settings, media_type: str = JSON
) -> bytes:
    """Read the body, if it says that it is of the type that is taken and not too large."""
    given = headers.get(b"content-type", b"")
    if not _is_taken(given, media_type):
        raise Refused(
            "unsupported-media-type", f"Send the body as Content-Type: {media_type} in UTF-8."
        )
    if headers.get(b"content-encoding", b"identity").strip().lower() not in {b"identity", b""}:
        raise Refused("unsupported-media-type", "Send the body without a Content-Encoding.")
    return await read_raw(request, headers, settings)


@lru_cache(maxsize=64)
def _is_taken(content_type: bytes, media_type: str) -> bool:
    essence, *parameters = content_type.decode("latin-1").split(";")
    named = [one.strip() for one in parameters if one.strip().lower().startswith("charset")]
    return essence.strip().lower() == media_type and all(map(_CHARSET.fullmatch, named))


async def read_raw(request: Request, headers: Headers, settings: Settings) -> bytes:
    """Read the body's bytes: not more, and not for longer, than the settings allow."""
    limit, timeout_ms = settings.http_max_body_bytes, settings.http_receive_timeout_ms
    try:
        async with asyncio.timeout(timeout_ms / 1_000):
            return await _read_within(request, headers, limit)
    except TimeoutError:
        detail = f"http_receive_timeout_ms allows {timeout_ms:,} ms for sending a body."
        raise CutOff("slow-body", detail) from None


async def _read_within(request: Request, headers: Headers, limit: int) -> bytes:
    announced = headers.get(b"content-length", b"0")
    length = int(announced) if announced.isdigit() and len(announced) <= 18 else 0
    if len(announced) > 18 or length > _DRAIN_FACTOR * limit:
        raise CutOff("too-large", _too_large(limit))
    too_large = length > limit
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        too_large = too_large or size > limit
        if not too_large:
            chunks.append(chunk)
        if size > _DRAIN_FACTOR * limit:
            raise CutOff("too-large", _too_large(limit))
        if not message.get("more_body", False):
            break
    if too_large:
        raise Refused("too-large", _too_large(limit))
    return b"".join(chunks)


def _too_large(limit: int) -> str:
    return f"http_max_body_bytes allows {limit:,} bytes of a request body."
