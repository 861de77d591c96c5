"""A partner in the same process, behind the transport contract: it answers as a test has written."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence

from bide import Retry, Webhook
from bide.authoring.transports import Transport as Via
from bide.spi.transport import Delivered, Delivery, Outgoing, Problem, Route

Reply = Callable[[Outgoing], Delivery | Awaitable[Delivery]]


def accepts(_: Outgoing) -> Delivery:
    """Take everything."""
    return Delivered()


class Partner:
    """A transport for webhooks that never leaves the process."""

    def __init__(self, reply: Reply = accepts) -> None:
        self.reply = reply
        #: Every request that came, in order, repeats included.
        self.received: list[Outgoing] = []
        self.batches: list[int] = []
        self.found: list[Problem] = []
        self.is_open = False
        #: How many are being taken in now, and the most at once.
        self.under_way = self.most = 0

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    def route(self, via: Via) -> Route:
        assert isinstance(via, Webhook)
        origin = "/".join(via.url.split("/")[:3])
        return Route(origin, via.retry, 5_000, via.max_in_flight)

    async def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
        assert self.is_open
        self.batches.append(len(batch))
        return await asyncio.gather(*(self._take(each) for each in batch))

    async def _take(self, outgoing: Outgoing) -> Delivery:
        self.received.append(outgoing)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            reply = self.reply(outgoing)
            return await reply if inspect.isawaitable(reply) else reply
        finally:
            self.under_way -= 1

    async def problems(self) -> list[Problem]:
        return self.found

    def ids(self) -> list[str]:
        """The interactions of what came, in order."""
        return [each.interaction_id for each in self.received]


def webhook(
    path: str = "/asks",
    *,
    attempts: int = 8,
    max_in_flight: int | None = None,
    trusted: bool = True,
) -> Webhook:
    """A webhook whose tries follow each other quickly; trusted, its requests carry no token."""
    return Webhook(
        f"https://partner.test{path}",
        retry=Retry(attempts, first="1ms", longest="5ms"),
        max_in_flight=max_in_flight,
        trusted_network=trusted,
    )
