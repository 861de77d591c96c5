"""What a unit over a stream comes to: how many of its items may be missing, and until when."""

from collections.abc import Sequence

import pytest

from bide.engine.ending import status_behind
from bide.engine.moves import (
    AskAgain,
    CloseBehind,
    Expire,
    ExpireUnit,
    Failure,
    Move,
    Moved,
    Outcome,
    Received,
    Refused,
    Settled,
)
from bide.engine.settling import missing_because, taken
from bide.model.records import replace
from bide.model.status import (
    AnswerSource,
    ExecutionStatus,
    InteractionStatus,
    JournalKind,
    ReceiptOutcome,
    UnitStatus,
)
from bide.testing.store_contract.harness import (
    HOUR,
    MINUTE,
    TENANT,
    Driver,
    Stream,
    answer,
    answers_to,
    asking,
    boundary,
    expect,
)

DECLINED = Failure("declined", "the bank said no")
TWO = replace(boundary(), tolerated=2)
HALF = replace(boundary(), tolerated_ppm=500_000)
ALL = replace(boundary(), tolerated_ppm=1_000_000)
AN_HOUR = replace(boundary(), unit_timeout_ms=HOUR)


def failures_of(stream: Stream, items: Sequence[int]) -> list[Move]:
    """Reports that several items failed."""
    return [answer(stream.item(item), failure=DECLINED) for item in items]


def was(outcome: Outcome) -> ReceiptOutcome:
    """What became of a completion."""
    return expect(outcome, Received).outcome


async def end_of(driver: Driver, stream: Stream) -> tuple[UnitStatus, ExecutionStatus, str | None]:
    """Where unit and execution stand, and why."""
    execution = await driver.execution(stream.id)
    [unit] = await driver.store.units(TENANT, stream.id)
    return unit.status, execution.status, execution.error_code


WAITS = (UnitStatus.WAITING_EXTERNAL, ExecutionStatus.WAITING_EXTERNAL, None)
GOES_ON = (UnitStatus.COMPLETED, ExecutionStatus.QUEUED, None)
TOO_MANY = (UnitStatus.FAILED, ExecutionStatus.FAILED, "too-many-missing")
TIMED_OUT = (UnitStatus.TIMED_OUT, ExecutionStatus.FAILED, "await-timed-out")


class TestCollect:
    """Items may be missing, as many as are tolerated."""

    @pytest.mark.parametrize("together", [True, False])
    async def test_a_count(self, driver: Driver, *, together: bool) -> None:
        """As many items as are tolerated may fail; the next step is told which, in order (I4)."""
        stream = await driver.parked_stream(5, at=TWO)
        moves = [*failures_of(stream, [3, 1]), *answers_to(stream, [4, 0, 2])]

        if together:
            await driver.do(*moves)
        else:
            for move in moves:
                assert await end_of(driver, stream) == WAITS
                await driver.one(move)

        assert await end_of(driver, stream) == GOES_ON
        rows = await driver.store.answers(TENANT, stream.unit, 0, 10)
        assert [taken(row) for row in rows] == [b"0", None, b"2", None, b"4"]
        assert [missing_because(rows[item]) for item in (1, 3)] == ["declined"] * 2
        facts = await driver.store.journal(TENANT, stream.id)
        assert [fact.kind for fact in facts].count(JournalKind.RESUMED) == 1

    async def test_one_more_than_the_count(self, driver: Driver) -> None:
        """The first item that is missing too much ends unit and execution at once (I11)."""
        stream = await driver.parked_stream(9, at=TWO)
        await driver.do(*failures_of(stream, [3, 1]))

        [outcome] = await driver.do(*failures_of(stream, [7]))

        letter = await driver.store.dead_letter(TENANT, stream.id)
        assert was(outcome) is ReceiptOutcome.APPLIED
        assert await end_of(driver, stream) == TOO_MANY
        assert letter is not None
        assert (letter.code, letter.step_id) == ("too-many-missing", "decide-1")
        assert letter.message == "3 of 9 items of await 'decide-1' are missing"
        assert was(await driver.one(answer(stream.item(0)))) is ReceiptOutcome.LATE

    async def test_while_the_source_is_read(self, driver: Driver) -> None:
        """A count is judged at once; the source that is still read is fenced off (I7)."""
        stream = await driver.stream(4, at=TWO)

        await driver.do(*failures_of(stream, [0, 1, 2]))

        assert await end_of(driver, stream) == TOO_MANY
        outcomes = await driver.do(stream.append(4, 1), stream.close(4))
        assert [type(outcome) for outcome in outcomes] == [Refused] * 2

    async def test_a_share_at_the_close(self, driver: Driver) -> None:
        """A share is judged when the number of items is known, here by the close itself."""
        enough, too_few = await driver.stream(6, at=HALF), await driver.stream(5, at=HALF)
        for stream in (enough, too_few):
            await driver.do(*failures_of(stream, [0, 1, 2]))
            assert (await driver.execution(stream.id)).status is ExecutionStatus.RUNNING

        outcomes = await driver.do(enough.close(6), too_few.close(5))

        assert [type(outcome) for outcome in outcomes] == [Moved] * 2
        assert await end_of(driver, enough) == WAITS
        assert await end_of(driver, too_few) == TOO_MANY

    async def test_a_share_after_the_close(self, driver: Driver) -> None:
        """Once the number is known, each item that fails is judged at once."""
        stream = await driver.parked_stream(5, at=HALF)

        await driver.do(*failures_of(stream, [0, 1]))
        assert await end_of(driver, stream) == WAITS
        await driver.do(*failures_of(stream, [2]))

        assert await end_of(driver, stream) == TOO_MANY

    async def test_nothing_answered(self, driver: Driver) -> None:
        """All may be missing, if the author says so."""
        stream = await driver.parked_stream(3, at=ALL)

        await driver.do(*failures_of(stream, [2, 0, 1]))

        assert await end_of(driver, stream) == GOES_ON

    @pytest.mark.parametrize("at", [TWO, HALF])
    async def test_empty(self, driver: Driver, at: object) -> None:
        """A source that gave nothing misses nothing."""
        stream = await driver.stream(at=at)  # type: ignore[arg-type]  # a fixture has no type

        await driver.one(stream.close(0))

        assert await end_of(driver, stream) == GOES_ON

    async def test_timeouts(self, driver: Driver) -> None:
        """An item whose own time is over is missing like one that failed."""
        stream = await driver.stream(at=TWO)
        asked = tuple(asking(item, timeout_ms=HOUR if item else MINUTE) for item in range(3))
        await driver.do(replace(stream.append(0, 3), items=asked), stream.close(3))
        driver.clock.advance(MINUTE + 1)

        outcomes = await driver.do(
            Expire(stream.item(0)), answer(stream.item(0)), *answers_to(stream, [1, 2])
        )

        rows = await driver.store.answers(TENANT, stream.unit, 0, 10)
        assert outcomes[0] == Settled(stream.item(0))
        assert was(outcomes[1]) is ReceiptOutcome.LATE
        assert await end_of(driver, stream) == GOES_ON
        assert [taken(row) for row in rows] == [None, b"1", b"2"]
        assert missing_because(rows[0]) == "timed-out"

    async def test_pages_of_items_asked_again(self, driver: Driver) -> None:
        """Of an item that was asked again its last asking counts, wherever a page begins."""
        stream = await driver.parked_stream(4, at=TWO)
        again = [AskAgain(stream.item(item), TENANT, b"{}") for item in (1, 2)]
        await driver.do(*failures_of(stream, [1, 2]))
        await driver.do(*again, *answers_to(stream, [0, 3]))
        await driver.do(
            answer(stream.item(2)._replace(generation=1), b"22"),
            answer(stream.item(1)._replace(generation=1), failure=DECLINED),
        )

        pages = [
            await driver.store.answers(TENANT, stream.unit, first, 2) for first in (0, 1, 2, 4)
        ]

        assert await end_of(driver, stream) == GOES_ON
        assert [[(row.item, row.generation) for row in page] for page in pages] == [
            [(0, 0), (1, 1)], [(1, 1), (2, 1)], [(2, 1), (3, 0)], [],
        ]  # fmt: skip
        assert [taken(row) for row in (*pages[0], *pages[2])] == [b"0", None, b"22", b"3"]

    async def test_fallbacks_are_answers(self, driver: Driver) -> None:
        """An item that timed out with a fallback is not missing; one that failed is."""
        at = replace(boundary(), tolerated=1, has_fallback=True)
        stream = await driver.parked_stream(4, timeout_ms=MINUTE, fallback=b'"nobody"', at=at)
        await driver.do(*failures_of(stream, [1]))
        driver.clock.advance(MINUTE + 1)

        await driver.do(*[Expire(id) for id in (await driver.store.overdue(10)).expired])

        rows = await driver.store.answers(TENANT, stream.unit, 0, 10)
        assert await end_of(driver, stream) == GOES_ON
        assert [taken(row) for row in rows] == [b'"nobody"', None, b'"nobody"', b'"nobody"']


class TestUnitDeadline:
    """A unit may have a deadline of its own, whatever those of its items are."""

    async def test_bounds_the_items(self, driver: Driver) -> None:
        """No item of the unit may be answered later than the unit, and lists say so."""
        stream = await driver.stream(1, at=AN_HOUR)
        driver.clock.advance(MINUTE)
        await driver.one(replace(stream.append(1, 1), items=(asking(1, timeout_ms=MINUTE),)))

        [unit] = await driver.store.units(TENANT, stream.id)
        first, second = [await driver.asked(stream.item(item)) for item in (0, 1)]

        assert unit.deadline_at == unit.created_at + HOUR == first.interaction.deadline_at
        assert second.interaction.deadline_at == driver.clock() + MINUTE

    async def test_found_when_it_has_passed(self, driver: Driver) -> None:
        """Overdue units are found, not before, in bounded numbers; ended ones are not."""
        streams = [await driver.parked_stream(1, at=AN_HOUR) for _ in range(3)]
        ended = await driver.parked_stream(1, at=AN_HOUR)
        await driver.do(*failures_of(ended, [0]))
        await driver.parked_stream(1)
        driver.clock.advance(HOUR)
        at_the_deadline = await driver.store.overdue(10)
        driver.clock.advance(1)

        past_it, some = await driver.store.overdue(10), await driver.store.overdue(2)

        assert at_the_deadline.units == []
        assert sorted(past_it.units) == sorted(stream.unit for stream in streams)
        assert len(some.units) == 2
        assert set(some.units) <= set(past_it.units)

    async def test_up_to_the_deadline(self, driver: Driver) -> None:
        """The very millisecond of the deadline is in time, for the answer (I9)."""
        stream = await driver.parked_stream(1, at=AN_HOUR)
        driver.clock.advance(HOUR)

        outcomes = await driver.do(ExpireUnit(stream.unit), *answers_to(stream, [0]))

        expect(outcomes[0], Refused)
        assert was(outcomes[1]) is ReceiptOutcome.APPLIED

    async def test_admission_looks_itself(self, driver: Driver) -> None:
        """An answer after the unit's deadline is late, before any sweep has looked."""
        stream = await driver.parked_stream(2, at=AN_HOUR)
        driver.clock.advance(HOUR + 1)

        outcome = await driver.one(answer(stream.item(1)))

        assert was(outcome) is ReceiptOutcome.LATE
        assert await end_of(driver, stream) == WAITS

    async def test_fails(self, driver: Driver) -> None:
        """Without a tolerance and a fallback, unit and execution end, with a dead letter."""
        stream = await driver.parked_stream(3, at=AN_HOUR)
        await driver.do(*answers_to(stream, [1]))
        driver.clock.advance(HOUR + 1)

        outcome = await driver.one(ExpireUnit(stream.unit))

        letter = await driver.store.dead_letter(TENANT, stream.id)
        expect(outcome, Moved)
        assert await end_of(driver, stream) == TIMED_OUT
        assert letter is not None
        assert letter.message == "2 of 3 items of await 'decide-1' were not answered in time"
        expect(await driver.one(ExpireUnit(stream.unit)), Refused)

    async def test_collects(self, driver: Driver) -> None:
        """What is not answered by then is missing; the execution goes on with the rest."""
        at = replace(TWO, unit_timeout_ms=HOUR)
        stream = await driver.parked_stream(4, at=at)
        await driver.do(*answers_to(stream, [0, 2]), *failures_of(stream, [3]))
        driver.clock.advance(HOUR + 1)

        await driver.one(ExpireUnit(stream.unit))

        rows = await driver.store.answers(TENANT, stream.unit, 0, 10)
        assert await end_of(driver, stream) == GOES_ON
        assert [taken(row) for row in rows] == [b"0", None, b"2", None]
        assert [missing_because(rows[item]) for item in (1, 3)] == ["timed-out", "declined"]

    async def test_collects_too_little(self, driver: Driver) -> None:
        """More than are tolerated are missing then: the unit fails for that."""
        stream = await driver.parked_stream(4, at=replace(TWO, unit_timeout_ms=HOUR))
        await driver.do(*answers_to(stream, [0]))
        driver.clock.advance(HOUR + 1)

        await driver.one(ExpireUnit(stream.unit))

        assert await end_of(driver, stream) == TOO_MANY

    async def test_fallbacks(self, driver: Driver) -> None:
        """Items get their fallback at the unit's end, before they are closed behind it as after."""
        at = replace(AN_HOUR, has_fallback=True)
        stream = await driver.parked_stream(3, fallback=b'"nobody"', at=at)
        await driver.do(*answers_to(stream, [1]))
        driver.clock.advance(HOUR + 1)
        await driver.one(ExpireUnit(stream.unit))
        before = await driver.store.answers(TENANT, stream.unit, 0, 10)

        await driver.do(*[CloseBehind(id) for id in (await driver.store.overdue(10)).left_open])

        behind = await driver.store.answers(TENANT, stream.unit, 0, 10)
        expected = [b'"nobody"', b"1", b'"nobody"']
        assert await end_of(driver, stream) == GOES_ON
        assert [taken(row) for row in before] == [taken(row) for row in behind] == expected
        assert behind[0].status is InteractionStatus.TIMED_OUT
        assert behind[0].source is AnswerSource.TIMEOUT

    @pytest.mark.parametrize(
        "at", [AN_HOUR, replace(ALL, unit_timeout_ms=HOUR), replace(AN_HOUR, has_fallback=True)]
    )
    async def test_while_the_source_is_read(self, driver: Driver, at: object) -> None:
        """A source that is still read has no known end to go on from: the unit fails (I7)."""
        stream = await driver.stream(2, fallback=b"1", at=at)  # type: ignore[arg-type]  # a fixture has no type
        driver.clock.advance(HOUR + 1)

        await driver.one(ExpireUnit(stream.unit))

        assert await end_of(driver, stream) == TIMED_OUT
        outcomes = await driver.do(stream.append(2, 1), stream.close(2))
        assert [type(outcome) for outcome in outcomes] == [Refused] * 2

    @pytest.mark.parametrize("together", [True, False])
    @pytest.mark.parametrize("close_first", [True, False])
    async def test_against_the_close(
        self, driver: Driver, *, close_first: bool, together: bool
    ) -> None:
        """Whichever of close and deadline commits first decides; the other finds it done (I1)."""
        stream = await driver.stream(1, at=replace(ALL, unit_timeout_ms=HOUR))
        driver.clock.advance(HOUR + 1)
        moves: list[Move] = [stream.close(1), ExpireUnit(stream.unit)]
        if not close_first:
            moves.reverse()

        if together:
            outcomes = await driver.do(*moves)
        else:
            outcomes = [await driver.one(move) for move in moves]

        expect(outcomes[0], Moved)
        if close_first:
            expect(outcomes[1], Moved)
            assert await end_of(driver, stream) == GOES_ON
        else:
            expect(outcomes[1], Refused)
            assert await end_of(driver, stream) == TIMED_OUT

    async def test_shown_as_they_will_be_closed(self, driver: Driver) -> None:
        """What is still to be closed behind its unit is shown with the status that it will get."""
        timed_out = await driver.parked_stream(2, at=AN_HOUR)
        failed = await driver.parked_stream(2)
        await driver.do(*failures_of(failed, [1]))
        driver.clock.advance(HOUR + 1)
        await driver.one(ExpireUnit(timed_out.unit))
        items = [timed_out.item(0), timed_out.item(1), failed.item(0)]
        asked = [await driver.asked(id) for id in items]
        shown = [status_behind(each.interaction, each.unit) for each in asked]
        late = await driver.do(*map(answer, items))

        await driver.do(*map(CloseBehind, items))

        closed = [(await driver.asked(id)).interaction.status for id in items]
        told = [expect(outcome, Received).status for outcome in late]
        assert shown == closed == told
        assert closed == [
            InteractionStatus.TIMED_OUT, InteractionStatus.TIMED_OUT, InteractionStatus.CANCELLED,
        ]  # fmt: skip
