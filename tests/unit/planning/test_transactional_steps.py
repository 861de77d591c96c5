"""Where a step that takes a Transaction may stand, and what an author reads where it may not."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from bide import Await, DefinitionError, Inbox, Pipeline, Transaction, branch
from bide.planning.pipeline import plan_of


class Odd(BaseModel):
    number: int


class Even(BaseModel):
    number: int


def sort(number: int) -> Odd | Even:
    return Odd(number=number) if number % 2 else Even(number=number)


def plain(number: int) -> int:
    return number


def count(number: int) -> Iterator[int]:
    yield number


def total(numbers: Iterator[int]) -> int:
    return sum(numbers)


async def book(number: int, tx: Transaction) -> int:
    return number


async def book_again(number: int, tx: Transaction | None = None) -> int:
    return number


async def book_odd(odd: Odd, tx: Transaction) -> int:
    return odd.number


async def even(even: Even) -> int:
    return even.number


def blocking(number: int, tx: Transaction) -> int:
    return number


async def total_into(numbers: Iterator[int], tx: Transaction) -> int:
    return 0


def several(number: int, tx: Transaction) -> Iterator[int]:
    yield number


async def two(number: int, tx: Transaction, other: Transaction) -> int:
    return number


ask = Await("Ask", int, int, via=Inbox(), timeout="1d")
ask_odd = Await("Ask odd", Odd, int, via=Inbox(), timeout="1d")
ask_even = Await("Ask even", Even, int, via=Inbox(), timeout="1d")
start = Pipeline("orders", int)


def test_which_parameter_takes_it() -> None:
    """The plan knows the parameter, with a default or without, and asks the app for none of it."""
    plan = plan_of(start.then(plain).then(book).wait(ask).then(book_again))

    assert [step.transaction for step in plan.steps()] == [None, "tx", "tx"]
    assert plan.resources == frozenset()


@pytest.mark.parametrize(
    "pipeline",
    [
        lambda: start.then(book),
        lambda: start.then(book).wait(ask).then(plain),
        lambda: start.then(count).then(total).then(book),
        lambda: start.then(sort).then(branch(book_odd).branch(even)).wait(ask).then(plain),
        lambda: start.then(sort).then(branch(book_odd).keep(Even)),
        lambda: start.then(sort).then(branch(ask_odd).branch(ask_even)).then(book),
    ],
    ids=["the end", "a wait", "behind a consumer", "a branch", "beside a variant", "behind awaits"],
)
def test_where_it_may_stand(pipeline: object) -> None:
    """It is the last before a wait or the end, alone or as a branch."""
    assert callable(pipeline)

    assert any(step.transaction for step in plan_of(pipeline()).steps())


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (lambda: start.then(book).then(plain), "step 2 'plain' runs behind 'book'"),
        (lambda: start.then(book).then(book_again), "step 2 'book_again' runs behind 'book'"),
        (
            lambda: start.then(sort).then(branch(book_odd).branch(even)).then(plain),
            "step 4 'plain' runs behind 'book-odd'",
        ),
        (
            lambda: start.then(sort).then(branch(book_odd).branch(ask_even)).then(plain),
            "step 4 'plain' runs behind 'book-odd'",
        ),
        (lambda: start.then(count).then(book), "'book' takes a Transaction and stands behind a st"),
        (lambda: start.then(several), "'several' takes a Transaction and gives a stream"),
        (lambda: start.then(blocking), "async def blocking"),
        (lambda: start.then(two), "asks for a Transaction as 'tx' and as 'other'"),
    ],
    ids=["a function", "another", "a branch", "an await beside", "items", "yields", "sync", "two"],
)
def test_where_it_may_not_stand(pipeline: object, message: str) -> None:
    """The message names the step, says why, and gives the line to write."""
    assert callable(pipeline)

    with pytest.raises(DefinitionError, match=message):
        pipeline()
