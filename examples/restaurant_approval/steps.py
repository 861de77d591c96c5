"""The three steps of the restaurant approval: plain functions, which the tests call as they are.

A step may run more than once (a worker can die after the work and before the commit), so nothing
here differs from one try to the next: the order's id comes from the execution's own key.
"""

from typing import assert_never
from uuid import NAMESPACE_OID, uuid5

from bide import Context, NonRetryable
from examples.restaurant_approval.messages import (
    PendingRestaurantApproval,
    PlaceRestaurantOrderRequest,
    RestaurantDecision,
    RestaurantOrderAccepted,
    RestaurantOrderDeclined,
    TerminalOrderState,
    ValidatedRestaurantOrderRequest,
)


def validate_order_request(
    order: PlaceRestaurantOrderRequest, ctx: Context
) -> ValidatedRestaurantOrderRequest:
    """Refuse what no restaurant could cook; trying again would not make it better."""
    if not order.items.strip():
        raise NonRetryable(f"order request {order.request_id} has no items")
    if order.total_amount <= 0:
        raise NonRetryable(f"order request {order.request_id} has no amount to pay")
    return ValidatedRestaurantOrderRequest(**order.model_dump(), validated_at=ctx.now())


def create_pending_approval(
    order: ValidatedRestaurantOrderRequest, ctx: Context
) -> PendingRestaurantApproval:
    """Give the order its id, the same one however often this runs."""
    return PendingRestaurantApproval(
        order_id=uuid5(NAMESPACE_OID, ctx.idempotency_key),
        created_at=ctx.now(),
        **order.model_dump(exclude={"validated_at"}),
    )


def finalize_restaurant_decision(decision: RestaurantDecision) -> TerminalOrderState:
    """Say in words what the restaurant decided."""
    match decision:
        case RestaurantOrderAccepted():
            return TerminalOrderState(
                order_id=decision.order_id,
                outcome="APPROVED",
                resolved_at=decision.decided_at,
                restaurant_status="ACCEPTED",
                summary=decision.note or "Accepted by the restaurant",
            )
        case RestaurantOrderDeclined():
            why = decision.decline_reason
            return TerminalOrderState(
                order_id=decision.order_id,
                outcome="DECLINED",
                resolved_at=decision.decided_at,
                restaurant_status="DECLINED",
                summary=f"{decision.note} ({why})" if decision.note else why,
            )
        case _:
            assert_never(decision)
