"""The delivery: another team's deployment, with a database of its own."""

from pydantic import BaseModel

from bide import App, Pipeline, Subscription
from examples.checkout.messages import ParcelPacked


class Delivered(BaseModel):
    order_id: str
    address: str


def deliver(parcel: ParcelPacked) -> Delivered:
    return Delivered(order_id=parcel.order_id, address=parcel.address)


deliveries = Pipeline(
    "delivery", ParcelPacked, subscribes=Subscription("parcel-packed", remote=True)
).then(deliver)
app = App(deliveries, store="sqlite:///delivery.db")
