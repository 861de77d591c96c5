"""A step that writes in the commit that ends its segment."""

from collections.abc import Mapping
from typing import Any, assert_type

from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from bide import App, Await, Context, Inbox, Pipeline, Transaction, branch


class Order(BaseModel):
    number: int
    cents: int


class Booked(BaseModel):
    number: int
    balance: int


class Refused(BaseModel):
    number: int


def check(order: Order) -> Order | Refused:
    return order if order.cents > 0 else Refused(number=order.number)


async def book(order: Order, tx: Transaction, ctx: Context) -> Booked:
    await tx.execute("insert into bookings values ($1, $2)", order.number, ctx.execution_id)
    rows = await tx.fetch("update accounts set cents = cents - $1 returning cents", order.cents)
    assert_type(rows, list[Mapping[str, Any]])
    return Booked(number=order.number, balance=rows[0]["cents"])


async def close(approved: bool, tx: Transaction) -> None:
    await tx.execute("insert into approvals values ($1)", approved)


async def book_all(orders: list[Order], tx: Transaction) -> int:
    async with tx.session() as session:
        assert_type(session, AsyncSession)
        await session.execute(text("select 1"))
    return len(orders)


approve = Await("Approve", Booked | Refused, bool, via=Inbox(), timeout="1d")
booking = Pipeline("booking", Order).then(book)
assert_type(booking, Pipeline[Order, Booked])
orders = Pipeline("orders", Order).then(check).then(branch(book).keep(Refused)).wait(approve)
assert_type(orders.then(close), Pipeline[Order, None])
app = App(booking, orders.then(close), store="sqlite:///shop.db")
