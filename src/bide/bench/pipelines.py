"""The pipelines that are measured: as plain as a user's first one."""

import time
from collections.abc import Iterator

from pydantic import BaseModel

from bide import Await, Inbox, Pipeline

#: How long the step of a sleeper sleeps.
SLEEP_S = 0.2
_DAY = "1d"


class Parcel(BaseModel):
    """What goes in and comes back; `note` gives it its size."""

    number: int
    note: str
    sleeps: bool = False


class Batch(BaseModel):
    """How many parcels to ask about."""

    count: int
    note: str


class Done(BaseModel):
    """What is left of them."""

    number: int


def prepare(parcel: Parcel) -> Parcel:
    """The step before the wait; that of a sleeper takes its time."""
    if parcel.sleeps:
        time.sleep(SLEEP_S)
    return parcel


def conclude(parcel: Parcel) -> Done:
    """The step after the wait."""
    return Done(number=parcel.number)


def unpack(batch: Batch) -> Iterator[Parcel]:
    """One parcel an item."""
    for number in range(batch.count):
        yield Parcel(number=number, note=batch.note)


def count(parcels: Iterator[Parcel]) -> Done:
    """Count the answers, which must come in the order of their items."""
    expected = 0
    for parcel in parcels:
        if parcel.number != expected:
            raise ValueError(f"answer {parcel.number} came where {expected} belongs")
        expected += 1
    return Done(number=expected)


def label(parcel: Parcel) -> Parcel:
    """A step like any other."""
    return parcel


answer = Await("Answer", Parcel, Parcel, via=Inbox(), timeout=_DAY)
item_answer = Await("Answer an item", Parcel, Parcel, via=Inbox(), timeout=_DAY)

park_resume = Pipeline("bench-park-resume", Parcel).then(prepare).wait(answer).then(conclude)
items = Pipeline("bench-items", Batch).then(unpack).wait(item_answer).then(count)
submit = Pipeline("bench-submit", Parcel).then(prepare).then(label).then(conclude)
