"""Taking completions in: one with its own answer, many as lines that are answered in order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from starlette.responses import Response, StreamingResponse

from bide.errors import BideError, StoreUnavailable
from bide.planning.json_limits import MalformedJson, strict_loads
from bide.runtime.views import Completion, Reply
from bide.web import body, guard, parsing, problems, rendering
from bide.web.problems import Refused, malformed
from bide.web.routing import Call
from bide.web.schemas import BatchReceipt, Problem, ReceiptBody

#: A problem alone stands for a line that has no receipt.
LineAnswer: TypeAlias = ReceiptBody | BatchReceipt | Problem

#: Lines that are admitted and answered together; a commit takes as many as it likes of them.
LINES_AT_ONCE: Final = 1_000


async def complete_one(call: Call, *, named: str | None = None) -> Response:
    """Take in the completion that is the body of a request."""
    settings = call.service.settings
    with _discreet(call):
        given = await body.read_json(call.request, call.headers, settings)
        completion = parsing.completion(given, call.caller, named=named)
        if completion.resume_token is None:
            _refuse_tokenless(call)
    with call.waiting.holding(1, settings.pending_rows):
        reply = await call.service.complete(call.tenant, completion, by=call.caller)
    if not rendering.is_admitted(reply):
        return problems.respond_reply(call.request, reply)
    status = 202 if reply.receipt.outcome == "buffered" else 200
    return rendering.response(rendering.receipt(reply.receipt), status=status)


async def complete_lines(call: Call) -> Response:
    """Take in a batch, one completion a line; each stands or falls alone."""
    settings = call.service.settings
    with _discreet(call):
        data = await body.read_bytes(call.request, call.headers, settings, rendering.NDJSON)
        lines = data.removesuffix(b"\n").split(b"\n")
        if not data.strip():
            raise malformed("The body is empty; one completion a line is needed.")
        if len(lines) > settings.batch_max_lines:
            raise Refused(
                "too-large",
                f"batch_max_lines allows {settings.batch_max_lines:,} lines,"
                f" and this has {len(lines):,}",
            )
        if not guard.holds(call.caller, "decide") and not any(
            _brings_token(call, line) for line in lines
        ):
            _refuse_tokenless(call)
    return StreamingResponse(
        _answers(call, lines), media_type=rendering.NDJSON, headers=rendering.COMMON_HEADERS
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """A line as read: a completion, or the answer that it already has."""

    number: int
    completion: Completion | None = None
    answer: LineAnswer | None = None


async def _answers(call: Call, lines: Sequence[bytes]) -> AsyncIterator[bytes]:
    """Give the answers in the order of the lines; after a failing store the rest is not tried."""
    instance = problems.instance_of(call.request)
    store_answers = True
    for start in range(0, len(lines), LINES_AT_ONCE):
        chunk = lines[start : start + LINES_AT_ONCE]
        read = [_read(call, line, number, instance) for number, line in enumerate(chunk, start + 1)]
        asked = [line.completion for line in read if line.completion is not None]
        replies = iter(await _admit(call, asked) if store_answers else [None] * len(asked))
        answers: list[LineAnswer] = []
        for line in read:
            if line.answer is not None:
                answers.append(line.answer)
                continue
            reply = next(replies)
            store_answers = store_answers and reply is not None
            answers.append(_answer(reply, f"{instance}#{line.number}"))
        yield rendering.lines(answers)


def _read(call: Call, line: bytes, number: int, instance: str) -> _Line:
    try:
        completion = parsing.completion(strict_loads(line), call.caller)
        if completion.resume_token is None:
            _refuse_tokenless(call)
    except (MalformedJson, BideError) as error:
        return _Line(number, answer=problems.of_error(error, instance=f"{instance}#{number}"))
    return _Line(number, completion)


@contextmanager
def _discreet(call: Call) -> Generator[None]:
    """Tell a caller that can act by tokens alone nothing of what is wrong with its request."""
    try:
        yield
    except (MalformedJson, Refused):
        _refuse_tokenless(call)
        raise


def _refuse_tokenless(call: Call) -> None:
    """Refuse whoever may not decide without a token."""
    if call.caller.is_stranger:
        detail = "The request carries neither a credential nor a token that is known here."
        raise Refused("unauthenticated", detail)
    try:
        guard.require(call.caller, "decide")
    except Refused as refused:
        call.service.note_refusal(call.caller, "complete", refused.code)
        raise


def _brings_token(call: Call, line: bytes) -> bool:
    try:
        token = parsing.completion(strict_loads(line), call.caller).resume_token
    except (MalformedJson, Refused):
        return False
    return token is not None and call.service.knows_token(token)


async def _admit(call: Call, completions: Sequence[Completion]) -> Sequence[Reply | None]:
    if not completions:
        return []
    try:
        with call.waiting.holding(len(completions), call.service.settings.pending_rows):
            return await call.service.complete_many(call.tenant, completions, by=call.caller)
    except Exception as error:  # noqa: BLE001 - the answer has begun: its lines must go on
        if not isinstance(error, StoreUnavailable):
            problems.of_error(error, instance=problems.instance_of(call.request))
        return [None] * len(completions)


def _answer(reply: Reply | None, instance: str) -> LineAnswer:
    if reply is None:
        detail = "The store failed; nothing of this line was taken in."
        return problems.problem("unavailable", detail, instance=instance)
    receipt = rendering.receipt(reply.receipt)
    if rendering.is_admitted(reply):
        return receipt
    return {**receipt, "problem": problems.of_reply(reply, instance=instance)}
