"""The restaurant approval, used from Python and over HTTP as its users do."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from bide import CompletionConflict, ExecutionFailed
from examples.restaurant_approval import app, decide, orders
from examples.restaurant_approval.messages import (
    PlaceRestaurantOrderRequest,
    RestaurantOrderAccepted,
    RestaurantOrderDeclined,
)
from examples.restaurant_approval.steps import finalize_restaurant_decision
from tests.processes import PATIENCE_S, Service

ORDER = PlaceRestaurantOrderRequest(
    request_id=UUID(int=42),
    customer_name="Ada",
    restaurant_name="Roma",
    items="2 x pizza",
    total_amount=Decimal("21.50"),
    currency="EUR",
)
DECIDED_AT = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store of the test's own."""
    return f"sqlite:///{tmp_path / 'bide.db'}"


async def test_an_accepted_order_is_approved(store: str) -> None:
    """From Python: submit, find the question, accept, read the typed result."""
    async with app.using(store=store).running() as bide:
        execution = await bide.submit(orders, ORDER, idempotency_key="order-42")
        [question] = await execution.parked(decide, timeout=PATIENCE_S)
        yes = RestaurantOrderAccepted(
            order_id=question.request.order_id, decided_at=DECIDED_AT, note="20 minutes"
        )
        receipt = await bide.complete(question, yes, actor="roma")
        result = await execution.result(timeout=PATIENCE_S)

    assert receipt.outcome == "applied"
    assert question.request.total_amount == ORDER.total_amount
    assert result.order_id == question.request.order_id
    assert (result.outcome, result.restaurant_status) == ("APPROVED", "ACCEPTED")
    assert (result.resolved_at, result.summary) == (DECIDED_AT, "20 minutes")


async def test_the_first_decision_stays(store: str) -> None:
    """A second, different decision is a conflict; the order ends as the first one said."""
    async with app.using(store=store).running() as bide:
        execution = await bide.submit(orders, ORDER)
        [question] = await execution.parked(decide, timeout=PATIENCE_S)
        order_id = question.request.order_id
        no = RestaurantOrderDeclined(
            order_id=order_id, decided_at=DECIDED_AT, note="Sorry", decline_reason="oven broken"
        )
        yes = RestaurantOrderAccepted(order_id=order_id, decided_at=DECIDED_AT)
        await bide.complete(question, no, actor="roma")
        again = await bide.complete(question, no, actor="roma")
        with pytest.raises(CompletionConflict):
            await bide.complete(question, yes, actor="ada")
        result = await execution.result(timeout=PATIENCE_S)

    assert again.outcome == "duplicate"
    assert (result.outcome, result.summary) == ("DECLINED", "Sorry (oven broken)")


@pytest.mark.parametrize("change", [{"items": "  "}, {"total_amount": Decimal(0)}])
async def test_an_order_that_makes_no_sense_is_not_retried(
    store: str, change: dict[str, Any]
) -> None:
    """An order without items or amount fails at its first step, at the first attempt."""
    async with app.using(store=store).running() as bide:
        execution = await bide.submit(orders, ORDER.model_copy(update=change))
        with pytest.raises(ExecutionFailed) as failed:
            await execution.result(timeout=PATIENCE_S)

    assert failed.value.step_id == "validate-order-request"
    assert failed.value.attempts == 1


def test_steps_are_plain_functions() -> None:
    """A step is tested by calling it."""
    final = finalize_restaurant_decision(
        RestaurantOrderDeclined(order_id=UUID(int=1), decided_at=DECIDED_AT, decline_reason="full")
    )

    assert final.summary == "full"


@pytest.mark.process
@pytest.mark.parametrize(
    ("decision", "outcome"),
    [
        ({"accepted": {"note": "20 minutes"}}, ("APPROVED", "ACCEPTED", "20 minutes")),
        (
            {"declined": {"note": "Sorry", "declineReason": "closed"}},
            ("DECLINED", "DECLINED", "Sorry (closed)"),
        ),
    ],
)
async def test_over_http_a_decision_survives_a_kill(
    tmp_path: Path, decision: dict[str, Any], outcome: tuple[str, ...]
) -> None:
    """Over HTTP: submit, kill the service while the order is parked, start it, decide, read."""
    body = ORDER.model_dump(mode="json", by_alias=True) | {"totalAmount": 21.5}
    with Service("examples.restaurant_approval:app", tmp_path) as service:
        await service.must_be_ready()
        async with httpx.AsyncClient(base_url=service.url) as client:
            submitted = await client.post(
                "/pipeline/run-async", json=body, headers={"idempotency-key": "order-42"}
            )
            assert submitted.status_code == 202
            execution = f"/pipeline/executions/{submitted.json()['executionId']}"
            parked = await _until(client, execution, "WAITING_EXTERNAL")

            service.kill()
            service.start()
            await service.must_be_ready()

            question = await _only_question(client, "await-restaurant-decision")
            order_id = question["requestPayload"]["orderId"]
            [(tag, words)] = decision.items()
            answer = words | {"orderId": order_id, "decidedAt": "2026-11-21T12:30:00Z"}
            receipt = await client.post(
                "/pipeline/interactions/complete",
                json={
                    "interactionId": question["interactionId"],
                    "idempotencyKey": f"complete-{order_id}",
                    "actor": "roma",
                    "responsePayload": {tag: answer},
                },
            )
            await _until(client, execution, "SUCCEEDED")
            result = (await client.get(f"{execution}/result")).json()

    assert parked["stepIndex"] == 2
    assert question["transportType"] == "interaction-api"
    assert question["requestPayload"]["totalAmount"] == "21.5"
    assert receipt.json()["receipt"] == "applied"
    assert result["orderId"] == order_id
    assert (result["outcome"], result["restaurantStatus"], result["summary"]) == outcome


async def _until(client: httpx.AsyncClient, execution: str, status: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            state: dict[str, Any] = (await client.get(execution)).json()
            if state["status"] == status:
                return state
            assert state["status"] not in {"FAILED", "DLQ", "CANCELLED"}, state
            await asyncio.sleep(0.02)


async def _only_question(client: httpx.AsyncClient, step: str) -> dict[str, Any]:
    pending = await client.get("/pipeline/interactions/pending", params={"stepId": step})
    question: dict[str, Any]
    [question] = pending.json()
    return question
