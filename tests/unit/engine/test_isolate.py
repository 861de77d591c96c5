"""Halving a batch until what cannot be stored stands alone."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bide.engine.fold import Transacted
from bide.engine.moves import Cancel, Handover, Move, Refused, Unstorable
from bide.model.ids import ExecutionId
from bide.stores.isolate import DataError, check_storable, isolate


class Database:
    """Takes parts of a batch; refuses those with a poison in them."""

    def __init__(self, poisons: set[int]) -> None:
        self.poisons = poisons
        self.taken: list[int] = []
        self.attempts = 0

    def attempt(self, part: Sequence[Move], handover: Handover | None) -> Transacted:
        self.attempts += 1
        numbers = [int(move.tenant) for move in part if isinstance(move, Cancel)]
        if self.poisons & set(numbers):
            raise DataError("bad")
        self.taken += numbers
        return Transacted([Refused(str(number)) for number in numbers], [], len(numbers), [])


def batch(size: int) -> list[Move]:
    return [Cancel(ExecutionId(b""), str(number), "") for number in range(size)]


@given(st.integers(0, 200), st.sets(st.integers(0, 199)))
def test_each_alone(size: int, poisons: set[int]) -> None:
    """Every good move is made once, in order; every bad one is answered in its place."""
    database = Database(poisons)

    outcomes, _, left_ready, *_ = isolate(batch(size), None, database.attempt)

    bad = {number for number in range(size) if number in poisons}
    assert database.taken == [number for number in range(size) if number not in bad]
    assert outcomes == [
        Unstorable("bad") if number in bad else Refused(str(number)) for number in range(size)
    ]
    assert left_ready == size - len(bad)


def test_costs_nothing_without_one() -> None:
    """A batch without a poison is one attempt; one among 500 costs some twenty."""
    clean, poisoned = Database(set()), Database({250})

    isolate(batch(500), None, clean.attempt)
    isolate(batch(500), None, poisoned.attempt)

    assert clean.attempts == 1
    assert poisoned.attempts <= 2 * 9 + 1


@pytest.mark.parametrize(
    "value", ["a\0", "\ud800", "a\udfff", 2**63, -(2**63) - 1, 1.5, bytearray(b"x"), [], object()]
)
def test_unstorable(value: object) -> None:
    """What not every database can keep is refused, and the message does not repeat it."""
    with pytest.raises(DataError) as caught:
        check_storable("Row", (1, value))

    assert repr(value) not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["", "é", "\U0001f37d", "\ud7ff\ue000", 2**63 - 1, -(2**63), b"\0", None, True]
)
def test_storable(value: object) -> None:
    """What every database can keep passes."""
    check_storable("Row", (value,))
