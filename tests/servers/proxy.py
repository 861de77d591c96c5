"""A TCP proxy before a PostgreSQL server that cuts connections at the worst moment.

It knows two things of the protocol: how a client says `commit`, and how the server says that it
has. Between the two lies the moment after which nobody on the client's side knows the outcome.
"""

import asyncio
import random
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

#: The server's `CommandComplete` of a commit: its letter, its length, its words.
_COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
#: The client's `Query` that asks for it.
_COMMIT = b"Q\x00\x00\x00\x0bcommit\x00"
_CHUNK = 65_536


class Cut(Enum):
    """Where a connection is cut."""

    #: The server has committed, and nobody hears of it.
    REPLY = "reply"
    #: The server has committed, and half of its answer arrives.
    HALF_REPLY = "half of the reply"
    #: The commit has not reached the server.
    REQUEST = "request"


class Proxy:
    """Listens on a loopback port and hands on to a server until it is told to cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._parts = parts
        self._listener: asyncio.Server | None = None
        self._choose: Callable[[], Cut | None] = lambda: None
        self._open: set[asyncio.StreamWriter] = set()
        self.cuts = dict.fromkeys(Cut, 0)
        self._holds_next = False
        self._released = asyncio.Event()
        #: Set while a commit is held back, with all the locks of its transaction.
        self.is_holding = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for writer in self._open:
            writer.transport.abort()

    @property
    def url(self) -> str:
        """The database's address through the proxy."""
        assert self._listener is not None
        port = self._listener.sockets[0].getsockname()[1]
        user = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{user}@127.0.0.1:{port}"))

    def cut_every(self, place: Cut) -> None:
        """Cut all commits from now on."""
        self._choose = lambda: place

    def cut_at_random(self, share: float, dice: random.Random) -> None:
        """Cut that share of all commits from now on, at each of the places in turn."""

        def choose() -> Cut | None:
            return dice.choice(list(Cut)) if dice.random() < share else None

        self._choose = choose

    def cut_nothing(self) -> None:
        """Hand everything on again."""
        self._choose = lambda: None

    def hold_next_commit(self) -> None:
        """Keep the next commit from reaching the server until `release`."""
        self._holds_next = True

    def release(self) -> None:
        """Let what was held go on."""
        self._released.set()

    def refuse(self) -> None:
        """Let nobody in any more."""
        assert self._listener is not None
        self._listener.close()

    # --- one connection -----------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._server)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, back}
        self._open |= both
        next_cut: list[Cut | None] = [None]
        try:
            await asyncio.gather(
                self._hand_on(reader, back, next_cut, self._asked),
                self._hand_on(there, writer, next_cut, self._told),
            )
        except OSError:
            pass
        finally:
            self._open -= both
            for each in both:
                each.transport.abort()  # a reset, as a cable or a firewall gives none to hope for

    async def _hand_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        next_cut: list[Cut | None],
        passes: Callable[[bytes, list[Cut | None]], bytes | None],
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self._holds_next and _COMMIT in data:
                self._holds_next = False
                self.is_holding.set()
                await self._released.wait()
            passed = passes(data, next_cut)
            writer.write(data if passed is None else passed)
            await writer.drain()
            if passed is not None:
                raise ConnectionResetError
        raise ConnectionResetError  # one side left: so does the other

    def _asked(self, data: bytes, next_cut: list[Cut | None]) -> bytes | None:
        """What of a client's bytes still passes before the cut; None: all of it, and no cut."""
        if _COMMIT not in data:
            return None
        next_cut[0] = self._choose()
        if next_cut[0] is not Cut.REQUEST:
            return None
        self.cuts[Cut.REQUEST] += 1
        return data[: data.index(_COMMIT)]

    def _told(self, data: bytes, next_cut: list[Cut | None]) -> bytes | None:
        """What of the server's bytes still passes before the cut."""
        cut = next_cut[0]
        if cut is None or _COMMITTED not in data:
            return None
        self.cuts[cut] += 1
        end = data.index(_COMMITTED) + (len(_COMMITTED) // 2 if cut is Cut.HALF_REPLY else 0)
        return data[:end]
