"""What a trace tells of an execution, what it links to, and what is not recorded."""

from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import format_span_id, format_trace_id

from bide import App, Await, Context, ExecutionFailed, Inbox, NonRetryable, Pipeline
from bide.model.ids import parse_execution
from bide.telemetry import traces
from bide.web.app import create_asgi
from tests.integration.support import eventually, quick

STRANGER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

decide = Await("Decide", int, bool, via=Inbox(), timeout="1h", correlate_on=str)
orders = Pipeline("orders", int).wait(decide)
each = Await("Each", int, int, via=Inbox(), timeout="1h")


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


async def added(items: AsyncIterator[int]) -> int:
    return sum([one async for one in items])


def plus(number: int) -> int:
    return number + 1


class Recorded:
    """Spans of this process, by name."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self.exporter = exporter

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == name]

    async def one(self, name: str) -> ReadableSpan:
        """The only span of that name, once it has ended."""
        [span] = await eventually(lambda: self.named(name))
        return span


#: Begins to record, with a sampler of the test's choice.
Recording = Callable[..., Recorded]


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    """Make the app's provider one that keeps spans here, with a sampler of the test's choice."""

    def start(sampler: Sampler = ALWAYS_ON) -> Recorded:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(sampler), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(traces, "provider_of", lambda **_: (provider, False))
        return Recorded(exporter)

    return start


def app_of(*pipelines: Pipeline[object, object], store: str = "memory://", **changes: object):
    return App(*pipelines, store=store, settings=quick(traces=True, **changes))


def trace_of(span: ReadableSpan) -> str:
    return format_trace_id(span.context.trace_id)


async def stored(app: App, execution_id: str) -> str | None:
    id_ = parse_execution(execution_id)
    assert id_ is not None
    [context] = await app._open.store.traces([("default", id_)])
    return context.parent if context else None


async def test_a_stream_is_one_trace(recording: Recording) -> None:
    """Pages of a stream are steps of their segment; every item's answer is in the trace."""
    recorded = recording()
    many = Pipeline("many", int).then(numbers).then(plus).wait(each).then(added)
    app = app_of(many, page_items=2)
    async with app.running():
        execution = await app.submit(many, 4)
        questions = await execution.parked(each, timeout=30)
        await app.complete_many([(one, one.request) for one in questions])
        assert await execution.result(timeout=30) == 10
        await recorded.one("resume many")

    spans = recorded.spans()
    assert len({trace_of(span) for span in spans}) == 1
    assert len(recorded.named("complete each")) == 4
    [run], [resume] = recorded.named("run many"), recorded.named("resume many")
    assert {span.parent.span_id for span in recorded.named("step plus")} == {run.context.span_id}
    assert len(recorded.named("step plus")) == 2
    assert len(recorded.named("step numbers")) == len(recorded.named("step added")) == 1
    last = {span.context.span_id for span in recorded.named("complete each")}
    assert resume.parent.span_id in last


async def test_an_answer_from_another_trace_is_linked(recording: Recording) -> None:
    """The completion stays in its execution's trace, and links to the request that brought it."""
    recorded = recording()
    app = app_of(orders)
    async with app.running():
        transport = httpx.ASGITransport(create_asgi(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            execution = await app.submit(orders, 1)
            [question] = await execution.parked(decide, timeout=30)
            answer = await client.post(
                "/pipeline/interactions/complete",
                json={"interactionId": question.interaction_id, "responsePayload": True},
                headers={"traceparent": STRANGER},
            )
        assert answer.status_code == 200
        await execution.result(timeout=30)
        complete, submit = (
            await recorded.one("complete decide"),
            await recorded.one("submit orders"),
        )

    assert trace_of(complete) == trace_of(submit) != STRANGER.split("-")[1]
    assert [format_trace_id(link.context.trace_id) for link in complete.links] == [
        STRANGER.split("-")[1]
    ]
    assert complete.attributes["bide.outcome"] == "applied"


async def test_every_way_of_answering(recording: Recording) -> None:
    """By id, by correlation id and in a batch: each completion is one span of its execution."""
    recorded = recording()
    app = app_of(orders)
    async with app.running():
        first, second = await app.submit(orders, 1), await app.submit(orders, 2)
        [one] = await first.parked(decide, timeout=30)
        await second.parked(decide, timeout=30)
        await app.complete(one, True)
        await app.complete(decide, True, correlation_id="2")
        await app.complete_many([(one, True), (one, False)])
        await second.result(timeout=30)
        spans = recorded.named("complete decide")

    assert [span.attributes["bide.outcome"] for span in spans] == [
        "applied", "applied", "duplicate", "conflict",
    ]  # fmt: skip
    of = {span.attributes["bide.execution.id"]: trace_of(span) for span in spans}
    submits = {
        span.attributes["bide.execution.id"]: trace_of(span)
        for span in recorded.named("submit orders")
    }
    assert of == submits


async def test_what_is_not_sampled_is_neither_told_nor_stored(recording: Recording) -> None:
    """The sampler is asked once, at the submission; nothing of it is kept or told afterwards."""
    recorded = recording(ALWAYS_OFF)
    app = app_of(orders)
    async with app.running():
        execution = await app.submit(orders, 1)
        [question] = await execution.parked(decide, timeout=30)
        await app.complete(question, True)
        await execution.result(timeout=30)
        assert await stored(app, execution.execution_id) is None

    assert recorded.spans() == []


@pytest.mark.parametrize(("share", "recorded_spans"), [(0.0, 0), (1.0, 1)])
async def test_the_share_that_begins_here(
    recording: Recording, share: float, recorded_spans: int
) -> None:
    """The setting decides where a trace begins; what a caller has decided stays decided."""
    recorded = recording()
    app = app_of(orders, traces_share=share)
    async with app.running():
        await app.submit(orders, 1)
        assert len(recorded.named("submit orders")) == recorded_spans
        transport = httpx.ASGITransport(create_asgi(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            headers = {"traceparent": STRANGER}
            await client.post("/pipeline/run-async", json=1, headers=headers)
        assert len(recorded.named("submit orders")) == recorded_spans + 1


async def test_the_callers_decision_is_taken_over(recording: Recording) -> None:
    """A caller that is not recorded is not recorded here, though everything else would be."""
    recorded = recording()
    app = app_of(orders)
    async with app.running():
        transport = httpx.ASGITransport(create_asgi(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            ids = [
                (await client.post(
                    "/pipeline/run-async", json=1, headers={"traceparent": parent}
                )).json()["executionId"]
                for parent in (UNSAMPLED, STRANGER)
            ]  # fmt: skip
        unsampled, sampled = [await stored(app, each) for each in ids]

    assert unsampled is None
    assert sampled is not None
    assert {trace_of(span) for span in recorded.spans()} == {STRANGER.split("-")[1]}


async def test_a_step_is_where_its_own_spans_belong(recording: Recording) -> None:
    """What a step does with OpenTelemetry is below its step, on a thread and on the loop."""
    from opentelemetry import trace

    recorded = recording()
    seen: list[str] = []

    def on_thread(number: int) -> int:
        seen.append(format_span_id(trace.get_current_span().get_span_context().span_id))
        return number

    async def on_loop(number: int) -> int:
        return on_thread(number)

    async def both(number: int, ctx: Context) -> int:
        return on_thread(number)

    plain = Pipeline("plain", int).then(on_thread).wait(decide)
    mixed = Pipeline("mixed", int).then(on_loop).then(both)
    app = app_of(plain, mixed)
    async with app.running():
        await (await app.submit(plain, 1)).parked(decide, timeout=30)
        await (await app.submit(mixed, 1)).result(timeout=30)
        ids = [
            format_span_id((await recorded.one(f"step {name}")).context.span_id)
            for name in ("on-thread", "on-loop", "both")
        ]

    assert seen == ids


async def test_a_failure_is_told_by_its_kind_alone(recording: Recording) -> None:
    """A step that fails fails its span and its segment's; what the exception says stays out."""
    recorded = recording()

    def refuse(text: str) -> str:
        raise NonRetryable(f"cannot take {text}")

    refusing = Pipeline("refusing", str).then(refuse)
    app = app_of(refusing)
    async with app.running():
        execution = await app.submit(refusing, "a secret value")
        with pytest.raises(ExecutionFailed):
            await execution.result(timeout=30)
        step, run = await recorded.one("step refuse"), await recorded.one("run refusing")

    assert step.attributes["error.type"] == "NonRetryable"
    assert not step.status.is_ok
    assert not run.status.is_ok
    assert not any("a secret value" in span.to_json() for span in recorded.spans())
