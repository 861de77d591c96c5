"""Every shape that may follow another, with the type that comes out of it."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from pydantic import BaseModel

from bide import (
    Answer,
    Answered,
    Await,
    Collect,
    Context,
    Inbox,
    Many,
    Missing,
    Pipeline,
    Retry,
    branch,
    step,
)


class Row(BaseModel):
    number: int


class Priced(Row):
    cents: int


class Report(BaseModel):
    count: int


class Failure(BaseModel):
    reason: str


class Client: ...


inbox = Inbox(group="editors", assignee="ada")
one_to_one = Await("One to one", Row, Report, via=inbox, timeout="1d")
one_to_many = Await("One to many", Report, Many[Row], via=inbox, timeout="PT1H")
many_to_one = Await("Many to one", Many[Row], Report, via=inbox, timeout="1h30m")
many_to_many = Await("Many to many", Many[Row], Many[Report], via=inbox, timeout="2d")


def rows(report: Report) -> Iterator[Row]:
    yield Row(number=report.count)


async def rows_slowly(report: Report) -> AsyncIterator[Row]:
    yield Row(number=report.count)


def price(row: Row) -> Priced:
    return Priced(number=row.number, cents=0)


@step(id="price-slowly", retry=Retry(attempts=3, first="1s"), timeout="30s")
async def price_slowly(row: Row, client: Client, ctx: Context) -> Priced:
    return Priced(number=row.number, cents=0)


def count(items: Iterator[Row]) -> Report:
    return Report(count=sum(1 for _ in items))


async def count_slowly(items: AsyncIterator[Row]) -> Report:
    return Report(count=sum([1 async for _ in items]))


def halves(items: Iterator[Row]) -> Iterator[Priced]:
    for row in items:
        yield price(row)


async def halves_slowly(items: AsyncIterator[Row]) -> AsyncIterator[Priced]:
    async for row in items:
        yield price(row)


def twice(row: Row) -> Iterator[Row]:
    yield row
    yield row


single = Pipeline("single", Report)
stream = Pipeline("stream", Many[Row])
assert_type(single, Pipeline[Report, Report])
assert_type(stream, Pipeline[Many[Row], Many[Row]])

# After one value.
assert_type(single.then(rows), Pipeline[Report, Many[Row]])
assert_type(single.then(rows_slowly), Pipeline[Report, Many[Row]])
assert_type(single.wait(one_to_many), Pipeline[Report, Many[Row]])
assert_type(Pipeline("row", Row).wait(one_to_one), Pipeline[Row, Report])
assert_type(Pipeline("row", Row).then(price), Pipeline[Row, Priced])
assert_type(Pipeline("row", Row).then(price_slowly), Pipeline[Row, Priced])

# After a stream: item by item, then as a whole.
assert_type(stream.then(price), Pipeline[Many[Row], Many[Priced]])
assert_type(stream.then(price_slowly), Pipeline[Many[Row], Many[Priced]])
assert_type(stream.then(twice), Pipeline[Many[Row], Many[Row]])
assert_type(stream.wait(one_to_one), Pipeline[Many[Row], Many[Report]])
assert_type(stream.wait(many_to_one), Pipeline[Many[Row], Report])
assert_type(stream.wait(many_to_many), Pipeline[Many[Row], Many[Report]])
assert_type(stream.then(count), Pipeline[Many[Row], Report])
assert_type(stream.then(count_slowly), Pipeline[Many[Row], Report])
assert_type(stream.then(halves), Pipeline[Many[Row], Many[Priced]])
assert_type(stream.then(halves_slowly), Pipeline[Many[Row], Many[Priced]])

# A step and an await on a base class serve its subclasses.
assert_type(Pipeline("priced", Priced).then(price), Pipeline[Priced, Priced])
assert_type(Pipeline("priced", Priced).wait(one_to_one), Pipeline[Priced, Report])


# What an actor submits, projected to what the next step takes; and a stream with gaps.
def judged(row: Row, passed: bool, answer: Answer) -> Report | Failure:
    return Report(count=row.number) if passed else Failure(reason=answer.actor)


judge = Await(
    "Judge",
    Row,
    bool,
    project=judged,
    via=inbox,
    timeout="1d",
    on_timeout=lambda row: Failure(reason=str(row.number)),
    idempotent_on=lambda row: f"row-{row.number}",
    correlate_on="number",
)
collected = Await(
    "Collected",
    Row,
    Report,
    items=Collect(tolerate="5%"),
    unit_timeout="2d",
    via=inbox,
    timeout="1d",
)
assert_type(judge, Await[Row, bool, Report | Failure])
assert_type(Pipeline("row", Row).wait(judge), Pipeline[Row, Report | Failure])
assert_type(stream.wait(collected), Pipeline[Many[Row], Many[Answered[Report] | Missing]])


# A union divided: functions, awaits and what is kept.
def failed(failure: Failure) -> Report:
    return Report(count=0)


async def failed_slowly(failure: Failure) -> Report:
    return Report(count=0)


def failed_twice(failure: Failure) -> Iterator[Row]:
    yield Row(number=0)


appeal = Await("Appeal", Failure, Report, via=inbox, timeout="1d")
either = Pipeline("either", Row).wait(judge)
assert_type(either.then(branch(failed).keep(Report)), Pipeline[Row, Report])
assert_type(either.then(branch(failed_slowly).keep(Report)), Pipeline[Row, Report])
assert_type(either.then(branch(appeal).keep(Report)), Pipeline[Row, Report])
assert_type(either.then(branch(failed_twice).branch(rows)), Pipeline[Row, Many[Row]])
