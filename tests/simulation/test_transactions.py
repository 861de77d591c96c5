"""Transactional steps in a simulation: whatever befalls a process, rows and states agree."""

import apsw
import pytest

from bide import App, Await, Context, Inbox, Pipeline, Transaction
from bide.stores.sqlite.writer import Writer
from bide.testing import Simulation, explore

TABLE = "create table if not exists entries (execution text not null, stage integer not null)"
INSERT = "insert into entries values ($1, $2)"
ALL = "select stage from entries where execution = $1 order by stage"


async def debit(number: int, ctx: Context, tx: Transaction) -> int:
    await tx.execute(TABLE)
    await tx.execute(INSERT, ctx.execution_id, 1)
    return number


async def credit(confirmed: bool, ctx: Context, tx: Transaction) -> list[int]:
    await tx.execute(INSERT, ctx.execution_id, 2)
    return [row["stage"] for row in await tx.fetch(ALL, ctx.execution_id)]


confirm = Await("Confirm", int, bool, via=Inbox(), timeout="1h")
transfers = Pipeline("transfers", int).then(debit).wait(confirm).then(credit)
app = App(transfers)


async def transferred(app: Simulation) -> None:
    """Each row is there once, seen from within the commit that ends it."""
    execution = await app.submit(transfers, 1, idempotency_key="transfer-1")
    for question in await app.pending(confirm):
        await app.complete(question, True)
    assert await execution.result(timeout="1h") == [1, 2]


def test_rows_are_there_once_whatever_befalls() -> None:
    """Steps are called again at crashes, and no row is there twice, too many or too few."""
    explored = explore(app, transferred)

    assert explored.commits >= 4
    assert set(explored.repeated) == {"debit", "credit"}


def test_rows_that_outlive_their_end_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what was undone stayed, the exploration says so."""

    def keep(writer: Writer, db: apsw.Connection) -> None:
        writer._recent.forget()
        if db.in_transaction:
            db.execute("commit")

    monkeypatch.setattr(Writer, "_roll_back", keep)

    with pytest.raises(AssertionError, match="repeat: explore"):
        explore(app, transferred)
