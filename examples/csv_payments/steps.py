"""The steps of the CSV payments: plain functions, which the tests call as they are.

Two runs give the same bytes, whatever happened in between:

* ids are UUIDv5: a record's of its file's name and its row, a conversation's of its record;
* the run's folder is the folder of the input file, the output is written beside the input, and
  every path in the output is relative to that folder, so that the folder itself shows nowhere;
* the output is written to a `.part` file, synced and renamed: under its own name it is whole. The
  name of the `.part` file holds the execution, so that two runs over one input do not meet in it,
  and a repeat of the step starts it afresh.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import chain
from pathlib import Path
from typing import TypeVar
from uuid import NAMESPACE_URL, uuid5

from bide import Context, NonRetryable
from examples.csv_payments.messages import (
    ApprovedPaymentOutput,
    ApprovedPaymentStatus,
    CsvPaymentsInputFile,
    OutputRow,
    PaymentOutput,
    PaymentRecord,
    ProviderAnswer,
    UnapprovedPaymentOutput,
    UnapprovedPaymentStatus,
)

HEADER = ["ID", "Recipient", "Amount", "Currency"]
#: The columns of the output.
COLUMNS = [field.alias or name for name, field in PaymentOutput.model_fields.items()]

Row = TypeVar("Row", bound=OutputRow)


def process_csv_payments_input(file: CsvPaymentsInputFile) -> Iterator[PaymentRecord]:
    """Read the file row by row; what is wrong with the file stays wrong, so no retry helps."""
    path = _locate(file)
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            yield from _records(path, lines)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise NonRetryable(f"{path} cannot be read: {error.strerror}") from error


def process_approved_payment_status(status: ApprovedPaymentStatus) -> ApprovedPaymentOutput:
    """Make the row of a payment that was paid."""
    return _output(ApprovedPaymentOutput, status)


def process_unapproved_payment_status(status: UnapprovedPaymentStatus) -> UnapprovedPaymentOutput:
    """Make the row of a payment that was not paid."""
    return _output(UnapprovedPaymentOutput, status)


def finalize_payment_output(
    rows: Iterator[ApprovedPaymentOutput | UnapprovedPaymentOutput], ctx: Context
) -> Iterator[PaymentOutput]:
    """Write the output, give each row as a result, and name the file when all are in it.

    A file without rows has no output: nothing says where it would be.
    """
    first = next(rows, None)
    if first is None:
        return
    folder = first.csv_payments_input_file_path.parent
    target = folder / first.csv_payments_output_filename
    partial = folder / f"{target.name}.{ctx.execution_id}.part"
    with partial.open("w", newline="", encoding="utf-8") as part:
        writer = csv.DictWriter(part, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in chain([first], rows):
            relative = {"csv_payments_input_file_path": row.csv_payments_input_file_path.name}
            output = PaymentOutput.model_validate(row.model_dump() | relative)
            writer.writerow(output.model_dump(mode="json", by_alias=True))
            yield output
        part.flush()
        os.fsync(part.fileno())
    partial.replace(target)
    _sync_folder(folder)


def _locate(file: CsvPaymentsInputFile) -> Path:
    """Find the file by the words alone, so that a repeat finds the same one."""
    inside = file.filepath.is_relative_to(file.csv_folder_path)
    return (file.filepath if inside else file.csv_folder_path / file.filepath).resolve()


def _records(path: Path, lines: Iterable[str]) -> Iterator[PaymentRecord]:
    rows = csv.DictReader(lines, strict=True)
    try:
        if rows.fieldnames != HEADER:
            raise NonRetryable(f"{path} does not start with the header {','.join(HEADER)}")
        for row in rows:
            if None in row or None in row.values():
                raise NonRetryable(f"{path}, line {rows.line_num}: not {len(HEADER)} fields")
            yield _record(path, rows.line_num, *(row[name] for name in HEADER))
    except (csv.Error, UnicodeDecodeError) as error:
        raise NonRetryable(f"{path}, after line {rows.line_num}: {error}") from error


def _record(
    path: Path, line: int, csv_id: str, recipient: str, amount: str, currency: str
) -> PaymentRecord:
    try:
        value = Decimal(amount)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise NonRetryable(f"{path}, line {line}: the amount is not a number")
    return PaymentRecord(
        id=uuid5(NAMESPACE_URL, f"{path.name}\n{csv_id}\n{recipient}\n{amount}\n{currency}"),
        csv_id=csv_id,
        recipient=recipient,
        amount=value,
        currency=currency,
        csv_payments_input_file_path=path,
    )


def _output(kind: type[Row], status: ProviderAnswer) -> Row:
    record = status.payment_record
    source = record.csv_payments_input_file_path
    return kind(
        csv_payments_output_filename=Path(f"{source.stem}.out.csv"),
        csv_payments_input_file_path=source,
        csv_id=record.csv_id,
        recipient=record.recipient,
        amount=record.amount,
        currency=record.currency,
        conversation_id=status.conversation_id,
        status=status.status_code,
        message=status.status,
        fee=status.fee,
    )


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; without it a power cut could bring back the old folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
