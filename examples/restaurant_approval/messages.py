"""What crosses the boundaries of the restaurant approval: camelCase outside, snake_case here."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Tag
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType


class Message(BaseModel):
    """A value that travels as JSON; a decimal arrives as text or number and leaves as text."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class PlaceRestaurantOrderRequest(Message):
    """What the customer sends."""

    request_id: UUID
    customer_name: str
    restaurant_name: str
    items: str
    total_amount: Decimal
    currency: str


class ValidatedRestaurantOrderRequest(PlaceRestaurantOrderRequest):
    """An order that makes sense."""

    validated_at: datetime


class PendingRestaurantApproval(Message):
    """What the restaurant is asked about."""

    order_id: UUID
    request_id: UUID
    customer_name: str
    restaurant_name: str
    items: str
    total_amount: Decimal
    currency: str
    created_at: datetime


class RestaurantOrderAccepted(Message):
    """The restaurant cooks."""

    order_id: UUID
    decided_at: datetime
    note: str = ""


class RestaurantOrderDeclined(Message):
    """The restaurant does not, and says why."""

    order_id: UUID
    decided_at: datetime
    note: str = ""
    decline_reason: str


RestaurantDecision = TypeAliasType(
    "RestaurantDecision",
    Annotated[RestaurantOrderAccepted, Tag("accepted")]
    | Annotated[RestaurantOrderDeclined, Tag("declined")],
)
"""What the restaurant answers: `{"accepted": {...}}` or `{"declined": {...}}`."""


class TerminalOrderState(Message):
    """How it ended."""

    order_id: UUID
    outcome: str
    resolved_at: datetime
    restaurant_status: str
    summary: str
