"""One exchange with the server as values: what is sent, what came of it, and when to try again.

A flow is a generator that yields `Exchange` (answered by `Answered` or `Lost`) and `Rest`, and
returns what its caller wants. Whoever drives it does the input and output.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from random import random
from typing import Any, Final, TypeAlias, TypeVar

from bide.authoring.retry import Retry
from bide.client.refusals import refusal
from bide.errors import StoreUnavailable

T = TypeVar("T")

#: What a proxy says of a server that it could not reach or that did not answer it.
_LOST_BEHIND_A_PROXY: Final = {502, 504}
#: What a server says that took nothing in.
_NOT_TAKEN: Final = {429, 503}
#: A server that asks for a longer rest is not waited for.
_REST_MAX_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request to be sent."""

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content: bytes | None = field(default=None, repr=False)
    #: Seconds that the server may take beyond the usual, because it was asked to wait.
    patience_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answered:
    """The server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """It did not answer; `sent` when it may have got the request all the same."""

    why: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Rest:
    """Do nothing for so many seconds."""

    seconds: float


Flow: TypeAlias = Generator[Exchange | Rest, Any, T]


def exchanged(
    exchange: Exchange,
    read: Callable[[Answered], T],
    retry: Retry,
    *,
    repeatable: bool = True,
    on_refusal: Callable[[Answered], Exception] | None = None,
) -> Flow[T]:
    """Send a request until it is answered for good, and read the answer.

    Args:
        exchange: what is sent, equal on every try.
        read: what an answer that is no error comes to.
        retry: how often and how far apart.
        repeatable: whether the server may do it twice without harm. If not, it is sent again only
            where it cannot have been done.
        on_refusal: what an error comes to, where it is more than its problem.

    Raises:
        StoreUnavailable: all tries came to nothing; sending it again later is safe.
        BideError: what the server refused.
    """
    attempt = 1
    while _is_retried(came := (yield exchange), repeatable=repeatable):
        rest_s = _rest_s(came, retry.rest_ms(attempt, random()) / 1000)
        if attempt == retry.attempts or rest_s > _REST_MAX_S:
            break
        yield Rest(rest_s)
        attempt += 1
    if isinstance(came, Lost):
        raise StoreUnavailable(f"{exchange.method} {exchange.path}: {came.why}")
    if came.status < 300:
        return read(came)
    raise (on_refusal or refusal)(came)


def _is_retried(came: Answered | Lost, *, repeatable: bool) -> bool:
    if isinstance(came, Lost):
        return repeatable or not came.sent
    return came.status in _NOT_TAKEN or (repeatable and came.status in _LOST_BEHIND_A_PROXY)


def _rest_s(came: Answered | Lost, own_s: float) -> float:
    """Rest as long as the server asks (in seconds, as ours does), and never shorter than our own."""
    asked = "" if isinstance(came, Lost) else came.headers.get("retry-after", "").strip()
    is_seconds = asked.isascii() and asked.isdigit()
    return max(own_s, float(asked[:9])) if is_seconds else own_s
