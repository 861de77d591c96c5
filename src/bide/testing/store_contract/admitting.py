"""Completions and deadlines: each completion gets one receipt, each interaction one end."""

import asyncio

import pytest

from bide.engine.moves import (
    Cancel,
    CloseBehind,
    Expire,
    Failure,
    KeepLetter,
    Move,
    Noted,
    Outcome,
    Received,
    Refused,
    Settled,
)
from bide.model.records import DeadLetter, replace
from bide.model.status import (
    AnswerSource,
    DeadLetterKind,
    ExecutionStatus,
    InteractionStatus,
    JournalKind,
    ReceiptOutcome,
    UnitStatus,
)
from bide.testing.store_contract.harness import (
    HOUR,
    LIMIT,
    MINUTE,
    OTHER_TENANT,
    TENANT,
    Driver,
    answer,
    answers_to,
    digest_of,
    expect,
)

APPLIED, DUPLICATE = ReceiptOutcome.APPLIED, ReceiptOutcome.DUPLICATE
CONFLICT, LATE, UNKNOWN = ReceiptOutcome.CONFLICT, ReceiptOutcome.LATE, ReceiptOutcome.UNKNOWN


def receipts(outcomes: list[Outcome]) -> list[ReceiptOutcome]:
    """What became of each completion."""
    return [expect(outcome, Received).outcome for outcome in outcomes]


class TestAdmit:
    """Answers, and what becomes of further ones."""

    async def test_writes_together(self, driver: Driver) -> None:
        """Answer, unit, execution and journal are written in one commit (S1, I3)."""
        interaction = await driver.parked()
        driver.clock.advance(MINUTE)

        outcome = await driver.one(answer(interaction, b'"ok"', actor="ada"))

        asked = await driver.asked(interaction)
        row, execution = asked.interaction, await driver.execution(interaction.execution)
        assert isinstance(outcome, Received)
        told = (outcome.outcome, outcome.status, outcome.step_id)
        assert told == (APPLIED, InteractionStatus.COMPLETED, row.step_id)
        assert (row.status, row.answer) == (InteractionStatus.COMPLETED, b'"ok"')
        assert (row.answer_digest, row.actor, row.source) == (
            digest_of(b'"ok"'), "ada", AnswerSource.PERSON,
        )  # fmt: skip
        assert row.updated_at == asked.unit.updated_at == execution.updated_at == driver.clock()
        assert (asked.unit.status, asked.unit.settled) == (UnitStatus.COMPLETED, 1)
        assert (execution.status, execution.resumed) == (ExecutionStatus.QUEUED, 1)
        assert execution.due_at == driver.clock()
        facts = await driver.store.journal(TENANT, interaction.execution)
        assert (facts[-1].kind, facts[-1].unit) == (JournalKind.RESUMED, 1)
        assert row.request == b'{"item":0}'

    async def test_resumes_with_the_answer(self, driver: Driver) -> None:
        """The segment after a wait starts from the answer, read with the claim."""
        interaction = await driver.parked()
        await driver.one(answer(interaction, b'"ok"'))

        [claimed] = await driver.claim()

        assert claimed.body == b'"ok"'
        assert claimed.base == (await driver.asked(interaction)).unit
        assert claimed.reopened is None

    async def test_with_a_projection(self, driver: Driver) -> None:
        """The segment starts from the projection; the answer is kept, and is what is compared."""
        interaction = await driver.parked()
        projected = replace(answer(interaction, b'"ok"'), output=b'"projected"')

        outcomes = await driver.do(projected, replace(projected, output=b'"another"'))

        row = (await driver.asked(interaction)).interaction
        [claimed] = await driver.claim()
        assert receipts(outcomes) == [APPLIED, DUPLICATE]
        assert (row.answer, row.output) == (b'"ok"', b'"projected"')
        assert claimed.body == b'"projected"'

    @pytest.mark.parametrize("together", [True, False])
    async def test_duplicates(self, driver: Driver, *, together: bool) -> None:
        """An equal answer is a duplicate, counted, whoever sends it; nothing else changes (I2)."""
        interaction = await driver.parked()
        moves = [answer(interaction), answer(interaction, actor="bob"), answer(interaction)]

        if together:
            outcomes = await driver.do(*moves)
        else:
            outcomes = [await driver.one(move) for move in moves]

        row = (await driver.asked(interaction)).interaction
        assert receipts(outcomes) == [APPLIED, DUPLICATE, DUPLICATE]
        assert (row.duplicates, row.refusals, row.actor) == (2, 0, "ada")
        assert await driver.store.refusals(TENANT, interaction) == []

    @pytest.mark.parametrize("together", [True, False])
    async def test_conflicts(self, driver: Driver, *, together: bool) -> None:
        """Another answer is a conflict: the first stays, the digest of the second is kept (I2)."""
        interaction = await driver.parked()
        moves = [
            answer(interaction, b"1"),
            answer(interaction, b"2", actor="bob"),
            answer(interaction, b"3"),
        ]

        if together:
            outcomes = await driver.do(*moves)
        else:
            outcomes = [await driver.one(move) for move in moves]

        row = (await driver.asked(interaction)).interaction
        first, second = await driver.store.refusals(TENANT, interaction)
        assert receipts(outcomes) == [APPLIED, CONFLICT, CONFLICT]
        assert (row.answer, row.duplicates, row.refusals) == (b"1", 0, 2)
        assert (first.outcome, first.digest, first.payload) == ("conflict", digest_of(b"2"), None)
        assert (first.actor, first.created_at) == ("bob", driver.clock())
        assert [first.sequence, second.sequence] == [1, 2]

    async def test_duplicates_after_the_deadline(self, driver: Driver) -> None:
        """What was answered tells duplicate from conflict however late, also after the end."""
        interaction = await driver.parked(timeout_ms=MINUTE)
        await driver.one(answer(interaction, b"1"))
        driver.clock.advance(HOUR)

        outcomes = await driver.do(answer(interaction, b"1"), answer(interaction, b"2"))

        assert receipts(outcomes) == [DUPLICATE, CONFLICT]

    async def test_foreign_tenants(self, driver: Driver) -> None:
        """A completion of another tenant is as unknown as one for nothing, with no row (S9)."""
        interaction = await driver.parked()
        before = await driver.dump()

        outcome = await driver.one(answer(interaction, tenant=OTHER_TENANT))

        assert outcome == Received(UNKNOWN)
        assert await driver.dump() == before

    async def test_failures(self, driver: Driver) -> None:
        """A reported failure ends interaction, unit and execution, with a dead letter (I11)."""
        stream = await driver.parked_stream(3)
        await driver.do(*answers_to(stream, [0]))
        declined = Failure("declined", "the bank said no")

        outcomes = await driver.do(
            answer(stream.item(1), failure=declined),
            answer(stream.item(1), failure=declined),
            answer(stream.item(2)),
        )

        dump = await driver.dump()
        execution, letter = dump.executions[stream.id], dump.dead_letters[stream.id]
        row = dump.interactions[stream.item(1)]
        assert receipts(outcomes) == [APPLIED, DUPLICATE, LATE]
        assert (row.status, row.answer) == (InteractionStatus.FAILED, None)
        assert (row.error_code, row.error_message) == ("declined", "the bank said no")
        assert dump.units[stream.unit].status is UnitStatus.FAILED
        assert (execution.status, execution.error_code) == (ExecutionStatus.FAILED, "declined")
        assert (letter.status, letter.code, letter.step_id) == (
            ExecutionStatus.FAILED, "declined", "decide-1",
        )  # fmt: skip

    async def test_many_at_once(self, driver: Driver) -> None:
        """Of many different answers at once one wins, and every other is told so (S10, I2)."""
        interaction = await driver.parked()
        moves = [answer(interaction, b"%d" % (number % 4)) for number in range(40)]

        outcomes = await asyncio.gather(*[driver.one(move) for move in moves])

        row = (await driver.asked(interaction)).interaction
        told = receipts(list(outcomes))
        assert row.answer == moves[told.index(APPLIED)].body
        assert [told.count(kind) for kind in (APPLIED, DUPLICATE, CONFLICT)] == [1, 9, 30]
        assert (row.duplicates, row.refusals) == (9, 30)

    async def test_many_at_once_from_two_processes(self, driver: Driver) -> None:
        """Every item that two handles answer at once is counted once (S4, I2, I3)."""
        stream = await driver.parked_stream(100)
        async with driver.another() as other:
            ours, theirs = await asyncio.gather(
                driver.store.transact(answers_to(stream, range(100))),
                other.transact(answers_to(stream, range(99, -1, -1))),
            )

        told = receipts([*ours.outcomes, *theirs.outcomes])
        [unit] = await driver.store.units(TENANT, stream.id)
        facts = await driver.store.journal(TENANT, stream.id)
        assert (told.count(APPLIED), told.count(DUPLICATE)) == (100, 100)
        assert (unit.settled, unit.status) == (100, UnitStatus.COMPLETED)
        assert [fact.kind for fact in facts].count(JournalKind.RESUMED) == 1


class TestDeadline:
    """Deadlines, by the store's clock."""

    async def test_up_to_the_deadline(self, driver: Driver) -> None:
        """The very millisecond of the deadline is in time, for the answer (I9)."""
        interaction = await driver.parked(timeout_ms=MINUTE)
        driver.clock.advance(MINUTE)

        outcomes = await driver.do(Expire(interaction), answer(interaction))

        assert [type(outcome) for outcome in outcomes] == [Refused, Received]
        assert receipts(outcomes[1:]) == [APPLIED]

    async def test_after_the_deadline(self, driver: Driver) -> None:
        """Admission compares the deadline itself; the late answer is kept, its payload too."""
        interaction = await driver.parked(timeout_ms=MINUTE)
        driver.clock.advance(MINUTE + 1)
        before = await driver.dump()

        outcome = await driver.one(answer(interaction, b'"too late"', actor="bob"))

        dump = await driver.dump()
        [refusal] = dump.refusals[interaction]
        assert receipts([outcome]) == [LATE]
        assert dump.without_receipts() == before.without_receipts()
        assert (refusal.outcome, refusal.payload, refusal.actor) == ("late", b'"too late"', "bob")

    async def test_expiry(self, driver: Driver) -> None:
        """A passed deadline ends interaction, unit and execution in one commit, with its letter."""
        interaction = await driver.parked(timeout_ms=MINUTE)
        driver.clock.advance(MINUTE + 1)
        overdue = await driver.store.overdue(10)

        [outcome] = await driver.do(*[Expire(id) for id in overdue.expired])

        asked = await driver.asked(interaction)
        execution = await driver.execution(interaction.execution)
        letter = await driver.store.dead_letter(TENANT, interaction.execution)
        assert outcome == Settled(interaction)
        assert asked.interaction.status is InteractionStatus.TIMED_OUT
        assert (asked.unit.status, asked.unit.settled) == (UnitStatus.TIMED_OUT, 1)
        assert execution.status is ExecutionStatus.FAILED
        assert letter is not None
        assert letter.code == execution.error_code == "await-timed-out"
        assert (await driver.store.overdue(10)).expired == []

    @pytest.mark.parametrize("together", [True, False])
    @pytest.mark.parametrize("answer_first", [True, False])
    async def test_against_an_answer(
        self, driver: Driver, *, answer_first: bool, together: bool
    ) -> None:
        """Whichever of answer and deadline commits first ends it; the other is told (I1)."""
        interaction = await driver.parked(timeout_ms=MINUTE)
        if answer_first:
            await driver.one(answer(interaction))
        driver.clock.advance(MINUTE + 1)
        moves: list[Move] = [answer(interaction), Expire(interaction)]
        if not answer_first:
            moves.reverse()

        if together:
            outcomes = await driver.do(*moves)
        else:
            outcomes = [await driver.one(move) for move in moves]

        status = (await driver.asked(interaction)).interaction.status
        execution = await driver.execution(interaction.execution)
        if answer_first:
            assert receipts(outcomes[:1]) == [DUPLICATE]
            expect(outcomes[1], Refused)
            assert status is InteractionStatus.COMPLETED
            assert execution.status is ExecutionStatus.QUEUED
        else:
            expect(outcomes[0], Settled)
            assert receipts(outcomes[1:]) == [LATE]
            assert status is InteractionStatus.TIMED_OUT
            assert execution.status is ExecutionStatus.FAILED

    async def test_with_a_fallback(self, driver: Driver) -> None:
        """A default answer that was stored at park takes the place of one that did not come."""
        interaction = await driver.parked(timeout_ms=MINUTE, fallback=b'"nobody"')
        driver.clock.advance(MINUTE + 1)

        await driver.one(Expire(interaction))

        asked = await driver.asked(interaction)
        [claimed] = await driver.claim()
        assert asked.interaction.status is InteractionStatus.TIMED_OUT
        assert (asked.interaction.answer, asked.interaction.output) == (None, b'"nobody"')
        assert asked.interaction.source is AnswerSource.TIMEOUT
        assert asked.unit.status is UnitStatus.COMPLETED
        assert claimed.body == b'"nobody"'
        assert receipts(await driver.do(answer(interaction))) == [LATE]

    async def test_of_items_with_fallbacks(self, driver: Driver) -> None:
        """Items of a stream that time out with a default are read in their places (I4)."""
        stream = await driver.parked_stream(3, timeout_ms=MINUTE, fallback=b'"nobody"')
        await driver.do(*answers_to(stream, [1]))
        driver.clock.advance(MINUTE + 1)

        await driver.do(*[Expire(id) for id in (await driver.store.overdue(10)).expired])

        rows = await driver.store.answers(TENANT, stream.unit, 0, 10)
        assert [row.output or row.answer for row in rows] == [b'"nobody"', b"1", b'"nobody"']
        assert (await driver.execution(stream.id)).status is ExecutionStatus.QUEUED

    async def test_while_the_source_is_read(self, driver: Driver) -> None:
        """An item that times out while its source is read fences the reader off (I7)."""
        stream = await driver.stream(2, timeout_ms=10)
        driver.clock.advance(11)

        await driver.one(Expire(stream.item(0)))

        outcomes = await driver.do(stream.append(2, 1), stream.close(2))
        assert [type(outcome) for outcome in outcomes] == [Refused] * 2
        assert (await driver.execution(stream.id)).status is ExecutionStatus.FAILED


class TestCloseBehind:
    """What the end of a unit leaves open."""

    async def test_binds_at_once(self, driver: Driver) -> None:
        """The end of a unit binds before its interactions are closed: no list, no admission."""
        stream = await driver.parked_stream(3)

        await driver.one(answer(stream.item(1), failure=Failure("declined", "no")))

        dump = await driver.dump()
        assert dump.pending[TENANT] == []
        assert dump.interactions[stream.item(0)].status is InteractionStatus.DISPATCHED
        assert sorted(dump.overdue.left_open) == [stream.item(0), stream.item(2)]
        assert receipts(await driver.do(answer(stream.item(0)))) == [LATE]

    async def test_in_batches(self, driver: Driver) -> None:
        """What is left open is closed in bounded batches until nothing is left, counted once."""
        stream = await driver.parked_stream(10)
        await driver.one(answer(stream.item(4), failure=Failure("declined", "no")))
        sizes: list[int] = []

        while left := (await driver.store.overdue(4)).left_open:
            sizes.append(len(left))
            await driver.do(*[CloseBehind(id) for id in (*left, left[0])])

        [unit] = await driver.store.units(TENANT, stream.id)
        dump = await driver.dump()
        assert sizes == [4, 4, 1]
        assert unit.settled == 10
        assert {row.status for row in dump.interactions.values()} == {
            InteractionStatus.FAILED, InteractionStatus.CANCELLED,
        }  # fmt: skip

    async def test_none_is_passed_over(self, driver: Driver) -> None:
        """What a sweep has found and not closed is found again, whoever looked in between."""
        streams = [await driver.parked_stream(7) for _ in range(2)]
        await driver.do(*[Cancel(stream.id, TENANT, "not wanted") for stream in streams])
        await driver.store.overdue(5)

        while left := (await driver.store.overdue(3)).left_open:
            await driver.store.overdue(2)
            await driver.do(*[CloseBehind(id) for id in left[1:] or left])

        for stream in streams:
            [unit] = await driver.store.units(TENANT, stream.id)
            assert unit.settled == 7


def refused(driver: Driver, *, tenant: str = TENANT, payload: bytes = b'{"a":1}') -> KeepLetter:
    """A completion that was refused and whose sender hears nothing of it."""
    return KeepLetter(
        DeadLetter(
            driver.new_id(), tenant, "orders", DeadLetterKind.ARRIVAL, None, None, "malformed",
            "no JSON object (answers/0/7)", "ask", 1, 0, "order-42", payload, "bob",
        )
    )  # fmt: skip


class TestKeepLetter:
    """What came over a broker and was refused is kept, once."""

    async def test_is_kept_as_it_came(self, driver: Driver) -> None:
        """The letter is there with the commit's time, for its tenant alone (S9)."""
        move = refused(driver)
        driver.clock.advance(MINUTE)

        assert await driver.one(move) == Noted()

        kept = replace(move.letter, created_at=driver.clock())
        assert await driver.store.dead_letter(TENANT, kept.id) == kept
        assert await driver.store.dead_letter(OTHER_TENANT, kept.id) is None

    @pytest.mark.parametrize("together", [True, False])
    async def test_comes_again(self, driver: Driver, *, together: bool) -> None:
        """The same letter, in one batch or in two, is one, and the first one stays (S7)."""
        move = refused(driver)
        again = replace(move, letter=replace(move.letter, payload=b"2"))
        first_at = driver.clock()

        if together:
            await driver.do(move, again)
        else:
            await driver.one(move)
            driver.clock.advance(MINUTE)
            await driver.one(again)

        [kept] = await driver.store.dead_letters(TENANT, pipeline=None, before=None, limit=LIMIT)
        assert kept == replace(move.letter, created_at=first_at)

    async def test_a_bad_letter_fails_alone(self, driver: Driver) -> None:
        """What no store can keep takes its own move with it, and no other (S6)."""
        bad, good = refused(driver), refused(driver)
        bad = replace(bad, letter=replace(bad.letter, actor="a\0b"))

        outcomes = await driver.do(bad, good)

        assert outcomes[1] == Noted()
        [kept] = await driver.store.dead_letters(TENANT, pipeline=None, before=None, limit=LIMIT)
        assert kept.id == good.letter.id

    async def test_counts_as_no_receipt(self, driver: Driver) -> None:
        """Its receipt was counted where it was given, or there was none."""
        before = await driver.store.count_receipts(TENANT)

        await driver.one(refused(driver))

        assert await driver.store.count_receipts(TENANT) == before

    async def test_goes_with_the_retention(self, driver: Driver) -> None:
        """A letter that never had an execution is removed when it is old enough."""
        await driver.one(refused(driver))
        driver.clock.advance(HOUR)

        await driver.store.retire(driver.clock(), LIMIT)

        assert not await driver.store.dead_letters(TENANT, pipeline=None, before=None, limit=LIMIT)
