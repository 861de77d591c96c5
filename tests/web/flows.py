"""The pipelines that the tests of the HTTP edge serve."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, Tag

from bide import Await, Inbox, NonRetryable, Pipeline, Publication, RejectItem, Subscription


class Order(BaseModel):
    item: str
    amount: int = 1


class Accepted(BaseModel):
    note: str = ""


class Declined(BaseModel):
    why: str


Decision = Annotated[Accepted, Tag("accepted")] | Annotated[Declined, Tag("declined")]


def outcome(decision: Decision) -> str:
    return "accepted" if isinstance(decision, Accepted) else decision.why


def count(upto: int) -> Iterator[dict[str, int]]:
    for number in range(upto):
        yield {"number": number}


def refuse(text: str) -> str:
    raise NonRetryable(text)


def same(value: Any) -> Any:
    return value


def upto(count: int) -> Iterator[int]:
    yield from range(count)


def no_thirds(number: int) -> int:
    if number % 3 == 2:
        raise RejectItem("no thirds")
    return number


class Note(BaseModel):
    key: str
    note: str


def note(value: Note) -> Note:
    return value


decide = Await("Approve Order", Order, Decision, via=Inbox(group="kitchen"), timeout="30m")
orders = Pipeline("orders", Order).wait(decide).then(outcome)
numbers = Pipeline("numbers", int).then(count)
refusals = Pipeline("refusals", str).then(refuse)
picks = Pipeline("picks", int).then(upto).then(no_thirds)
echo = Pipeline("echo", Any).then(same)
notes = Pipeline("notes", Note, publishes=Publication("noted", idempotent_on="key")).then(note)
readers = Pipeline("readers", Note, subscribes=Subscription("noted")).then(note)
