"""`Many[T]`: the word for a stream of T in an await and in a pipeline's input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast, overload

from typing_extensions import TypeVar

Out_co = TypeVar("Out_co", covariant=True)


class Many(Sequence[Out_co]):
    """A stream of `T`, and in the callables of an await the sequence of its items.

    `Await(name, Many[Document], Report)` asks one question about a whole stream. A function that
    consumes or gives a stream says `Iterator[T]` or `AsyncIterator[T]` instead, and `list[T]` is
    one value that happens to be a list.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Out_co], /) -> None:
        self._items = tuple(items)

    @overload
    def __getitem__(self, index: int, /) -> Out_co: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[Out_co]: ...
    def __getitem__(self, index: int | slice, /) -> Out_co | Sequence[Out_co]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Many):
            return NotImplemented
        return self._items == cast("Many[object]", other)._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Many({list(self._items)!r})"
