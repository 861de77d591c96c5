"""A partner's HTTP server, and the internet between it and the transport, for tests.

The server is a real one on a loopback port. The internet is a hook on the socket: it sees every
connection that this process makes, leads those to known addresses to a server on this machine, and
lets no other one leave. So a test can say where connections went, and none goes anywhere.
"""

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Request(NamedTuple):
    """One request as it came in."""

    target: str
    headers: dict[str, str]
    body: bytes
    #: The name that TLS asked for; None without TLS.
    server_name: str | None


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


#: Gives the bytes to answer with; empty ones hang up.
Answering = Callable[[Request], bytes | Awaitable[bytes]]


@dataclass
class Partner:
    """An HTTP/1.1 server that keeps what it was asked and answers as it is told."""

    answering: Answering = lambda _: answer(200)
    #: Close the connection after each answer, without having said so.
    hangs_up: bool = False
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    #: Connections that have ended.
    ended: int = 0
    port: int = 0
    server_names: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/checks"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._answered(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended += 1
            await closed(writer)

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        name = self.server_names[-1] if self.server_names else None
        request = Request(head[0].split()[1], headers, body, name)
        self.requests.append(request)
        given = self.answering(request)
        data = given if isinstance(given, bytes) else await given
        writer.write(data)
        await writer.drain()
        return bool(data) and not self.hangs_up


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection for good, whatever state it is in."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def listening(
    partner: Partner, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Partner]:
    """Serve a partner on a free port for the body of the `with`."""
    handlers: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        with suppress(asyncio.CancelledError):  # Python 3.11 logs a handler that was cancelled
            await partner.serve(reader, writer)

    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: partner.server_names.append(name)
    # Who hangs up does not always say so in TLS; a server here does not wait for that.
    patience = None if tls is None else 0.1
    server = await asyncio.start_server(serve, host, 0, ssl=tls, ssl_shutdown_timeout=patience)
    partner.port = server.sockets[0].getsockname()[1]
    try:
        yield partner
    finally:
        server.close()
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


class Internet:
    """Where connections went, and where the known addresses lead."""

    def __init__(self) -> None:
        #: From (address, port) to a port of this machine.
        self.routes: dict[tuple[str, int], int] = {}
        #: Every connection that was begun, in order.
        self.connected: list[tuple[str, int]] = []

    @contextmanager
    def watching(self) -> Iterator["Internet"]:
        """Stand between every socket of the process and the network."""
        connect = socket.socket.connect

        def hooked(this: socket.socket, address: Any) -> None:
            if this.family not in {socket.AF_INET, socket.AF_INET6}:
                return connect(this, address)
            place = (str(address[0]), int(address[1]))
            self.connected.append(place)
            if place not in self.routes:
                raise ConnectionRefusedError(f"nobody is at {place}")
            return connect(this, ("127.0.0.1", self.routes[place]))

        socket.socket.connect = hooked  # type: ignore[method-assign]  # that is what a hook is
        try:
            yield self
        finally:
            socket.socket.connect = connect  # type: ignore[method-assign]  # as it was before


def certified(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """Make an authority's file and a server's context with a certificate for these names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bide's tests")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    authority, private = folder / "authority.pem", folder / "key.pem"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    return authority, context
