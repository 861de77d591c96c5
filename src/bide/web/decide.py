"""`/decide/TOKEN`: a link by which one person decides one thing, and needs no other credential.

GET shows and changes nothing, however often a mail program looks at the link; only POST decides,
and only from the page itself. The token stands in the address, so the address is kept from whoever
need not know it: the page refers to nothing and nobody, no cache keeps it, and this module takes the
token out of the request's scope before anything else reads that.
"""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bide.errors import NotRunning, StoreUnavailable
from bide.model.ids import format_interaction
from bide.planning.json_limits import MalformedJson, strict_loads
from bide.runtime.texts import NAME_MAX, check_text
from bide.runtime.views import Completion, InteractionView, Reply
from bide.security.access import Caller
from bide.security.tokens import Claims, Purpose, TokenRefused
from bide.web import body, forms, guard, pages, rendering
from bide.web.guard import Headers
from bide.web.problems import PROBLEMS, Refused
from bide.web.routing import Edge

PATH: Final = "/decide/{token}"
_HIDDEN: Final = "/decide/hidden"
_FORM: Final = "application/x-www-form-urlencoded"
_FIELDS_MAX: Final = 200
_OPEN: Final = frozenset({"WAITING", "DISPATCHING", "DISPATCHED"})

_log = logging.getLogger(__name__)

_SAID: Final = {
    "applied": (200, "Thank you", "Your decision has been recorded."),
    "duplicate": (200, "Thank you", "The same decision had been recorded before; it stands."),
    "conflict": (409, "Decided already", "Another decision was recorded before; it stands."),
    "late": (410, "Too late", "This takes no decision any more."),
    "unknown": (404, "Not here any more", "What the link was for is no longer kept."),
}


class Decide:
    """The page behind a link, as an ASGI application."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a page, whatever happens."""
        token = str(scope["path_params"].pop("token"))
        # Servers write the scope's path into their access logs once the answer begins.
        scope["path"], scope["raw_path"] = _HIDDEN, _HIDDEN.encode()
        request = Request(scope, receive, send)
        try:
            response = await self._answer(request, token)
        except TokenRefused as error:
            gone = error.code == "expired-token"
            text = "The link has expired." if gone else "The link is not good; was it cut off?"
            response = pages.message("This link does not work", text, status=410 if gone else 403)
        except Refused as error:
            response = pages.message(
                "This does not work", str(error), status=PROBLEMS[error.code].status
            )
        except (StoreUnavailable, NotRunning):
            text = "Nothing was recorded. Please try again in a minute."
            response = pages.message("Not now", text, status=503)
        except Exception as error:  # noqa: BLE001 - a person gets a page; the log gets no payload
            _log.error("a link's page failed: %s", type(error).__name__)
            response = pages.message("Something went wrong", "Nothing was recorded.", status=500)
        await response(scope, receive, send)

    async def _answer(self, request: Request, token: str) -> Response:
        if request.method not in {"GET", "HEAD", "POST"}:
            raise Refused("method-not-allowed", "A link is looked at, or its form is sent.")
        headers = guard.headers_of(request)
        if self._edge.identify is None:
            guard.refuse_other_machines(request, headers)
        service = self._edge.app.service
        claims = service.claims_of(token, Purpose.DECIDE)
        view = await service.interaction(claims.tenant, format_interaction(claims.interaction))
        if view is None:
            return _say("unknown")
        if request.method == "POST":
            guard.insist_on_own_page(headers)
            return await self._decide(request, headers, token, claims, view)
        if view.status.name not in _OPEN:
            status, title, text = _SAID["conflict" if view.status.name == "COMPLETED" else "late"]
            return pages.message(title, text, status=200 if status == 409 else status)
        return pages.question(view, _forms(view), asks_name=claims.actor is None)

    async def _decide(
        self, request: Request, headers: Headers, token: str, claims: Claims, view: InteractionView
    ) -> Response:
        service = self._edge.app.service
        given = _fields(await body.read_bytes(request, headers, service.settings, _FORM))
        ways = _forms(view)
        try:
            completion = _completion(ways, given, token, asks_name=claims.actor is None)
            by = Caller(claims.tenant, is_stranger=True, takes=Purpose.DECIDE)
            with self._edge.waiting.holding(1, service.settings.pending_rows):
                reply = await service.complete(claims.tenant, completion, by=by)
            if reply.receipt.outcome != "rejected":
                return _say(reply.receipt.outcome)
            wrong = _why(reply)
        except forms.Unreadable as error:
            wrong = str(error)
        return pages.question(
            view, ways, asks_name=claims.actor is None, wrong=wrong, given=given, status=422
        )


def _forms(view: InteractionView) -> list[forms.Form]:
    if view.output_schema is None:
        raise Refused("unknown-step", "What is served here does not know this question any more.")
    return forms.forms_of(view.output_schema)


def _fields(data: bytes) -> dict[str, str]:
    """The form's fields, of which each stands once."""
    try:
        pairs = parse_qsl(
            data.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(data),
            errors="strict",
            max_num_fields=_FIELDS_MAX,
        )
    except ValueError:
        raise Refused("malformed", "The form cannot be read.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refused("malformed", "The form holds a field twice.")
    return fields


def _completion(
    ways: list[forms.Form], given: dict[str, str], token: str, *, asks_name: bool
) -> Completion:
    """The completion that a filled form comes to.

    Raises:
        Unreadable: a field holds what is none of its kind, or what no store could keep.
    """
    number = given.get("form", "")
    if not number.isascii() or not number.isdigit() or int(number[:9]) >= len(ways):
        raise Refused("malformed", "The form is none of this page's.")
    answer = forms.read_answer(ways[int(number)], given)
    actor = given.get("actor", "").strip() if asks_name else None
    problem = check_text(actor, NAME_MAX) if actor is not None else None
    if problem is not None:
        raise forms.Unreadable(f"Your name {problem}")
    try:
        # Texts of a form may hold what JSON may not; they come through the same loader as JSON.
        payload = strict_loads(rendering.encode(answer))
    except MalformedJson as error:
        raise forms.Unreadable(f"The answer cannot be taken: {error}") from None
    return Completion(resume_token=token, payload=payload, actor=actor)


def _why(reply: Reply) -> str:
    errors = "; ".join(f"{each['path'] or 'answer'}: {each['message']}" for each in reply.errors)
    return errors or reply.detail or "The answer was not taken."


def _say(outcome: str) -> Response:
    status, title, text = _SAID[outcome]
    return pages.message(title, text, status=status)
