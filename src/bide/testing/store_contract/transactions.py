"""What a store does whose database steps may write to (`bide.spi.transactions`, T1 to T8).

Apart from the suite, since a store without SQL has no such verb::

    from bide.testing.store_contract import *
    from bide.testing.store_contract.transactions import *

It makes a table `notes` of its own in the store's database.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import pytest_asyncio

from bide.engine.moves import (
    Cancel,
    Claimed,
    Finish,
    Move,
    Moved,
    Park,
    Publishing,
    Refused,
    Unstorable,
)
from bide.errors import StoreUnavailable, TransactionFailed
from bide.model.ids import InteractionId
from bide.model.records import Execution, replace
from bide.model.status import ExecutionStatus, HandoffStatus, JournalKind
from bide.spi.store import ExecutionQuery, LeaseKey
from bide.spi.transactions import Bounds, OpenTransaction, Transactional
from bide.testing.store_contract.harness import (
    LEASE_MS,
    TENANT,
    Driver,
    asking,
    boundary,
    correlated,
    expect,
)
from bide.testing.store_contract.publishing import TARGET, handed_to, sent_elsewhere

__all__ = ["TestTransactions", "TestTransactionsThatPublish", "notes"]

#: Longer than any test takes, so that no clock decides one.
PATIENT = Bounds(60_000, 60_000)
_INSERT = "insert into notes (number, words) values ($1, $2)"
_ALL = "select number, words from notes order by number"


class Notes:
    """A table of the user's, written by steps."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        assert isinstance(driver.store, Transactional)
        self.store: Transactional = driver.store

    async def begin(self, claimed: Claimed, bounds: Bounds = PATIENT) -> OpenTransaction:
        """The transaction of a worker's last step."""
        lease = LeaseKey(claimed.execution.id, claimed.execution.fence)
        begun = await self.store.begin(lease, bounds)
        assert not isinstance(begun, Refused), begun
        return begun

    async def open(self, bounds: Bounds = PATIENT) -> tuple[Claimed, OpenTransaction]:
        """A running execution, and its transaction."""
        claimed = await self.driver.running()
        return claimed, await self.begin(claimed, bounds)

    async def written(self) -> list[Mapping[str, Any]]:
        """What others find."""
        _, transaction = await self.open()
        try:
            return await transaction.fetch(_ALL, ())
        finally:
            await transaction.roll_back()

    async def make(self) -> None:
        """Make the table, empty."""
        claimed, transaction = await self.open()
        await transaction.execute("drop table if exists notes", ())
        await transaction.execute(
            "create table notes (number integer primary key, words text not null)", ()
        )
        await transaction.commit(finish(claimed))


def finish(claimed: Claimed, result: bytes = b"1") -> Finish:
    """The end of the suite's pipeline."""
    return Finish(claimed.execution.id, claimed.execution.fence, 2, result)


def park(claimed: Claimed, **asked: Any) -> Park:
    """The wait of the suite's pipeline."""
    execution = claimed.execution
    return Park(execution.id, execution.fence, boundary(), asking(**asked))


@pytest_asyncio.fixture
async def notes(driver: Driver) -> Notes:
    """An empty table."""
    made = Notes(driver)
    await made.make()
    return made


class TestTransactions:
    """What a step writes and the end of its segment."""

    async def test_finish(self, driver: Driver, notes: Notes) -> None:
        """T1: rows and the end of the execution are there together, with one fact of it."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))
        before = await driver.execution(claimed.execution.id)

        made = await transaction.commit(finish(claimed, b"7"))

        ended = expect(made.outcomes[0], Moved).execution
        assert before.status is ExecutionStatus.RUNNING
        assert ended == await driver.execution(claimed.execution.id)
        assert (ended.status, ended.result) == (ExecutionStatus.SUCCEEDED, b"7")
        assert made.executions == [ended]
        kinds = [fact.kind for fact in await driver.store.journal(TENANT, ended.id)]
        assert kinds.count(JournalKind.SUCCEEDED) == 1
        assert await notes.written() == [{"number": 1, "words": "one"}]

    async def test_park(self, driver: Driver, notes: Notes) -> None:
        """T1: rows and the wait are there together; the question may be answered at once."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))

        await transaction.commit(park(claimed))

        asked = await driver.asked(InteractionId(claimed.execution.id, 1, 0))
        assert asked.interaction.execution == claimed.execution.id
        assert len(await notes.written()) == 1

    async def test_many_statements(self, notes: Notes) -> None:
        """Statements see what those before them wrote, and rows come by the names of columns."""
        claimed, transaction = await notes.open()

        assert await transaction.fetch(_ALL, ()) == []
        await transaction.execute(
            "insert into notes (words, number) values ($2, $1), ('$1', 8)", (7, "x")
        )
        found = await transaction.fetch(
            "update notes set words = words || $1 where number = $2 returning number, words as text",
            ("y", 7),
        )
        everything = await transaction.fetch(_ALL, ())
        await transaction.commit(finish(claimed))

        assert found == [{"number": 7, "text": "xy"}]
        assert everything == [{"number": 7, "words": "xy"}, {"number": 8, "words": "$1"}]
        assert await notes.written() == everything

    async def test_rolled_back(self, driver: Driver, notes: Notes) -> None:
        """T7: nothing is left of what was rolled back, and the execution runs on."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))

        await transaction.roll_back()
        await transaction.roll_back()

        assert await notes.written() == []
        assert await driver.execution(claimed.execution.id) == claimed.execution
        with pytest.raises(TransactionFailed):
            await transaction.commit(finish(claimed))
        again = await notes.begin(claimed)
        await again.execute(_INSERT, (1, "one"))
        await again.commit(finish(claimed))
        assert len(await notes.written()) == 1

    async def test_roll_back_comes_too_late(self, notes: Notes) -> None:
        """T7: once the commit was asked for, a roll-back does nothing, whoever waits for it."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))

        committing = asyncio.ensure_future(transaction.commit(finish(claimed)))
        await asyncio.sleep(0)
        await transaction.roll_back()

        assert isinstance((await committing).outcomes[0], Moved)
        assert len(await notes.written()) == 1

    # --- the fence ----------------------------------------------------------------------------

    async def test_lease_lost_before(self, driver: Driver, notes: Notes) -> None:
        """T2: a worker that has lost its lease is refused at the first statement."""
        stale = await driver.running()
        driver.clock.advance(LEASE_MS + 1)
        await driver.claim("worker-2")

        lease = LeaseKey(stale.execution.id, stale.execution.fence)
        begun = await notes.store.begin(lease, PATIENT)

        assert isinstance(begun, Refused)
        lost = LeaseKey(driver.new_id(), 1)
        assert isinstance(await notes.store.begin(lost, PATIENT), Refused)

    @pytest.mark.parametrize("end", [finish, park])
    async def test_lease_lost_meanwhile(self, driver: Driver, notes: Notes, end: Any) -> None:
        """T2: of a worker that goes on after its lease and its successor, one writes, and whole."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))
        driver.clock.advance(LEASE_MS + 1)
        claiming = asyncio.ensure_future(driver.claim("worker-2"))
        # A store in which nobody else writes meanwhile lets it wait for the commit.
        await asyncio.wait([claiming], timeout=0.2)

        made = await transaction.commit(end(claimed))

        taken = [one for one in await claiming if one.execution.id == claimed.execution.id]
        after = await driver.execution(claimed.execution.id)
        assert isinstance(made.outcomes[0], Refused) is bool(taken)
        assert [after] == ([taken[0].execution] if taken else made.executions)
        assert len(await notes.written()) == (0 if taken else 1)

    async def test_stale_fence_at_the_commit(self, driver: Driver, notes: Notes) -> None:
        """T2: an end under another fence than the claim's writes neither rows nor state."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))
        stale = Finish(claimed.execution.id, claimed.execution.fence - 1, 2, b"1")

        made = await transaction.commit(stale)

        assert isinstance(made.outcomes[0], Refused)
        assert await driver.execution(claimed.execution.id) == claimed.execution
        assert await notes.written() == []

    async def test_an_end_that_fails(self, driver: Driver, notes: Notes) -> None:
        """T2: where the wait cannot be opened, the step's rows are not kept either."""
        key = correlated("k")
        await driver.parked(correlation=key)
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))

        made = await transaction.commit(park(claimed, correlation=key))

        assert expect(made.outcomes[0], Moved).execution.status is ExecutionStatus.FAILED
        assert not made.executions
        assert await driver.execution(claimed.execution.id) == claimed.execution
        assert await notes.written() == []

    async def test_a_result_that_cannot_be_stored(self, driver: Driver, notes: Notes) -> None:
        """T2: where a value of the end is refused, the step's rows are not kept."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))

        made = await transaction.commit(park(claimed, group="half \ud800"))

        assert isinstance(made.outcomes[0], Unstorable)
        assert await driver.execution(claimed.execution.id) == claimed.execution
        assert await notes.written() == []

    # --- statements that fail -----------------------------------------------------------------

    @pytest.mark.parametrize(
        ("sql", "args"),
        [
            ("insert into notes (number, words) values (1, 'again')", ()),
            ("insert into notes (number, words) values (2, null)", ()),
            ("insert into nowhere values (1)", ()),
            ("this is no SQL", ()),
            (_INSERT, (2,)),
            (_INSERT, (2, "two", "three")),
            (_INSERT, (2, object())),
        ],
        ids=["unique", "not null", "no table", "syntax", "too few", "too many", "no such type"],
    )
    async def test_refused_statement(
        self, driver: Driver, notes: Notes, sql: str, args: tuple[object, ...]
    ) -> None:
        """T3: it ends the transaction; nothing more is taken, and nothing of it stays."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))

        with pytest.raises(TransactionFailed, match="refuses the statement"):
            await transaction.execute(sql, args)

        with pytest.raises(TransactionFailed):
            await transaction.fetch(_ALL, ())
        with pytest.raises(TransactionFailed):
            await transaction.commit(finish(claimed))
        assert await driver.execution(claimed.execution.id) == claimed.execution
        assert await notes.written() == []

    async def test_deferred_constraint(self, driver: Driver, notes: Notes) -> None:
        """T3: a constraint that is checked at the commit fails the step and not the store."""
        claimed, transaction = await notes.open()
        await transaction.execute("drop table if exists replies", ())
        await transaction.execute(
            "create table replies (note integer references notes (number)"
            " deferrable initially deferred)",
            (),
        )
        await transaction.execute("insert into replies values (99)", ())

        with pytest.raises(TransactionFailed, match="refuses to commit"):
            await transaction.commit(finish(claimed))

        assert await driver.execution(claimed.execution.id) == claimed.execution

    @pytest.mark.parametrize(
        "sql",
        ["commit", "rollback", "/* so */ Commit", "-- so\nbegin", "end", "savepoint a", "abort"],
    )
    async def test_no_control(self, driver: Driver, notes: Notes, sql: str) -> None:
        """T5: a statement cannot end the transaction, and what tried to has failed."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))

        with pytest.raises(TransactionFailed):
            await transaction.execute(sql, ())

        assert await notes.written() == []
        assert await driver.execution(claimed.execution.id) == claimed.execution

    async def test_no_control_behind_a_statement(self, driver: Driver, notes: Notes) -> None:
        """T5: nor can one that hides behind another."""
        claimed, transaction = await notes.open()

        with pytest.raises(TransactionFailed):
            await transaction.execute("insert into notes values (1, 'one'); commit", ())

        assert await notes.written() == []
        assert await driver.execution(claimed.execution.id) == claimed.execution

    # --- time ---------------------------------------------------------------------------------

    async def test_held_for_too_long(self, driver: Driver, notes: Notes) -> None:
        """T4: past its bound it is rolled back, and others go on."""
        claimed, transaction = await notes.open(Bounds(50, 60_000))
        await transaction.execute(_INSERT, (1, "one"))
        await _until_over(transaction)

        with pytest.raises(TransactionFailed, match="transaction_max_ms"):
            await transaction.commit(finish(claimed))

        assert await notes.written() == []
        assert await driver.execution(claimed.execution.id) == claimed.execution

    async def test_idle_for_too_long(self, notes: Notes) -> None:
        """T4: it is rolled back when no statement comes for too long, and says so."""
        claimed, transaction = await notes.open(Bounds(60_000, 50))
        await transaction.execute(_INSERT, (1, "one"))
        await asyncio.sleep(0.1)

        assert await notes.written() == []
        with pytest.raises(TransactionFailed, match="transaction_idle_ms"):
            await transaction.commit(finish(claimed))

    async def test_a_statement_that_takes_too_long(self, notes: Notes) -> None:
        """T4: a statement is cut off when the time is up."""
        _, transaction = await notes.open(Bounds(100, 60_000))
        endless = (
            "with recursive n (i) as (select 1 union all select i + 1 from n where i < 2000000000)"
            " select count(*) as c from n"
        )

        with pytest.raises(TransactionFailed, match="transaction_max_ms"):
            await transaction.fetch(endless, ())

        assert await notes.written() == []

    # --- others -------------------------------------------------------------------------------

    async def test_many_at_once(self, driver: Driver, notes: Notes) -> None:
        """T8: more transactions than the store can hold at once take turns."""
        ids = [await driver.submit() for _ in range(40)]
        claims = {one.execution.id: one for one in await driver.claim()}

        async def run(number: int) -> None:
            claimed = claims[ids[number]]
            transaction = await notes.begin(claimed)
            await transaction.execute(_INSERT, (number, "so"))
            await transaction.commit(finish(claimed))

        await asyncio.gather(*map(run, range(40)))

        assert [row["number"] for row in await notes.written()] == list(range(40))

    async def test_cancel_beside_it(self, driver: Driver, notes: Notes) -> None:
        """T8: who cancels the execution is not kept waiting for ever, and one of the two wins."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))

        cancelling = asyncio.ensure_future(
            driver.one(Cancel(claimed.execution.id, TENANT, "not wanted"))
        )
        await asyncio.sleep(0)
        made = await transaction.commit(finish(claimed))
        cancelled = isinstance(await cancelling, Moved)

        assert cancelled is not isinstance(made.outcomes[0], Moved)
        assert len(await notes.written()) == (0 if cancelled else 1)

    async def test_whoever_waits_to_begin_may_leave(self, driver: Driver, notes: Notes) -> None:
        """T7: a transaction that nobody waits for any more does not keep the next from beginning."""
        claimed = await driver.running()
        beginning = asyncio.ensure_future(notes.begin(claimed))
        await asyncio.sleep(0)
        beginning.cancel()
        await asyncio.wait([beginning])

        assert await notes.written() == []

    # --- an unknown outcome -------------------------------------------------------------------

    @pytest.mark.parametrize("end", [finish, park])
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    async def test_outcome_unknown(
        self, driver: Driver, notes: Notes, end: Any, *, after: bool
    ) -> None:
        """T6: when the outcome is lost, rows and state are there together or not at all."""
        claimed, transaction = await notes.open()
        await transaction.execute(_INSERT, (1, "one"))
        driver.faults().fail_next_commit(after=after)
        move: Move = end(claimed)

        try:
            made = isinstance((await transaction.commit(move)).outcomes[0], Moved)
        except StoreUnavailable:
            made = False

        assert made is after
        moved = await driver.execution(claimed.execution.id) != claimed.execution
        assert moved is after
        assert len(await notes.written()) == after


class Publishes:
    """A transaction that has written a row, and the end of its segment, which publishes."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.driver = notes.driver

    async def begun(self, end: Any, **asked: Any) -> tuple[OpenTransaction, Publishing]:
        """One publication for a pipeline of this store, and one for another deployment."""
        claimed, transaction = await self.notes.open()
        self.source = claimed.execution
        await transaction.execute(_INSERT, (1, "one"))
        here = handed_to(self.driver, self.source)
        elsewhere = replace(sent_elsewhere(self.driver), publication="elsewhere")
        return transaction, replace(end(claimed, **asked), handoffs=(here, elsewhere))

    async def left(self) -> tuple[int, list[HandoffStatus], int]:
        """How many rows, how each publication stands, and how many targets there are."""
        rows = await self.notes.written()
        handoffs = await self.driver.store.handoffs(TENANT, self.source.id)
        by_publication = sorted(handoffs, key=lambda each: each.publication)
        statuses = [each.status for each in by_publication]
        return len(rows), statuses, len(await self.targets())

    async def targets(self) -> list[Execution]:
        """What the publications have made."""
        query = ExecutionQuery(TENANT, TARGET)
        return await self.driver.store.executions(query)


#: What `left` gives of a commit that took place, and of one that did not.
_WHOLE = (1, [HandoffStatus.WAITING, HandoffStatus.ADMITTED], 1)
_NOTHING: tuple[int, list[HandoffStatus], int] = (0, [], 0)


class TestTransactionsThatPublish:
    """A step's rows, the end of its segment, what that publishes and what takes it: one commit."""

    @pytest.mark.parametrize("end", [finish, park])
    async def test_one_commit(self, notes: Notes, end: Any) -> None:
        """T1: all of it is there together, and whoever goes on is told of all of it."""
        publishes = Publishes(notes)
        transaction, move = await publishes.begun(end)

        made = await transaction.commit(move)

        [target] = await publishes.targets()
        assert target.status is ExecutionStatus.QUEUED
        assert {each.id for each in made.executions} == {publishes.source.id, target.id}
        assert made.left_ready == 1
        assert {each.id for each in made.handed} == {each.id for each in move.handoffs}
        assert len(made.outcomes) == 1
        assert await publishes.left() == _WHOLE

    @pytest.mark.parametrize("end", [finish, park])
    async def test_stale_fence(self, notes: Notes, end: Any) -> None:
        """T2: an end that is refused has published nothing, and made nothing."""
        publishes = Publishes(notes)
        transaction, move = await publishes.begun(end)

        made = await transaction.commit(replace(move, fence=move.fence - 1))

        assert isinstance(made.outcomes[0], Refused)
        assert (made.executions, made.handed, made.left_ready) == ([], (), 0)
        assert await publishes.left() == _NOTHING

    async def test_an_end_that_fails(self, driver: Driver, notes: Notes) -> None:
        """T2: where the wait cannot be opened, nothing is published either."""
        key = correlated("k")
        await driver.parked(correlation=key)
        publishes = Publishes(notes)
        transaction, move = await publishes.begun(park, correlation=key)

        made = await transaction.commit(move)

        assert expect(made.outcomes[0], Moved).execution.status is ExecutionStatus.FAILED
        assert (made.executions, made.handed, made.left_ready) == ([], (), 0)
        assert await publishes.left() == _NOTHING

    async def test_what_cannot_be_stored(self, notes: Notes) -> None:
        """T2: a publication that the database refuses takes the rows and the end with it."""
        publishes = Publishes(notes)
        transaction, move = await publishes.begun(finish)
        unfit = tuple(replace(each, key="half \ud800") for each in move.handoffs)

        made = await transaction.commit(replace(move, handoffs=unfit))

        assert isinstance(made.outcomes[0], Unstorable)
        assert await publishes.left() == _NOTHING

    async def test_rolled_back(self, notes: Notes) -> None:
        """T7: what was rolled back has published nothing."""
        publishes = Publishes(notes)
        transaction, move = await publishes.begun(finish)

        await transaction.roll_back()

        with pytest.raises(TransactionFailed):
            await transaction.commit(move)
        assert await publishes.left() == _NOTHING

    @pytest.mark.parametrize("end", [finish, park])
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    async def test_outcome_unknown(self, notes: Notes, end: Any, *, after: bool) -> None:
        """T6: when the outcome is lost, all of it is there or nothing."""
        publishes = Publishes(notes)
        transaction, move = await publishes.begun(end)
        notes.driver.faults().fail_next_commit(after=after)

        try:
            made = isinstance((await transaction.commit(move)).outcomes[0], Moved)
        except StoreUnavailable:
            made = False

        assert made is after
        assert await publishes.left() == (_WHOLE if after else _NOTHING)

    async def test_one_key_at_the_same_time(self, driver: Driver, notes: Notes) -> None:
        """T8: transactions that publish under one key make one target, and each keeps its rows."""
        ids = [await driver.submit() for _ in range(8)]
        claims = {one.execution.id: one for one in await driver.claim()}

        async def run(number: int) -> None:
            """Write and publish; called again, as a step is, where others came between."""
            claimed = claims[ids[number]]
            async with asyncio.timeout(60):
                while True:
                    transaction = await notes.begin(claimed)
                    await transaction.execute(_INSERT, (number, "so"))
                    move = replace(
                        finish(claimed), handoffs=(handed_to(driver, claimed.execution),)
                    )
                    try:
                        made = await transaction.commit(move)
                    except StoreUnavailable:
                        continue
                    expect(made.outcomes[0], Moved)
                    return

        await asyncio.gather(*map(run, range(8)))

        handoffs = [each for id_ in ids for each in await driver.store.handoffs(TENANT, id_)]
        assert [each.status for each in handoffs] == [HandoffStatus.ADMITTED] * 8
        assert sum(each.duplicate for each in handoffs) == 7
        assert len({each.admitted_as for each in handoffs}) == 1
        assert [row["number"] for row in await notes.written()] == list(range(8))


async def _until_over(transaction: OpenTransaction) -> None:
    """Wait until a statement is refused."""
    async with asyncio.timeout(60):
        while True:
            try:
                await transaction.fetch(_ALL, ())
            except TransactionFailed:
                return
            await asyncio.sleep(0.01)
