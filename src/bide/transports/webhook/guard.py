"""Where webhooks may go: decided on values, and enforced where a connection is made.

A request forged on the server's side needs the server to connect somewhere that its caller cannot
reach. So the rule is about connections. `Egress` decides, on a URL and on an address, and does
nothing; `GuardedNetwork` is the only way out: for each new connection it resolves the name itself,
refuses unless every address that the name has may be connected to, and connects to an address that
it has just checked, by number, so that no second look-up can give another one. The name stays what
TLS verifies and what the `Host` header says. Connections are pooled by origin: a reused one leads
to the address that was checked when it was made.

Not relied on: redirects (there is no code that follows one), the process's proxy variables (nothing
reads them).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, cast

import httpcore

from bide.authoring.urls import Url
from bide.transports.webhook.addresses import (
    Address,
    Network,
    is_global,
    is_loopback,
    is_within,
)

#: From a host name to its addresses, as text and in the order to try them; raises OSError.
Resolve = Callable[[str, int], Awaitable[list[str]]]

#: Of a name's addresses, so many are tried; all of them are checked.
_ADDRESSES_TRIED_MAX: Final = 4
#: Below this only the web's own ports are spoken to: what else listens there is not HTTP.
_FREE_PORTS_FROM: Final = 1_024
_WEB_PORTS: Final = frozenset({80, 443})


class AddressRefused(Exception):
    """The guard does not let a request go there; the message says why, and what to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """Where webhooks may go: pure, so that every spelling can be tried on it."""

    #: If not empty, the only hosts; `*.example.com` stands for all names below that one.
    hosts: tuple[str, ...] = ()
    #: The operator's own networks, to which they want to send, also without TLS.
    networks: tuple[Network, ...] = ()
    #: This machine, also without TLS: for development.
    allow_loopback: bool = False
    #: Connections go through a proxy, which then resolves names and judges their addresses.
    proxied: bool = False

    def why_not(self, url: Url) -> str | None:
        """Say why nothing may be sent to a URL, as far as that shows before its name is resolved.

        None does not promise that its addresses will do.
        """
        if self.hosts and not any(_matches(url.host, pattern) for pattern in self.hosts):
            return f"{url.host} is not among the hosts of BIDE_WEBHOOK_HOSTS"
        if url.port < _FREE_PORTS_FROM and url.port not in _WEB_PORTS:
            return f"port {url.port} is none of the web's: 80, 443, or {_FREE_PORTS_FROM} and more"
        if url.address is not None:
            return self.why_not_address(url.address, url.scheme)
        if url.host == "localhost" or url.host.endswith(".localhost"):
            return None if self._opens_loopback else _LOOPBACK.format(url.host)
        if url.scheme == "http" and (self.proxied or not (self.networks or self.allow_loopback)):
            return _PLAIN.format(url.host)
        return None

    def why_not_address(self, address: Address, scheme: str) -> str | None:
        """Say why no connection may be made to an address; None where it may."""
        if is_loopback(address):
            return None if self._opens_loopback else _LOOPBACK.format(address)
        if is_within(address, self.networks):
            return None
        if not is_global(address):
            return (
                f"{address} is not on the public internet; BIDE_WEBHOOK_NETWORKS names networks "
                "of your own to send to"
            )
        return _PLAIN.format(address) if scheme == "http" else None

    @property
    def _opens_loopback(self) -> bool:
        """A proxy's loopback is another machine's: the switch says nothing about it."""
        return self.allow_loopback and not self.proxied


_LOOPBACK: Final = "{} is this machine; BIDE_WEBHOOK_ALLOW_LOOPBACK=true allows it, in development"
_PLAIN: Final = "{} would be sent to without TLS; write https://"


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Opens the connections of one pool, each to an address that was checked for that connection.

    Args:
        egress: the rule.
        scheme: what the pool speaks.
        resolve: from names to addresses.
        network: what opens a connection to an address.
    """

    def __init__(
        self,
        egress: Egress,
        scheme: str,
        resolve: Resolve,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._egress = egress
        self._scheme = scheme
        self._resolve = resolve
        self._network = network or _plain_network()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers, within `timeout` seconds in all.

        Raises:
            AddressRefused: one of the name's addresses may not be connected to.
            httpcore.ConnectError, httpcore.ConnectTimeout: no address, or none that answers.
        """
        clock = asyncio.get_running_loop().time
        until = None if timeout is None else clock() + timeout
        addresses = await self._checked(host, port, timeout)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for left in range(len(addresses), 0, -1):
            address = addresses[-left]
            # One address that swallows packets must not use up the time of the others.
            share = None if until is None else max(0.0, until - clock()) / left
            try:
                return await self._network.connect_tcp(
                    str(address), port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _checked(self, host: str, port: int, timeout: float | None) -> list[Address]:
        """The addresses of a host, all of which may be connected to."""
        try:
            async with asyncio.timeout(timeout):
                found = await self._resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from None
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        addresses = [ipaddress.ip_address(each) for each in dict.fromkeys(found)]
        for address in addresses:
            why = self._egress.why_not_address(address, self._scheme)
            if why is not None:
                raise AddressRefused(why if host == str(address) else f"{host}: {why}")
        return addresses[:_ADDRESSES_TRIED_MAX]


def _plain_network() -> httpcore.AsyncNetworkBackend:
    # httpcore stands an empty class in for it where anyio is not installed; here it always is.
    return cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Ask the system's resolver, on one of the loop's threads."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families = {socket.AF_INET, socket.AF_INET6}
    return [str(where[0]) for family, _, _, _, where in found if family in families]


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern
