"""A publication and its subscribers: what a mapper gives is the pipeline's input."""

from typing_extensions import assert_type

from pydantic import BaseModel

from bide import App, Pipeline, Publication, Subscription


class Order(BaseModel):
    order_id: str


class Parcel(BaseModel):
    ref: str


def accept(order: Order) -> Order:
    return order


def parcel_of(order: Order) -> Parcel:
    return Parcel(ref=order.order_id)


def pack(parcel: Parcel) -> str:
    return parcel.ref


placed = Publication("order-placed", idempotent_on=["order_id"])
early = Publication("order-seen", idempotent_on=lambda order: str(order), after="accept")
orders = Pipeline("orders", Order, publishes=[placed, early]).then(accept)
dispatch = Pipeline(
    "dispatch", Parcel, subscribes=Subscription("order-placed", mapper=parcel_of)
).then(pack)
seen = Pipeline("seen", Order, subscribes=[Subscription("order-seen")]).then(accept)
assert_type(dispatch, Pipeline[Parcel, str])
assert_type(seen, Pipeline[Order, Order])
app = App(orders, dispatch, seen)
