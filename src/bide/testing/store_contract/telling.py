"""What a store tells of the work that waits and of the work that was done."""

from bide.engine.moves import Admit, Cancel, Park, Received
from bide.model.ids import InteractionId, UnitId
from bide.model.records import TraceContext, replace
from bide.model.status import ReceiptOutcome, UnitStatus
from bide.spi.store import Queue
from bide.testing.store_contract.harness import (
    AFTER_AWAIT,
    LEASE_MS,
    MINUTE,
    OTHER_TENANT,
    START,
    TENANT,
    Driver,
    answer,
    asking,
    boundary,
    expect,
)

SUBMITTED, PARKED, ANSWERED = (
    TraceContext(f"00-{1:032x}-{number:016x}-01", state)
    for number, state in ((1, None), (2, "vendor=1"), (3, None))
)


class TestBacklog:
    """What is due now, and since when."""

    async def test_ready(self, driver: Driver) -> None:
        """What is due counts, from the time of the oldest; what runs or is parked does not."""
        began = driver.clock()
        await driver.running()
        driver.clock.advance(1)
        await driver.submit()
        await driver.submit()
        driver.clock.advance(MINUTE // 10)

        backlog = await driver.store.backlog()

        assert backlog.now == driver.clock()
        assert backlog.ready == [Queue(START, 2, began + 1)]
        assert backlog.to_send == []

    async def test_lost_leases(self, driver: Driver) -> None:
        """What a worker was lost with is due since its lease ran out."""
        claimed = await driver.running()
        driver.clock.advance(LEASE_MS + 1)

        [queue] = (await driver.store.backlog()).ready

        assert queue == Queue(START, 1, claimed.execution.due_at or 0)

    async def test_to_send(self, driver: Driver) -> None:
        """Interactions that wait for a dispatcher count by their boundary; sent ones do not."""
        await driver.sent()
        asked_at = driver.clock()
        await driver.parked(dispatched=False)
        await driver.parked(dispatched=False)
        driver.clock.advance(MINUTE)

        assert (await driver.store.backlog()).to_send == [Queue(AFTER_AWAIT, 2, asked_at)]


class TestTold:
    """What a commit and a claim say beside their outcomes."""

    async def test_ended_units(self, driver: Driver) -> None:
        """Each unit is told once, by the commit in which it ends."""
        stream = await driver.parked_stream(2)
        other = await driver.parked()

        first = await driver.store.transact([answer(stream.item(0))])
        both = await driver.store.transact(
            [answer(stream.item(1)), Cancel(other.execution, TENANT, "no more")]
        )
        after = await driver.store.transact([answer(stream.item(1))])

        assert first.ended == after.ended == ()
        assert {unit.id: unit.status for unit in both.ended} == {
            stream.unit: UnitStatus.COMPLETED,
            UnitId(other.execution, other.unit): UnitStatus.CANCELLED,
        }

    async def test_receipts(self, driver: Driver) -> None:
        """A receipt names the boundary, and of the first answer how long it was waited for."""
        interaction = await driver.parked()
        driver.clock.advance(MINUTE)

        first = expect(await driver.one(answer(interaction)), Received)
        again = expect(await driver.one(answer(interaction)), Received)
        other = expect(await driver.one(answer(interaction, b'"other"')), Received)

        assert (first.fingerprint, first.waited_ms) == (AFTER_AWAIT, MINUTE)
        assert [again.outcome, other.outcome] == [ReceiptOutcome.DUPLICATE, ReceiptOutcome.CONFLICT]
        assert {(each.fingerprint, each.waited_ms) for each in (again, other)} == {
            (AFTER_AWAIT, None)
        }

    async def test_take_overs(self, driver: Driver) -> None:
        """A claim says whether it takes over from a worker that was lost."""
        first = await driver.running()
        driver.clock.advance(LEASE_MS + 1)

        [second] = await driver.claim("worker-2")

        assert (first.taken_over, second.taken_over) == (False, True)


class TestTraces:
    """In which trace an execution goes on: that of what moved it last."""

    async def test_left_by_what_moves_it(self, driver: Driver) -> None:
        """Submission, park and the answer that releases leave theirs, in the same commit."""
        submit = replace(driver.submission(), trace=SUBMITTED)
        await driver.one(submit)
        key = (TENANT, submit.execution)
        after_submit = await driver.store.traces([key])
        [claimed] = await driver.claim()
        fence = claimed.execution.fence
        await driver.one(Park(submit.execution, fence, boundary(), asking(), PARKED))
        after_park = await driver.store.traces([key])
        interaction = InteractionId(submit.execution, 1, 0)
        released = answer(interaction)
        assert isinstance(released, Admit)
        await driver.one(replace(released, trace=ANSWERED))
        await driver.one(replace(released, trace=SUBMITTED))  # a duplicate moves nothing

        assert after_submit == [SUBMITTED]
        assert after_park == [PARKED]
        assert await driver.store.traces([key]) == [ANSWERED]

    async def test_of_nobody_else(self, driver: Driver) -> None:
        """What is not traced, is absent or is another tenant's has none (S9)."""
        submit = replace(driver.submission(), trace=SUBMITTED)
        await driver.one(submit)
        untraced = await driver.submit()
        wanted = [(TENANT, untraced), (OTHER_TENANT, submit.execution), (TENANT, driver.new_id())]

        assert await driver.store.traces([]) == []
        assert await driver.store.traces([*wanted, (TENANT, submit.execution)]) == [
            None, None, None, SUBMITTED,
        ]  # fmt: skip

    async def test_a_repeat_keeps_the_first(self, driver: Driver) -> None:
        """A submission that its key knows goes on in the trace of the first."""
        first = replace(driver.submission("k"), trace=SUBMITTED)
        await driver.do(first, replace(driver.submission("k"), trace=PARKED))

        assert await driver.store.traces([(TENANT, first.execution)]) == [SUBMITTED]

    async def test_retired(self, driver: Driver) -> None:
        """It goes with its execution."""
        submit = replace(driver.submission(), trace=SUBMITTED)
        await driver.one(submit)
        await driver.one(Cancel(submit.execution, TENANT, "no more"))
        driver.clock.advance(MINUTE)
        await driver.store.retire(driver.clock(), 10)

        assert await driver.store.traces([(TENANT, submit.execution)]) == [None]
