"""Program 1: restaurant approval, every type inferred."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, assert_type
from uuid import NAMESPACE_OID, UUID, uuid5

from pydantic import BaseModel, Tag

from bide import App, Await, Context, Inbox, Interaction, Pipeline, Receipt


class PlaceOrder(BaseModel):
    request_id: UUID
    customer_name: str
    restaurant_name: str
    items: str
    total_amount: Decimal
    currency: str


class ValidatedOrder(PlaceOrder):
    validated_at: datetime


class PendingApproval(BaseModel):
    order_id: UUID
    request: ValidatedOrder


class Accepted(BaseModel):
    order_id: UUID
    note: str = ""


class Declined(BaseModel):
    order_id: UUID
    decline_reason: str


class FinalOrder(BaseModel):
    order_id: UUID
    outcome: str


Decision = Annotated[Accepted, Tag("accepted")] | Annotated[Declined, Tag("declined")]


def validate(order: PlaceOrder, ctx: Context) -> ValidatedOrder:
    return ValidatedOrder(**order.model_dump(), validated_at=ctx.now())


async def create_pending(order: ValidatedOrder, ctx: Context) -> PendingApproval:
    return PendingApproval(order_id=uuid5(NAMESPACE_OID, ctx.idempotency_key), request=order)


def finalize(decision: Decision) -> FinalOrder:
    match decision:
        case Accepted():
            return FinalOrder(order_id=decision.order_id, outcome="accepted")
        case Declined():
            return FinalOrder(order_id=decision.order_id, outcome=decision.decline_reason)


decide = Await(
    "Await Restaurant Decision",
    PendingApproval,
    Decision,
    via=Inbox(group="kitchen"),
    timeout="30m",
    idempotent_on="order_id",
)
start = Pipeline("restaurant-approval", PlaceOrder)
validated = start.then(validate)
pending = validated.then(create_pending)
decided = pending.wait(decide)
orders = decided.then(finalize)
app = App(orders)

assert_type(decide, Await[PendingApproval, Accepted | Declined, Accepted | Declined])
assert_type(start, Pipeline[PlaceOrder, PlaceOrder])
assert_type(validated, Pipeline[PlaceOrder, ValidatedOrder])
assert_type(pending, Pipeline[PlaceOrder, PendingApproval])
assert_type(decided, Pipeline[PlaceOrder, Accepted | Declined])
assert_type(orders, Pipeline[PlaceOrder, FinalOrder])


async def main(order: PlaceOrder) -> None:
    async with app.running():
        execution = await app.submit(orders, order, idempotency_key=f"order-{order.request_id}")
        [question] = await execution.parked(decide, timeout="5s")
        assert_type(question, Interaction[PendingApproval, Accepted | Declined])
        accepted = Accepted(order_id=question.request.order_id)
        receipt = await app.complete(question, accepted, actor="ada")
        assert_type(receipt, Receipt)
        assert receipt.outcome == "applied"
        assert_type(await app.complete_many([(question, accepted)]), list[Receipt])
        final = await execution.result(timeout=10)
        assert_type(final, FinalOrder)
        print(final.outcome)


def blocking(order: PlaceOrder) -> None:
    execution = app.blocking().submit(orders, order)
    assert_type(execution.result(), FinalOrder)
