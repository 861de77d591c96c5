"""What crosses the boundaries of the fraud check."""

from typing import Literal

from pydantic import BaseModel


class Charge(BaseModel):
    """What somebody wants to pay."""

    order_id: str
    cents: int


class Verdict(BaseModel):
    """What the partner thinks of it; `unknown` is said for it when it does not answer."""

    order_id: str
    risk: Literal["low", "high", "unknown"]


class Booked(BaseModel):
    """How the charge ended."""

    order_id: str
    held: bool
