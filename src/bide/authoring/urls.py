"""One strict reading of the addresses that webhooks go to and come back to.

Two programs that read one URL differently are how a guard is walked around: one checks a host, the
other connects to another. So there is one grammar here, much narrower than RFC 3986; what it reads
has one meaning, and whoever connects uses the parts that it gives and never the text again.

A host is a name in ASCII (`xn--...` for others), an IPv4 address as four plain decimal numbers, or
an IPv6 address in brackets without a zone. Every other spelling of an address (one number, octal,
hex, fewer parts, a trailing dot, other scripts' digits, percent signs) is refused and not
translated, as are credentials, fragments, backslashes and control characters.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

from bide.errors import DefinitionError

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<target>(?:[/?](?:(?![\\#])[!-~])*)?)"
)
_LABEL: Final = re.compile(r"[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?")
#: A last label like these makes many resolvers read the whole name as an address.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_CREDENTIALS: Final = re.compile(r"//[^/?#]*@")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PORT_MAX: Final = 65_535
_HOST_CHARACTERS_MAX: Final = 253
#: Beyond this, servers begin to refuse the request line.
URL_CHARACTERS_MAX: Final = 4_096


class Url(NamedTuple):
    """An address in its parts, each in its one plain form."""

    #: `http` or `https`.
    scheme: str
    #: A name in lower case, or an address; IPv6 without its brackets.
    host: str
    port: int
    #: Path and query as written, from `/` on.
    target: str

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address that stands in the place of a name; None for a name."""
        return _address(self.host)

    @property
    def authority(self) -> str:
        """Host and port as the `Host` header carries them: without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a connection is made to; for messages as well."""
        return f"{self.scheme}://{self.authority}"


def parse_url(what: str, text: object) -> Url:
    """Read an absolute http or https address; `what` opens the message.

    Raises:
        DefinitionError: it has another form. The message never repeats credentials.
    """
    if not isinstance(text, str):
        raise DefinitionError(f"{what} is of type {type(text).__name__}; write a URL.")
    match = _URL.fullmatch(text)
    if match is None or len(text) > URL_CHARACTERS_MAX:
        raise DefinitionError(
            f"{what} is {_shown(text)}; write an absolute http:// or https:// address in plain "
            f"ASCII, without credentials and fragment, of at most {URL_CHARACTERS_MAX:,} characters."
        )
    scheme, host, target = match["scheme"], match["host"].lower(), match["target"]
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    if port > _PORT_MAX:
        raise DefinitionError(f"{what} names port {port}; ports go up to {_PORT_MAX}.")
    return Url(scheme, _plain(what, host), port, target if target[:1] == "/" else f"/{target}")


def is_name(host: str) -> bool:
    """True for a host name in lower case that no resolver takes for an address."""
    labels = host.split(".")
    return (
        len(host) <= _HOST_CHARACTERS_MAX
        and all(_LABEL.fullmatch(label) for label in labels)
        and not _NUMBER.fullmatch(labels[-1])
    )


def _plain(what: str, host: str) -> str:
    address = _address(host.strip("[]"))
    if address is not None and (host[0] == "[") == (address.version == 6):
        return str(address)
    if is_name(host):
        return host
    raise DefinitionError(
        f"{what} names the host {host!r}, which is neither a name nor an address in its plain "
        "form, such as partner.example, 192.0.2.7 or [2001:db8::7]."
    )


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        return None


def _shown(text: str) -> str:
    """A URL for a message: without credentials, and cut where it is long."""
    plain = _CREDENTIALS.sub("//...@", text, count=1)
    return repr(plain if len(plain) <= 100 else f"{plain[:100]}...")
