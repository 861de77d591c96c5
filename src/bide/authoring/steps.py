"""`@step`: options of a function that stays a plain function.

The options are an attribute of the function, read back by `options_of`. So a test calls the
function directly, `.then` takes functions that were never decorated, and nothing is registered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, overload

from typing_extensions import TypeVar

from bide.authoring.durations import Duration, duration_ms
from bide.authoring.names import check_id, check_name, id_of_name, slug_of_class
from bide.authoring.retry import Retry
from bide.errors import DefinitionError

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE: Final = "__bide_step__"
_LAMBDA: Final = "<lambda>"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What `@step(...)` said; None where it said nothing."""

    id: str | None = None
    #: What people read; the function's own name if None.
    name: str | None = None
    retry: Retry | None = None
    timeout_ms: int | None = None


_NOTHING_SAID: Final = StepOptions()


@overload
def step(fn: F, /) -> F: ...
@overload
def step(
    *, id: str | None = None, retry: Retry | None = None, timeout: Duration | None = None
) -> Callable[[F], F]: ...
def step(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    id: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
) -> Any:
    """Set options on a function and give it back unchanged.

    Args:
        fn: the function, when the decorator is written without parentheses.
        id: pins the id, so that the function may be renamed.
        retry: how often it is tried; `Retry()` if nothing is said.
        timeout: how long one try may take; for a function that gives or takes a stream, one item.
    """
    if retry is not None and not isinstance(retry, Retry):
        raise DefinitionError(f"step: retry is {retry!r}; write retry=Retry(attempts=...).")
    options = StepOptions(
        id=None if id is None else check_id("step", id),
        retry=retry,
        timeout_ms=None if timeout is None else duration_ms(timeout, "step: timeout"),
    )

    def decorate(function: F) -> F:
        if not callable(function):
            raise DefinitionError(f"step: {function!r} is no function.")
        try:
            setattr(function, _ATTRIBUTE, options)
        except (AttributeError, TypeError):
            raise DefinitionError(
                f"step: no options can be set on {function!r}. "
                "Decorate the function where it is defined, or wrap it in one of your own."
            ) from None
        return function

    return decorate if fn is None else decorate(fn)


def options_of(fn: Callable[..., Any]) -> StepOptions:
    """Read the options back; those of a partial come before those of its function."""
    found = getattr(fn, _ATTRIBUTE, None)
    if isinstance(found, StepOptions):
        return found
    return options_of(fn.func) if isinstance(fn, partial) else _NOTHING_SAID


def entitled(fn: Callable[..., Any], *, id: str | None, name: str | None) -> Callable[..., Any]:
    """Give the same step under an id and a name of its own; the function is not touched."""
    own = options_of(fn)
    step = partial(fn)
    found = StepOptions(
        id=own.id if id is None else check_id("step", id),
        name=name,
        retry=own.retry,
        timeout_ms=own.timeout_ms,
    )
    setattr(step, _ATTRIBUTE, found)
    return step


def name_of(fn: Callable[..., Any]) -> str:
    """Give the name that people know a callable by."""
    if isinstance(fn, partial):
        return name_of(fn.func)
    name = getattr(fn, "__name__", None)
    return name if isinstance(name, str) else type(fn).__name__


def id_of(fn: Callable[..., Any], what: str) -> str:
    """Give a step's id: pinned by its options, else the slug of its name."""
    pinned = options_of(fn).id
    if pinned is not None:
        return pinned
    name = name_of(fn)
    if name == _LAMBDA:
        raise DefinitionError(
            f"{what} is a lambda, which has no name to last. "
            "Write a function with type hints: def convert(value: In) -> Out: ..."
        )
    if not hasattr(fn, "__name__") and not isinstance(fn, partial):
        name = slug_of_class(name)
    return id_of_name(what, check_name(what, name))
