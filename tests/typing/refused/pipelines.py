"""Mistakes in a pipeline; each marked line is an error, and no other line is."""

from pydantic import BaseModel

from bide import Await, Inbox, Pipeline, Publication, Subscription, branch


class Order(BaseModel):
    number: int


class Checked(BaseModel):
    number: int


class Accepted(BaseModel):
    note: str


class Declined(BaseModel):
    reason: str


class Done(BaseModel):
    outcome: str


def check(order: Order) -> Checked:
    return Checked(number=order.number)


def accepted(decision: Accepted) -> Done:
    return Done(outcome=decision.note)


def declined(decision: Declined) -> Done:
    return Done(outcome=decision.reason)


def unrelated(order: Order) -> Done:
    return Done(outcome=str(order.number))


decide = Await("Decide", Checked, Accepted | Declined, via=Inbox(), timeout="1d")
orders = Pipeline("orders", Order)
decided = orders.then(check).wait(decide)

# A skipped step.
orders.wait(decide)  # refused
# An await on the wrong type.
decided.wait(decide)  # refused
# A variant without a branch.
decided.then(branch(accepted))  # refused
# A branch for something else.
decided.then(branch(accepted).branch(unrelated))  # refused
# A union half covered by a function.
decided.then(accepted)  # refused
# The outcome at the deadline is of another type.
Await(
    "Late",
    Checked,
    Accepted,
    via=Inbox(),
    timeout="1d",
    on_timeout=lambda checked: Done(outcome=str(checked.number)),  # refused: mypy
)
# A mapper that gives another type than the pipeline takes.
Pipeline("done", Done, subscribes=Subscription("checked", mapper=check))  # refused
# A publication without a key.
Publication("checked")  # refused
