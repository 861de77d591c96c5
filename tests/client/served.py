"""The app that the client's tests run in another process."""

from collections.abc import Iterator

from bide import App, Await, Inbox, Many, NonRetryable, Pipeline
from tests.web.flows import Accepted, Declined, Order, decide, numbers, orders

__all__ = ["Accepted", "Declined", "Order", "app", "decide", "numbers", "orders"]


def fail(text: str) -> str:
    raise NonRetryable(text)


def upto(count: int) -> Iterator[int]:
    yield from range(count)


signal = Await("Signal", str, str, via=Inbox(), timeout="1h", correlate_on=str.lower)
check = Await("Check number", int, bool, via=Inbox(), timeout="1h")
report = Await("Report on all", Many[int], Many[str], via=Inbox(), timeout="1h")

failing = Pipeline("failing", str).then(fail)
signals = Pipeline("signals", str).wait(signal)
checks = Pipeline("checks", int).then(upto).wait(check)
reports = Pipeline("reports", int).then(upto).wait(report)

app = App(orders, numbers, failing, signals, checks, reports)
