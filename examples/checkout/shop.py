"""The shop: orders are paid for, and packed; two pipelines of one app, on one store."""

import os

from pydantic import BaseModel

from bide import App, Deployment, Pipeline, Publication, Subscription
from examples.checkout.messages import OrderPaid, ParcelPacked


class Order(BaseModel):
    order_id: str
    address: str
    cents: int


class Parcel(BaseModel):
    order_id: str
    address: str
    weight_grams: int


def charge(order: Order) -> OrderPaid:
    return OrderPaid(order_id=order.order_id, address=order.address, cents=order.cents)


def to_parcel(paid: OrderPaid) -> Parcel:
    return Parcel(order_id=paid.order_id, address=paid.address, weight_grams=100 + paid.cents // 10)


def pack(parcel: Parcel) -> ParcelPacked:
    return ParcelPacked(**parcel.model_dump())


checkout = Pipeline(
    "checkout", Order, publishes=Publication("order-paid", idempotent_on="order_id")
).then(charge)
dispatch = Pipeline(
    "dispatch",
    Parcel,
    subscribes=Subscription("order-paid", mapper=to_parcel),
    publishes=Publication(
        "parcel-packed",
        idempotent_on="order_id",
        to=Deployment(os.environ.get("DELIVERY_URL", "http://127.0.0.1:8100")),
    ),
).then(pack)
app = App(checkout, dispatch)
