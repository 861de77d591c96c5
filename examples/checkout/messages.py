"""What is published: the contract between the shop and the delivery, and nothing else of either."""

from pydantic import BaseModel


class OrderPaid(BaseModel):
    """An order that dispatch may pack."""

    order_id: str
    address: str
    cents: int


class ParcelPacked(BaseModel):
    """A parcel that waits for a van."""

    order_id: str
    address: str
    weight_grams: int
