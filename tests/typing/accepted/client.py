"""From another process: what crosses the wire has the definition's types."""

from collections.abc import Iterator
from typing import Any, assert_type

from pydantic import BaseModel

from bide import AsyncClient, Await, Client, Inbox, Interaction, Many, Pipeline, Receipt


class Order(BaseModel):
    item: str


class Verdict(BaseModel):
    fine: bool


def split(order: Order) -> Iterator[str]:
    yield from order.item.split()


decide = Await("Decide", Order, Verdict, via=Inbox(), timeout="1h")
orders = Pipeline("orders", Order).wait(decide)
report = Await("Report", Many[str], Many[int], via=Inbox(), timeout="1h")
reports = Pipeline("reports", Order).then(split).wait(report)


def blocking(client: Client) -> None:
    execution = client.submit(orders, Order(item="tea"))
    [question] = execution.parked(decide, timeout="5s")
    assert_type(question, Interaction[Order, Verdict])
    assert_type(client.complete(question, Verdict(fine=True)), Receipt)
    assert_type(execution.result(timeout=10), Verdict)
    assert_type(client.pending("decide"), list[Interaction[Any, Any]])


async def on_a_loop(client: AsyncClient) -> None:
    execution = await client.submit(reports, Order(item="tea"))
    [question] = await execution.parked(report, timeout="5s")
    assert_type(question, Interaction[list[str], list[int]])
    await client.complete(question, [1, 2])
    assert_type(await execution.result(), list[int])
    async for number in execution.results():
        assert_type(number, int)
