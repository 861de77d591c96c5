"""Correlation keys: one open interaction each, and answers that come before their questions."""

import asyncio

import pytest

from bide.engine.moves import (
    Append,
    AskAgain,
    AskedAgain,
    Cancel,
    Claimed,
    Expire,
    ExpireEarly,
    Fail,
    Failure,
    Handover,
    Move,
    Moved,
    OpenUnit,
    Park,
    Received,
    Refused,
    Settled,
)
from bide.model.ids import InteractionId, UnitId
from bide.model.records import replace
from bide.model.status import (
    AnswerSource,
    DeadLetterKind,
    ExecutionStatus,
    InteractionStatus,
    JournalKind,
    ReceiptOutcome,
    UnitStatus,
)
from bide.testing.store_contract.admitting import (
    APPLIED,
    CONFLICT,
    DUPLICATE,
    LATE,
    receipts,
)
from bide.testing.store_contract.harness import (
    DAY,
    FINGERPRINTS,
    HOUR,
    LEASE_MS,
    MINUTE,
    OTHER_TENANT,
    TENANT,
    Driver,
    answer,
    answer_by_key,
    asking,
    boundary,
    correlated,
    digest_of,
    expect,
    take_over,
    taking_over,
)

BUFFERED = ReceiptOutcome.BUFFERED
OFFER = Handover("worker-1", LEASE_MS, 9, FINGERPRINTS)


def park_by_key(claimed: Claimed, key: str = "k", scope: str = "orders/decide-1") -> Park:
    """A park of an await that is correlated."""
    execution = claimed.execution
    request = asking(correlation=correlated(key, scope))
    return Park(execution.id, execution.fence, boundary(), request)


class TestCorrelation:
    """A key in place of an interaction's id."""

    async def test_names_its_interaction(self, driver: Driver) -> None:
        """An answer under a key is admitted to the interaction that has it, with its id told."""
        interaction = await driver.parked(correlation=correlated("k"))

        outcomes = await driver.do(
            answer_by_key(driver, "k", b"1"),
            answer_by_key(driver, "k", b"1"),
            answer(interaction, b"2"),
        )

        row = (await driver.asked(interaction)).interaction
        assert receipts(outcomes) == [APPLIED, DUPLICATE, CONFLICT]
        assert [expect(one, Received).interaction for one in outcomes[:2]] == [interaction] * 2
        assert (row.answer, row.correlation, row.source) == (b"1", "k", AnswerSource.PERSON)
        assert (row.duplicates, row.refusals) == (1, 1)

    async def test_is_held_by_one(self, driver: Driver) -> None:
        """A park under a key that an open interaction has ends its own execution alone."""
        first, second, other = [await driver.running() for _ in range(3)]

        outcomes = await driver.do(park_by_key(first), park_by_key(second), park_by_key(other, "l"))

        ended = await driver.execution(second.execution.id)
        letter = await driver.store.dead_letter(TENANT, ended.id)
        statuses = [expect(one, Moved).execution.status for one in outcomes]
        waiting = ExecutionStatus.WAITING_EXTERNAL
        assert statuses == [waiting, ExecutionStatus.FAILED, waiting]
        assert (ended.error_code, ended.units) == ("correlation-taken", 0)
        assert letter is not None
        assert (letter.code, letter.step_id) == ("correlation-taken", "decide-1")

    async def test_scopes(self, driver: Driver) -> None:
        """The same key in another scope is another key; both are found by the key alone."""
        first, second = [await driver.running() for _ in range(2)]

        await driver.do(park_by_key(first), park_by_key(second, scope=":payments"))

        [found] = await driver.store.correlated(TENANT, ["k"])
        holders = [each.holder.interaction.execution for each in found if each.holder]
        assert [each.row.scope for each in found] == [":payments", "orders/decide-1"]
        assert holders == [second.execution.id, first.execution.id]

    @pytest.mark.parametrize("end", ["answer", "cancel", "deadline"])
    async def test_may_be_used_again(self, driver: Driver, end: str) -> None:
        """Once its holder has ended, another interaction may have the key, and answers go to it."""
        interaction = await driver.parked(correlation=correlated("k"), timeout_ms=MINUTE)
        if end == "answer":
            await driver.one(answer(interaction))
        elif end == "cancel":
            await driver.one(Cancel(interaction.execution, TENANT, ""))
        else:
            driver.clock.advance(MINUTE + 1)
        last = {"answer": CONFLICT, "cancel": LATE, "deadline": LATE}[end]
        assert receipts(await driver.do(answer_by_key(driver, "k", b"9"))) == [last]

        second = await driver.parked(correlation=correlated("k"))

        [outcome] = await driver.do(answer_by_key(driver, "k", b"9"))
        assert expect(outcome, Received).interaction == second
        assert receipts([outcome]) == [APPLIED]

    async def test_of_items(self, driver: Driver) -> None:
        """Items of a stream have keys of their own; one that is taken ends the execution."""
        stream = await driver.stream()
        append = replace(
            stream.append(0, 2),
            items=tuple(asking(item, correlation=correlated(key)) for item, key in enumerate("kl")),
        )
        await driver.one(append)
        expect(await driver.one(append), Moved)  # a repeat of the source is recognised
        again = replace(
            append, first_item=2, items=(asking(2), asking(3, correlation=correlated("l")))
        )

        outcome = await driver.one(again)

        unit = (await driver.store.units(TENANT, stream.id))[0]
        assert expect(outcome, Moved).execution.error_code == "correlation-taken"
        assert (unit.status, unit.appended) == (UnitStatus.FAILED, 2)

    async def test_twice_in_one_batch_of_items(self, driver: Driver) -> None:
        """Two items of one append cannot have the same key either."""
        stream = await driver.stream()
        items = tuple(asking(item, correlation=correlated("k")) for item in range(2))

        await driver.one(replace(stream.append(0, 2), items=items))

        execution = await driver.execution(stream.id)
        assert (execution.status, execution.error_code) == (
            ExecutionStatus.FAILED, "correlation-taken",
        )  # fmt: skip


class TestEarlyAnswer:
    """Answers that come before their questions."""

    @pytest.mark.parametrize("together", [True, False])
    async def test_is_adopted_by_the_park(self, driver: Driver, *, together: bool) -> None:
        """The commit that would park goes on with the answer that is there (S1)."""
        claimed = await driver.running()
        moves: list[Move] = [answer_by_key(driver, "k", b"1"), park_by_key(claimed)]

        if together:
            outcomes = await driver.do(*moves)
        else:
            outcomes = [await driver.one(move) for move in moves]

        interaction = InteractionId(claimed.execution.id, 1, 0)
        asked = await driver.asked(interaction)
        facts = await driver.store.journal(TENANT, claimed.execution.id)
        assert receipts(outcomes[:1]) == [BUFFERED]
        assert expect(outcomes[1], Moved).execution.status is ExecutionStatus.QUEUED
        assert asked.unit.status is UnitStatus.COMPLETED
        assert asked.interaction.status is InteractionStatus.COMPLETED
        assert (asked.interaction.answer, asked.interaction.actor) == (b"1", "ada")
        assert asked.interaction.source is AnswerSource.EARLY
        assert [fact.kind for fact in facts[-2:]] == [JournalKind.PARKED, JournalKind.RESUMED]
        [resumed] = await driver.claim()
        assert resumed.body == b"1"
        # What comes later under the key is about this interaction.
        later = await driver.do(answer_by_key(driver, "k", b"1"), answer_by_key(driver, "k", b"2"))
        assert receipts(later) == [DUPLICATE, CONFLICT]

    async def test_is_handed_over(self, driver: Driver) -> None:
        """A worker that parks on an answer goes straight on with it."""
        claimed = await driver.running()
        await driver.one(answer_by_key(driver, "k", b"1"))

        [handed] = await driver.handed(OFFER, park_by_key(claimed))

        assert (handed.body, handed.execution.status) == (b"1", ExecutionStatus.RUNNING)

    async def test_feeds_one_wait_only(self, driver: Driver) -> None:
        """An early answer is gone with the wait that took it; the next one under the key waits."""
        first, second = await driver.running(), await driver.running()
        await driver.one(answer_by_key(driver, "k", b"1"))

        await driver.one(park_by_key(first))
        outcome = await driver.one(park_by_key(second))

        assert expect(outcome, Moved).execution.status is ExecutionStatus.WAITING_EXTERNAL

    async def test_repeats_and_contradictions(self, driver: Driver) -> None:
        """Of early answers the first stays; repeats are counted, others leave their digest."""
        claimed = await driver.running()
        outcomes = await driver.do(
            *[answer_by_key(driver, "k", body) for body in (b"1", b"1", b"2", b"1")]
        )

        await driver.one(park_by_key(claimed))

        row = (await driver.asked(InteractionId(claimed.execution.id, 1, 0))).interaction
        counts = await driver.store.count_receipts(TENANT)
        assert receipts(outcomes) == [BUFFERED, DUPLICATE, CONFLICT, DUPLICATE]
        assert (row.answer, row.duplicates) == (b"1", 2)
        assert counts == {APPLIED: 0, DUPLICATE: 2, CONFLICT: 1, LATE: 0, BUFFERED: 1}

    async def test_that_is_a_failure(self, driver: Driver) -> None:
        """A failure may come early as well: the park ends its unit and its execution."""
        claimed = await driver.running()
        failure = Failure("declined", "no")
        await driver.one(answer_by_key(driver, "k", b'{"failure":{}}', failure=failure))

        await driver.one(park_by_key(claimed))

        execution = await driver.execution(claimed.execution.id)
        assert (execution.status, execution.error_code) == (ExecutionStatus.FAILED, "declined")

    async def test_of_items(self, driver: Driver) -> None:
        """Items whose answers are there are born answered; the unit needs only the others."""
        stream = await driver.stream()
        await driver.do(answer_by_key(driver, "k", b"10"), answer_by_key(driver, "m", b"30"))
        items = tuple(asking(item, correlation=correlated(key)) for item, key in enumerate("klm"))
        await driver.one(replace(stream.append(0, 3), items=items))
        outcome = await driver.one(stream.close(3))
        assert expect(outcome, Moved).execution.status is ExecutionStatus.WAITING_EXTERNAL

        await driver.one(answer_by_key(driver, "l", b"20"))

        rows = await driver.store.answers(TENANT, stream.unit, 0, 10)
        assert [row.answer for row in rows] == [b"10", b"20", b"30"]
        assert (await driver.execution(stream.id)).status is ExecutionStatus.QUEUED

    async def test_of_all_items(self, driver: Driver) -> None:
        """A stream whose answers are all there is released by its close."""
        stream = await driver.stream()
        await driver.do(answer_by_key(driver, "k", b"1"), answer_by_key(driver, "l", b"2"))
        items = tuple(asking(item, correlation=correlated(key)) for item, key in enumerate("kl"))

        await driver.do(replace(stream.append(0, 2), items=items), stream.close(2))

        assert (await driver.execution(stream.id)).status is ExecutionStatus.QUEUED

    async def test_items_that_failed_early(self, driver: Driver) -> None:
        """A failure that waited for an item ends the stream's unit; what follows is closed."""
        stream = await driver.stream()
        failure = Failure("declined", "no")
        await driver.one(answer_by_key(driver, "k", b"{}", failure=failure))
        items = tuple(asking(item, correlation=correlated(key)) for item, key in enumerate("kl"))

        await driver.one(replace(stream.append(0, 2), items=items))

        execution = await driver.execution(stream.id)
        assert (execution.status, execution.error_code) == (ExecutionStatus.FAILED, "declined")
        assert (await driver.store.overdue(10)).left_open == [stream.item(1)]

    async def test_is_of_its_await(self, driver: Driver) -> None:
        """In a scope that awaits share, an answer waits for the await that it was given to."""
        claimed = await driver.running()
        await driver.one(answer_by_key(driver, "k", b"1", step_id="ship"))

        outcome = await driver.one(park_by_key(claimed))

        assert expect(outcome, Moved).execution.status is ExecutionStatus.WAITING_EXTERNAL
        [[known]] = await driver.store.correlated(TENANT, ["k"])
        assert known.row.early is not None
        assert known.row.holder == InteractionId(claimed.execution.id, 1, 0)

    async def test_expires_into_a_dead_letter(self, driver: Driver) -> None:
        """What nobody asked for in time is a dead letter with its payload, and feeds nothing."""
        early = answer_by_key(driver, "k", b'"ok"')
        await driver.do(early, early)
        expect(await driver.one(ExpireEarly(early.key)), Refused)
        driver.clock.advance(DAY + 1)
        overdue = await driver.store.overdue(10)

        outcomes = await driver.do(*[ExpireEarly(key) for key in overdue.early])

        [letter] = await driver.store.dead_letters(TENANT, pipeline=None, before=None, limit=9)
        assert outcomes == [Settled(early.key)]
        assert letter == await driver.store.dead_letter(TENANT, early.early)
        assert await driver.store.dead_letter(OTHER_TENANT, early.early) is None
        assert (letter.kind, letter.execution, letter.status) == (
            DeadLetterKind.COMPLETION, None, None,
        )  # fmt: skip
        assert (letter.payload, letter.correlation, letter.attempts) == (b'"ok"', "k", 2)
        assert await driver.store.correlated(TENANT, ["k"]) == [[]]
        assert (await driver.store.overdue(10)).early == []
        counts = await driver.store.count_receipts(TENANT)
        assert (counts[BUFFERED], counts[DUPLICATE]) == (1, 1)

    async def test_that_has_expired_is_not_adopted(self, driver: Driver) -> None:
        """Its time is compared with the store's clock, and does not wait for a sweep."""
        await driver.one(answer_by_key(driver, "k", b"1"))
        driver.clock.advance(DAY + 1)
        claimed = await driver.running()

        outcome = await driver.one(park_by_key(claimed))

        assert expect(outcome, Moved).execution.status is ExecutionStatus.WAITING_EXTERNAL
        await driver.do(*[ExpireEarly(key) for key in (await driver.store.overdue(9)).early])
        assert receipts(await driver.do(answer_by_key(driver, "k", b"2"))) == [APPLIED]

    async def test_after_an_expired_one(self, driver: Driver) -> None:
        """A new early answer takes the place of one that has expired unswept, which is kept."""
        await driver.one(answer_by_key(driver, "k", b"1"))
        driver.clock.advance(DAY + 1)

        [outcome] = await driver.do(answer_by_key(driver, "k", b"2"))

        letters = await driver.store.dead_letters(TENANT, pipeline=None, before=None, limit=9)
        assert receipts([outcome]) == [BUFFERED]
        assert [letter.payload for letter in letters] == [b"1"]

    async def test_tenants(self, driver: Driver) -> None:
        """Another tenant's key is another key (S9)."""
        await driver.one(answer_by_key(driver, "k", b"1"))

        assert await driver.store.correlated(OTHER_TENANT, ["k"]) == [[]]
        assert (await driver.store.count_receipts(OTHER_TENANT))[BUFFERED] == 0

    @pytest.mark.parametrize("answer_first", [True, False])
    async def test_against_its_park(self, driver: Driver, *, answer_first: bool) -> None:
        """An answer and its park that commit at once from two handles never miss each other."""
        async with driver.another() as other:
            for key in ("k", "l", "m"):
                claimed = await driver.running()
                park = driver.store.transact([park_by_key(claimed, key)])
                early = other.transact([answer_by_key(driver, key, b"1")])
                calls = [early, park] if answer_first else [park, early]

                await asyncio.gather(*calls)

                execution = await driver.execution(claimed.execution.id)
                row = (await driver.asked(InteractionId(execution.id, 1, 0))).interaction
                assert execution.status is ExecutionStatus.QUEUED
                assert (row.answer, row.answer_digest) == (b"1", digest_of(b"1"))

    async def test_retention(self, driver: Driver) -> None:
        """Keys go with their executions, and what early answers left goes with time."""
        claimed = await driver.running()
        early = answer_by_key(driver, "l", b"1")
        await driver.do(early, answer_by_key(driver, "l", b"2"), park_by_key(claimed))
        await driver.one(Cancel(claimed.execution.id, TENANT, ""))
        driver.clock.advance(DAY + HOUR)
        await driver.one(ExpireEarly(early.key))
        driver.clock.advance(HOUR)

        await driver.store.retire(driver.clock(), 10)

        assert await driver.store.correlated(TENANT, ["k", "l"]) == [[], []]
        assert await driver.store.dead_letter(TENANT, early.early) is None
        assert set((await driver.store.count_receipts(TENANT)).values()) == {0}


class TestRedrivenKeys:
    """Keys of what is asked once more."""

    async def test_of_a_redrive(self, driver: Driver) -> None:
        """A redrive that takes a wait over has its key: answers under it go to the new asking."""
        old = await driver.parked(correlation=correlated("k"), timeout_ms=MINUTE)
        driver.clock.advance(MINUTE + 1)
        await driver.do(*[Expire(id) for id in (await driver.store.overdue(9)).expired])
        claimed, unit = await taking_over(driver, UnitId(old.execution, 1))
        await driver.one(await take_over(driver, claimed, unit, 0, 1))

        [outcome] = await driver.do(answer_by_key(driver, "k", b"1"))

        assert receipts([outcome]) == [APPLIED]
        found = expect(outcome, Received).interaction
        assert found == InteractionId(claimed.execution.id, 1, 0)

    async def test_of_a_redrive_whose_key_is_taken(self, driver: Driver) -> None:
        """A redrive does not take the key away from one that has got it meanwhile."""
        old = await driver.parked(correlation=correlated("k"), timeout_ms=MINUTE)
        driver.clock.advance(MINUTE + 1)
        await driver.do(*[Expire(id) for id in (await driver.store.overdue(9)).expired])
        other = await driver.parked(correlation=correlated("k"))
        claimed, unit = await taking_over(driver, UnitId(old.execution, 1))

        await driver.one(await take_over(driver, claimed, unit, 0, 1))

        execution = await driver.execution(claimed.execution.id)
        assert (execution.status, execution.error_code) == (
            ExecutionStatus.FAILED, "correlation-taken",
        )  # fmt: skip
        [outcome] = await driver.do(answer_by_key(driver, "k", b"1"))
        assert expect(outcome, Received).interaction == other

    async def test_counts_of_a_redrive(self, driver: Driver) -> None:
        """An answer that a redrive takes over was received once, and is counted so."""
        interaction = await driver.parked()
        driver.clock.advance(1)
        await driver.one(answer(interaction))
        [resumed] = await driver.claim()
        execution = resumed.execution
        dlq = ExecutionStatus.DLQ
        await driver.one(Fail(execution.id, execution.fence, dlq, 2, "ship", 1, "boom", "broke"))
        claimed, unit = await taking_over(driver, UnitId(execution.id, 1))

        await driver.one(await take_over(driver, claimed, unit, 0, 1))

        assert (await driver.store.count_receipts(TENANT))[APPLIED] == 1

    @pytest.mark.parametrize("taken", [True, False])
    async def test_of_an_item_asked_again(self, driver: Driver, *, taken: bool) -> None:
        """The next generation of an item has its key, unless another one has got it meanwhile."""
        claimed = await driver.running()
        execution = claimed.execution
        tolerant = replace(boundary(), tolerated=1)
        await driver.one(OpenUnit(execution.id, execution.fence, tolerant))
        items = (asking(0, correlation=correlated("k")), asking(1))
        await driver.one(Append(execution.id, execution.fence, 1, 0, items))
        failure = Failure("declined", "no")
        await driver.one(answer_by_key(driver, "k", b"{}", failure=failure))
        if taken:
            await driver.parked(correlation=correlated("k"))
        first = InteractionId(execution.id, 1, 0)

        outcome = await driver.one(AskAgain(first, TENANT, b"1", correlated("k")))

        if taken:
            assert "correlation key" in expect(outcome, Refused).reason
            return
        again = expect(outcome, AskedAgain).interaction
        [received] = await driver.do(answer_by_key(driver, "k", b"2"))
        assert receipts([received]) == [APPLIED]
        assert expect(received, Received).interaction == again
        assert (await driver.store.count_receipts(TENANT))[APPLIED] == 2
