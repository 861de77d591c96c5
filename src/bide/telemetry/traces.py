"""`Tracing` by OpenTelemetry.

An execution has one trace, from its submission to its end, however long it waits: each span is the
child of what has moved the execution there, and that context lies in the store meanwhile
(docs/decisions/0009-traces.md says why, and what is linked instead). Which traces are recorded is
decided once, where they begin, by the setting or else by the provider's sampler; what is not
recorded is not stored, so nothing has to be decided, or carried, again.

A span holds ids, names and outcomes, and neither a payload nor what an exception says.
"""

import logging
import os
import random
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager as ContextManager
from contextlib import contextmanager, nullcontext

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bide.engine.moves import Claimed
from bide.model.ids import ExecutionId, InteractionId, format_execution, format_interaction
from bide.model.records import TraceContext
from bide.spi.telemetry import UNTRACED, AwaitNames, Traced

log = logging.getLogger(__name__)

_FORMAT = TraceContextTextMapPropagator()
_HEADERS = ("traceparent", "tracestate")
_NOTHING: ContextManager[None] = nullcontext()


def provider_of(*, is_decided: bool) -> tuple[trace.TracerProvider, bool]:
    """The program's own provider, else one by `OTEL_*` that sends to an OTLP endpoint over HTTP.

    Args:
        is_decided: which traces begin here was decided already; else `OTEL_TRACES_SAMPLER` says.

    Returns:
        The provider, and whether it was made here and is to be shut down with the app.
    """
    known = trace.get_tracer_provider()
    if not isinstance(known, trace.ProxyTracerProvider):
        return known, False
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    names = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: "bide"}
    provider = TracerProvider(
        sampler=ParentBased(ALWAYS_ON) if is_decided else None,
        resource=Resource.create(names),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider, True


class OtelTracing:
    """Tells a provider's tracer of what a process does."""

    is_on = True

    def __init__(
        self, share: float | None = None, chance: Callable[[], float] = random.random
    ) -> None:
        """Take the program's provider, or make one.

        `share` of the traces that begin here are begun, by `chance`, which gives numbers from 0 to
        1: what is left out then costs no span. None leaves it all to the provider's sampler.
        """
        self._share = share
        self._chance = chance
        self._provider, self._is_own = provider_of(is_decided=share is not None)
        self._tracer = self._provider.get_tracer("bide")

    def arriving(self, headers: Mapping[bytes, bytes]) -> ContextManager[None]:
        """What happens in the body comes from a request with these headers."""
        if b"traceparent" not in headers or trace.get_current_span().get_span_context().is_valid:
            return _NOTHING  # nothing to take in, or the server that we are mounted in has done it
        carrier = {
            name: headers[name.encode()].decode("latin-1")
            for name in _HEADERS
            if name.encode() in headers
        }
        return _within(_FORMAT.extract(carrier, Context()))

    def submitting(self, pipeline: str, execution: ExecutionId) -> Traced:
        """The submission: the root, unless the caller is in a trace."""
        begins = not trace.get_current_span().get_span_context().is_valid
        if begins and self._share is not None and self._chance() >= self._share:
            return UNTRACED
        about = {"bide.pipeline": pipeline, "bide.execution.id": format_execution(execution)}
        return self._begun(f"submit {pipeline}", SpanKind.PRODUCER, None, about)

    def completing(
        self, names: AwaitNames, interaction: InteractionId, within: TraceContext | None
    ) -> Traced:
        """The commit of a completion: in the execution's trace, linked to the sender's.

        Where the sender is in that trace already (a partner that hands on the context it got), the
        completion is the child of what the sender did. Of an execution that is not traced the
        sender's trace tells, if there is one, and then goes on with it.
        """
        here = trace.get_current_span().get_span_context()
        parent: Context | None = None
        links: list[Link] = []
        if within is not None:
            stored = _restored(within)
            there = trace.get_current_span(stored).get_span_context()
            if here.trace_id != there.trace_id:
                parent = stored
                links = [Link(here)] if here.is_valid else []
        elif not (here.is_valid and here.trace_flags.sampled):
            return UNTRACED
        about = _of_await(names, interaction)
        name = f"complete {names.step}".rstrip()
        return self._begun(name, SpanKind.CONSUMER, parent, about, links)

    def running(self, claimed: Claimed, within: TraceContext | None) -> Traced:
        """A segment: the child of the submission or of the answer that it starts from."""
        if within is None:
            return UNTRACED
        execution, base = claimed.execution, claimed.base
        about: dict[str, str | int] = {
            "bide.pipeline": execution.pipeline,
            "bide.execution.id": format_execution(execution.id),
            "bide.attempt": execution.attempt,
        }
        if base is not None:
            about["bide.step"] = base.step_id
        verb = "run" if base is None else "resume"
        name = f"{verb} {execution.pipeline}"
        return self._begun(name, SpanKind.CONSUMER, _restored(within), about)

    def dispatching(
        self, names: AwaitNames, interaction: InteractionId, within: TraceContext | None
    ) -> Traced:
        """A request on its way: the child of the segment that asked."""
        if within is None:
            return UNTRACED
        about = {"bide.transport": names.transport, **_of_await(names, interaction)}
        return self._begun(f"dispatch {names.step}", SpanKind.PRODUCER, _restored(within), about)

    def close(self) -> None:
        """Send what is left, if the provider is this app's."""
        if self._is_own and isinstance(self._provider, TracerProvider):
            self._provider.shutdown()

    def _begun(
        self,
        name: str,
        kind: SpanKind,
        parent: Context | None,
        about: Mapping[str, str | int],
        links: list[Link] | None = None,
    ) -> Traced:
        span = self._tracer.start_span(name, parent, kind, attributes=about, links=links)
        return _Traced(self._tracer, span) if span.is_recording() else UNTRACED


def _of_await(names: AwaitNames, interaction: InteractionId) -> dict[str, str]:
    return {
        "bide.pipeline": names.pipeline,
        "bide.step": names.step,
        "bide.interaction.id": format_interaction(interaction),
        "bide.execution.id": format_execution(interaction.execution),
    }


class _Traced:
    """One span."""

    __slots__ = ("_span", "_tracer", "context")

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self.context = _stored(span)

    def note(self, outcome: str) -> None:
        self._span.set_attribute("bide.outcome", outcome)

    def failed(self, error: str) -> None:
        self._span.set_attribute("error.type", error)
        self._span.set_status(Status(StatusCode.ERROR))

    @contextmanager
    def step(self, step_id: str, attempt: int, *, enters: bool = True) -> Generator[Traced]:
        about: dict[str, str | int] = {"bide.step": step_id, "bide.attempt": attempt}
        below = trace.set_span_in_context(self._span)
        span = self._tracer.start_span(f"step {step_id}", below, attributes=about)
        traced = _Traced(self._tracer, span)
        entering = _within(trace.set_span_in_context(span)) if enters else _NOTHING
        with _ended(traced), entering:
            yield traced

    def end(self) -> None:
        self._span.end()


@contextmanager
def _ended(traced: Traced) -> Generator[None]:
    """End it with the body, and say what kind of exception left that."""
    try:
        yield
    except BaseException as error:
        traced.failed(type(error).__name__)
        raise
    finally:
        traced.end()


@contextmanager
def _within(context: Context) -> Generator[None]:
    token = contexts.attach(context)
    try:
        yield
    finally:
        contexts.detach(token)


def _stored(span: Span) -> TraceContext | None:
    """The context of a span as it is kept and sent; None where nothing is recorded."""
    if not span.get_span_context().trace_flags.sampled:
        return None
    carrier: dict[str, str] = {}
    _FORMAT.inject(carrier, trace.set_span_in_context(span, Context()))
    return TraceContext(carrier["traceparent"], carrier.get("tracestate"))


def _restored(kept: TraceContext) -> Context:
    carrier = {"traceparent": kept.parent, "tracestate": kept.state or ""}
    return _FORMAT.extract(carrier, Context())
