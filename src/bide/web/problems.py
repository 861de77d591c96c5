"""Errors as problems (RFC 9457), and the only place that turns a code into an HTTP status.

A code is stable and the last part of a problem's `type`. It comes from the error or from the reply
that is told of; titles are for people and may change. `docs/reference/http.md` lists them all, and
a test compares that list with this table.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bide.errors import (
    AlreadyAssigned,
    AlreadyEnded,
    BideError,
    FieldError,
    LimitExceeded,
    NotFinished,
    NotRunning,
    QuotaExceeded,
    StoreUnavailable,
)
from bide.planning.json_limits import MalformedJson
from bide.runtime.views import Reply
from bide.security.redaction import redact
from bide.web import rendering
from bide.web.schemas import LimitBody, Particulars, Problem, ReceiptBody

TYPE_BASE: Final = "urn:bide:problems/"
MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = "1"

_log = logging.getLogger("bide.web")


class Kind(NamedTuple):
    """What a code means over HTTP."""

    status: int
    title: str


PROBLEMS: Final[Mapping[str, Kind]] = {
    "malformed": Kind(400, "The request cannot be read"),
    "unauthenticated": Kind(401, "No valid credential was given"),
    "invalid-token": Kind(401, "The token was not signed here for this"),
    "expired-token": Kind(401, "The token has expired"),
    "not-allowed": Kind(403, "This caller may not do that"),
    "wrong-token": Kind(403, "The token is for something else"),
    "token-required": Kind(403, "The await takes answers with its token only"),
    "foreign-host": Kind(403, "Without authentication only this machine is served"),
    "foreign-origin": Kind(403, "The request comes from another site"),
    "tenant-mismatch": Kind(403, "The credential belongs to another tenant"),
    "not-found": Kind(404, "There is no such thing here"),
    "unknown-pipeline": Kind(404, "The app has no such pipeline"),
    "unknown-publication": Kind(404, "No pipeline of the app takes it"),
    "method-not-allowed": Kind(405, "The resource does not take this method"),
    "conflict": Kind(409, "Another answer was admitted before"),
    "ambiguous-correlation": Kind(409, "Several open interactions fit"),
    "submit-conflict": Kind(409, "The submit key is taken by another input"),
    "handoff-conflict": Kind(409, "The handoff key is taken by another payload"),
    "not-finished": Kind(409, "There is no result"),
    "not-redrivable": Kind(409, "It cannot be done again"),
    "already-ended": Kind(409, "The execution has ended"),
    "already-assigned": Kind(409, "The interaction is somebody else's"),
    "not-releasable": Kind(409, "It cannot go on under that fingerprint"),
    "late": Kind(410, "The interaction takes no answer any more"),
    "slow-body": Kind(408, "The body did not come in time"),
    "too-large": Kind(413, "The request is too large"),
    "limit-exceeded": Kind(413, "A limit was exceeded"),
    "result-too-large": Kind(413, "The result is too large for one piece"),
    "unsupported-media-type": Kind(415, "The body is of a type that is not taken"),
    "invalid-answer": Kind(422, "The answer does not fit what was asked"),
    "projection-failed": Kind(422, "The answer could not be projected"),
    "wrong-step": Kind(422, "The interaction belongs to another step"),
    "unknown-step": Kind(422, "This deployment does not know the step"),
    "invalid-input": Kind(422, "The input does not fit the pipeline"),
    "handoff-invalid": Kind(422, "What was published does not fit who takes it"),
    "mapper-failed": Kind(422, "What was published could not be mapped"),
    "invalid-payload": Kind(422, "A value does not fit its type"),
    "quota-exceeded": Kind(429, "The tenant has enough open executions"),
    "too-many-headers": Kind(431, "The request has too many headers"),
    "internal": Kind(500, "Something went wrong inside"),
    "unavailable": Kind(503, "Nothing was taken in; trying again is safe"),
}

#: A refused completion whose code is not in the table is answered by its receipt.
_CODE_OF_OUTCOME: Final = {
    "conflict": "conflict",
    "late": "late",
    "rejected": "invalid-answer",
    "unknown": "not-found",
}
_CODE_OF_STATUS: Final = {
    400: "malformed",
    401: "unauthenticated",
    403: "not-allowed",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    503: "unavailable",
}


class Refused(BideError):
    """A request that the edge itself refuses, before the model is asked."""

    def __init__(self, code: str, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.errors = list(errors)


class CutOff(Refused):
    """A request that is refused without reading it to its end."""


def malformed(message: str, path: str = "") -> Refused:
    """Refuse a request that cannot be read; `path` points into its body."""
    errors = [FieldError(path=path, message=message)] if path else []
    return Refused("malformed", f"{path}: {message}" if path else message, errors=errors)


def problem(code: str, detail: str, *, instance: str, errors: Sequence[FieldError] = ()) -> Problem:
    """Write one problem; `code` must be in the table.

    A detail may quote what was sent, and somebody may send a token in the place of an id.
    """
    status, title = PROBLEMS[code]
    detail = redact(detail)
    body = Problem(
        type=TYPE_BASE + code, title=title, status=status, detail=detail, instance=instance
    )
    if errors:
        body["errors"] = [
            FieldError(path=redact(each["path"]), message=redact(each["message"]))
            for each in errors
        ]
    return body


def instance_of(request: Request) -> str:
    """What a problem is about: the path as the client wrote it, without the query."""
    return quote(redact(request.url.path), safe="/%:@!$&'()*+,;=~")


def code_of(reply: Reply) -> str:
    """The problem that a refused completion is told as."""
    return reply.code if reply.code in PROBLEMS else _CODE_OF_OUTCOME[reply.receipt.outcome]


def of_reply(reply: Reply, *, instance: str) -> Problem:
    """Tell of a completion that was not admitted; its receipt stands beside."""
    code = code_of(reply)
    receipt = reply.receipt
    detail = reply.detail or f"interaction {receipt.interaction_id}: {PROBLEMS[code].title}"
    return problem(code, detail, instance=instance, errors=reply.errors)


def of_error(error: Exception, *, instance: str) -> Problem:
    """Tell of an error; of one that nobody expected it says nothing but that it happened."""
    if isinstance(error, MalformedJson):
        return problem("malformed", str(error), instance=instance)
    if isinstance(error, ClientDisconnect):
        return problem("malformed", "The body was not sent to its end.", instance=instance)
    if isinstance(error, NotRunning):
        return problem("unavailable", "The app is not open yet, or no more.", instance=instance)
    if isinstance(error, BideError) and error.code in PROBLEMS:
        errors: Sequence[FieldError] = getattr(error, "errors", ())
        told = problem(error.code, str(error), instance=instance, errors=errors)
        return {**told, **_particulars(error)}
    # The message and the trace may hold payloads; the type and the place cannot.
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    _log.error("request failed: %s at %s (%s)", type(error).__name__, place, instance)
    return problem("internal", "The server's log tells more.", instance=instance)


def _particulars(error: BideError) -> Particulars:
    """What an error holds beside its text, so that a client need not read that."""
    match error:
        case LimitExceeded():
            limit = LimitBody(
                setting=error.setting, bound=error.bound, unit=error.unit, actual=error.actual
            )
            return {"limit": limit}
        case NotFinished() | AlreadyEnded():
            return {"executionStatus": error.status}
        case AlreadyAssigned():
            return {"assignee": error.assignee}
        case _:
            return {}


def respond(request: Request, error: Exception) -> Response:
    """Answer a request with the problem that an error comes to."""
    if isinstance(error, HTTPException):
        return _of_http(request, error)
    body = of_error(error, instance=instance_of(request))
    retry = isinstance(error, StoreUnavailable | NotRunning | QuotaExceeded)
    # A connection on which more of this request may come is good for no other one.
    is_cut_off = isinstance(error, CutOff)
    return _response(body, {}, retry=retry, headers={"connection": "close"} if is_cut_off else None)


def respond_reply(request: Request, reply: Reply) -> Response:
    """Answer a request with a refused completion: a problem, with the receipt's fields in it."""
    body = of_reply(reply, instance=instance_of(request))
    receipt: ReceiptBody = rendering.receipt(reply.receipt)
    beside = {name: value for name, value in receipt.items() if name != "status"}
    return _response(body, {**beside, "interactionStatus": reply.receipt.status}, retry=False)


def _of_http(request: Request, error: HTTPException) -> Response:
    """Answer for the router (no such path, not this method) and for a user's `identify`."""
    code = _CODE_OF_STATUS.get(error.status_code)
    instance = instance_of(request)
    if code is not None:
        body = problem(code, error.detail, instance=instance)
    else:
        title = HTTPStatus(error.status_code).phrase
        body = Problem(
            type="about:blank",
            title=title,
            status=error.status_code,
            detail=error.detail,
            instance=instance,
        )
    return _response(body, {}, retry=False, headers=error.headers)


def _response(
    body: Problem,
    beside: Mapping[str, Any],
    *,
    retry: bool,
    headers: Mapping[str, str] | None = None,
) -> Response:
    extra = dict(headers or {})
    if retry:
        extra["retry-after"] = RETRY_AFTER_SECONDS
    if body["status"] == HTTPStatus.UNAUTHORIZED:
        extra.setdefault("www-authenticate", "Bearer")
    return rendering.response(
        {**body, **beside}, status=body["status"], media_type=MEDIA_TYPE, headers=extra
    )
