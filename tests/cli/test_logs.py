"""One line an event, and nothing in it that is nobody's business."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bide.cli.logs import configure_logs
from bide.errors import StoreUnavailable

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """What was logged, line by line; the loggers are put back afterwards."""
    root, bide = logging.getLogger(), logging.getLogger("bide")
    handlers, levels = root.handlers[:], (root.level, bide.level)

    def written() -> list[str]:
        return capsys.readouterr().err.splitlines()

    yield written
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    bide.setLevel(levels[1])


def only(lines: Lines) -> dict[str, Any]:
    """The one event that was logged."""
    [line] = lines()
    return json.loads(line)


def test_an_event_is_a_line_of_json_elsewhere_than_on_a_terminal(lines: Lines) -> None:
    """Time, level, logger, event and the fields that were given with it."""
    configure_logs()
    logging.getLogger("bide.worker").info("claimed %d", 3, extra={"owner": "w-1"})

    event = only(lines)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "level": "info", "logger": "bide.worker", "event": "claimed 3", "owner": "w-1",
    }  # fmt: skip


def test_people_get_lines_for_people(lines: Lines) -> None:
    """Without JSON an event is one line as well."""
    configure_logs(as_json=False)
    logging.getLogger("bide").warning("one\ntwo", extra={"check": "store"})

    [line] = lines()
    assert "one two" in line
    assert "check=store" in line


@pytest.mark.parametrize(
    "field",
    ["payload", "request", "answer", "resume_token", "clientSecret", "Authorization",
     "responsePayload", "password", "cookie", "result_body"],
)  # fmt: skip
def test_fields_that_could_hold_a_secret_are_left_out(lines: Lines, field: str) -> None:
    """Payloads, tokens and secrets are dropped by the names of their fields."""
    configure_logs()
    logging.getLogger("bide").info("event", extra={field: "hunter2", "execution_id": "e"})

    event = only(lines)
    assert "hunter2" not in json.dumps(event)
    assert event["execution_id"] == "e"


def test_a_stranger_s_exception_is_told_without_its_message(lines: Lines) -> None:
    """Type and place of an exception are logged; its message may quote a payload."""
    configure_logs()
    try:
        int("hunter2")
    except ValueError:
        logging.getLogger("bide").exception("step failed")

    event = only(lines)
    assert "hunter2" not in json.dumps(event)
    assert event["error"] == "ValueError"
    assert "test_logs.py" in event["where"][-1]


def test_an_exception_of_bide_is_told_with_its_message(lines: Lines) -> None:
    """What Bide itself says is written for people and holds no payload."""
    configure_logs()
    logging.getLogger("bide").error("stopped", exc_info=StoreUnavailable("the disk is full"))

    event = only(lines)
    assert event["error_code"] == "unavailable"
    assert event["error_message"] == "the disk is full"


def test_other_libraries_are_quiet_until_they_warn(lines: Lines) -> None:
    """Information is Bide's own; warnings are everybody's."""
    configure_logs()
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("asyncio").warning("slow")

    assert only(lines)["event"] == "slow"


def test_an_event_says_in_which_trace_it_is(lines: Lines) -> None:
    """Where a trace is recorded, its ids stand in the line; elsewhere there are none."""
    from opentelemetry import trace

    configure_logs(as_json=True)
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        logging.getLogger("bide.step").info("inside")
    inside = only(lines)
    logging.getLogger("bide.step").info("outside")
    outside = only(lines)

    assert inside["trace_id"] == f"{0xABC:032x}"
    assert inside["span_id"] == f"{0xDEF:016x}"
    assert not {"trace_id", "span_id"} & set(outside)
