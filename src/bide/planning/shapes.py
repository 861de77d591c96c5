"""Which shape follows which: the one table of what may stand after one value and after a stream.

| the await asks with, is answered with | after one value | after a stream |
| --- | --- | --- |
| `T`, `A` | ONE_TO_ONE, gives one | ONE_TO_ONE per item, gives a stream |
| `T`, `Many[A]` | ONE_TO_MANY, gives a stream | refused |
| `Many[T]`, `A` | refused | MANY_TO_ONE, gives one |
| `Many[T]`, `Many[A]` | refused | MANY_TO_MANY, gives a stream |

Of functions: taking an iterator needs a stream; yielding gives one; the rest maps a stream item by
item. Yields flatten, so a stream is never a stream of streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Cardinality(StrEnum):
    """How many requests and answers one interaction of an await has."""

    ONE_TO_ONE = "ONE_TO_ONE"
    ONE_TO_MANY = "ONE_TO_MANY"
    MANY_TO_ONE = "MANY_TO_ONE"
    MANY_TO_MANY = "MANY_TO_MANY"


#: (asks with a stream, is answered with a stream) -> cardinality
CARDINALITIES: Final[Mapping[tuple[bool, bool], Cardinality]] = MappingProxyType(
    {
        (False, False): Cardinality.ONE_TO_ONE,
        (False, True): Cardinality.ONE_TO_MANY,
        (True, False): Cardinality.MANY_TO_ONE,
        (True, True): Cardinality.MANY_TO_MANY,
    }
)

#: (a stream arrives, cardinality) that an await may stand at.
AWAITS_ALLOWED: Final = frozenset(
    {
        (False, Cardinality.ONE_TO_ONE),
        (False, Cardinality.ONE_TO_MANY),
        (True, Cardinality.ONE_TO_ONE),
        (True, Cardinality.MANY_TO_ONE),
        (True, Cardinality.MANY_TO_MANY),
    }
)


def step_gives_stream(*, stream: bool, consumes: bool, yields: bool) -> bool:
    """Say whether a stream goes on after a function, given whether one arrives."""
    return yields or (stream and not consumes)
