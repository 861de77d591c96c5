"""What crosses the boundaries of the CSV payments: camelCase outside, snake_case here."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Tag
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType


class Message(BaseModel):
    """A value that travels as JSON; a decimal arrives as text or number and leaves as text."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class CsvPaymentsInputFile(Message):
    """Which file to read: `filepath`, below `csv_folder_path` unless it says so itself."""

    filepath: Path
    csv_folder_path: Path = Path()


class PaymentRecord(Message):
    """One row, as the provider gets it."""

    id: UUID
    csv_id: str
    recipient: str
    amount: Decimal
    currency: str
    csv_payments_input_file_path: Path


class ProviderAnswer(Message):
    """What both answers say: the payment that is meant, and the provider's own words."""

    reference: str
    status: str
    message: str
    fee: Decimal
    conversation_id: UUID
    status_code: int
    payment_record_id: UUID
    payment_record: PaymentRecord


class ApprovedPaymentStatus(ProviderAnswer):
    """The provider pays."""


class UnapprovedPaymentStatus(ProviderAnswer):
    """The provider does not."""


PaymentStatus = TypeAliasType(
    "PaymentStatus",
    Annotated[ApprovedPaymentStatus, Tag("approved")]
    | Annotated[UnapprovedPaymentStatus, Tag("unapproved")],
)
"""What the provider answers: `{"approved": {...}}` or `{"unapproved": {...}}`."""


class OutputRow(Message):
    """A row of the output, whichever way it went."""

    csv_payments_output_filename: Path
    csv_payments_input_file_path: Path
    csv_id: str
    recipient: str
    amount: Decimal
    currency: str
    conversation_id: UUID
    status: int
    message: str
    fee: Decimal


class ApprovedPaymentOutput(OutputRow):
    """A row of the output that was paid."""


class UnapprovedPaymentOutput(OutputRow):
    """A row of the output that was not."""


class PaymentOutput(OutputRow):
    """A row of the output; its fields are the columns, in this order."""
