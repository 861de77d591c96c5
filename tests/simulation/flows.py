"""The examples, and scenarios that play their users."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from bide import Pipeline
from bide.testing import Simulation
from bide.testing.exploration import Scenario
from examples.csv_payments import payments
from examples.csv_payments.messages import CsvPaymentsInputFile
from examples.csv_payments.proof import write_payments
from examples.csv_payments.provider import decide as decided
from examples.restaurant_approval import decide, orders
from examples.restaurant_approval.messages import (
    PlaceRestaurantOrderRequest,
    RestaurantOrderAccepted,
)

ORDER = PlaceRestaurantOrderRequest(
    request_id=UUID(int=42),
    customer_name="Ada",
    restaurant_name="Roma",
    items="2 x pizza",
    total_amount=Decimal("21.50"),
    currency="EUR",
)
DECIDED_AT = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


async def approved_once(sim: Simulation) -> None:
    """A customer orders, the restaurant accepts, and the order is approved."""
    await approved(sim, orders)


async def approved(sim: Simulation, pipeline: Pipeline[Any, Any]) -> None:
    execution = await sim.submit(pipeline, ORDER, idempotency_key="order-42")
    await sim.settle()
    [question] = await sim.pending(decide)
    yes = RestaurantOrderAccepted(order_id=question.request.order_id, decided_at=DECIDED_AT)
    await sim.complete(question, yes, actor="roma")
    assert (await execution.result()).outcome == "APPROVED"


def paid(folder: Path, *, rows: int, pipeline: Pipeline[Any, Any] = payments) -> Scenario:
    """A scenario in which the last of ten payments are paid, by a provider that answers backwards.

    Of three the first is not approved, and the others are.
    """
    source, output = folder / "payments.csv", folder / "payments.out.csv"
    write_payments(source, 10)
    header, *lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    source.write_text(header + "".join(lines[-rows:]), encoding="utf-8")

    async def payments_paid(sim: Simulation) -> None:
        output.unlink(missing_ok=True)
        file = CsvPaymentsInputFile(filepath=Path("payments.csv"), csv_folder_path=folder)
        execution = await sim.submit(pipeline, file, idempotency_key="run")
        answers = [
            (each.interaction_id, decided(each.request.model_dump(mode="json", by_alias=True)))
            for each in reversed(await sim.pending("await-payment-provider"))
        ]
        for id_, answer in answers[:2]:
            await sim.complete(id_, answer)
        await sim.complete_many(answers[2:])
        results = await execution.result()
        assert [each.csv_id for each in results] == [str(id_) for id_ in range(11 - rows, 11)]
        assert len(output.read_text(encoding="utf-8").splitlines()) == rows + 1

    return payments_paid
