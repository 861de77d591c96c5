"""Who may come in: the local door without authentication, the credential with it.

Without `identify` nobody is known, so only this machine is served: the connection comes from it,
`Host` names it (a page whose name was rebound to 127.0.0.1 still sends its own name), and a browser
that says where the request comes from says that it comes from here. With `identify`, tenant, actor
and rights come from the principal and from nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias

from starlette.requests import Request

from bide.authoring.principal import Principal
from bide.errors import BideError
from bide.security.access import DEFAULT_TENANT, Caller
from bide.security.authentication import Authentication
from bide.web.problems import Refused, malformed

Identify: TypeAlias = Callable[..., Awaitable[Principal | None]]
Role: TypeAlias = Literal["submit", "decide", "operate", "administer"]
Headers: TypeAlias = Mapping[bytes, bytes]

HEADERS_MAX: Final = 100

#: A tenant as a client may name it: something that can be shown, stored and written into a log.
_TENANT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:@-]{0,126}[A-Za-z0-9])?")
#: Given twice, these would mean one thing to us and another to whoever stands in front of us.
_ONCE: Final = (
    b"host",
    b"origin",
    b"x-tenant-id",
    b"content-type",
    b"content-encoding",
    b"content-length",
    b"idempotency-key",
)


def holds(caller: Caller, role: Role) -> bool:
    """Whether a caller has a role; without authentication whoever came in has them all."""
    if caller.principal is None:
        return not caller.is_stranger
    return role in caller.principal.roles


def require(caller: Caller, role: Role) -> None:
    """Refuse a caller that lacks a role."""
    if not holds(caller, role):
        raise Refused("not-allowed", f"This takes the role {role!r}, which the caller lacks.")


def bearer(authentication: Authentication) -> Identify:
    """Know callers by the credentials that the settings say are taken."""

    async def identify(request: Request) -> Principal | None:
        given = request.headers.getlist("authorization")
        # Twice would mean one thing to us and another to whoever stands in front of us.
        return await authentication.identify(given[0]) if len(given) == 1 else None

    return identify


def headers_of(request: Request) -> Headers:
    """Give the headers by lower-case name, refusing too many and those that may not be repeated."""
    pairs: list[tuple[bytes, bytes]] = request.scope["headers"]
    if len(pairs) > HEADERS_MAX:
        raise Refused("too-many-headers", f"At most {HEADERS_MAX} headers are taken.")
    headers = dict(pairs)
    if len(headers) != len(pairs):
        names = [name for name, _ in pairs]
        for name in _ONCE:
            if names.count(name) > 1:
                raise malformed(f"The header {name.decode()} stands more than once.")
    return headers


async def admit(
    request: Request, headers: Headers, identify: Identify | None, *, by_token: bool = False
) -> Caller:
    """Let a request in, or refuse it.

    With `by_token` one without a credential comes in as a stranger: it can do what a token in its
    body allows, and nothing else.

    Raises:
        Refused: it may not come in, or names a tenant that is not its own.
    """
    named = _named_tenant(headers)
    if identify is None:
        refuse_strangers(request, headers)
        return Caller(named or DEFAULT_TENANT, binds_tenant=named is not None)
    principal = await _principal(request, identify)
    if principal is None and by_token:
        bound = named is not None
        return Caller(named or DEFAULT_TENANT, binds_tenant=bound, is_stranger=True)
    if principal is None:
        raise Refused("unauthenticated", "The request carries no credential that is known here.")
    if named is not None and named != principal.tenant:
        raise Refused("tenant-mismatch", "x-tenant-id names a tenant that is not the caller's.")
    return Caller(principal.tenant, principal)


async def _principal(request: Request, identify: Identify) -> Principal | None:
    """Ask the app who this is; no answer, or one of the usual errors, means nobody."""
    try:
        return await identify(request)
    except BideError:
        raise  # a mistake in the function or a store that is away is no missing credential
    except (LookupError, ValueError, PermissionError):
        return None


def _named_tenant(headers: Headers) -> str | None:
    given = headers.get(b"x-tenant-id", b"").decode("latin-1").strip()
    if not given:
        return None
    if not _TENANT.fullmatch(given):
        raise malformed(
            "x-tenant-id: a tenant has 1 to 128 characters, letters, digits and . _ : @ - between."
        )
    return given


def refuse_strangers(request: Request, headers: Headers) -> None:
    """Serve this machine only, and no page of another site through it."""
    refuse_other_machines(request, headers)
    host = headers.get(b"host", b"").decode("latin-1").lower()
    origin = headers.get(b"origin")
    if origin is not None and not _is_same_origin(origin.decode("latin-1").lower(), host):
        raise Refused("foreign-origin", _CLOSED.format("the header Origin names another site"))
    if headers.get(b"sec-fetch-site", b"").strip().lower() == b"cross-site":
        raise Refused("foreign-origin", _CLOSED.format("the browser says that it is cross-site"))


def insist_on_own_page(headers: Headers) -> None:
    """Refuse a form that a browser sends from any page but our own.

    A page that sends no referrer sends the origin `null`; then the browser's own word must say that
    it is ours. A program names no site at all, and has the address itself.
    """
    site = headers.get(b"sec-fetch-site", b"").strip().lower()
    origin = headers.get(b"origin")
    host = headers.get(b"host", b"").decode("latin-1").lower()
    is_ours = site == b"same-origin" or (site == b"" and origin is None)
    if origin is not None and origin != b"null":
        same = _is_same_origin(origin.decode("latin-1").lower(), host)
        is_ours = same and site in {b"same-origin", b""}
    if not is_ours:
        raise Refused("foreign-origin", "Decide on the page of the link itself.")


def refuse_other_machines(request: Request, headers: Headers) -> None:
    """Serve this machine only: the door of an app without authentication."""
    client = request.scope.get("client")
    if client is not None and not _is_local_address(str(client[0])):
        raise Refused("foreign-host", _CLOSED.format("the connection comes from another machine"))
    host = headers.get(b"host", b"").decode("latin-1").lower()
    if not names_this_machine(host):
        raise Refused("foreign-host", _CLOSED.format("the header Host names another machine"))


_CLOSED: Final = "Without authentication only this machine is served, and {}."


def _is_same_origin(origin: str, host: str) -> bool:
    scheme, _, authority = origin.partition("://")
    return scheme in {"http", "https"} and authority == host


@lru_cache(maxsize=256)
def names_this_machine(authority: str) -> bool:
    """Whether a `Host` (name or address, with or without a port) means the machine itself."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    address, name = match.groups()
    if name is not None and (name == "localhost" or name.endswith(".localhost")):
        return True
    return _is_loopback(str(address or name))


_AUTHORITY: Final = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,253}))(?::[0-9]{1,5})?")


@lru_cache(maxsize=256)
def _is_local_address(client: str) -> bool:
    """Whether a peer is this machine; a peer without an address came through a socket file."""
    try:
        ip_address(client)
    except ValueError:
        return True
    return _is_loopback(client)


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
