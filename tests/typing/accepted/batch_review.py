"""A stream asked about as a whole, and one asked about item by item, with gaps."""

from collections.abc import Iterator
from typing import assert_type

from pydantic import BaseModel

from bide import (
    Answered,
    App,
    Await,
    Collect,
    Inbox,
    Interaction,
    Many,
    Missing,
    Pipeline,
    branch,
)


class Upload(BaseModel):
    texts: list[str]


class Document(BaseModel):
    number: int
    text: str


class ReviewReport(BaseModel):
    passed: list[int]
    failed: list[int]


class Published(BaseModel):
    count: int


def split(upload: Upload) -> Iterator[Document]:
    for number, text in enumerate(upload.texts):
        yield Document(number=number, text=text)


def publish(report: ReviewReport) -> Published:
    return Published(count=len(report.passed))


review = Await(
    "Review the batch", Many[Document], ReviewReport, via=Inbox(group="editors"), timeout="2d"
)
reviews = Pipeline("batch-review", Upload).then(split).wait(review).then(publish)
assert_type(reviews, Pipeline[Upload, Published])


# Item by item, where some may be missing.
class Verdict(BaseModel):
    ok: bool


check = Await(
    "Check the document",
    Document,
    Verdict,
    via=Inbox(),
    timeout="2d",
    unit_timeout="3d",
    items=Collect(tolerate="5%"),
)


def told(item: Answered[Verdict] | Missing) -> str:
    return item.reason if isinstance(item, Missing) else str(item.value.ok)


def found(item: Answered[Verdict]) -> str:
    return str(item.value.ok)


def lost(item: Missing) -> str:
    return item.reason


def counted(items: Iterator[Answered[Verdict] | Missing]) -> Published:
    return Published(count=sum(isinstance(item, Answered) for item in items))


checks = Pipeline("checks", Upload).then(split).wait(check)
assert_type(checks, Pipeline[Upload, Many[Answered[Verdict] | Missing]])
assert_type(checks.then(told), Pipeline[Upload, Many[str]])
assert_type(checks.then(branch(found).branch(lost)), Pipeline[Upload, Many[str]])
counts = checks.then(counted)
assert_type(counts, Pipeline[Upload, Published])
app = App(reviews, counts)


async def decide() -> None:
    [batch] = await app.pending(review)
    assert_type(batch, Interaction[list[Document], ReviewReport])
    numbers = [document.number for document in batch.request]
    await app.complete(batch, ReviewReport(passed=numbers, failed=[]), actor="ada")


async def decide_each() -> None:
    first, second = await app.pending(check)
    assert_type(first, Interaction[Document, Verdict])
    await app.complete(first, Verdict(ok=True), actor="ada")
    await app.fail(second, "unreadable", "the scan is black")
