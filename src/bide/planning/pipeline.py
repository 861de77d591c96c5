"""`Pipeline`: what users build with, a plan and its types.

It lives with the compiler and not with what it is built from (`bide.authoring`), because it must
refuse a mistake in the call that makes it: each `.then` and `.wait` compiles its element at once.
The overloads say to the type checkers what `bide.planning.shapes` says at run time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Concatenate, Final, Generic, TypeAlias, overload

from typing_extensions import TypeForm, TypeVar

from bide.authoring.awaits import Await
from bide.authoring.branches import Branches, is_branches
from bide.authoring.many import Many
from bide.authoring.publications import Publication, Subscription, Unmapped
from bide.planning import compile as compiler
from bide.planning.plan import Plan

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)

Subscribed: TypeAlias = Subscription[A] | Subscription[Unmapped]

_NOTHING: Final[Mapping[type, object]] = MappingProxyType({})
_NONE_RENAMED: Final[Mapping[str, str]] = MappingProxyType({})


class Pipeline(Generic[In_contra, Out_co]):
    """A named, ordered list of steps that takes `In` and gives `Out`; never changed, only extended.

    Args:
        name: what people call it; its slug is the id in stores, URLs and on the command line.
        input: the type that it takes; `Many[T]` for a stream.
        renamed: ids that awaits had while executions parked there, and the ids they have now.
        publishes: what it hands to pipelines that subscribe to it, at its end or behind a step.
        subscribes: the publications that it makes executions of, each by way of its mapper.
    """

    __slots__ = ("_plan",)

    _plan: Plan

    def __init__(
        self: Pipeline[A, A],
        name: str,
        input: TypeForm[A],
        *,
        renamed: Mapping[str, str] = _NONE_RENAMED,
        publishes: Publication | Sequence[Publication] = (),
        subscribes: Subscribed[A] | Sequence[Subscribed[A]] = (),
    ) -> None:
        self._plan = compiler.begin(name, input, renamed, publishes, subscribes)

    @property
    def name(self) -> str:
        """What people call it, as it was written."""
        return self._plan.title

    @property
    def id(self) -> str:
        """What stores, URLs and the command line call it."""
        return self._plan.pipeline

    # An await of one item after a stream asks once per item; of `Many`, once.
    @overload
    def wait(self: Pipeline[A, Many[B]], boundary: Await[Many[B], Any, C]) -> Pipeline[A, C]: ...
    @overload
    def wait(self: Pipeline[A, Many[B]], boundary: Await[B, Any, C]) -> Pipeline[A, Many[C]]: ...
    @overload
    def wait(self: Pipeline[A, B], boundary: Await[B, Any, C]) -> Pipeline[A, C]: ...
    def wait(self, boundary: Await[Any, Any, Any]) -> Pipeline[Any, Any]:
        """Park here until the await is answered; what follows takes its answer."""
        return _of(compiler.with_await(self._plan, boundary))

    # A stream is divided or mapped item by item, or consumed.
    @overload
    def then(self: Pipeline[A, Many[B]], step: Branches[B, C]) -> Pipeline[A, Many[C]]: ...
    @overload
    def then(self: Pipeline[A, B], step: Branches[B, C]) -> Pipeline[A, C]: ...
    @overload
    def then(
        self: Pipeline[A, Many[B]], step: Callable[Concatenate[Iterator[B], ...], Iterator[C]]
    ) -> Pipeline[A, Many[C]]: ...
    @overload
    def then(
        self: Pipeline[A, Many[B]],
        step: Callable[Concatenate[AsyncIterator[B], ...], AsyncIterator[C]],
    ) -> Pipeline[A, Many[C]]: ...
    @overload
    def then(
        self: Pipeline[A, Many[B]],
        step: Callable[Concatenate[AsyncIterator[B], ...], Awaitable[C]],
    ) -> Pipeline[A, C]: ...
    @overload
    def then(  # type: ignore[overload-overlap]  # no value is an iterator
        self: Pipeline[A, Many[B]], step: Callable[Concatenate[Iterator[B], ...], C]
    ) -> Pipeline[A, C]: ...
    @overload
    def then(
        self: Pipeline[A, Many[B]],
        step: Callable[Concatenate[B, ...], Iterator[C] | AsyncIterator[C]],
    ) -> Pipeline[A, Many[C]]: ...
    @overload
    def then(
        self: Pipeline[A, Many[B]], step: Callable[Concatenate[B, ...], Awaitable[C]]
    ) -> Pipeline[A, Many[C]]: ...
    @overload
    def then(
        self: Pipeline[A, Many[B]], step: Callable[Concatenate[B, ...], C]
    ) -> Pipeline[A, Many[C]]: ...
    # One value is expanded or converted.
    @overload
    def then(
        self: Pipeline[A, B], step: Callable[Concatenate[B, ...], Iterator[C] | AsyncIterator[C]]
    ) -> Pipeline[A, Many[C]]: ...
    @overload
    def then(
        self: Pipeline[A, B], step: Callable[Concatenate[B, ...], Awaitable[C]]
    ) -> Pipeline[A, C]: ...
    @overload
    def then(self: Pipeline[A, B], step: Callable[Concatenate[B, ...], C]) -> Pipeline[A, C]: ...
    def then(self, step: Callable[..., Any] | Branches[Any, Any]) -> Pipeline[Any, Any]:
        """Go on with a function, or divide a union with `branch(...)`."""
        if is_branches(step):
            return _of(compiler.with_branches(self._plan, step))
        return _of(compiler.with_step(self._plan, step))

    @overload
    async def run_inline(
        self: Pipeline[A, Many[B]], value: A, *, resources: Mapping[type, object] = _NOTHING
    ) -> list[B]: ...
    @overload
    async def run_inline(
        self: Pipeline[A, B], value: A, *, resources: Mapping[type, object] = _NOTHING
    ) -> B: ...
    async def run_inline(self, value: Any, *, resources: Mapping[type, object] = _NOTHING) -> Any:
        """Run it in memory, without a store: give the result, a list for a stream.

        Nothing is retried and nothing is kept; whatever a step raises, the caller gets.

        Raises:
            DefinitionError: it has an await, which needs the durable mode, or a step asks for a
                resource that is not given.
        """
        # The one import that points up: a plan knows no way to run, and users hold a pipeline.
        from bide.runtime.inline import run_inline

        return await run_inline(self._plan, value, resources)

    def __repr__(self) -> str:
        parts = " -> ".join(part.id for part in self._plan.positions)
        return f"<Pipeline {self.name!r}: {parts or 'no steps'}>"


def _of(plan: Plan) -> Pipeline[Any, Any]:
    cls: type[Pipeline[Any, Any]] = Pipeline
    pipeline = cls.__new__(cls)
    pipeline._plan = plan
    return pipeline


def plan_of(pipeline: Pipeline[Any, Any]) -> Plan:
    """Give what a pipeline compiled to; the rest of the library works on that."""
    return pipeline._plan
