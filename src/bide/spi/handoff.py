"""The carrier contract: how a publication is offered to another deployment, by whatever protocol.

A carrier translates: it takes publications that the courier has claimed, offers them to the other
side, and says of each what that one said. It knows no store and no engine, keeps no record, and
decides neither about another try nor about what a refusal leads to.

Duties of every carrier
-----------------------
H1  `offer` answers every publication of its batch, in the batch's order.
H2  No publication makes `offer` raise; what goes wrong with one is its answer.
H3  `offer` returns within `timeout_ms`. It may be cancelled at any time; what was not answered
    counts as `Unclear`.
H4  `Taken` is said only of what the other side has admitted durably, under its key.
H5  `Refused` is said only of what the other side has said about this very publication: that a
    stranger, a proxy or a release without the subscriber has turned it away is `Unclear`.
H6  Neither what is published nor a credential appears in a log, in a message or in what is raised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import orjson

from bide.authoring.publications import Destination
from bide.model.ids import ExecutionId, format_execution
from bide.spi.transport import Problem, Refused, Unclear


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One publication to offer, with all that any protocol puts on the wire."""

    #: What the author wrote: whose address it is.
    to: Destination
    tenant: str
    #: The publication's own id: equal on every try.
    handoff: ExecutionId
    publication: str
    #: Under which the other side takes one execution.
    key: str
    #: Who publishes.
    source: ExecutionId
    pipeline: str
    #: What is published, as JSON.
    body: bytes = field(repr=False)
    published_at: int
    #: Which try this is, counted from 1.
    attempt: int
    #: W3C trace context by header name; empty without a trace.
    trace: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def handoff_id(self) -> str:
        """The publication's id as it is written."""
        return format_execution(self.handoff)

    @property
    def source_id(self) -> str:
        """The publishing execution's id as it is written."""
        return format_execution(self.source)

    def line(self) -> dict[str, Any]:
        """What it is on the wire, by field; for `orjson.dumps`, which takes the payload as it is."""
        return {
            "handoffId": self.handoff_id,
            "publication": self.publication,
            "handoffKey": self.key,
            "sourceExecutionId": self.source_id,
            "sourcePipeline": self.pipeline,
            "publishedAtEpochMs": self.published_at,
            "payload": orjson.Fragment(self.body),
            **self.trace,
        }


class Taken(NamedTuple):
    """The other side has admitted it: as this execution of its own, made now or, `duplicate`, by an
    equal publication before.
    """

    execution: ExecutionId
    duplicate: bool


Answer = Taken | Refused | Unclear

#: What the other side says about a publication itself; whatever else it says may change.
_FINAL: Final = frozenset(
    {"handoff-conflict", "handoff-invalid", "mapper-failed", "limit-exceeded"}
)


def turned_away(code: str, message: str) -> Refused | Unclear:
    """What it means that the other side did not take a publication, for the reason that it gave."""
    return Refused(code, message) if code in _FINAL else Unclear(f"{code}: {message}")


class Carrier(Protocol):
    """Offers publications whose `to` is of one class."""

    #: How long one `offer` takes at most, milliseconds.
    timeout_ms: int

    async def open(self) -> None:
        """Make what offering needs; does not wait for the outside.

        Raises:
            DefinitionError: what was authored or configured can never work (a missing secret).
        """
        ...

    async def close(self) -> None:
        """Give everything back; safe to call twice and before `open`. Nothing is sent after it."""
        ...

    def endpoint(self, to: Destination) -> str:
        """Say what fails as one; pure, and the same on every call. It holds no secret."""
        ...

    async def offer(self, batch: Sequence[Offer]) -> list[Answer]:
        """Offer a batch; all of it goes to the same endpoint (H1 to H6)."""
        ...

    async def problems(self) -> list[Problem]:
        """What `doctor` and readiness report; looks, changes nothing, returns within a second."""
        ...
