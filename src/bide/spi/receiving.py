"""The receiving half of the transport contract: how answers come in that nobody waits beside.

Over HTTP a sender waits for the receipt of its completion. A broker's records have no such sender:
whoever takes them in has to say himself that they are done with. A transport that takes answers in
is a `Receiver`. It reads records, hands them to the `Door` in the order in which they came, and
tells its broker that a record is done with only once the door has answered for it.

Duties of every receiver
------------------------
R1  A record is done with when it has its verdict, and not before: then either its completion is
    durable, or the letter that tells why it was refused. A publication is done with when whoever
    offers it has been told the verdict as well: that side keeps what is refused, so no letter is
    kept here.
R2  A record without a verdict is handed in again; until then nothing behind it is reported done.
R3  A record that cannot be read is handed in all the same, and never stops those behind it.
R4  What may come again (after a crash, or because somebody else takes over) has the same `id`.
R5  Neither a record's body nor its token appears in a log, in a message or in what is raised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from bide.authoring.transports import Transport as Via
from bide.model.ids import ExecutionId
from bide.spi.handoff import Taken
from bide.spi.transport import Problem


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""Stands for a payload that was not given, since null is a payload."""

NO_CARRIER: Final[Mapping[bytes, bytes]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A completion as an edge received it: blanks are None, the payload is a JSON value."""

    interaction_id: str | None = None
    correlation_id: str | None = None
    step_id: str | None = None
    resume_token: str | None = field(default=None, repr=False)
    idempotency_key: str | None = None
    payload: Any = MISSING
    failure: tuple[str, str] | None = None
    actor: str | None = None
    #: W3C trace context that came with it, by header name, where it came with others.
    carrier: Mapping[bytes, bytes] = field(default_factory=lambda: NO_CARRIER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A publication of another deployment, as an edge received it."""

    publication: str
    key: str
    #: A JSON value.
    payload: Any = field(repr=False)
    #: Who published, by its id and its pipeline's there.
    source: ExecutionId
    pipeline: str
    #: The headers of W3C Trace Context that came with it.
    trace_parent: str | None = None
    trace_state: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Nothing could be made of a record; `message` is one line that quotes nothing of it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Offered:
    """A publication that another deployment offers, and the id under which it is told of it."""

    handoff: ExecutionId
    published: Published
    #: Why it may not come by this way; None where it may.
    barred: Unreadable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One record that came in, and what it says."""

    #: Names the record, and the letter that is kept of it if it is refused.
    id: ExecutionId
    #: Where it lies, for people: topic, partition and offset.
    place: str
    #: Whose completion it claims to be; None where that could not be read.
    tenant: str | None
    #: For whom a refused record is kept that has no right to name a tenant.
    keeper: str
    #: The awaits that it may answer. Of any other it is refused.
    answers: frozenset[Via]
    said: Completion | Offered | Unreadable
    #: What came, byte for byte.
    body: bytes = field(repr=False)


class Verdict(NamedTuple):
    """What became of a record; durable when it is given."""

    #: Applied, a duplicate, or kept for a question that is still to come.
    is_admitted: bool
    #: The stable code of the receipt or of the refusal.
    code: str
    detail: str
    #: Of a publication that was admitted: as which execution.
    taken: Taken | None = None


class Door(Protocol):
    """Takes in what receivers bring."""

    async def take(self, arrivals: Sequence[Arrival]) -> list[Verdict | None]:
        """Admit completions and publications in shared commits; keep a dead letter of each record
        that is refused, unless whoever offers it keeps it.

        Args:
            arrivals: records in the order in which they came.

        Returns:
            A verdict each, in order. None for what the store failed on: nothing of it is durable,
            and it must be brought again.
        """
        ...


@runtime_checkable
class Receiver(Protocol):
    """A transport that takes answers in by itself, between its `open` and its `close`."""

    def listen(self, door: Door) -> None:
        """Begin to bring records to the door; does not wait for the outside."""
        ...

    async def unlisten(self) -> None:
        """Bring what is in hand to its end and report it done; safe to call twice."""
        ...

    async def problems(self) -> list[Problem]:
        """As of every transport; also what keeps answers from coming in."""
        ...
