"""Program 2: payments row by row, through an await and two branches."""

import csv
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import assert_type
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel

from bide import App, Await, Branches, Context, Inbox, Interaction, Many, Pipeline, branch


class InputFile(BaseModel):
    filepath: Path


class PaymentRecord(BaseModel):
    id: UUID
    csv_id: str
    recipient: str
    amount: Decimal
    currency: str


class Approved(BaseModel):
    payment: PaymentRecord
    reference: str


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
            yield PaymentRecord(
                id=uuid5(NAMESPACE_URL, f"{file.filepath}#{row['ID']}"),
                csv_id=row["ID"],
                recipient=row["Recipient"],
                amount=Decimal(row["Amount"]),
                currency=row["Currency"],
            )


provider = Await(
    "Await Payment Provider",
    PaymentRecord,
    Approved | Unapproved,
    via=Inbox(),
    timeout="5m",
    idempotent_on=["csv_id", "recipient", "amount", "currency"],
)


def approved(status: Approved) -> Output:
    return Output(csv_id=status.payment.csv_id, status="approved")


def unapproved(status: Unapproved) -> Output:
    return Output(csv_id=status.payment.csv_id, status=status.message)


def write_output(rows: Iterator[Output], ctx: Context) -> OutputFile:
    target = Path("out") / f"{ctx.execution_id}.csv"
    partial = target.with_suffix(".part")
    count = 0
    with partial.open("w", newline="") as out:
        writer = csv.writer(out)
        for row in rows:
            writer.writerow([row.csv_id, row.status])
            count += 1
    os.replace(partial, target)
    return OutputFile(filepath=target, rows=count)


start = Pipeline("csv-payments", InputFile)
read = start.then(read_payments)
answered = read.wait(provider)
either = branch(approved).branch(unapproved)
routed = answered.then(either)
payments = routed.then(write_output)
app = App(payments)

assert_type(provider, Await[PaymentRecord, Approved | Unapproved, Approved | Unapproved])
assert_type(read, Pipeline[InputFile, Many[PaymentRecord]])
assert_type(answered, Pipeline[InputFile, Many[Approved | Unapproved]])
assert_type(either, Branches[Approved | Unapproved, Output])
assert_type(routed, Pipeline[InputFile, Many[Output]])
assert_type(payments, Pipeline[InputFile, OutputFile])


async def main() -> None:
    async with app.running():
        execution = await app.submit(payments, InputFile(filepath=Path("data/payments_1k.csv")))
        questions = await execution.parked(provider, timeout="1m")
        assert_type(questions, list[Interaction[PaymentRecord, Approved | Unapproved]])
        print((await execution.result(timeout="3m")).rows)

        streamed = await app.submit(routed, InputFile(filepath=Path("data/payments_1k.csv")))
        assert_type(await streamed.result(), list[Output])
        async for row in streamed.results():
            assert_type(row, Output)
