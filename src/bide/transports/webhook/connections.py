"""The connections that webhooks go out over: kept by origin, guarded, or through a proxy.

httpcore opens and drives each connection; which one a request takes is decided here. A process
sends only so much to one endpoint at once, so a stack of idle ones per origin is all that a pool
has to be, and taking one costs the same however many there are. (httpcore's own pool looks at each
connection for each other one.)
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import httpcore

from bide.authoring.urls import Url, parse_url
from bide.errors import DefinitionError
from bide.settings import Settings
from bide.transports.webhook.guard import Egress, GuardedNetwork, Resolve

#: An idle connection is kept so long: a partner whose name has moved is then followed.
_IDLE_S: Final = 15.0
_OWN_HEADERS: Final = (
    ("content-type", "application/json"),
    ("accept", "*/*"),
    ("accept-encoding", "identity"),
    ("user-agent", "Bide"),
)


class Connections:
    """The connections of one process, by origin."""

    def __init__(self, settings: Settings, egress: Egress, resolve: Resolve) -> None:
        self._settings = settings
        self._egress = egress
        self._resolve = resolve
        self._origins: dict[str, _Origin] = {}
        self._makers: dict[str, httpcore.AsyncConnectionPool] = {}
        self._tidying: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Make what connections are made with; connects to nobody.

        Raises:
            DefinitionError: the proxy or the file of authorities cannot be used.
        """
        tls = _tls(self._settings.webhook_ca_file)
        self._makers = {scheme: self._maker(scheme, tls) for scheme in ("https", "http")}
        self._tidying = asyncio.create_task(self._tidy(), name="bide-webhook-connections")

    async def close(self) -> None:
        """Close every connection; safe to call twice and before `open`."""
        tidying, self._tidying = self._tidying, None
        if tidying is not None:
            tidying.cancel()
            with suppress(asyncio.CancelledError):
                await tidying
        origins, self._origins = self._origins, {}
        for origin in origins.values():
            await origin.close_idle()

    @asynccontextmanager
    async def post(
        self, url: Url, headers: list[tuple[str, str]], body: bytes
    ) -> AsyncGenerator[httpcore.Response]:
        """Post one request, once a connection is free; in the block its answer may be read.

        Raises:
            AddressRefused: the guard does not let it go there.
            httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError: as they say.
        """
        scheme, host, target = (part.encode("ascii") for part in (url.scheme, url.host, url.target))
        connect_s = self._settings.webhook_connect_timeout_ms / 1_000
        if url.origin not in self._origins:
            make = partial(
                self._makers[url.scheme].create_connection,
                httpcore.Origin(scheme, host, url.port),
            )
            self._origins[url.origin] = _Origin(make, self._settings.dispatch_rows)
        async with (
            self._origins[url.origin].connection() as connection,
            connection.stream(
                "POST",
                httpcore.URL(scheme=scheme, host=host, port=url.port, target=target),
                headers=[("host", url.authority), *_OWN_HEADERS, *headers],
                content=body,
                extensions={"timeout": {"connect": connect_s}},
            ) as response,
        ):
            yield response

    async def _tidy(self) -> None:
        """Close what nobody used for a while; a partner that is no longer asked keeps none."""
        while True:
            await asyncio.sleep(_IDLE_S)
            for origin in list(self._origins.values()):
                await origin.close_idle(only_expired=True)

    def _maker(self, scheme: str, tls: ssl.SSLContext) -> httpcore.AsyncConnectionPool:
        """What makes the connections of one scheme, since the guard tells the two apart."""
        if self._settings.webhook_proxy is not None:
            return _proxied(self._settings.webhook_proxy.get_secret_value(), tls)
        network = GuardedNetwork(self._egress, scheme, self._resolve)
        return httpcore.AsyncConnectionPool(
            ssl_context=tls, keepalive_expiry=_IDLE_S, network_backend=network
        )


class _Origin:
    """The connections to one origin, the last used first."""

    def __init__(self, make: Callable[[], httpcore.AsyncConnectionInterface], size: int) -> None:
        self._make = make
        self._slots = asyncio.Semaphore(size)
        self._idle: list[httpcore.AsyncConnectionInterface] = []

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[httpcore.AsyncConnectionInterface]:
        """A connection that nobody else uses for the body of the `with`."""
        async with self._slots:
            connection = await self._take()
            try:
                yield connection
            finally:
                if connection.is_idle() and not connection.is_closed():
                    self._idle.append(connection)
                else:
                    await connection.aclose()

    async def close_idle(self, *, only_expired: bool = False) -> None:
        """Close idle connections: all, or those that were not used for a while."""
        idle, self._idle = self._idle, []
        for connection in idle:
            if only_expired and not connection.has_expired():
                self._idle.append(connection)
            else:
                await connection.aclose()

    async def _take(self) -> httpcore.AsyncConnectionInterface:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_available() and not connection.has_expired():
                return connection
            await connection.aclose()  # its partner has hung up, or it was idle for too long
        return self._make()


def _proxied(address: str, tls: ssl.SSLContext) -> httpcore.AsyncHTTPProxy:
    """Tunnels through a proxy, which the operator trusts and the guard does not see."""
    parts = urlsplit(address)
    try:
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        proxy = parse_url("BIDE_WEBHOOK_PROXY", bare.geturl())
    except DefinitionError:
        # The text may hold credentials in a form that was not recognised.
        raise DefinitionError(
            "BIDE_WEBHOOK_PROXY is none; write http://host:port, with user:password@ if needed"
        ) from None
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return httpcore.AsyncHTTPProxy(
        proxy_url=httpcore.URL(
            scheme=proxy.scheme.encode(), host=proxy.host.encode(), port=proxy.port, target=b"/"
        ),
        proxy_auth=auth,
        ssl_context=tls,
        proxy_ssl_context=tls if proxy.scheme == "https" else None,
        keepalive_expiry=_IDLE_S,
    )


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return httpcore.default_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise DefinitionError(f"BIDE_WEBHOOK_CA_FILE {ca_file} cannot be used: {error}") from None
