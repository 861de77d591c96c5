"""`Await`: a declared wait for an answer from outside. Data, no code that waits.

What can be checked without knowing what stands before the await is checked here, where it is
written: its name, durations, transport and keys. Types are read when it joins a pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, cast, overload

from typing_extensions import TypeForm, TypeIs, TypeVar

from bide.authoring.answers import Answer, Answered, Collect, Missing
from bide.authoring.durations import Duration, duration_ms
from bide.authoring.names import check_id, check_name, id_of_name
from bide.authoring.transports import Transport
from bide.errors import DefinitionError

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
In_contra = TypeVar("In_contra", contravariant=True)
Ans = TypeVar("Ans")
AOut_co = TypeVar("AOut_co", covariant=True, default=Ans)

#: The name of one field of the request, or of several.
Key: TypeAlias = str | Sequence[str]


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Await(Generic[In_contra, Ans, AOut_co]):
    """A boundary at which an execution parks until it is answered.

    Its shape comes from its types: `Await(n, Many[Doc], Report)` asks once about a whole stream,
    `Await(n, Job, Many[Part])` is answered with a stream, and an await of one value after a stream
    asks once per item.

    Args:
        name: what people read; its slug is the id unless `id` pins another.
        request: the type that is asked with.
        answer: the type of what an actor submits.
        project: makes what the next step takes from request, answer and `Answer`; without it, the
            next step takes the answer itself. Called once, when the answer is admitted.
        via: how the request leaves and the answer comes back.
        timeout: until when one interaction may be answered.
        on_timeout: what the next step takes when nobody answered, from the request; called and
            stored when the interaction is made. Without it, the unit fails.
        idempotent_on: the business key that partners get: fields, or a function of the request.
        correlate_on: what an answer may name the interaction by: fields, or a function.
        correlate_in: the scope in which `correlate_on` is unique; this pipeline and await if None.
        unit_timeout: until when all items of a stream must be answered.
        items: how many items of a stream may go missing; the next step then takes
            `Answered[T] | Missing`.
        id: pins the id, so that the name may change.
    """

    name: str
    id: str
    request_type: object
    answer_type: object
    project: Callable[..., Any] | None
    via: Transport
    timeout_ms: int
    on_timeout: Callable[..., Any] | None
    idempotent_on: tuple[str, ...] | Callable[..., str]
    correlate_on: tuple[str, ...] | Callable[..., str]
    correlate_in: str | None
    unit_timeout_ms: int | None
    collect: Collect | None

    @overload
    def __init__(
        self: Await[A, B, Answered[C] | Missing],
        name: str,
        request: TypeForm[A],
        answer: TypeForm[B],
        *,
        project: Callable[[A, B, Answer], C],
        items: Collect,
        via: Transport,
        timeout: Duration,
        on_timeout: Callable[[A], C] | None = None,
        idempotent_on: Key | Callable[[A], str] = (),
        correlate_on: Key | Callable[[A], str] = (),
        correlate_in: str | None = None,
        unit_timeout: Duration | None = None,
        id: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Await[A, B, Answered[B] | Missing],
        name: str,
        request: TypeForm[A],
        answer: TypeForm[B],
        *,
        items: Collect,
        via: Transport,
        timeout: Duration,
        on_timeout: Callable[[A], B] | None = None,
        idempotent_on: Key | Callable[[A], str] = (),
        correlate_on: Key | Callable[[A], str] = (),
        correlate_in: str | None = None,
        unit_timeout: Duration | None = None,
        id: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Await[A, B, C],
        name: str,
        request: TypeForm[A],
        answer: TypeForm[B],
        *,
        project: Callable[[A, B, Answer], C],
        via: Transport,
        timeout: Duration,
        on_timeout: Callable[[A], C] | None = None,
        idempotent_on: Key | Callable[[A], str] = (),
        correlate_on: Key | Callable[[A], str] = (),
        correlate_in: str | None = None,
        unit_timeout: Duration | None = None,
        id: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Await[A, B, B],
        name: str,
        request: TypeForm[A],
        answer: TypeForm[B],
        *,
        via: Transport,
        timeout: Duration,
        on_timeout: Callable[[A], B] | None = None,
        idempotent_on: Key | Callable[[A], str] = (),
        correlate_on: Key | Callable[[A], str] = (),
        correlate_in: str | None = None,
        unit_timeout: Duration | None = None,
        id: str | None = None,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        request: object,
        answer: object,
        *,
        via: Transport,
        timeout: Duration,
        project: Callable[..., Any] | None = None,
        on_timeout: Callable[..., Any] | None = None,
        idempotent_on: Key | Callable[..., str] = (),
        correlate_on: Key | Callable[..., str] = (),
        correlate_in: str | None = None,
        unit_timeout: Duration | None = None,
        items: Collect | None = None,
        id: str | None = None,
    ) -> None:
        what = f"await {check_name('await', name)!r}"
        if not isinstance(via, Transport):
            raise DefinitionError(f"{what}: via is {via!r}; write via=Inbox(group=...).")
        if items is not None and not isinstance(items, Collect):
            raise DefinitionError(f"{what}: items is {items!r}; write items=Collect(tolerate=...).")
        for option, function in (("project", project), ("on_timeout", on_timeout)):
            if function is not None and not callable(function):
                raise DefinitionError(f"{what}: {option} is {function!r}, which is no function.")
        if correlate_in is not None:
            check_name(f"{what}: correlate_in", correlate_in)
            if not correlate_on:
                raise DefinitionError(
                    f"{what}: correlate_in names a scope, but no key is unique in it. "
                    'Add correlate_on="field", or leave it out.'
                )
        values = {
            "name": name,
            "id": id_of_name(what, name) if id is None else check_id(what, id),
            "request_type": request,
            "answer_type": answer,
            "project": project,
            "via": via,
            "timeout_ms": duration_ms(timeout, f"{what}: timeout"),
            "on_timeout": on_timeout,
            "idempotent_on": key_fields(f"{what}: idempotent_on", idempotent_on),
            "correlate_on": key_fields(f"{what}: correlate_on", correlate_on),
            "correlate_in": correlate_in,
            "unit_timeout_ms": None
            if unit_timeout is None
            else duration_ms(unit_timeout, f"{what}: unit_timeout"),
            "collect": items,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)


def is_await(value: object) -> TypeIs[Await[Any, Any, Any]]:
    """Tell an await from a function."""
    return isinstance(value, Await)


def key_fields(what: str, key: Key | Callable[..., str]) -> tuple[str, ...] | Callable[..., str]:
    """Bring a key to one form: the names of fields, or a function."""
    if not isinstance(key, Sequence):
        if callable(key):
            return key
        raise DefinitionError(
            f"{what} is {key!r}; write a field name, a list of them or a function."
        )
    fields = (key,) if isinstance(key, str) else cast("Iterable[str]", key)
    names = tuple(check_name(what, field) for field in fields)
    if len(set(names)) != len(names):
        raise DefinitionError(f"{what} names a field twice: {', '.join(names)}.")
    return names
