"""`branch`: divides a union's variants among functions and awaits, in sight.

`branch(f).branch(g).keep(T)` must cover every variant exactly once; whether it does is known when
it joins a pipeline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, TypeAlias, overload

from typing_extensions import TypeForm, TypeIs, TypeVar

from bide.authoring.awaits import Await
from bide.authoring.many import Many

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Keep:
    """An arm that lets values of a type pass as they are."""

    type: object


Arm: TypeAlias = Callable[..., Any] | Await[Any, Any, Any] | Keep


class Branches(Generic[In_contra, Out_co]):
    """Some arms, each for variants of its own; made by `branch` and never changed."""

    __slots__ = ("arms",)

    def __init__(self, arms: tuple[Arm, ...]) -> None:
        self.arms = arms

    @overload
    def branch(self: Branches[A, B], step: Await[C, Any, D]) -> Branches[A | C, B | D]: ...
    @overload
    def branch(
        self: Branches[A, B], step: Callable[Concatenate[C, ...], Iterator[D] | AsyncIterator[D]]
    ) -> Branches[A | C, B | Many[D]]: ...
    @overload
    def branch(
        self: Branches[A, B], step: Callable[Concatenate[C, ...], Awaitable[D]]
    ) -> Branches[A | C, B | D]: ...
    @overload
    def branch(
        self: Branches[A, B], step: Callable[Concatenate[C, ...], D]
    ) -> Branches[A | C, B | D]: ...
    def branch(self, step: Arm) -> Branches[Any, Any]:
        """Send the variants that this function or await takes to it."""
        return Branches((*self.arms, step))

    def keep(self: Branches[A, B], type: TypeForm[C]) -> Branches[A | C, B | C]:
        """Let the variants of this type pass as they are."""
        return Branches((*self.arms, Keep(type)))


def is_branches(value: object) -> TypeIs[Branches[Any, Any]]:
    """Tell branches from a function."""
    return isinstance(value, Branches)


@overload
def branch(step: Await[A, Any, B]) -> Branches[A, B]: ...
@overload
def branch(
    step: Callable[Concatenate[A, ...], Iterator[B] | AsyncIterator[B]],
) -> Branches[A, Many[B]]: ...
@overload
def branch(step: Callable[Concatenate[A, ...], Awaitable[B]]) -> Branches[A, B]: ...
@overload
def branch(step: Callable[Concatenate[A, ...], B]) -> Branches[A, B]: ...
def branch(step: Arm) -> Branches[Any, Any]:
    """Open a division of a union: the variants that this function or await takes go to it."""
    return Branches((step,))
