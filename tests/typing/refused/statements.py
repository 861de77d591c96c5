"""Mistakes with a transaction; each marked line is an error, and no other line is."""

from bide import Pipeline, Transaction


async def book(number: int, tx: Transaction) -> int:
    await tx.execute(number)  # refused
    tx.commit()  # refused
    tx.rollback()  # refused
    rows = await tx.fetch("select 1 as one")
    rows[0].one  # refused
    rows[0]["one"] = 2  # refused
    return len(rows)


def name(number: int) -> str:
    return str(number)


# A step that takes a transaction takes what comes before it, like any other.
Pipeline("orders", int).then(name).then(book)  # refused
