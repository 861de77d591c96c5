"""A pooler before a PostgreSQL server, in transaction mode and as unkind as one may be.

Each transaction of a client runs in another of a few server sessions, in turn, so that whatever
leans on a session from one transaction to the next (a prepared statement, a setting, a lock, a
`listen`) fails at once and not now and then. It knows as much of the protocol as that takes: where
messages end, which of the client's are answered, and when the server is outside a transaction.
"""

import asyncio
import os
import socket
import struct
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psycopg

_SSL_REQUEST, _CANCEL_REQUEST = 80877103, 80877102
#: Messages of a client that the server answers by "ready": a query, and the end of a sequence.
_ANSWERED = {b"Q", b"S"}
#: What drivers are told of a server when they log in.
_TOLD = ("server_version", "client_encoding", "integer_datetimes", "standard_conforming_strings",
         "DateStyle", "TimeZone", "server_encoding")  # fmt: skip


class Session:
    """One server session: libpq has logged in, and its socket is ours from then on."""

    def __init__(self, url: str) -> None:
        self.login = psycopg.connect(url, autocommit=True)
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self) -> Self:
        taken = socket.socket(fileno=os.dup(self.login.pgconn.socket))
        self.reader, self.writer = await asyncio.open_connection(sock=taken)
        return self

    def parameters(self) -> bytes:
        """The messages by which a server tells of itself."""
        parts = b""
        for name in _TOLD:
            value = self.login.pgconn.parameter_status(name.encode()) or b""
            parts += _message(b"S", name.encode() + b"\0" + value + b"\0")
        return parts


class Pooler:
    """Listens on a loopback port, and shares its sessions among all who come."""

    def __init__(self, url: str, *, sessions: int = 3) -> None:
        self._parts = urlsplit(url)
        self.sessions = [Session(url) for _ in range(sessions)]
        self._free: asyncio.Queue[Session] = asyncio.Queue()
        self._clients: set[asyncio.Task[None]] = set()
        #: Transactions that ran in another session than their client's one before.
        self.moves = 0

    async def __aenter__(self) -> Self:
        for session in self.sessions:
            self._free.put_nowait(await session.open())
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        if self._clients:
            await asyncio.wait(self._clients)
        for session in self.sessions:
            session.login.close()
            session.writer.close()
            await session.writer.wait_closed()

    @property
    def url(self) -> str:
        """The database's address through the pooler."""
        port = self._listener.sockets[0].getsockname()[1]
        user = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{user}@127.0.0.1:{port}"))

    # --- one client ---------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if await self._log_in(reader, writer):
                await self._transactions(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # it left
        finally:
            writer.close()
            self._clients.discard(task)

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            length, code = struct.unpack("!ii", await reader.readexactly(8))
            await reader.readexactly(length - 8)
            if code == _CANCEL_REQUEST:
                return False
            if code != _SSL_REQUEST:
                break
            writer.write(b"N")
        ours = struct.pack("!ii", 1, 1)  # a process and a key of our own, as poolers have
        told = _message(b"R", struct.pack("!i", 0)) + self.sessions[0].parameters()
        writer.write(told + _message(b"K", ours) + _message(b"Z", b"I"))
        return True

    async def _transactions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        link: Link | None = None
        try:
            while True:
                kind, message = await _read(reader)
                if kind == b"X":
                    return
                if link is None or link.pump.done():
                    session = await self._free.get()
                    self.moves += link is not None and link.session is not session
                    link = Link(session, writer, self._free)
                link.send(kind, message)
        finally:
            if link is not None and not link.pump.done():  # it left in the middle
                link.send(b"S", _message(b"S", b""))
                link.send(b"Q", _message(b"Q", b"rollback\0"))
                await link.pump


class Link:
    """A client on a session, for one transaction."""

    def __init__(
        self, session: Session, writer: asyncio.StreamWriter, free: asyncio.Queue[Session]
    ) -> None:
        self.session = session
        self._writer = writer
        self._free = free
        self._unanswered = 0
        self.pump = asyncio.create_task(self._hand_back())

    def send(self, kind: bytes, message: bytes) -> None:
        self._unanswered += kind in _ANSWERED
        self.session.writer.write(message)

    async def _hand_back(self) -> None:
        """Hand on what the server says, until it is idle and owes nothing."""
        while True:
            kind, message = await _read(self.session.reader)
            self._writer.write(message)
            if kind == b"Z":
                self._unanswered -= 1
                if self._unanswered == 0 and message.endswith(b"I"):
                    self._free.put_nowait(self.session)
                    return


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
