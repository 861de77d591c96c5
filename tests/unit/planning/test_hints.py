"""What a function takes and gives, read from its signature."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Annotated, Any, NewType

import pytest

from bide import Context, DefinitionError, Many
from bide.planning.hints import ResourceKey, Signature, resource_of, signature_of


class Client: ...


Second = NewType("Second", Client)


def one(value: int) -> str: ...
async def later(value: int) -> str: ...
def promised(value: int) -> Awaitable[str]: ...
def many(value: int) -> Iterator[str]: ...
def generated(value: int) -> Generator[str, None, None]: ...
async def many_later(value: int) -> AsyncIterator[str]:
    yield ""


def consumed(values: Iterable[int]) -> str: ...
async def consumed_later(values: AsyncIterator[int]) -> str: ...
async def piped(values: AsyncIterator[int]) -> AsyncGenerator[str, None]:
    yield ""


def a_list(values: list[int]) -> list[str]: ...
def nothing(value: int) -> None: ...


class Callable1:
    async def __call__(self, value: int) -> str: ...
    def method(self, value: int) -> str: ...


@wraps(one)
def wrapped(*args: Any) -> Any:
    return one(*args)


@pytest.mark.parametrize(
    ("fn", "takes", "consumes", "gives", "yields", "is_async"),
    [
        (one, int, False, str, False, False),
        (later, int, False, str, False, True),
        (promised, int, False, str, False, True),
        (many, int, False, str, True, False),
        (generated, int, False, str, True, False),
        (many_later, int, False, str, True, True),
        (consumed, int, True, str, False, False),
        (consumed_later, int, True, str, False, True),
        (piped, int, True, str, True, True),
        (a_list, list[int], False, list[str], False, False),
        (nothing, int, False, type(None), False, False),
        (Callable1(), int, False, str, False, True),
        (Callable1().method, int, False, str, False, False),
        (partial(later), int, False, str, False, True),
        (wrapped, int, False, str, False, False),
    ],
)
def test_shapes_come_from_types(
    fn: Callable[..., Any],
    takes: object,
    consumes: bool,
    gives: object,
    yields: bool,
    is_async: bool,
) -> None:
    """Iterators are streams, coroutines are awaited, a list is one value."""
    expected = Signature(
        takes=takes, consumes=consumes, gives=gives, yields=yields, is_async=is_async, wants=()
    )

    assert expected == signature_of(fn, "step")


def test_other_parameters_are_filled_by_type() -> None:
    """Those without a default, and a context even with one."""

    def asks(
        value: int,
        client: Annotated[Client, "said"],
        retries: int = 3,
        *rest: int,
        second: Second,
        ctx: Context | None = None,
        **more: int,
    ) -> str: ...

    expected = (("client", Client), ("second", Second), ("ctx", Context))

    assert expected == signature_of(asks, "step").wants


def unhinted(value): ...  # noqa: ANN001 - the mistake under test
def unsaid(value: int): ...
def keywords(*, value: int) -> int: ...
def hidden(value: "Elsewhere") -> int: ...  # noqa: F821 - the mistake under test
def unclear(value: int) -> Iterable[int]: ...
def word(value: Many[int]) -> int: ...
def given_word(value: int) -> Many[int]: ...
def bare_iterator(value: Iterator) -> int: ...
async def returned(value: int) -> Iterator[int]: ...
async def mixed(values: Iterator[int]) -> int: ...
def mixed_too(values: AsyncIterator[int]) -> int: ...
def unsaid_want(value: int, client) -> int: ...  # noqa: ANN001 - the mistake under test
def odd_want(value: int, client: Client | int) -> int: ...
def positional(value: int, client: Client, /) -> int: ...


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (unhinted, r"does not say what it takes. Write the type: \(value: <Type>\)"),
        (unsaid, "does not say what it gives. Write the type: -> <Type>"),
        (keywords, "takes nothing by position"),
        (hidden, "names 'Elsewhere' .* under `if TYPE_CHECKING:`, move it out"),
        (unclear, r"Write -> Iterator\[int\] for a stream, -> list\[int\] for one value"),
        (word, r"takes Many\[int\], the word of awaits. Take Iterator\[int\]"),
        (given_word, r"Write -> Iterator\[int\]"),
        (bare_iterator, "says Iterator without saying of what"),
        (returned, "Yield inside `async def`"),
        (mixed, r"Take an AsyncIterator\[int\], or make it sync"),
        (mixed_too, r"Take an Iterator\[int\], or make it async"),
        (unsaid_want, "does not say what 'client' is"),
        (odd_want, r"asks for 'client: Client \| int'; only a class can be asked for"),
        (positional, "takes 'client' by position only"),
        (Client, "is a class. Write a function"),
        (print, "does not say what it takes|takes nothing by position"),
    ],
)
def test_functions_that_do_not_say_enough(fn: Callable[..., Any], message: str) -> None:
    """The message holds the line to write."""
    with pytest.raises(DefinitionError, match=f"(?s){message}"):
        signature_of(fn, "step 1 'x'")


def test_a_resource_is_found_by_what_it_yields() -> None:
    """A context manager function says in its return type what it opens."""

    @asynccontextmanager
    async def client() -> AsyncGenerator[Client]:
        yield Client()

    @asynccontextmanager
    async def unsaid_client():
        yield Client()

    expected: ResourceKey = Client

    assert expected is resource_of(client)
    with pytest.raises(DefinitionError, match="does not say what it opens"):
        resource_of(unsaid_client)
