"""A row that the database refuses fails alone (duty S6): halve the batch until it stands alone.

A store makes the parts that `parts_of` asks for, inside the transaction in progress. When the
database refuses a value, it puts the transaction back to where the part began (a savepoint) and
answers with `DataError`. Parts are tried from left to right, so later moves go on seeing earlier
ones; a bad move among n costs about 2 log n attempts, and a batch without one costs nothing.
"""

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import NamedTuple

from bide.engine.fold import Transacted
from bide.engine.moves import Handover, Move, Unstorable
from bide.model.records import replace

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class Part(NamedTuple):
    """Moves to make together."""

    moves: Sequence[Move]
    handover: Handover | None


class DataError(Exception):
    """The database refuses a value; which move it came with is not known yet."""


def parts_of(part: Part) -> Generator[Part, Transacted | DataError, Transacted]:
    """Ask for parts to be made until every move that can be stored is; answer the others.

    Is sent what each part came to, and returns what the whole did: the others are `Unstorable`.
    """
    moves, handover = part
    made = yield part
    if isinstance(made, Transacted):
        return made
    if len(moves) == 1:
        return Transacted([Unstorable(str(made))], [], 0, [])
    middle = len(moves) // 2
    left = yield from parts_of(Part(moves[:middle], handover))
    right = yield from parts_of(Part(moves[middle:], _remaining(handover, len(left.claims))))
    return left.then(right)


def isolate(
    moves: Sequence[Move],
    handover: Handover | None,
    attempt: Callable[[Sequence[Move], Handover | None], Transacted],
) -> Transacted:
    """Make every move that can be stored, each part by `attempt`, which may raise `DataError`."""
    parts = parts_of(Part(moves, handover))
    part = next(parts)
    while True:
        try:
            made: Transacted | DataError = attempt(*part)
        except DataError as error:
            made = error
        try:
            part = parts.send(made)
        except StopIteration as end:
            return _whole(end)


async def isolate_async(
    moves: Sequence[Move],
    handover: Handover | None,
    attempt: Callable[[Sequence[Move], Handover | None], Awaitable[Transacted]],
) -> Transacted:
    """`isolate` for a store that awaits its database."""
    parts = parts_of(Part(moves, handover))
    part = next(parts)
    while True:
        try:
            made: Transacted | DataError = await attempt(*part)
        except DataError as error:
            made = error
        try:
            part = parts.send(made)
        except StopIteration as end:
            return _whole(end)


def _whole(end: StopIteration) -> Transacted:
    assert isinstance(end.value, Transacted)
    return end.value


def _remaining(handover: Handover | None, taken: int) -> Handover | None:
    return None if handover is None else replace(handover, slots=handover.slots - taken)


def check_storable(table: str, row: tuple[object, ...]) -> None:
    """Refuse a row that not every database could keep.

    The bounds are those that all stores have in common, so that what was accepted by one can be
    moved to another: text that is UTF-8 and holds no NUL, integers of 64 bits, bytes.

    Raises:
        DataError: it names the table and what is wrong, and never the value.
    """
    for value in row:
        problem = _problem(value)
        if problem is not None:
            raise DataError(f"{table}: {problem}")


def _problem(value: object) -> str | None:
    match value:
        case None | bytes():
            return None
        case int():
            return None if _INT_MIN <= value <= _INT_MAX else "a number needs more than 64 bits"
        case str():
            if "\0" in value:
                return "a text holds the character NUL"
            if any("\ud800" <= character <= "\udfff" for character in value):
                return "a text holds half a character (a lone surrogate)"
            return None
        case _:
            return f"a value of type {type(value).__name__} cannot be stored"
