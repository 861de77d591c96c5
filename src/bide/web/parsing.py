"""Reading names, numbers and completions out of a request; a blank is the same as nothing."""

from __future__ import annotations

import re
from typing import Final, TypeVar, cast

from starlette.requests import Request

from bide.errors import FieldError
from bide.model.ids import parse_reject
from bide.model.status import ExecutionStatus
from bide.runtime.texts import MESSAGE_MAX, NAME_MAX
from bide.runtime.views import MISSING, Completion
from bide.security.access import Caller
from bide.web.guard import Headers
from bide.web.problems import Refused, malformed

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000

#: Characters of an id, a filter or a token; a resume token has at most 1 KiB.
TEXT_MAX: Final = 1_024

WAIT_SECONDS_DEFAULT: Final = 30.0
WAIT_SECONDS_MAX: Final = 300.0

_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_SECONDS: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: The same for texts in which a line may break.
_CONTROL_IN_PROSE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

T = TypeVar("T")


def limit(request: Request) -> int:
    """How many items were asked for: 100 unless said, at most 1,000 whatever was said."""
    given = request.query_params.get("limit", "").strip()
    if not given:
        return PAGE_DEFAULT
    if not _DIGITS.fullmatch(given):
        raise malformed(f"limit: a number from 0 to {PAGE_MAX:,} is needed.")
    return min(int(given), PAGE_MAX)


def query_text(request: Request, name: str) -> str | None:
    """A query parameter, or None where it is absent or blank."""
    return _text(request.query_params.get(name), name, TEXT_MAX)


def query_status(request: Request) -> ExecutionStatus | None:
    """The status that executions are filtered by."""
    given = query_text(request, "status")
    if given is None:
        return None
    if given.upper() not in ExecutionStatus.__members__:
        raise malformed(f"status: one of {', '.join(ExecutionStatus.__members__)} is needed.")
    return ExecutionStatus[given.upper()]


def idempotency_key(headers: Headers, *, required: bool) -> str | None:
    """The submit key of the header."""
    raw = headers.get(b"idempotency-key", b"")
    try:
        given = raw.decode("utf-8")
    except UnicodeDecodeError:
        given = raw.decode("latin-1")
    key = _text(given, "Idempotency-Key", NAME_MAX)
    if key is None and required:
        raise malformed("Idempotency-Key: this app takes no submission without one.")
    return key


def wait_seconds(headers: Headers, default: float = WAIT_SECONDS_DEFAULT) -> float:
    """What `Prefer: wait=SECONDS` asks for; a preference that cannot be read is none."""
    for preference in headers.get(b"prefer", b"").decode("latin-1").split(","):
        name, _, value = preference.split(";")[0].partition("=")
        seconds = value.strip().strip('"')
        if name.strip().lower() == "wait" and _SECONDS.fullmatch(seconds):
            return min(float(seconds), WAIT_SECONDS_MAX)
    return default


def completion(body: object, caller: Caller, *, named: str | None = None) -> Completion:
    """Read a completion; `named` is the interaction that the path already names.

    Unknown fields are ignored: partners add their own.
    """
    fields = _object(body)
    interaction_id = _field(fields, "interactionId")
    if named is not None and interaction_id not in {None, named}:
        raise malformed("the path names another interaction", "/interactionId")
    correlation_id = _field(fields, "correlationId")
    resume_token = _field(fields, "resumeToken")
    interaction_id = named or interaction_id
    if not (interaction_id or correlation_id or resume_token):
        raise malformed("One of interactionId, correlationId and resumeToken is needed.")
    failure = _failure(fields)
    return Completion(
        interaction_id=interaction_id,
        correlation_id=correlation_id,
        step_id=_field(fields, "stepId"),
        resume_token=resume_token,
        idempotency_key=_field(fields, "idempotencyKey", NAME_MAX),
        payload=_payload(fields, failure),
        failure=failure,
        actor=caller.actor(_field(fields, "actor", NAME_MAX)),
    )


def reason(body: object) -> str:
    """Why an execution is cancelled; "" where nobody says."""
    fields = {} if body is None else _object(body)
    return _prose(fields, "reason", "/reason") or ""


def redrive(body: object) -> tuple[bool, bool]:
    """Whether from the await and not from the start, and whether to make another one."""
    fields = {} if body is None else _object(body)
    start = _field(fields, "from")
    if start not in {None, "start", "await"}:
        raise malformed('"start" or "await" is needed', "/from")
    again = fields.get("again")
    if again is not None and not isinstance(again, bool):
        raise malformed("true or false is needed", "/again")
    return start == "await", bool(again)


def reject_cursor(request: Request) -> str | None:
    """The last reject of the page before."""
    given = query_text(request, "cursor")
    if given is not None and parse_reject(given) is None:
        raise malformed("cursor: give the nextCursor of the page before.")
    return given


def query_flag(request: Request, name: str) -> bool:
    """Whether a filter is switched on."""
    given = (query_text(request, name) or "false").lower()
    if given not in {"true", "false"}:
        raise malformed(f"{name}: true or false is needed.")
    return given == "true"


def release(body: object, caller: Caller) -> tuple[str, str | None]:
    """As what an execution is released, and who does it."""
    fields = _object(body)
    fingerprint = _field(fields, "fingerprint")
    if fingerprint is None:
        raise malformed("a fingerprint is needed", "/fingerprint")
    return fingerprint, caller.actor(_field(fields, "by", NAME_MAX))


def holder(body: object, caller: Caller) -> str:
    """Who claims an interaction or puts it back."""
    actor = caller.actor(_field({} if body is None else _object(body), "actor", NAME_MAX))
    if actor is None:
        raise malformed("an actor is needed, since nobody is authenticated", "/actor")
    return actor


def assignment(body: object, caller: Caller) -> tuple[str | None, str | None]:
    """Whose an interaction is from now on, and who says so."""
    fields = _object(body)
    if "assignee" not in fields:
        raise malformed("an assignee is needed, or null", "/assignee")
    assignee = _field(fields, "assignee", NAME_MAX)
    return assignee, caller.actor(_field(fields, "actor", NAME_MAX))


def _payload(fields: dict[str, object], failure: tuple[str, str] | None) -> object:
    payload = fields.get("responsePayload", MISSING)
    if failure is None and payload is MISSING:
        raise malformed("Neither responsePayload nor failure is given.")
    if failure is None:
        return payload
    # Clients that write every field of a class send null beside a failure.
    if payload is not MISSING and payload is not None:
        raise malformed("Both responsePayload and failure are given.")
    return MISSING


def _failure(fields: dict[str, object]) -> tuple[str, str] | None:
    given = fields.get("failure")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise malformed("an object with code and message is needed", "/failure")
    failure = cast("dict[str, object]", given)
    code = _text(failure.get("code"), "/failure/code", NAME_MAX)
    if code is None:
        raise malformed("a failure needs a code", "/failure/code")
    # A code alone says enough; it then stands for the message as well.
    return code, _prose(failure, "message", "/failure/message") or code


def _object(body: object) -> dict[str, object]:
    if not isinstance(body, dict):
        raise malformed("A JSON object is needed.")
    return cast("dict[str, object]", body)


def _field(fields: dict[str, object], name: str, characters_max: int = TEXT_MAX) -> str | None:
    given = fields.get(name)
    # Most fields of most completions are absent or plain; only the rest is looked at closely.
    if given is None:
        return None
    return _text(given, f"/{name}", characters_max)


def _prose(fields: dict[str, object], name: str, where: str) -> str | None:
    return _text(fields.get(name), where, MESSAGE_MAX, forbidden=_CONTROL_IN_PROSE)


def _text(
    given: object, where: str, characters_max: int, *, forbidden: re.Pattern[str] = _CONTROL
) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str):
        raise _unfit("a string is needed", where)
    text = given.strip()
    if len(text) > characters_max:
        raise _unfit(f"at most {characters_max:,} characters are taken", where)
    if forbidden.search(text):
        raise _unfit("control characters are not taken", where)
    return text or None


def _unfit(message: str, where: str) -> Refused:
    if where.startswith("/"):
        return malformed(message, where)
    return Refused(
        "malformed", f"{where}: {message}.", errors=[FieldError(path=where, message=message)]
    )
