"""The public keys that JWTs are verified with: from a file, or from an address that is asked seldom."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from bide.errors import DefinitionError
from bide.security.files import Watched

if TYPE_CHECKING:
    from jwt import PyJWK

_log = logging.getLogger(__name__)

KeySet: TypeAlias = "Mapping[str, PyJWK]"

#: How long keys are used that came from an address.
_FRESH_S: Final = 600.0
#: How often the address is asked at most, whatever tokens name.
_ASK_EVERY_S: Final = 30.0
_TIMEOUT_S: Final = 5.0
_BYTES_MAX: Final = 256 * 1024
_KEYS_MAX: Final = 100
_KINDS: Final = frozenset({"RSA", "EC", "OKP"})
INSTALL: Final = 'JWT bearer tokens need PyJWT: pip install "bide[jwt]"'


class KeySource(Protocol):
    """Where keys come from."""

    async def keys(self, wanted: str) -> KeySet:
        """The keys by id; `wanted` is the one that a token names, which may be new."""
        ...


class FileKeys:
    """Keys of a file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            DefinitionError: it cannot be read, or holds no key.
        """
        self._watched = Watched(path, parse_jwks)

    async def keys(self, wanted: str) -> KeySet:
        """What the file says."""
        return self._watched.current()


class RemoteKeys:
    """Keys of an address: kept for ten minutes, asked for again when a token names an unknown one.

    What cannot be fetched changes nothing: the keys that are there stay good, and with none every
    token is refused.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Name the address; nothing is fetched before the first token.

        Raises:
            DefinitionError: it is neither https nor on this machine.
        """
        parts = urlsplit(url)
        local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise DefinitionError(
                f"BIDE_JWT_JWKS: {url!r} is not https; keys come over nothing else"
            )
        self._url = url
        self._clock = clock
        self._keys: KeySet = {}
        self._asked_at: float | None = None
        self._lock = asyncio.Lock()

    async def keys(self, wanted: str) -> KeySet:
        """The keys that are known, fetched now if it is time to."""
        if self._is_due(wanted):
            async with self._lock:
                if self._is_due(wanted):
                    await self._fetch()
        return self._keys

    def _is_due(self, wanted: str) -> bool:
        if self._asked_at is None:
            return True
        age = self._clock() - self._asked_at
        return age >= (_FRESH_S if wanted in self._keys else _ASK_EVERY_S)

    async def _fetch(self) -> None:
        import httpx

        self._asked_at = self._clock()
        try:
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client,
                client.stream("GET", self._url, headers={"accept": "application/json"}) as response,
            ):
                response.raise_for_status()
                data = b""
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > _BYTES_MAX:
                        raise DefinitionError(f"{self._url} gives over {_BYTES_MAX:,} bytes")
            self._keys = parse_jwks(data, self._url)
        except (httpx.HTTPError, DefinitionError) as error:
            _log.warning("cannot get the keys of JWTs: %s", error)


def parse_jwks(text: bytes, source: str) -> KeySet:
    """Read a JWK Set (RFC 7517): its public keys for signatures, by id; others are passed over.

    Raises:
        DefinitionError: it is none, or holds no such key.
    """
    try:
        import jwt
    except ModuleNotFoundError as error:
        raise DefinitionError(INSTALL) from error
    try:
        document = msgspec.json.decode(text)
        listed = cast("list[Mapping[str, Any]]", document["keys"])
        found: dict[str, PyJWK] = {}
        for entry in listed[:_KEYS_MAX]:
            if entry.get("kty") not in _KINDS or entry.get("use", "sig") != "sig" or "d" in entry:
                continue
            found[str(entry.get("kid", ""))] = jwt.PyJWK(dict(entry))
    except (msgspec.MsgspecError, LookupError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise DefinitionError(
            f"{source} is no set of keys (JWKS): {type(error).__name__}"
        ) from None
    if not found:
        raise DefinitionError(f"{source} holds no public key for signatures")
    return found
