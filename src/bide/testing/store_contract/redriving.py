"""Redrives, items asked again, and items that steps left out."""

import pytest

from bide.engine.moves import (
    AskAgain,
    AskedAgain,
    ExpireUnit,
    Fail,
    Failure,
    GiveBack,
    Handover,
    KeyTaken,
    Moved,
    Received,
    Refused,
    Release,
    StoreRejects,
    Submitted,
    TakeOver,
)
from bide.model.ids import InteractionId, RejectId, UnitId
from bide.model.records import replace
from bide.model.status import ExecutionStatus, InteractionStatus, ReceiptOutcome, UnitStatus
from bide.spi.store import PendingQuery
from bide.testing.store_contract.harness import (
    AFTER_AWAIT,
    DAY,
    FINGERPRINTS,
    FOREIGN,
    HOUR,
    LEASE_MS,
    MINUTE,
    OTHER_TENANT,
    TENANT,
    Driver,
    Stream,
    answer,
    answers_to,
    boundary,
    expect,
    redrive_of,
    reject_of,
    take_over,
    taking_over,
)

NO = Failure("declined", "no")
SOME = replace(boundary(), tolerated=2)


async def _failed_stream(driver: Driver, items: int = 4) -> Stream:
    """A stream whose first item was answered and whose second one failed it."""
    stream = await driver.parked_stream(items)
    await driver.one(answer(stream.item(0), b'"first"'))
    await driver.one(answer(stream.item(1), failure=NO))
    return stream


async def _failed_after(driver: Driver, unit: UnitId) -> None:
    """Fail the segment that follows a unit."""
    [claimed] = [one for one in await driver.claim() if one.execution.id == unit.execution]
    execution = claimed.execution
    fail = Fail(execution.id, execution.fence, ExecutionStatus.DLQ, 2, "ship", 1, "boom", "broke")
    expect(await driver.one(fail), Moved)


class TestRedrive:
    """A new execution for one that did not succeed."""

    async def test_from_the_start(self, driver: Driver) -> None:
        """It is a new execution that names the old one, has its input, and can be claimed."""
        failed = await driver.failed()
        before = await driver.execution(failed)
        move = redrive_of(driver, failed)

        outcome = await driver.one(move)

        assert expect(outcome, Submitted).execution == move.execution
        made = await driver.execution(move.execution)
        assert (made.status, made.redriven_from) == (ExecutionStatus.QUEUED, failed)
        [claimed] = await driver.claim()
        assert (claimed.execution.id, claimed.body) == (move.execution, b"{}")
        assert await driver.execution(failed) == before

    async def test_is_the_same_twice(self, driver: Driver) -> None:
        """The same redrive again is a duplicate, one from elsewhere is told so, a nameless new."""
        move = redrive_of(driver, await driver.failed())
        other = replace(move, execution=driver.new_id())
        elsewhere = replace(other, digest=b"await")
        nameless = replace(other, name=None)

        outcomes = await driver.do(move, other, elsewhere, nameless)

        assert expect(outcomes[0], Submitted).duplicate is False
        assert expect(outcomes[1], Submitted).execution == move.execution
        assert outcomes[2] == KeyTaken(move.execution)
        assert expect(outcomes[3], Submitted).execution == nameless.execution

    async def test_leaves_the_submit_key(self, driver: Driver) -> None:
        """The submit key goes on naming the first execution, whatever a redrive is named."""
        first = driver.submission("order-42")
        await driver.one(first)
        [claimed] = await driver.claim()
        fence = claimed.execution.fence
        fail = Fail(first.execution, fence, ExecutionStatus.DLQ, 0, "a", 1, "boom", "broke")
        await driver.one(fail)
        await driver.one(redrive_of(driver, first.execution, name="order-42"))

        again = await driver.one(replace(first, execution=driver.new_id()))

        assert expect(again, Submitted).execution == first.execution

    async def test_takes_answers_over(self, driver: Driver) -> None:
        """Items keep their answers; the others are asked anew, with deadlines as long as before."""
        stream = await _failed_stream(driver)
        old_rows = await driver.store.askings(TENANT, stream.unit, 0, 9)
        driver.clock.advance(HOUR)
        claimed, old = await taking_over(driver, stream.unit)
        assert claimed.reopened is not None
        assert claimed.reopened.id == UnitId(claimed.execution.id, 1)

        await driver.one(await take_over(driver, claimed, old, 0, 3))
        [unit] = await driver.store.units(TENANT, claimed.execution.id)
        assert (unit.appended, unit.settled, unit.total) == (3, 1, None)
        outcome = await driver.one(await take_over(driver, claimed, old, 3, 3))

        assert expect(outcome, Moved).execution.status is ExecutionStatus.WAITING_EXTERNAL
        pending = await driver.store.pending(PendingQuery(TENANT, execution=claimed.execution.id))
        rows = [asked.interaction for asked in pending]
        assert [row.id[1:] for row in rows] == [(1, 1, 0), (1, 2, 0), (1, 3, 0)]
        assert {row.deadline_at for row in rows} == {driver.clock() + DAY}
        assert [row.request for row in rows] == [row.request for row in old_rows[1:]]
        assert all(row.error_code is None and row.answer_digest is None for row in rows)
        kept, *_ = await driver.store.answers(TENANT, UnitId(claimed.execution.id, 1), 0, 9)
        assert (kept.answer, kept.actor, kept.answer_digest) == (
            b'"first"', "ada", old_rows[0].answer_digest,
        )  # fmt: skip

    async def test_goes_on_when_all_are_answered(self, driver: Driver) -> None:
        """The last answer resumes the new execution, with all answers in order (I4)."""
        stream = await _failed_stream(driver, 3)
        claimed, old = await taking_over(driver, stream.unit)
        await driver.one(await take_over(driver, claimed, old, 0, 3))
        new = Stream(claimed, UnitId(claimed.execution.id, 1))

        await driver.do(*answers_to(new, [2, 1]))

        [resumed] = await driver.claim()
        assert (resumed.execution.id, resumed.execution.resumed) == (new.id, 1)
        rows = await driver.store.answers(TENANT, UnitId(new.id, 1), 0, 9)
        assert [row.answer for row in rows] == [b'"first"', b"1", b"2"]

    async def test_resumes_a_complete_unit_at_once(self, driver: Driver) -> None:
        """Where every item has its answer, nobody is asked again."""
        stream = await driver.parked_stream(3)
        await driver.do(*answers_to(stream, [0, 1, 2]))
        await _failed_after(driver, stream.unit)
        claimed, old = await taking_over(driver, stream.unit)

        outcome = await driver.one(await take_over(driver, claimed, old, 0, 3))

        moved = expect(outcome, Moved).execution
        assert (moved.status, moved.resumed) == (ExecutionStatus.QUEUED, 1)
        assert await driver.store.pending(PendingQuery(TENANT)) == []

    async def test_resumes_a_single_answer(self, driver: Driver) -> None:
        """The answer of a unit of one interaction comes with the claim, and with a hand-over."""
        asked = await driver.parked()
        await driver.one(answer(asked, b'"yes"'))
        unit = UnitId(asked.execution, 1)
        await _failed_after(driver, unit)
        claimed, old = await taking_over(driver, unit)
        offer = Handover("worker-1", LEASE_MS, 1, FINGERPRINTS)

        [handed] = await driver.handed(offer, await take_over(driver, claimed, old, 0, 1))

        assert handed.base is not None
        assert (handed.body, handed.base.status) == (b'"yes"', UnitStatus.COMPLETED)
        await driver.one(GiveBack(handed.execution.id, handed.execution.fence))
        [again] = await driver.claim()
        assert again.body == b'"yes"'

    async def test_is_handed_over_with_its_open_unit(self, driver: Driver) -> None:
        """A worker that is handed a redrive from an await is told what to fill."""
        stream = await _failed_stream(driver)
        [old] = await driver.store.units(TENANT, stream.id)
        offer = Handover("worker-1", LEASE_MS, 1, FINGERPRINTS)

        [handed] = await driver.handed(offer, redrive_of(driver, stream.id, old))

        assert handed.base is None
        assert handed.reopened is not None
        assert handed.reopened.total is None

    async def test_takes_over_an_empty_unit(self, driver: Driver) -> None:
        """A unit without an item is passed at once."""
        stream = await driver.stream()
        await driver.one(stream.close(0))
        await _failed_after(driver, stream.unit)
        claimed, old = await taking_over(driver, stream.unit)

        outcome = await driver.one(await take_over(driver, claimed, old, 0, 3))

        assert expect(outcome, Moved).execution.resumed == 1

    async def test_takes_over_what_is_missing(self, driver: Driver) -> None:
        """Of a unit that was complete, items that were tolerated as missing stay so."""
        stream = await driver.parked_stream(3, at=SOME)
        await driver.do(*answers_to(stream, [0, 2]))
        await driver.one(answer(stream.item(1), failure=NO))
        await _failed_after(driver, stream.unit)
        claimed, old = await taking_over(driver, stream.unit)

        outcome = await driver.one(await take_over(driver, claimed, old, 0, 3))

        assert expect(outcome, Moved).execution.resumed == 1
        [unit] = await driver.store.units(TENANT, claimed.execution.id)
        assert (unit.status, unit.missing) == (UnitStatus.COMPLETED, 1)

    async def test_takes_over_what_a_deadline_left(self, driver: Driver) -> None:
        """Items that the end of a unit at its own deadline left open stay missing, and closed."""
        stream = await driver.parked_stream(3, at=replace(SOME, unit_timeout_ms=HOUR))
        await driver.do(*answers_to(stream, [0, 2]))
        driver.clock.advance(HOUR + 1)
        await driver.one(ExpireUnit(stream.unit))
        await _failed_after(driver, stream.unit)
        claimed, old = await taking_over(driver, stream.unit)

        outcome = await driver.one(await take_over(driver, claimed, old, 0, 3))

        assert expect(outcome, Moved).execution.resumed == 1
        left = (await driver.asked(InteractionId(claimed.execution.id, 1, 1))).interaction
        assert left.status is InteractionStatus.CANCELLED

    async def test_judges_a_share_at_the_end(self, driver: Driver) -> None:
        """Items that fail before the last batch count: too many of them fail the unit with it."""
        none = replace(boundary(), tolerated_ppm=0)
        stream = await driver.parked_stream(4, at=none)
        await driver.one(answer(stream.item(1), failure=NO))
        claimed, old = await taking_over(driver, stream.unit)
        await driver.one(await take_over(driver, claimed, old, 0, 2))
        await driver.one(answer(InteractionId(claimed.execution.id, 1, 0), failure=NO))

        outcome = await driver.one(await take_over(driver, claimed, old, 2, 2))

        ended = expect(outcome, Moved).execution
        assert (ended.status, ended.error_code) == (ExecutionStatus.FAILED, "too-many-missing")

    async def test_goes_on_after_a_crash(self, driver: Driver) -> None:
        """A batch that comes again is recognised, and a later claim goes on where it was (I7)."""
        stream = await _failed_stream(driver)
        claimed, old = await taking_over(driver, stream.unit)
        first = await take_over(driver, claimed, old, 0, 2)
        await driver.one(first)
        driver.clock.advance(LEASE_MS + 1)
        [taken] = [one for one in await driver.claim("worker-2") if one.reopened is not None]
        before = await driver.dump()
        assert isinstance(await driver.one(first), Refused)
        assert await driver.dump() == before

        overlapping = await take_over(driver, taken, old, 0, 3)
        await driver.one(overlapping)
        await driver.one(overlapping)

        [unit] = await driver.store.units(TENANT, taken.execution.id)
        assert (unit.appended, unit.settled) == (3, 1)

    async def test_is_released_with_its_unit(self, driver: Driver) -> None:
        """A redrive that goes on under another fingerprint still takes its unit over."""
        stream = await _failed_stream(driver)
        [old] = await driver.store.units(TENANT, stream.id)
        move = redrive_of(driver, stream.id, replace(old, fingerprint=FOREIGN))
        await driver.one(move)
        await driver.one(Release(move.execution, TENANT, AFTER_AWAIT))

        [claimed] = await driver.claim()
        outcome = await driver.one(await take_over(driver, claimed, old, 0, 4))

        assert claimed.execution.id == move.execution
        assert expect(outcome, Moved).execution.status is ExecutionStatus.WAITING_EXTERNAL

    @pytest.mark.parametrize("taking", [False, True])
    async def test_nothing_else_is_filled_so(self, driver: Driver, *, taking: bool) -> None:
        """A unit with a source of its own, and a gap in the items, are refused."""
        stream = await _failed_stream(driver)
        claimed, old = await taking_over(driver, stream.unit)
        fill: TakeOver = await take_over(driver, claimed, old, 1, 2)
        if not taking:
            other = await driver.stream(1)
            fill = replace(fill, execution=other.id, fence=other.fence, first_item=0)
        before = await driver.dump()

        assert isinstance(await driver.one(fill), Refused)

        assert await driver.dump() == before


class TestAskAgain:
    """A failed item of an open unit."""

    async def _failed_item(self, driver: Driver) -> InteractionId:
        """One that failed in a unit that tolerates it and waits for another item."""
        stream = await driver.parked_stream(3, at=SOME)
        await driver.one(answer(stream.item(0), b'"first"'))
        await driver.one(answer(stream.item(1), failure=NO))
        return stream.item(1)

    def _again(self, failed: InteractionId) -> AskAgain:
        return AskAgain(failed, TENANT, b'{"item":1}')

    async def test_asks_with_the_next_generation(self, driver: Driver) -> None:
        """The item is open again under a new id, with its request and a new deadline."""
        failed = await self._failed_item(driver)
        driver.clock.advance(HOUR)

        outcome = await driver.one(self._again(failed))

        again = failed._replace(generation=1)
        assert outcome == AskedAgain(again)
        asked = await driver.asked(again)
        assert asked.interaction.request == b'{"item":1}'
        assert asked.interaction.deadline_at == driver.clock() + DAY
        assert (asked.unit.settled, asked.unit.missing) == (1, 0)
        assert (await driver.asked(failed)).interaction.status is InteractionStatus.FAILED

    async def test_the_older_asking_is_late(self, driver: Driver) -> None:
        """What comes for the old asking is late; what comes for the new one is applied."""
        failed = await self._failed_item(driver)
        await driver.one(self._again(failed))

        outcomes = await driver.do(
            answer(failed, b'"old"'), answer(failed._replace(generation=1), b'"new"')
        )

        receipts = [expect(one, Received).outcome for one in outcomes]
        assert receipts == [ReceiptOutcome.LATE, ReceiptOutcome.APPLIED]
        rows = await driver.store.answers(TENANT, UnitId(failed.execution, 1), 0, 9)
        assert [row.answer for row in rows] == [b'"first"', b'"new"', None]
        items = await driver.store.askings(TENANT, UnitId(failed.execution, 1), 0, 9)
        assert [row.id[2:] for row in items] == [(0, 0), (1, 1), (2, 0)]

    async def test_takes_part_in_its_unit(self, driver: Driver) -> None:
        """The unit is complete once the second asking is settled as well, and not before (I3)."""
        failed = await self._failed_item(driver)
        await driver.one(self._again(failed))
        last = failed._replace(item=2)

        await driver.one(answer(last, b'"last"'))
        assert (await driver.asked(last)).unit.status is UnitStatus.WAITING_EXTERNAL
        await driver.one(answer(failed._replace(generation=1), b'"new"'))

        assert (await driver.asked(last)).unit.status is UnitStatus.COMPLETED
        assert (await driver.execution(failed.execution)).resumed == 1

    async def test_can_fail_once_more(self, driver: Driver) -> None:
        """A second failure counts one missing item, and a third asking is possible."""
        failed = await self._failed_item(driver)
        await driver.one(self._again(failed))
        second = failed._replace(generation=1)

        await driver.one(answer(second, failure=NO))
        outcome = await driver.one(self._again(second))

        assert outcome == AskedAgain(failed._replace(generation=2))
        assert (await driver.asked(second)).unit.missing == 0

    async def test_never_after_the_unit(self, driver: Driver) -> None:
        """The new deadline is no later than the unit's; past that, nothing is asked again."""
        stream = await driver.parked_stream(2, at=replace(SOME, unit_timeout_ms=HOUR))
        await driver.one(answer(stream.item(1), failure=NO))
        driver.clock.advance(MINUTE)
        await driver.one(self._again(stream.item(1)))
        again = (await driver.asked(stream.item(1)._replace(generation=1))).interaction
        assert again.deadline_at == again.created_at + HOUR - MINUTE
        await driver.one(answer(again.id, failure=NO))
        driver.clock.advance(HOUR)

        assert isinstance(await driver.one(self._again(again.id)), Refused)

    async def test_nothing_else_is_asked_again(self, driver: Driver) -> None:
        """Neither an answered nor an open item, nor of an ended unit, of nobody, or of others."""
        failed = await self._failed_item(driver)
        closed = (await _failed_stream(driver)).item(1)
        move = self._again(failed)
        before = await driver.dump()

        for id in (failed._replace(item=0), failed._replace(item=9), closed):
            assert isinstance(await driver.one(replace(move, interaction=id)), Refused)
        assert isinstance(await driver.one(replace(move, tenant=OTHER_TENANT)), Refused)

        assert await driver.dump() == before


class TestRejects:
    """Items that steps left out."""

    async def test_are_kept_by_place(self, driver: Driver) -> None:
        """A repeat of the segment overwrites what it left out before; others stay."""
        execution = (await driver.running()).execution
        id, fence = execution.id, execution.fence
        first = tuple(reject_of(execution, item) for item in (2, 7))
        await driver.one(StoreRejects(id, fence, first))
        driver.clock.advance(HOUR)

        await driver.one(StoreRejects(id, fence, (reject_of(execution, 7, "worse"),)))

        rows = await driver.store.rejects(TENANT, pipeline=None, after=None, limit=9)
        assert [(row.item, row.reason) for row in rows] == [(2, "no good"), (7, "worse")]
        assert rows[1].created_at == driver.clock()
        found = await driver.store.reject(TENANT, rows[0].id)
        assert found is not None
        assert found.body == b'{"item":2}'

    async def test_pages(self, driver: Driver) -> None:
        """They are read in pages, the newest execution first, and by pipeline and tenant."""
        ids: list[RejectId] = []
        for _ in range(3):
            execution = (await driver.running()).execution
            rows = tuple(reject_of(execution, item) for item in range(3))
            await driver.one(StoreRejects(execution.id, execution.fence, rows))
            ids = [*(row.id for row in rows), *ids]
        seen: list[RejectId] = []
        after: RejectId | None = None
        while page := await driver.store.rejects(TENANT, pipeline="orders", after=after, limit=2):
            seen += [row.id for row in page]
            after = seen[-1]

        assert seen == ids
        assert await driver.store.rejects(TENANT, pipeline="x", after=None, limit=9) == []
        assert await driver.store.rejects(OTHER_TENANT, pipeline=None, after=None, limit=9) == []
        assert await driver.store.reject(OTHER_TENANT, ids[0]) is None

    async def test_go_with_their_execution(self, driver: Driver) -> None:
        """What is retired takes its rejects with it."""
        execution = (await driver.running()).execution
        rows = (reject_of(execution, 0),)
        await driver.one(StoreRejects(execution.id, execution.fence, rows))
        fail = Fail(execution.id, execution.fence, ExecutionStatus.DLQ, 0, "a", 1, "boom", "broke")
        await driver.one(fail)
        driver.clock.advance(DAY)

        await driver.store.retire(driver.clock(), 100)

        assert await driver.store.rejects(TENANT, pipeline=None, after=None, limit=9) == []
