"""What the broken files name: types and steps without fault."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Tag
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType


class Message(BaseModel):
    """A value that travels as JSON, camelCase outside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Order(Message):
    """What a customer wants."""

    order_id: str


class Accepted(Message):
    """The kitchen cooks."""

    order_id: str


class Declined(Message):
    """The kitchen does not."""

    order_id: str
    reason: str = ""


Decision = TypeAliasType(
    "Decision", Annotated[Accepted, Tag("accepted")] | Annotated[Declined, Tag("declined")]
)


class Slip(Message):
    """What the customer gets."""

    text: str


def check(order: Order) -> Order:
    """Let an order pass."""
    return order


def thank(accepted: Accepted) -> Slip:
    """Write a slip for an order that is cooked."""
    return Slip(text=f"{accepted.order_id}: soon")


def finish(decision: Decision) -> Slip:
    """Write a slip, whatever was decided."""
    return Slip(text=decision.order_id)
