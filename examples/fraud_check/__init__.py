"""Charges that a partner checks for fraud: a signed request out, a callback in, and no wait held.

The execution parks while the partner looks. The request is signed and may come twice; the answer
comes back over HTTP, when it likes, with the token that went out with the request. If it does not
come within ten minutes, the charge is booked and held.

`python -m examples.fraud_check.demo` runs it with a partner in a process of its own.
"""

import os

from bide import App, Await, Pipeline, Retry, Secret, Webhook
from examples.fraud_check.messages import Booked, Charge, Verdict

fraud_check = Await(
    "Fraud check",
    Charge,
    Verdict,
    via=Webhook(
        os.environ.get("FRAUD_URL", "http://127.0.0.1:8100/checks"),
        retry=Retry(attempts=8),
        secret=Secret(env="FRAUD_SECRET"),
    ),
    timeout="10m",
    on_timeout=lambda charge: Verdict(order_id=charge.order_id, risk="unknown"),
    idempotent_on="order_id",
)


def book(verdict: Verdict) -> Booked:
    """Book a charge; hold it unless the partner saw no risk."""
    return Booked(order_id=verdict.order_id, held=verdict.risk != "low")


charges = Pipeline("charges", Charge).wait(fraud_check).then(book)

app = App(charges)

__all__ = ["app", "book", "charges", "fraud_check"]
