"""An order that a restaurant has to accept: the smallest flow in which a person decides.

    bide serve examples.restaurant_approval:app

The order is validated and given an id; then the execution parks, for at most half an hour, until
somebody accepts or declines. Nothing runs while it is parked: stop the service, start it again, and
the question is still there.
"""

from bide import App, Await, Inbox, Pipeline
from examples.restaurant_approval.messages import (
    PendingRestaurantApproval,
    PlaceRestaurantOrderRequest,
    RestaurantDecision,
)
from examples.restaurant_approval.steps import (
    create_pending_approval,
    finalize_restaurant_decision,
    validate_order_request,
)

decide = Await(
    "Await Restaurant Decision",
    PendingRestaurantApproval,
    RestaurantDecision,
    via=Inbox(group="kitchen"),
    timeout="PT30M",
    idempotent_on="order_id",
)

orders = (
    Pipeline("restaurant-approval", PlaceRestaurantOrderRequest)
    .then(validate_order_request)
    .then(create_pending_approval)
    .wait(decide)
    .then(finalize_restaurant_decision)
)

app = App(orders)

__all__ = ["app", "decide", "orders"]
