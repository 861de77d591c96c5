"""Traces over Kafka: the request carries its execution's, and the answer comes back in it."""

import pytest
from opentelemetry.trace import format_span_id, format_trace_id

from bide import Await, Pipeline
from bide.app.app import App
from tests.integration.support import eventually
from tests.kafka.cluster import Cluster, completion, topics
from tests.kafka.support import all_taken_in, put, read, settings, via_of
from tests.telemetry.test_traces import Recording, recording

__all__ = ["recording"]

STRANGER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("hands_on", [True, False])
async def test_an_answer_is_in_the_trace_of_its_question(
    cluster: Cluster, recording: Recording, *, hands_on: bool
) -> None:
    """A partner that hands on the headers of the request is the parent of the completion; one that
    is in a trace of its own is linked to it. Two answers that come together keep theirs apart.
    """
    found, names = recording(), topics(cluster, partitions=1)
    ask = Await("Check", int, str, via=via_of(names), timeout="5m")
    pipeline = Pipeline("checks", int).wait(ask)
    app = App(pipeline, store="memory://", settings=settings(cluster.servers, traces=True))

    async with app.running():
        executions = [await app.submit(pipeline, number) for number in range(2)]
        requests = await read(cluster, names.requests, 2)
        for sent in requests:
            headers = sent.headers if hands_on else {"traceparent": STRANGER}
            await put(cluster, names.responses, completion(sent.json, "a"), headers=headers)
        for execution in executions:
            assert await execution.result(timeout=60) == "a"
        await all_taken_in(cluster, names)
        await eventually(lambda: len(found.named("complete check")) == 2)

    dispatched = {
        format_trace_id(span.context.trace_id): format_span_id(span.context.span_id)
        for span in found.named("dispatch check")
    }
    told = {sent.headers["traceparent"].split("-")[1] for sent in requests}
    assert told == set(dispatched)
    for span in found.named("complete check"):
        trace = format_trace_id(span.context.trace_id)
        assert trace in dispatched
        assert span.parent is not None
        if hands_on:
            assert format_span_id(span.parent.span_id) == dispatched[trace]
        else:
            [link] = span.links
            assert format_trace_id(link.context.trace_id) == STRANGER.split("-")[1]
