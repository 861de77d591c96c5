"""The transport contract: how one interaction leaves, whatever protocol carries it.

An adapter translates: it takes requests that the dispatcher has claimed, hands them to the outside,
and says of each what became of it. It knows no store and no engine, keeps no record of what it
sent, and decides neither about another try nor about what a refusal leads to.

Duties of every adapter
-----------------------
T1  `send` answers every request of its batch, in the batch's order.
T2  No request makes `send` raise; what goes wrong with one is its delivery, not its neighbours'.
T3  `send` returns within `Route.timeout_ms`. It may be cancelled at any time: whatever was not
    answered counts as `Unclear`, so nothing may be sent behind the caller's back afterwards.
T4  A request may come again, from this process or another, with the same `interaction_id` and
    perhaps after it was delivered: that id goes with it, so that its receiver knows a repeat.
T5  `Refused` is for what would be refused for ever; whatever might do better later, or may have
    arrived after all, is `Unclear`.
T6  Neither a request's body nor its token appears in a log, in a message or in what is raised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from bide.authoring.retry import Retry
from bide.authoring.transports import Transport as Via
from bide.model.ids import (
    InteractionId,
    UnitId,
    format_execution,
    format_interaction,
    format_unit,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One interaction to send, with all that any protocol puts on the wire."""

    #: What the author wrote: the address, the topic, whatever the adapter was made for.
    via: Via
    tenant: str
    interaction: InteractionId
    #: The item's place in its stream, from 0; None where the await asks once.
    item_index: int | None
    #: The pipeline's id and the await's.
    pipeline: str
    step_id: str
    #: What the answer may name in place of the id; the id itself where the author chose nothing.
    correlation_id: str
    #: The await's business key; the id itself where it has none.
    idempotency_key: str
    #: The right to answer this one interaction; None where the network is trusted instead.
    resume_token: str | None = field(repr=False)
    #: The declared names of the request's and the answer's type.
    input_type: str
    output_type: str
    #: After this instant an answer is late; Unix milliseconds by the store's clock.
    deadline_at: int
    #: The request as JSON.
    request: bytes = field(repr=False)
    #: Which try this is, counted from 1.
    attempt: int
    #: What goes with the interaction for its receiver, by the transport's own names.
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    #: W3C trace context by header name (`traceparent`, `tracestate`); empty without a trace.
    trace: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def execution_id(self) -> str:
        """The execution's id as it is written."""
        return format_execution(self.interaction.execution)

    @property
    def unit_id(self) -> str:
        """The unit's id as it is written."""
        return format_unit(UnitId(self.interaction.execution, self.interaction.unit))

    @property
    def interaction_id(self) -> str:
        """The interaction's id as it is written, with its generation: equal on every attempt."""
        return format_interaction(self.interaction)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver will never take it: the interaction fails.

    `code` is stable and short (`http-404`), `message` one line for people; both are stored.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """It may or may not have arrived, or not been taken yet: it is tried again.

    `message` is one line for people and is stored. `retry_after_ms` is the least rest that the
    receiver asked for, in milliseconds from now.
    """

    message: str
    retry_after_ms: int | None = None


Delivery = Delivered | Refused | Unclear


class Route(NamedTuple):
    """What the dispatcher has to know of one await's transport."""

    #: What fails as one (an origin, a broker); requests to it share a circuit breaker and a batch.
    endpoint: str
    #: How often and how far apart one interaction is tried.
    retry: Retry
    #: How long one `send` takes at most, milliseconds.
    timeout_ms: int
    #: Unanswered interactions of the await over all workers; None: no bound.
    max_in_flight: int | None = None
    #: How many may be on their way to the endpoint at once; None: as the setting says, which is
    #: made for those who take requests one by one.
    at_once: int | None = None


class Problem(NamedTuple):
    """Something that keeps interactions from leaving, or will."""

    #: What it is about: an await, a secret, a broker.
    subject: str
    #: What is wrong and what to do, in one line that holds no secret.
    message: str
    #: True when nothing can leave before it is mended: the process is not ready.
    is_fatal: bool


class Transport(Protocol):
    """Carries the interactions of awaits whose `via` is of one class."""

    async def open(self) -> None:
        """Make what sending needs (connections, a producer); does not wait for the outside.

        Raises:
            DefinitionError: what was authored or configured can never work (a missing secret).
        """
        ...

    async def close(self) -> None:
        """Give everything back; safe to call twice and before `open`. Nothing is sent after it."""
        ...

    def route(self, via: Via) -> Route:
        """Say where the interactions of an await go; pure, and the same on every call."""
        ...

    async def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
        """Hand a batch to the outside; all of it has the same `Route.endpoint` (T1 to T6)."""
        ...

    async def problems(self) -> list[Problem]:
        """What `doctor` and readiness report; looks, changes nothing, returns within a second."""
        ...
