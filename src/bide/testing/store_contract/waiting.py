"""Units: parked with one interaction, or opened, filled and closed over a stream."""

import pytest

from bide.engine.moves import (
    Append,
    CloseBehind,
    CloseUnit,
    Finish,
    GiveBack,
    Mismatch,
    Moved,
    NewInteraction,
    OpenUnit,
    Park,
    Received,
    Refused,
)
from bide.model.ids import InteractionId, UnitId, format_interaction
from bide.model.status import (
    ExecutionStatus,
    InteractionStatus,
    JournalKind,
    ReceiptOutcome,
    UnitStatus,
)
from bide.testing.store_contract.harness import (
    AFTER_AWAIT,
    DAY,
    HOUR,
    LEASE_MS,
    TENANT,
    Driver,
    answer,
    answers_to,
    asking,
    boundary,
    expect,
)


class TestPark:
    """A unit with one interaction, parked in one commit."""

    async def test_writes_together(self, driver: Driver) -> None:
        """Unit, interaction, execution and journal are written in one commit (S1)."""
        execution = (await driver.running()).execution
        request = NewInteraction(b'{"order":1}', "order-1", HOUR, "finance", "ada")

        outcome = await driver.one(Park(execution.id, execution.fence, boundary(3), request))

        parked = expect(outcome, Moved).execution
        asked = await driver.asked(InteractionId(execution.id, 1, 0))
        interaction, unit = asked.interaction, asked.unit
        assert parked == await driver.execution(execution.id)
        assert parked.status is ExecutionStatus.WAITING_EXTERNAL
        assert (parked.due_at, parked.owner, parked.step_index) == (None, None, 3)
        assert parked.await_unit == unit.id
        assert (unit.status, unit.total, unit.appended, unit.settled, unit.per_item) == (
            UnitStatus.WAITING_EXTERNAL, 1, 1, 0, False,
        )  # fmt: skip
        assert interaction.status is InteractionStatus.DISPATCHED
        assert interaction.request == b'{"order":1}'
        assert (interaction.key, interaction.group, interaction.assignee) == (
            "order-1", "finance", "ada",
        )  # fmt: skip
        assert interaction.deadline_at == driver.clock() + HOUR
        assert (await driver.store.journal(TENANT, execution.id))[-1].kind is JournalKind.PARKED

    async def test_still_to_be_sent(self, driver: Driver) -> None:
        """An interaction that a dispatcher has to send is born WAITING."""
        interaction = await driver.parked(dispatched=False)

        asked = await driver.asked(interaction)

        assert asked.interaction.status is InteractionStatus.WAITING

    async def test_ids_are_paths(self, driver: Driver) -> None:
        """Units are numbered as they open, items by index; the ids are written as paths."""
        first = await driver.parked()
        await driver.one(answer(first))
        [claimed] = await driver.claim()
        execution = claimed.execution

        await driver.one(Park(execution.id, execution.fence, boundary(2), asking()))

        units = await driver.store.units(TENANT, first.execution)
        assert [unit.id for unit in units] == [UnitId(first.execution, n) for n in (1, 2)]
        second = await driver.asked(InteractionId(first.execution, 2, 0))
        assert format_interaction(second.interaction.id).endswith("_2_0")

    async def test_refused_while_a_unit_is_open(self, driver: Driver) -> None:
        """An execution has one open unit at most: a second await cannot overtake it."""
        stream = await driver.stream(2)
        before = await driver.dump()

        outcomes = await driver.do(
            Park(stream.id, stream.fence, boundary(2), asking()),
            OpenUnit(stream.id, stream.fence, boundary(2)),
            Finish(stream.id, stream.fence, 2, b"1"),
        )

        assert [type(outcome) for outcome in outcomes] == [Refused] * 3
        assert await driver.dump() == before


class TestStream:
    """A unit over a stream: opened, filled, closed."""

    async def test_open(self, driver: Driver) -> None:
        """A unit over a stream opens without a count, while its execution goes on running."""
        stream = await driver.stream()

        execution = await driver.execution(stream.id)

        [unit] = await driver.store.units(TENANT, stream.id)
        assert execution.status is ExecutionStatus.RUNNING
        assert execution.await_unit == unit.id
        assert (unit.per_item, unit.appended, unit.total) == (True, 0, None)

    async def test_append(self, driver: Driver) -> None:
        """Items are appended in batches, and are visible at once."""
        stream = await driver.stream()

        await driver.one(stream.append(0, 3))
        await driver.do(stream.append(3, 2), stream.append(5, 1))

        dump = await driver.dump()
        assert sorted(dump.interactions) == [stream.item(item) for item in range(6)]
        assert [asked.interaction.item for asked in dump.pending[TENANT]] == list(range(6))
        assert dump.units[stream.unit].appended == 6

    async def test_append_leaves_no_gap(self, driver: Driver) -> None:
        """Items come in order; a batch that would leave a gap changes nothing."""
        stream = await driver.stream(3)
        before = await driver.dump()

        outcome = await driver.one(stream.append(4, 2))

        expect(outcome, Refused)
        assert await driver.dump() == before

    async def test_close_waits(self, driver: Driver) -> None:
        """The close writes the count, and the execution waits for what is open."""
        stream = await driver.stream(3)

        outcome = await driver.one(stream.close(3))

        parked = expect(outcome, Moved).execution
        [unit] = await driver.store.units(TENANT, stream.id)
        assert parked.status is ExecutionStatus.WAITING_EXTERNAL
        assert (unit.total, unit.status) == (3, UnitStatus.WAITING_EXTERNAL)

    async def test_answers_in_any_order(self, driver: Driver) -> None:
        """Answers may come in any order, one commit each; they are read in input order."""
        stream = await driver.parked_stream(5)

        for item in (3, 0, 4, 1, 2):
            assert (await driver.execution(stream.id)).resumed == 0
            await driver.do(*answers_to(stream, [item]))

        assert (await driver.execution(stream.id)).status is ExecutionStatus.QUEUED
        read = await driver.store.answers(TENANT, stream.unit, 0, 10)
        assert [row.answer for row in read] == [b"%d" % item for item in range(5)]
        assert [row.request for row in read] == [None] * 5

    async def test_answers_in_one_commit(self, driver: Driver) -> None:
        """Answers of one batch are counted once each, and release the execution once (I3)."""
        stream = await driver.parked_stream(5)
        version = (await driver.execution(stream.id)).version

        transacted = await driver.store.transact(answers_to(stream, [4, 2, 2, 0, 1, 3]))

        execution = await driver.execution(stream.id)
        assert transacted.left_ready == 1
        assert execution.version == version + 1
        assert (execution.status, execution.resumed) == (ExecutionStatus.QUEUED, 1)
        assert (execution.fingerprint, execution.step_index) == (AFTER_AWAIT, 2)

    @pytest.mark.parametrize("together", [True, False])
    @pytest.mark.parametrize("close_first", [True, False])
    async def test_last_answer_and_close(
        self, driver: Driver, *, close_first: bool, together: bool
    ) -> None:
        """Whoever of the last answer and the close commits second releases the execution (I3)."""
        stream = await driver.stream(2)
        await driver.do(*answers_to(stream, [0]))
        close, last = stream.close(2), answers_to(stream, [1])[0]
        moves = [close, last] if close_first else [last, close]

        if together:
            await driver.do(*moves)
        else:
            for move in moves:
                await driver.one(move)

        execution = await driver.execution(stream.id)
        facts = await driver.store.journal(TENANT, stream.id)
        assert (execution.status, execution.resumed) == (ExecutionStatus.QUEUED, 1)
        assert [fact.kind for fact in facts].count(JournalKind.RESUMED) == 1

    async def test_empty(self, driver: Driver) -> None:
        """A source that gave nothing is not parked: its execution goes on at once."""
        stream = await driver.stream()

        outcome = await driver.one(stream.close(0))

        resumed = expect(outcome, Moved).execution
        [unit] = await driver.store.units(TENANT, stream.id)
        facts = await driver.store.journal(TENANT, stream.id)
        assert (resumed.status, resumed.resumed) == (ExecutionStatus.QUEUED, 1)
        assert (unit.status, unit.total) == (UnitStatus.COMPLETED, 0)
        assert JournalKind.PARKED not in {fact.kind for fact in facts}
        assert await driver.store.answers(TENANT, stream.unit, 0, 10) == []
        [claimed] = await driver.claim()
        assert (claimed.base, claimed.body) == (unit, None)

    async def test_pages_of_answers(self, driver: Driver) -> None:
        """Items are read in order, in pages, answered or not, without their requests."""
        stream = await driver.stream(5, fallback=b'"nobody"')
        await driver.do(*answers_to(stream, [3, 0, 1]))

        pages = [
            await driver.store.answers(TENANT, stream.unit, first, 2) for first in (0, 2, 4, 5)
        ]

        rows = [row for page in pages for row in page]
        assert [[row.item for row in page] for page in pages] == [[0, 1], [2, 3], [4], []]
        assert [row.answer for row in rows] == [b"0", b"1", None, b"3", None]
        assert {row.request for row in rows} == {None}
        assert {row.fallback for row in rows} == {b'"nobody"'}

    async def test_no_append_after_the_close(self, driver: Driver) -> None:
        """A closed unit takes no further item, whatever the fence."""
        stream = await driver.parked_stream(2)
        before = await driver.dump()

        outcomes = await driver.do(stream.append(2, 1), stream.close(2), stream.close(3))

        assert [type(outcome) for outcome in outcomes] == [Refused] * 3
        assert await driver.dump() == before


class TestReplay:
    """A segment that crashed while it read its source reads it again from the start."""

    async def _restarted(self, driver: Driver, items: int) -> tuple[int, InteractionId]:
        stream = await driver.stream(items)
        driver.clock.advance(LEASE_MS + 1)
        [claimed] = await driver.claim("worker-2")
        assert claimed.reopened is not None
        assert claimed.reopened.id == stream.unit
        assert claimed.reopened.appended == items
        assert (claimed.base, claimed.body) == (None, b"{}")
        return claimed.execution.fence, stream.item(0)

    async def test_same_items(self, driver: Driver) -> None:
        """Items that are stored are recognised and never written twice; new ones are appended."""
        stream = await driver.stream(3)
        await driver.do(*answers_to(stream, [1]))
        await driver.one(GiveBack(stream.id, stream.fence))
        [claimed] = await driver.claim()
        again = stream._replace(claimed=claimed)
        before = (await driver.dump()).interactions

        await driver.one(again.append(0, 2))
        await driver.one(again.append(2, 3))
        await driver.one(again.close(5))

        after = (await driver.dump()).interactions
        assert sorted(after) == [stream.item(item) for item in range(5)]
        assert {id: after[id] for id in before} == before
        assert (await driver.execution(stream.id)).status is ExecutionStatus.WAITING_EXTERNAL

    async def test_another_item(self, driver: Driver) -> None:
        """A source that gives another item than before is a mismatch, and nothing changes."""
        fence, first = await self._restarted(driver, 3)
        stream_append = _append(first, fence, [asking(0), asking(7), asking(2)])
        before = await driver.dump()

        outcome = await driver.one(stream_append)

        assert "item 1" in expect(outcome, Mismatch).message
        assert await driver.dump() == before

    async def test_compared_by_key(self, driver: Driver) -> None:
        """With a business key the key alone is compared, and the stored request wins."""
        stream = await driver.stream()
        await driver.one(_append(stream.item(0), stream.fence, [asking(0, key="a")]))
        other_request = asking(99, key="a")
        other_key = asking(0, key="b")
        no_key = asking(0)

        outcomes = await driver.do(
            *[
                _append(stream.item(0), stream.fence, [request])
                for request in (other_request, other_key, no_key)
            ]
        )

        assert [type(outcome) for outcome in outcomes] == [Moved, Mismatch, Mismatch]
        assert (await driver.asked(stream.item(0))).interaction.request == asking(0).request

    async def test_fewer_items(self, driver: Driver) -> None:
        """A source that ends earlier than before is a mismatch, and nothing changes."""
        fence, first = await self._restarted(driver, 3)
        before = await driver.dump()

        outcomes = await driver.do(
            _append(first, fence, [asking(0), asking(1)]), _close(first, fence, 2)
        )

        assert [type(outcome) for outcome in outcomes] == [Moved, Mismatch]
        assert await driver.dump() == before

    async def test_answers_while_nobody_runs(self, driver: Driver) -> None:
        """Items are answered between a crash and its repeat; the repeat closes and goes on."""
        stream = await driver.stream(2)
        await driver.one(GiveBack(stream.id, stream.fence))

        outcomes = await driver.do(*answers_to(stream, [0, 1]))

        assert {expect(one, Received).outcome for one in outcomes} == {ReceiptOutcome.APPLIED}
        [claimed] = await driver.claim()
        again = stream._replace(claimed=claimed)
        _, closed = await driver.do(again.append(0, 2), again.close(2))
        assert expect(closed, Moved).execution.status is ExecutionStatus.QUEUED

    async def test_of_a_deadline(self, driver: Driver) -> None:
        """A repeat of the source does not move the deadlines that are stored."""
        stream = await driver.stream(1)
        deadline = driver.clock() + DAY
        driver.clock.advance(HOUR)

        await driver.one(stream.append(0, 2))

        dump = await driver.dump()
        assert dump.interactions[stream.item(0)].deadline_at == deadline
        assert dump.interactions[stream.item(1)].deadline_at == deadline + HOUR
        behind = await driver.one(CloseBehind(stream.item(0)))
        expect(behind, Refused)


def _append(first: InteractionId, fence: int, items: list[NewInteraction]) -> Append:
    """An append that starts at an interaction."""
    return Append(first.execution, fence, first.unit, first.item, tuple(items))


def _close(of: InteractionId, fence: int, total: int) -> CloseUnit:
    """A close of an interaction's unit."""
    return CloseUnit(of.execution, fence, of.unit, total, 1)
