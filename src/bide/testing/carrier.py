"""What an app sends in a simulation stays in memory, for the test to look at."""

from collections.abc import Callable, Sequence
from hashlib import sha256

from bide.authoring.publications import Destination
from bide.authoring.retry import Retry
from bide.authoring.transports import Transport as Via
from bide.model.ids import ExecutionId
from bide.spi.handoff import Answer, Offer, Taken
from bide.spi.transport import Delivered, Delivery, Outgoing, Problem, Route

#: Says what comes of sending a request; it is called once for every try.
Partner = Callable[[Outgoing], Delivery]

_RETRY = Retry(8, first="2s", longest="10m")


def takes_all(_: Outgoing) -> Delivery:
    """A partner that gets whatever is sent to it."""
    return Delivered()


class Carrier:
    """A `Transport` that hands every request to a partner in the test, whatever its `via=` is."""

    def __init__(self, partner: Partner) -> None:
        self._partner = partner
        #: Every try to send a request, in their order; repeats have one `interaction_id`.
        self.sent: list[Outgoing] = []

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to disconnect from."""

    def route(self, via: Via) -> Route:
        """One endpoint an await's `via`, with the tries and the bound that its author gave it."""
        retry: Retry = getattr(via, "retry", _RETRY)
        return Route(repr(via), retry, 1, getattr(via, "max_in_flight", None))

    async def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
        """Ask the partner, one request after another."""
        self.sent += batch
        return [self._partner(each) for each in batch]

    async def problems(self) -> list[Problem]:
        """Nothing can be wrong with it."""
        return []


#: Says what another deployment answers to an offer; it is called once for every try.
Taker = Callable[[Offer], Answer]


def admits_all(offer: Offer) -> Taken:
    """Another deployment that takes whatever is offered to it, as one execution for each key."""
    made = sha256(f"{offer.tenant}/{offer.publication}/{offer.key}".encode()).digest()
    return Taken(ExecutionId(made[:16]), duplicate=offer.attempt > 1)


class Handing:
    """A `Carrier` that hands every publication to a taker in the test, whatever its `to=` is."""

    timeout_ms = 1

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        #: Every try to hand one over, in their order; repeats have one `handoff_id`.
        self.offered: list[Offer] = []

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to disconnect from."""

    def endpoint(self, to: Destination) -> str:
        """One endpoint each."""
        return repr(to)

    async def offer(self, batch: Sequence[Offer]) -> list[Answer]:
        """Ask the taker, one publication after another."""
        self.offered += batch
        return [self._taker(each) for each in batch]

    async def problems(self) -> list[Problem]:
        """Nothing can be wrong with it."""
        return []
