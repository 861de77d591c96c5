"""The programs that users are shown, and every shape of wait, from end to end."""

import csv
import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from uuid import NAMESPACE_OID, NAMESPACE_URL, UUID, uuid5

import pytest
from pydantic import BaseModel, Tag

from bide import App, Await, Context, Inbox, Many, Pipeline, branch
from tests.integration.support import answer_all, eventually

Apps = Callable[..., App]


# --- hello world --------------------------------------------------------------------------------

approve = Await("Ship it?", str, bool, via=Inbox(), timeout="1d")
hello = Pipeline("hello", str).wait(approve)


async def test_hello_world(app_of: Apps) -> None:
    """A pipeline that is only a wait takes a question and gives its answer."""
    async with app_of(hello).running() as app:
        execution = await app.submit(hello, "v2")
        [question] = await execution.parked(approve, timeout=10)

        assert question.request == "v2"
        assert (await app.complete(question, True)).outcome == "applied"
        assert await execution.result(timeout=10) is True
        assert await execution.parked(approve, timeout=10) == []


# --- restaurant approval ------------------------------------------------------------------------


class PlaceOrder(BaseModel):
    request_id: UUID
    total_amount: Decimal


class ValidatedOrder(PlaceOrder):
    validated_at: datetime


class PendingApproval(BaseModel):
    order_id: UUID
    request: ValidatedOrder


class Accepted(BaseModel):
    order_id: UUID
    note: str = ""


class Declined(BaseModel):
    order_id: UUID
    decline_reason: str


class FinalOrder(BaseModel):
    order_id: UUID
    outcome: str


Decision = Annotated[Accepted, Tag("accepted")] | Annotated[Declined, Tag("declined")]


def validate(order: PlaceOrder, ctx: Context) -> ValidatedOrder:
    return ValidatedOrder(**order.model_dump(), validated_at=ctx.now())


async def create_pending(order: ValidatedOrder, ctx: Context) -> PendingApproval:
    return PendingApproval(order_id=uuid5(NAMESPACE_OID, ctx.idempotency_key), request=order)


def finalize(decision: Decision) -> FinalOrder:
    match decision:
        case Accepted():
            return FinalOrder(order_id=decision.order_id, outcome="accepted")
        case Declined():
            return FinalOrder(order_id=decision.order_id, outcome=decision.decline_reason)


decide = Await(
    "Await Restaurant Decision", PendingApproval, Decision,
    via=Inbox(group="kitchen"), timeout="30m", idempotent_on="order_id",
)  # fmt: skip
orders = (
    Pipeline("restaurant-approval", PlaceOrder)
    .then(validate)
    .then(create_pending)
    .wait(decide)
    .then(finalize)
)
ORDER = PlaceOrder(request_id=UUID(int=1), total_amount=Decimal("21.50"))


@pytest.mark.parametrize("accept", [True, False])
async def test_restaurant_approval(app_of: Apps, *, accept: bool) -> None:
    """A decision that is a union reaches the next step as the variant that was sent."""
    async with app_of(orders).running() as app:
        execution = await app.submit(orders, ORDER, idempotency_key="order-1")
        [question] = await execution.parked(decide, timeout="10s")
        order_id = question.request.order_id
        answer = (
            Accepted(order_id=order_id)
            if accept
            else Declined(order_id=order_id, decline_reason="full")
        )
        receipt = await app.complete(question, answer, actor="ada")
        final = await execution.result(timeout=10)

        assert question.request.request.total_amount == Decimal("21.50")
        assert question.group == "kitchen"
        assert receipt.outcome == "applied"
        assert final == FinalOrder(order_id=order_id, outcome="accepted" if accept else "full")
        assert [step.what for step in await app.service.timeline("default", execution.execution_id)]


# --- payments: a file read row by row, a question a row, two branches, a file written ------------


class InputFile(BaseModel):
    filepath: Path


class PaymentRecord(BaseModel):
    id: UUID
    csv_id: str
    amount: Decimal


class Approved(BaseModel):
    payment: PaymentRecord


class Unapproved(BaseModel):
    payment: PaymentRecord
    message: str


class Output(BaseModel):
    csv_id: str
    status: str


class OutputFile(BaseModel):
    filepath: Path
    rows: int


def read_payments(file: InputFile) -> Iterator[PaymentRecord]:
    with file.filepath.open(newline="") as lines:
        for row in csv.DictReader(lines):
            key = f"{file.filepath}#{row['ID']}"
            yield PaymentRecord(
                id=uuid5(NAMESPACE_URL, key), csv_id=row["ID"], amount=Decimal(row["Amount"])
            )


provider = Await(
    "Await Payment Provider", PaymentRecord, Approved | Unapproved,
    via=Inbox(), timeout="5m", idempotent_on=["csv_id", "amount"],
)  # fmt: skip


def approved(status: Approved) -> Output:
    return Output(csv_id=status.payment.csv_id, status="approved")


def unapproved(status: Unapproved) -> Output:
    return Output(csv_id=status.payment.csv_id, status=status.message)


def write_output(rows: Iterator[Output], ctx: Context) -> OutputFile:
    target = Path(os.environ["OUT_FOLDER"]) / f"{ctx.execution_id}.csv"
    count = 0
    with target.open("w", newline="") as out:
        writer = csv.writer(out)
        for row in rows:
            writer.writerow([row.csv_id, row.status])
            count += 1
    return OutputFile(filepath=target, rows=count)


payments = (
    Pipeline("csv-payments", InputFile)
    .then(read_payments)
    .wait(provider)
    .then(branch(approved).branch(unapproved))
    .then(write_output)
)


async def test_csv_payments(app_of: Apps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows asked about in any order are written in the order of the input."""
    monkeypatch.setenv("OUT_FOLDER", str(tmp_path))
    source = tmp_path / "in.csv"
    source.write_text("ID,Amount\n" + "".join(f"{n},{n}.50\n" for n in range(120)))

    async with app_of(payments, page_items=25).running() as app:
        execution = await app.submit(payments, InputFile(filepath=source))
        questions = await execution.parked(provider, timeout=20)
        assert [each.request.csv_id for each in questions] == [str(n) for n in range(120)]
        assert [each.item_index for each in questions] == list(range(120))
        for question in reversed(questions):
            payment = question.request
            if int(payment.csv_id) % 3:
                await app.complete(question, Approved(payment=payment))
            else:
                await app.complete(question, Unapproved(payment=payment, message="no"))
        result = await execution.result(timeout=20)

    assert result.rows == 120
    lines = result.filepath.read_text().splitlines()
    assert lines == [f"{n},{'approved' if n % 3 else 'no'}" for n in range(120)]


# --- aggregates ---------------------------------------------------------------------------------


class Document(BaseModel):
    number: int
    text: str


class ReviewReport(BaseModel):
    passed: list[int]


class Published(BaseModel):
    count: int


class Upload(BaseModel):
    texts: list[str]


def split(upload: Upload) -> Iterator[Document]:
    for number, text in enumerate(upload.texts):
        yield Document(number=number, text=text)


def publish(report: ReviewReport) -> Published:
    return Published(count=len(report.passed))


review = Await("Review the batch", Many[Document], ReviewReport, via=Inbox(), timeout="2d")
reviews = Pipeline("batch-review", Upload).then(split).wait(review).then(publish)


@pytest.mark.parametrize("size", [0, 1, 7])
async def test_many_to_one(app_of: Apps, size: int) -> None:
    """A stream is asked about as one list, an empty one too, and answered once."""
    async with app_of(reviews, page_items=2).running() as app:
        execution = await app.submit(reviews, Upload(texts=["t"] * size))
        [batch] = await execution.parked(review, timeout=10)
        assert [document.number for document in batch.request] == list(range(size))
        assert batch.item_index is None
        await app.complete(batch, ReviewReport(passed=[each.number for each in batch.request]))

        assert (await execution.result(timeout=10)).count == size


class Job(BaseModel):
    url: str


class Part(BaseModel):
    length: int


class Chunk(BaseModel):
    size: int


class Summary(BaseModel):
    bytes: int


plan = Await("Plan the job", Job, Many[Part], via=Inbox(), timeout="1h")


async def fetch(part: Part) -> Chunk:
    return Chunk(size=part.length)


async def total(chunks: AsyncIterator[Chunk]) -> Summary:
    return Summary(bytes=sum([chunk.size async for chunk in chunks]))


jobs = Pipeline("expanding-job", Job).wait(plan).then(fetch).then(total)


@pytest.mark.parametrize("size", [0, 1, 130])
async def test_one_to_many(app_of: Apps, size: int) -> None:
    """One question that is answered with a list goes on as a stream."""
    async with app_of(jobs, page_items=50).running() as app:
        execution = await app.submit(jobs, Job(url="x"))
        [question] = await execution.parked(plan, timeout=10)
        await app.complete(question, [Part(length=2)] * size)

        assert (await execution.result(timeout=10)).bytes == 2 * size


rank = Await("Rank them", Many[Document], Many[Chunk], via=Inbox(), timeout="1h")
ranking = Pipeline("ranking", Many[Document]).wait(rank)


async def test_many_to_many(app_of: Apps) -> None:
    """A list is asked about, a list of another length is the answer and the streaming result."""
    async with app_of(ranking).running() as app:
        documents = [Document(number=n, text="") for n in range(5)]
        execution = await app.submit(ranking, documents)
        [question] = await execution.parked(rank, timeout=10)
        assert question.request == documents
        await app.complete(question, [Chunk(size=n) for n in (3, 1, 2)])

        assert [chunk.size for chunk in await execution.result(timeout=10)] == [3, 1, 2]
        assert [chunk.size async for chunk in execution.results()] == [3, 1, 2]


# --- where awaits may stand ---------------------------------------------------------------------


def double(number: int) -> int:
    return number * 2


first = Await("First", int, int, via=Inbox(), timeout="1h")
second = Await("Second", int, int, via=Inbox(), timeout="1h")
in_sequence = Pipeline("in-sequence", int).wait(first).wait(second).then(double)
first_and_last = Pipeline("first-and-last", int).wait(first).then(double).wait(second)


@pytest.mark.parametrize(("pipeline", "expected"), [(in_sequence, 40), (first_and_last, 20)])
async def test_awaits_first_last_and_in_sequence(
    app_of: Apps, pipeline: Pipeline[int, int], expected: int
) -> None:
    """An await may be the first and the last element, and follow another one at once."""
    async with app_of(pipeline).running() as app:
        execution = await app.submit(pipeline, 1)
        [question] = await execution.parked(first, timeout=10)
        await app.complete(question, 10)
        [question] = await execution.parked(second, timeout=10)
        assert await execution.parked(first, timeout=10) == []
        await app.complete(question, 20)

        assert await execution.result(timeout=10) == expected
        assert question.request == (10 if pipeline is in_sequence else 20)


class Small(BaseModel):
    cents: int


class Large(BaseModel):
    cents: int


class Unclear(BaseModel):
    cents: int


def classify(cents: int) -> Small | Large | Unclear:
    if cents < 0:
        return Unclear(cents=cents)
    return Small(cents=cents) if cents < 100 else Large(cents=cents)


class Paid(BaseModel):
    by: str


sign = Await("Sign", Large, Paid, via=Inbox(), timeout="1h")
clear = Await("Clear up", Unclear, Paid, via=Inbox(), timeout="1h")


def describe(paid: Paid | Small) -> str:
    return paid.by if isinstance(paid, Paid) else "small"


expenses = (
    Pipeline("expenses", int)
    .then(classify)
    .then(branch(sign).branch(clear).keep(Small))
    .then(describe)
)


async def test_awaits_as_branches(app_of: Apps) -> None:
    """Only the variant of an await's branch waits there; a kept one passes; the paths meet again."""
    async with app_of(expenses).running() as app:
        small = await app.submit(expenses, 5)
        large = await app.submit(expenses, 500)
        unclear = await app.submit(expenses, -1)

        assert await small.result(timeout=10) == "small"
        assert await small.parked(sign, timeout=10) == []
        [question] = await large.parked(sign, timeout=10)
        assert question.request == Large(cents=500)
        assert await unclear.parked(sign, timeout=10) == []
        await app.complete(question, Paid(by="ada"))
        [question_2] = await unclear.parked(clear, timeout=10)
        await app.complete(question_2, Paid(by="bob"))
        assert await large.result(timeout=10) == "ada"
        assert await unclear.result(timeout=10) == "bob"


# --- streams ------------------------------------------------------------------------------------


def count_to(number: int) -> Iterator[int]:
    yield from range(number)


each = Await("Each", int, int, via=Inbox(), timeout="1h")
counting = Pipeline("counting", int).then(count_to).wait(each).then(double)


async def test_an_empty_stream_does_not_wait(app_of: Apps) -> None:
    """A source that gives nothing parks nobody."""
    async with app_of(counting).running() as app:
        execution = await app.submit(counting, 0)

        assert await execution.result(timeout=10) == []
        assert await execution.parked(each, timeout=10) == []
        [unit] = await app.service.units("default", execution.execution_id)
        assert (unit.total, unit.settled, unit.status.name) == (0, 0, "COMPLETED")


async def test_three_thousand_items_in_any_order(app_of: Apps) -> None:
    """Answers in any order resume in input order; `parked` shows 1,000 and `pending` the rest."""
    async with app_of(counting).running() as app:
        execution = await app.submit(counting, 3_000)
        shown = await execution.parked(each, timeout=30)
        assert [question.item_index for question in shown] == list(range(1_000))

        mixed = sorted(shown, key=lambda question: (question.request * 7_919) % 1_009)
        receipts = await app.complete_many((each, each.request + 1) for each in mixed)
        assert {receipt.outcome for receipt in receipts} == {"applied"}
        assert await answer_all(app, each, lambda number: number + 1) == 2_000
        assert await execution.result(timeout=30) == [2 * (n + 1) for n in range(3_000)]
        [unit] = await app.service.units("default", execution.execution_id)
        assert (unit.appended, unit.total, unit.settled) == (3_000, 3_000, 3_000)


async def test_two_streams_of_waits_in_a_row(app_of: Apps) -> None:
    """The answers of one stream of questions are the next one's questions, item by item."""
    again = Await("Again", int, int, via=Inbox(), timeout="1h")
    twice = Pipeline("twice", int).then(count_to).wait(each).wait(again)
    async with app_of(twice, page_items=10).running() as app:
        execution = await app.submit(twice, 25)
        await execution.parked(each, timeout=10)
        await answer_all(app, each, lambda number: number + 1)
        questions = await execution.parked(again, timeout=10)
        assert [question.request for question in questions] == list(range(1, 26))
        await answer_all(app, again, lambda number: -number)

        assert await execution.result(timeout=10) == [-n for n in range(1, 26)]


async def test_a_stream_as_input_and_as_result(app_of: Apps) -> None:
    """A pipeline may take an iterable and give a stream."""
    doubles = Pipeline("doubles", Many[int]).then(double)
    async with app_of(doubles, page_items=10).running() as app:
        execution = await app.submit(doubles, range(35))

        assert await execution.result(timeout=10) == [2 * n for n in range(35)]
        assert (await eventually(execution.status)).result_count == 35
