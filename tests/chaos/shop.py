"""A pipeline that takes a moment on either side of its wait, and one that stops where it is told to.

`orders` says in its results which process worked on them. `gated` and `counted` wait for files in
the folder that `GATES` names: they make `PID.reached` and go on once `PID.open` is there, so that a
test decides where a process stands when it is stopped.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from bide import App, Await, Inbox, Pipeline


class Order(BaseModel):
    """What is submitted."""

    number: int
    busy_ms: int = 0


class Question(BaseModel):
    """What is asked about."""

    number: int
    busy_ms: int


class Decision(BaseModel):
    """What is answered."""

    number: int
    busy_ms: int = 0


class Done(BaseModel):
    """What comes of it, and which process finished it."""

    number: int
    finished_by: int


def prepare(order: Order) -> Question:
    """Work before the wait."""
    time.sleep(order.busy_ms / 1_000)
    return Question(number=order.number, busy_ms=order.busy_ms)


def finish(decision: Decision) -> Done:
    """Work after the wait."""
    time.sleep(decision.busy_ms / 1_000)
    return Done(number=decision.number, finished_by=os.getpid())


def _gate() -> None:
    folder = Path(os.environ["GATES"])
    (folder / f"{os.getpid()}.reached").touch()
    while not (folder / f"{os.getpid()}.open").exists():
        time.sleep(0.01)


def hold(number: int) -> Done:
    """Stand still in the middle of a segment."""
    _gate()
    return Done(number=number, finished_by=os.getpid())


def count(number: int) -> Iterator[int]:
    """Stand still in the middle of a stream of which a part is stored."""
    for item in range(number):
        if item == number - 1:
            _gate()
        yield item


def who(_: int) -> Done:
    """Say which process it was."""
    return Done(number=0, finished_by=os.getpid())


decide = Await("Decide the order", Question, Decision, via=Inbox(), timeout="1h")
orders = Pipeline("orders", Order).then(prepare).wait(decide).then(finish)
gated = Pipeline("gated", int).then(hold)
each = Await("Look at each", int, int, via=Inbox(), timeout="1h")
counted = Pipeline("counted", int).then(count).wait(each)
app = App(orders, gated, counted)
