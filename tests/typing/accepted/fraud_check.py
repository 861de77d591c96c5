"""Program 3: a partner is asked by webhook, and a step asks for a client by its type."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal, assert_type

import httpx
from pydantic import BaseModel

from bide import App, Await, Context, NonRetryable, Pipeline, Retry, Secret, Webhook, step


class Charge(BaseModel):
    order_id: str
    cents: int


class Verdict(BaseModel):
    order_id: str
    risk: Literal["low", "high", "unknown"]


class Booked(BaseModel):
    order_id: str
    held: bool


fraud_check = Await(
    "Fraud check",
    Charge,
    Verdict,
    via=Webhook(
        "https://fraud.example/checks",
        retry=Retry(attempts=8),
        secret=[Secret(env="FRAUD_SECRET"), Secret(file="/run/secrets/older")],
        headers={"Authorization": Secret(env="FRAUD_KEY"), "X-Region": "eu"},
    ),
    timeout="10m",
    on_timeout=lambda charge: Verdict(order_id=charge.order_id, risk="unknown"),
    idempotent_on="order_id",
)


@asynccontextmanager
async def ledger() -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url="https://ledger.example") as client:
        yield client


@step(retry=Retry(attempts=5, first="200ms"))
async def book(verdict: Verdict, client: httpx.AsyncClient, ctx: Context) -> Booked:
    headers = {"Idempotency-Key": ctx.idempotency_key}
    response = await client.post("/bookings", json=verdict.model_dump(), headers=headers)
    if response.status_code == 422:
        raise NonRetryable(response.text)
    response.raise_for_status()
    return Booked(order_id=verdict.order_id, held=verdict.risk != "low")


charges = Pipeline("charges", Charge).wait(fraud_check).then(book)
assert_type(charges, Pipeline[Charge, Booked])
app = App(charges, resources=[ledger])
