"""`@step` sets options and leaves the function alone; names of callables."""

from functools import partial

import pytest

from bide import DefinitionError, Retry, step
from bide.authoring.steps import StepOptions, id_of, name_of, options_of


def plain(value: int) -> int:
    return value


@step
def bare(value: int) -> int:
    return value


@step(id="book-once", retry=Retry(2), timeout="30s")
def book(value: int) -> int:
    return value + 1


class SendReceipt:
    def __call__(self, value: int) -> int:
        return value

    @step(id="method")
    def send(self, value: int) -> int:
        return value


def test_a_decorated_function_stays_a_function() -> None:
    """Tests call a step directly."""
    assert book(1) == 2
    assert book.__name__ == "book"


def test_options_are_read_back() -> None:
    """What was said is there; nothing said is nothing."""
    expected = StepOptions(id="book-once", retry=Retry(2), timeout_ms=30_000)

    assert expected == options_of(book)
    assert StepOptions() == options_of(bare) == options_of(plain)


def test_options_are_found_behind_partials_and_methods() -> None:
    """A partial of a step is that step, and a bound method is the function of its class."""
    again = step(id="again")(partial(book, 1))

    assert options_of(partial(book, 1)).id == "book-once"
    assert options_of(again).id == "again"
    assert options_of(SendReceipt().send).id == "method"


def test_ids_of_callables() -> None:
    """A pinned id, else the slug of the function's name, else of the object's class."""
    assert id_of(book, "step") == "book-once"
    assert id_of(plain, "step") == "plain"
    assert id_of(partial(plain, 1), "step") == "plain"
    assert id_of(SendReceipt(), "step") == "send-receipt"
    assert name_of(SendReceipt().send) == "send"


def test_a_lambda_needs_a_name() -> None:
    """An id outlives the code, and a lambda has nothing to make it of."""
    with pytest.raises(DefinitionError, match="is a lambda, which has no name to last"):
        id_of(lambda value: value, "step 1 '<lambda>'")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": 3}, r"write retry=Retry\(attempts"),
        ({"timeout": 3}, "a bare number"),
        ({"id": "no spaces"}, "is not made of"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    """The decorator says what to write."""
    with pytest.raises(DefinitionError, match=message):
        step(**options)


def test_what_cannot_carry_options_is_refused() -> None:
    """A bound method is shared by its class; nothing is set behind its back."""
    with pytest.raises(DefinitionError, match="Decorate the function where it is defined"):
        step(id="x")(SendReceipt().send)
    with pytest.raises(DefinitionError, match="is no function"):
        step(id="x")(3)
