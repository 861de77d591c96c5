"""Logs of the processes that serve and work: one line an event, on stderr.

The library logs through `logging.getLogger("bide...")`; only this process decides how it looks.
On a terminal lines are made for people, elsewhere they are JSON. Payloads, tokens and secrets stay
out: fields that could hold one are dropped, and of an exception that is not Bide's own the type and
the place are told but not the message, which may quote what was being worked on. `bide show` tells
that to whoever may read the execution.
"""

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, TypeAlias

import structlog

from bide.errors import BideError
from bide.security.redaction import redact

_Event: TypeAlias = MutableMapping[str, Any]

#: Parts of names of fields that are never written.
_PRIVATE: Final = (
    "payload", "request", "answer", "input", "result", "body",
    "token", "secret", "password", "authorization", "cookie", "credential",
)  # fmt: skip
#: Names that contain one of them and hold no such thing.
_PUBLIC: Final = frozenset({"request_id", "result_count", "body_bytes", "input_type"})
_FRAMES: Final = 5
_MESSAGE_LENGTH_MAX: Final = 2_000


def configure_logs(*, as_json: bool | None = None, level: int = logging.INFO) -> None:
    """Send every log line of this process through one formatter.

    Args:
        as_json: True for JSON, False for people; None: people on a terminal, JSON elsewhere.
        level: what is logged of Bide itself; other libraries from WARNING on.
    """
    on_terminal = sys.stderr.isatty()
    rendered = not on_terminal if as_json is None else as_json
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                name_trace,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                name_exception,
                drop_private,
                one_line_event,
                _json() if rendered else structlog.dev.ConsoleRenderer(colors=on_terminal),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("bide").setLevel(level)


def name_exception(_: Any, __: str, event: _Event) -> _Event:
    """Replace an exception by its type and place, and its message if Bide wrote it."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info if isinstance(info, BaseException) else info[1] if info else None
    event.pop("stack_info", None)
    if error is None:
        return event
    event["error"] = type(error).__qualname__
    if isinstance(error, BideError):
        event["error_code"] = error.code
        event["error_message"] = str(error)
    event["where"] = _places(error.__traceback__)
    return event


def name_trace(_: Any, __: str, event: _Event) -> _Event:
    """Say in which trace an event happens, where one is recorded."""
    api = sys.modules.get("opentelemetry.trace")  # imported by whoever traces, and by nobody else
    context = api.get_current_span().get_span_context() if api else None
    if context is not None and context.is_valid and context.trace_flags.sampled:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def drop_private(_: Any, __: str, event: _Event) -> _Event:
    """Drop fields that could hold a payload or a secret."""
    for name in [name for name in event if _is_private(name)]:
        del event[name]
    return event


def one_line_event(_: Any, __: str, event: _Event) -> _Event:
    """Keep an event in its line, a line in bounds, and tokens out of it."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = redact(" ".join(value.split())[:_MESSAGE_LENGTH_MAX])
    return event


def _is_private(name: str) -> bool:
    lowered = name.lower()
    if lowered in _PUBLIC:
        return False
    return any(part in lowered for part in _PRIVATE)


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _json() -> structlog.processors.JSONRenderer:
    return structlog.processors.JSONRenderer(serializer=_dumps)


def _dumps(event: Mapping[str, Any], **_: Any) -> str:
    import json

    first = {
        name: event[name] for name in ("timestamp", "level", "logger", "event") if name in event
    }
    return json.dumps({**first, **event}, default=repr, ensure_ascii=False)
