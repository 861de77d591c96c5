"""What is wrong with publications and subscriptions, in the words that their author reads."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from bide import App, Await, DefinitionError, Inbox, Pipeline, Publication, Subscription


class Order(BaseModel):
    order_id: str


class Parcel(BaseModel):
    ref: str


def accept(order: Order) -> Order:
    return order


def several(order: Order) -> Iterator[Order]:
    yield order


def same(order: Order) -> Order:
    return order


def pack(parcel: Parcel) -> Parcel:
    return parcel


def parcel_of(order: Order) -> Parcel:
    return Parcel(ref=order.order_id)


def order_of(parcel: Parcel) -> Order:
    return Order(order_id=parcel.ref)


async def later(order: Order) -> Parcel:
    return Parcel(ref=order.order_id)


placed = Publication("placed", idempotent_on="order_id")
packed = Publication("packed", idempotent_on="ref")
DISPATCH = Pipeline("dispatch", Parcel, subscribes=Subscription("placed", mapper=parcel_of)).then(
    pack
)


def orders(*publications: Publication) -> Pipeline[Order, Order]:
    return Pipeline("orders", Order, publishes=publications).then(accept)


def subscribed(subscription: Any) -> App:
    taking: Any = Pipeline("dispatch", Parcel, subscribes=subscription).then(pack)
    return App(orders(placed), taking)


def circle() -> App:
    there = Pipeline(
        "dispatch", Parcel, publishes=packed, subscribes=Subscription("placed", mapper=parcel_of)
    ).then(pack)
    back = Pipeline(
        "orders", Order, publishes=placed, subscribes=Subscription("packed", mapper=order_of)
    ).then(accept)
    return App(there, back)


def twice_published() -> App:
    other = Pipeline("others", Order, publishes=placed).then(accept)
    return App(orders(placed), other, DISPATCH)


def per_item() -> App:
    publication = Publication("placed", idempotent_on="order_id", after="same")
    streaming = Pipeline("orders", Order, publishes=publication).then(several).then(same)
    return App(streaming, DISPATCH)


def per_item_answer() -> App:
    ask = Await("Ask", Order, str, via=Inbox(), timeout="1h")
    publication = Publication("placed", idempotent_on="order_id", after="ask")
    return App(Pipeline("orders", Order, publishes=publication).then(several).wait(ask), DISPATCH)


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "no key": (
        lambda: Publication("placed", idempotent_on=[]),
        "idempotent_on names nothing, so that no repeat could be known",
    ),
    "a blank name": (
        lambda: Publication(" ", idempotent_on="a"),
        "publication: the name is blank",
    ),
    "a mapper that is none": (
        lambda: Subscription("placed", mapper=7),  # type: ignore[arg-type]  # the mistake itself
        "subscription to 'placed': mapper is 7, which is no function",
    ),
    "a text in the place of a publication": (
        lambda: Pipeline("orders", Order, publishes="placed"),  # type: ignore[arg-type]  # the mistake itself
        "pipeline 'orders': publishes is 'placed'; write Publication(...) or a list of them",
    ),
    "an unknown field": (
        lambda: App(orders(Publication("placed", idempotent_on="id")), DISPATCH),
        "publication 'placed': idempotent_on names 'id', which Order does not have",
    ),
    "an unknown point": (
        lambda: App(orders(Publication("placed", idempotent_on="order_id", after="x")), DISPATCH),
        "is to be made after 'x', which the pipeline does not have.\n  It has: accept",
    ),
    "a streaming result": (
        lambda: App(Pipeline("orders", Order, publishes=placed).then(several), DISPATCH),
        "publishes the result, which is a stream of Order",
    ),
    "a stream behind a step": (per_item, "publishes what 'same' gives, which is a stream"),
    "a stream of answers": (per_item_answer, "publishes what 'ask' gives, which is a stream"),
    "a name twice in a pipeline": (
        lambda: App(orders(placed, placed), DISPATCH),
        "publication 'placed' is published twice",
    ),
    "a name twice in an app": (
        twice_published,
        "pipelines 'orders' and 'others' both publish 'placed'",
    ),
    "nobody takes it": (
        lambda: App(orders(placed)),
        "pipeline 'orders' publishes 'placed', and nobody takes it",
    ),
    "nobody publishes it": (
        lambda: subscribed(Subscription("plcaed", mapper=parcel_of)),
        "subscribes to 'plcaed', which no pipeline of this app publishes.\n  Published is: placed",
    ),
    "another type": (
        lambda: subscribed(Subscription("placed")),
        "and it takes Parcel,\nbut 'orders' publishes Order",
    ),
    "a mapper of another type": (
        lambda: subscribed(Subscription("placed", mapper=pack)),
        "and its mapper takes Parcel,\nbut 'orders' publishes Order",
    ),
    "a mapper to another type": (
        lambda: subscribed(Subscription("placed", mapper=accept)),
        "mapper gives Order,\nbut the pipeline takes Parcel",
    ),
    "an async mapper": (
        lambda: subscribed(Subscription("placed", mapper=later)),
        "mapper is async, but it is called inside a commit",
    ),
    "a mapper without hints": (
        lambda: subscribed(Subscription("placed", mapper=lambda order: order)),
        "mapper does not say what it takes",
    ),
    "a subscription twice": (
        lambda: subscribed([Subscription("placed", mapper=parcel_of)] * 2),
        "subscribes to 'placed' twice",
    ),
    "a circle": (
        circle,
        "in a circle: 'dispatch' -> 'orders' -> 'dispatch'",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_where_they_are_made(name: str) -> None:
    """The message says where, what is wrong, and what there is instead."""
    make, says = MISTAKES[name]

    with pytest.raises(DefinitionError) as refused:
        make()

    assert says in str(refused.value)


def test_what_fits_is_taken() -> None:
    """A publication with its subscriber makes an app; a title is found by its slug."""
    titled = Publication("Order Placed", idempotent_on=["order_id"])
    taking = Pipeline("dispatch", Order, subscribes=Subscription("order-placed")).then(accept)

    assert App(orders(titled), taking).pipelines
