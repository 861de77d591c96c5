"""What both clients share: where the server is, who asks, and what an exchange is over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from bide.authoring.retry import Retry
from bide.client.exchange import Answered, Exchange, Lost
from bide.errors import DefinitionError

_USER_AGENT: Final = "bide-client"
#: Nothing of these was sent: the server was not reached.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
RETRY: Final = Retry(8, first="100ms", longest="5s")


@dataclass(frozen=True, slots=True)
class Server:
    """A server and a caller's standing there."""

    url: str
    headers: Mapping[str, str]
    timeout_s: float

    @staticmethod
    def of(url: str, token: str | None, tenant: str | None, timeout_s: float) -> "Server":
        """Read what a user gave.

        Raises:
            DefinitionError: the address is none.
        """
        parsed = httpx.URL(url)
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise DefinitionError(f"{url!r} is no address of a server; write https://host[:port]")
        headers = {"user-agent": _USER_AGENT, "accept": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if tenant is not None:
            headers["x-tenant-id"] = tenant
        return Server(str(parsed).rstrip("/"), headers, timeout_s)

    def options(self) -> dict[str, Any]:
        """What httpx is opened with: no redirects, since a credential goes with every request."""
        return {"headers": dict(self.headers), "timeout": self.timeout_s, "follow_redirects": False}

    def request(self, exchange: Exchange) -> dict[str, Any]:
        """The arguments of httpx for one exchange."""
        return {
            "method": exchange.method,
            "url": self.url + exchange.path,
            "params": dict(exchange.params),
            "headers": dict(exchange.headers),
            "content": exchange.content,
            "timeout": self.timeout_s + exchange.patience_s,
        }

    def lost(self, error: httpx.TransportError) -> Lost:
        """What a failed exchange comes to; its message names no credential."""
        what = str(error) or type(error).__name__
        return Lost(f"{self.url} did not answer: {what}", sent=not isinstance(error, _NOT_SENT))


def answered(response: httpx.Response) -> Answered:
    """What an answered one comes to."""
    return Answered(response.status_code, response.headers, response.content)
