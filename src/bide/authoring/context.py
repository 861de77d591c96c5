"""What a running step may know about its run.

The runtime makes one `Context` per try of a step and enters it around the call. A step asks for it
by the type of a parameter; code deeper down asks `Context.current()`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from datetime import datetime
from logging import Logger, LoggerAdapter
from typing import Final

from bide.errors import NotRunning


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The execution, step, item and attempt that this code runs for."""

    execution_id: str
    step_id: str
    #: The position in the stream; None for a single value.
    item_index: int | None
    #: Which try of this step it is, from 1.
    attempt: int
    tenant: str
    #: Equal on every repeat of this step for this item: what to send to partners.
    idempotency_key: str
    #: Carries the ids above into every line.
    log: LoggerAdapter[Logger]
    #: Where time comes from: the runtime's clock, or the virtual one of a test.
    clock: Callable[[], datetime] = field(repr=False)

    def now(self) -> datetime:
        """Tell the time in UTC; it is virtual in tests, so ask here and nowhere else."""
        return self.clock()

    @classmethod
    def current(cls) -> Context:
        """Give the context of the step that is running here."""
        found = _current.get()
        context = found if found is None or isinstance(found, Context) else found()
        if context is None:
            raise NotRunning(
                "Context.current() was called outside a running step. "
                "A test that calls a step directly can enter one: with entered(context): ..."
            )
        return context


#: A context, or what makes one: most steps never look, and a stream has many items.
_Found = Context | Callable[[], Context]

_current: Final[ContextVar[_Found | None]] = ContextVar("bide_context", default=None)


class entered:  # noqa: N801 - reads as a verb: with entered(context)
    """Make this the current context in the body of the `with`; a function is asked when it is needed.

    A class and not a generator, because it is entered once for every call of every step.
    """

    __slots__ = ("_context", "_token")

    def __init__(self, context: _Found) -> None:
        self._context = context
        self._token: Token[_Found | None] | None = None

    def __enter__(self) -> None:
        self._token = _current.set(self._context)

    def __exit__(self, *error: object) -> None:
        assert self._token is not None
        _current.reset(self._token)
