"""What is served while the HTTP API is searched: whatever is submitted, it ends or parks soon."""

from collections.abc import Iterator

from bide import App, Pipeline, RejectItem
from tests.web.flows import echo, orders, refusals


def upto(count: int) -> Iterator[int]:
    yield from range(min(count, 5))


def no_thirds(number: int) -> int:
    if number % 3 == 2:
        raise RejectItem("no thirds")
    return number


picks = Pipeline("picks", int).then(upto).then(no_thirds)
app = App(orders, picks, refusals, echo)
