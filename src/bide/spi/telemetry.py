"""What a process tells of its work, for whoever watches it.

A `Meter` is told of every gate that work goes through; what it makes of that is its own business.
A process that nobody watches has the one that listens to nothing (`NO_METER`), so the runtime never
asks whether it is watched, and what it tells is what it has at hand anyway.

Nothing here holds a payload, a tenant or an id: whatever is told may be shown on a screen that many
people see, and its number of forms is bounded by the pipelines and not by the traffic.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager as ContextManager
from contextlib import nullcontext
from typing import NamedTuple, Protocol

from bide.engine.fold import Transacted
from bide.engine.moves import Claimed, Move
from bide.model.ids import ExecutionId, InteractionId
from bide.model.records import TraceContext
from bide.spi.transport import Delivery


class AwaitNames(NamedTuple):
    """Which await something is about; empty where that is not known."""

    pipeline: str = ""
    step: str = ""
    #: What kind of transport it has.
    transport: str = ""


UNNAMED = AwaitNames()

#: The names of what a fingerprint stands for: of an input, its pipeline alone.
NamesOf = Callable[[str], AwaitNames]


class Waiting(NamedTuple):
    """What waits to be done, by whom it is about."""

    names: AwaitNames
    length: int
    #: How long the oldest waits, seconds.
    age_s: float


class Untaken(NamedTuple):
    """What of one publication no other deployment has taken yet."""

    publication: str
    length: int
    #: How long ago the oldest was published, seconds.
    age_s: float


class Levels(NamedTuple):
    """How full everything is at one instant."""

    #: Executions that could be claimed, by pipeline.
    ready: Sequence[Waiting] = ()
    #: Interactions that could be sent, by await.
    to_send: Sequence[Waiting] = ()
    #: Publications for other deployments that are not settled.
    untaken: Sequence[Untaken] = ()
    #: Moves that wait for a commit of this process.
    pending_moves: int = 0
    #: Executions that this process holds.
    executions_held: int = 0
    #: Step threads: those that there may be, those at work, and jobs that wait for one.
    threads: int = 0
    threads_busy: int = 0
    jobs_waiting: int = 0
    #: Interactions that are being sent.
    sending: int = 0


class Meter(Protocol):
    """Hears of what a process does; on the event loop only, and it never raises."""

    def committed(self, moves: Sequence[Move], done: Transacted, seconds: float) -> None:
        """A batch was committed; `seconds` from its start to its end."""
        ...

    def commit_failed(self, moves: int) -> None:
        """A batch of so many moves was not committed."""
        ...

    def claimed(self, claims: Sequence[Claimed], seconds: float) -> None:
        """A worker has claimed; `seconds` is what the claim took."""
        ...

    def handed_over(self, claims: int) -> None:
        """A worker goes straight on with what a commit has made ready."""
        ...

    def leases_lost(self, leases: int) -> None:
        """A worker found that somebody else has what it held."""
        ...

    def received(self, completions: int) -> None:
        """So many completions came in and got a receipt."""
        ...

    def receipted(self, names: AwaitNames, outcome: str, reason: str) -> None:
        """One completion got its receipt; `reason` is the stable code of a refusal, else empty."""
        ...

    def dispatched(self, names: AwaitNames, deliveries: Sequence[Delivery], seconds: float) -> None:
        """Requests of one await were sent together; `seconds` is what that took."""
        ...

    def swept(self, what: str, rows: int) -> None:
        """A sweeper has settled or removed something."""
        ...

    def exposition(self, levels: Levels) -> tuple[bytes, str] | None:
        """Everything so far in the text form of Prometheus, with its media type; None: no metrics."""
        ...


class NoMeter:
    """Listens to nothing."""

    def committed(self, moves: Sequence[Move], done: Transacted, seconds: float) -> None: ...
    def commit_failed(self, moves: int) -> None: ...
    def claimed(self, claims: Sequence[Claimed], seconds: float) -> None: ...
    def handed_over(self, claims: int) -> None: ...
    def leases_lost(self, leases: int) -> None: ...
    def received(self, completions: int) -> None: ...
    def receipted(self, names: AwaitNames, outcome: str, reason: str) -> None: ...
    def dispatched(
        self, names: AwaitNames, deliveries: Sequence[Delivery], seconds: float
    ) -> None: ...
    def swept(self, what: str, rows: int) -> None: ...
    def exposition(self, levels: Levels) -> None: ...


NO_METER: Meter = NoMeter()


# --- traces ---------------------------------------------------------------------------------------


class Traced(Protocol):
    """Something that is under way, as a trace has it."""

    @property
    def context(self) -> TraceContext | None:
        """What goes on from here belongs below it; None where nothing of it is recorded."""
        ...

    def note(self, outcome: str) -> None:
        """Say what it came to."""
        ...

    def failed(self, error: str) -> None:
        """Say why it failed: a stable code or the name of an exception's type, and no more."""
        ...

    def step(self, step_id: str, attempt: int, *, enters: bool = True) -> ContextManager["Traced"]:
        """A step of it, while the body of the `with` runs; what the step does belongs below it.

        With `enters=False` what happens in the body is not put below it: it is no one stretch of
        one task.
        """
        ...

    def end(self) -> None:
        """It is over."""
        ...


class Tracing(Protocol):
    """Tells traces of what a process does. Nothing of it blocks or raises.

    Only what belongs to a trace that is recorded is told: an execution that has no context has none
    told of it. So what is not sampled costs one decision, at its submission.
    """

    @property
    def is_on(self) -> bool:
        """Whether it is worth looking up contexts for."""
        ...

    def arriving(self, headers: Mapping[bytes, bytes]) -> ContextManager[None]:
        """What happens in the body of the `with` comes from a request with these headers."""
        ...

    def submitting(self, pipeline: str, execution: ExecutionId) -> Traced:
        """An execution is submitted from now on until its `end`; here a trace may begin."""
        ...

    def completing(
        self, names: AwaitNames, interaction: InteractionId, within: TraceContext | None
    ) -> Traced:
        """A completion is committed from now on until its `end`, for an execution in that trace."""
        ...

    def running(self, claimed: Claimed, within: TraceContext | None) -> Traced:
        """A segment runs from now on until its `end`."""
        ...

    def dispatching(
        self, names: AwaitNames, interaction: InteractionId, within: TraceContext | None
    ) -> Traced:
        """A request is on its way from now on until its `end`."""
        ...

    def close(self) -> None:
        """Hand out what is left; may take seconds, and is called on a thread."""
        ...


class Untraced:
    """What is not recorded."""

    context: TraceContext | None = None

    def note(self, outcome: str) -> None: ...
    def failed(self, error: str) -> None: ...
    def step(self, step_id: str, attempt: int, *, enters: bool = True) -> ContextManager[Traced]:
        return _WITH_UNTRACED

    def end(self) -> None: ...


UNTRACED: Traced = Untraced()
_WITH_UNTRACED: ContextManager[Traced] = nullcontext(UNTRACED)
_WITH_NOTHING: ContextManager[None] = nullcontext()


class NoTracing:
    """Tells nothing."""

    is_on = False

    def arriving(self, headers: Mapping[bytes, bytes]) -> ContextManager[None]:
        return _WITH_NOTHING

    def submitting(self, pipeline: str, execution: ExecutionId) -> Traced:
        return UNTRACED

    def completing(
        self, names: AwaitNames, interaction: InteractionId, within: TraceContext | None
    ) -> Traced:
        return UNTRACED

    def running(self, claimed: Claimed, within: TraceContext | None) -> Traced:
        return UNTRACED

    def dispatching(
        self, names: AwaitNames, interaction: InteractionId, within: TraceContext | None
    ) -> Traced:
        return UNTRACED

    def close(self) -> None: ...


NO_TRACING: Tracing = NoTracing()


class Telemetry(NamedTuple):
    """Who hears of a process's work."""

    meter: Meter = NO_METER
    tracing: Tracing = NO_TRACING


SILENT = Telemetry()
