"""Claims, leases, hand-over, and what a worker reports of its segment."""

import asyncio
from collections.abc import Sequence

import pytest

from bide.engine.moves import (
    Cancel,
    Claimed,
    Expire,
    Fail,
    Finish,
    GiveBack,
    Handover,
    Move,
    Moved,
    Refused,
    Retry,
    StoreResults,
    Submitted,
)
from bide.engine.running import ClaimOffer
from bide.model.ids import ExecutionId
from bide.model.records import DeadLetter, Execution, replace
from bide.model.status import DeadLetterKind, ExecutionStatus, JournalKind, UnitStatus
from bide.spi.store import LeaseKey
from bide.testing.store_contract.harness import (
    AFTER_AWAIT,
    FINGERPRINTS,
    FOREIGN,
    HOUR,
    LEASE_MS,
    MINUTE,
    START,
    TENANT,
    Driver,
    Stream,
    answer,
    answers_to,
    expect,
)

TAKEOVERS_MAX = 5


class TestClaim:
    """Who runs what."""

    async def test_claims(self, driver: Driver) -> None:
        """A claim writes owner, lease, fence and attempt, with one fact, and brings the input."""
        id = await driver.submit()

        [claimed] = await driver.claim("worker-1")

        execution = claimed.execution
        fact = (await driver.store.journal(TENANT, id))[-1]
        assert execution == await driver.execution(id)
        assert (execution.status, execution.owner) == (ExecutionStatus.RUNNING, "worker-1")
        assert (execution.attempt, execution.fence, execution.takeovers) == (1, 1, 0)
        assert execution.due_at == driver.clock() + LEASE_MS
        assert (claimed.body, claimed.base, claimed.reopened) == (b"{}", None, None)
        assert (fact.kind, fact.detail) == (JournalKind.CLAIMED, "worker-1")

    async def test_oldest_first(self, driver: Driver) -> None:
        """What was due first is claimed first, and never more than the limit."""
        ids: list[ExecutionId] = []
        for _ in range(5):
            ids.append(await driver.submit())
            driver.clock.advance(1)

        pages = [await driver.claim(limit=2) for _ in range(4)]

        assert [[one.execution.id for one in page] for page in pages] == [
            ids[:2], ids[2:4], ids[4:], [],
        ]  # fmt: skip

    async def test_only_what_it_can_run(self, driver: Driver) -> None:
        """A claim passes over what the offer cannot run, however old and however much."""
        foreign = [driver.submission(fingerprint=FOREIGN) for _ in range(20)]
        await driver.do(*foreign)
        driver.clock.advance(1)
        id = await driver.submit()

        claimed = await driver.claim(limit=2)

        assert [one.execution.id for one in claimed] == [id]
        assert await driver.store.claim(ClaimOffer("w", LEASE_MS, 2, frozenset())) == []

    async def test_by_the_boundary(self, driver: Driver) -> None:
        """After a boundary, its fingerprint says who can run the execution."""
        interaction = await driver.parked()
        await driver.one(answer(interaction))

        at_the_start = await driver.store.claim(
            ClaimOffer("w", LEASE_MS, 9, frozenset({START, FOREIGN}))
        )
        after_it = await driver.store.claim(ClaimOffer("w", LEASE_MS, 9, frozenset({AFTER_AWAIT})))

        assert at_the_start == []
        assert [one.execution.id for one in after_it] == [interaction.execution]

    async def test_at_once(self, driver: Driver) -> None:
        """Claims at the same time never get the same execution (S10)."""
        await driver.do(*[driver.submission() for _ in range(50)])

        claims = await asyncio.gather(*[driver.claim(f"w-{n}", limit=8) for n in range(10)])

        ids = [one.execution.id for claim in claims for one in claim]
        assert len(ids) == len(set(ids)) == 50

    async def test_at_once_from_two_processes(self, driver: Driver) -> None:
        """Claims of two handles never get the same execution (S4, S10)."""
        await driver.do(*[driver.submission() for _ in range(50)])
        async with driver.another() as other:
            claims = await asyncio.gather(
                *[
                    store.claim(driver.offer(f"w-{n}", limit=8))
                    for n, store in enumerate([driver.store, other] * 5)
                ]
            )

        ids = [one.execution.id for claim in claims for one in claim]
        assert len(ids) == len(set(ids)) == 50


class TestLease:
    """Leases run out, are prolonged and taken over."""

    async def test_until_it_runs_out(self, driver: Driver) -> None:
        """Nobody gets an execution before its lease has run out; then the next claim does."""
        first = (await driver.running()).execution
        driver.clock.advance(LEASE_MS - 1)
        early = await driver.claim("worker-2")
        driver.clock.advance(1)

        [taken] = await driver.claim("worker-2")

        execution = taken.execution
        assert early == []
        assert (execution.id, execution.owner) == (first.id, "worker-2")
        assert (execution.fence, execution.attempt, execution.takeovers) == (2, 2, 1)
        facts = await driver.store.journal(TENANT, first.id)
        assert facts[-1].kind is JournalKind.TAKEN_OVER

    async def test_late_but_not_taken_over(self, driver: Driver) -> None:
        """A worker whose lease ran out still writes while nobody has taken over."""
        execution = (await driver.running()).execution
        driver.clock.advance(HOUR)

        outcome = await driver.one(Finish(execution.id, execution.fence, 1, b"1"))

        expect(outcome, Moved)

    async def test_renewal(self, driver: Driver) -> None:
        """A renewal prolongs the lease by the store's clock, and is no change of state."""
        execution = (await driver.running()).execution
        driver.clock.advance(LEASE_MS // 2)

        kept = await driver.store.renew([LeaseKey(execution.id, execution.fence)], LEASE_MS)

        renewed = await driver.execution(execution.id)
        assert kept == [True]
        assert renewed == replace(execution, due_at=driver.clock() + LEASE_MS)
        driver.clock.advance(LEASE_MS - 1)
        assert await driver.claim("worker-2") == []

    async def test_renewal_of_what_is_lost(self, driver: Driver) -> None:
        """False, in order, for each lease that is no longer the worker's; nothing changes (S2)."""
        lost = (await driver.running()).execution
        driver.clock.advance(LEASE_MS)
        [taken] = await driver.claim("worker-2")
        parked = await driver.parked()
        ended = await driver.succeeded()
        held = LeaseKey(lost.id, taken.execution.fence)
        before = await driver.dump()
        leases = [
            LeaseKey(lost.id, lost.fence), held, LeaseKey(parked.execution, 1),
            LeaseKey(ended, 1), LeaseKey(driver.new_id(), 1), held,
        ]  # fmt: skip

        kept = await driver.store.renew(leases, LEASE_MS)

        assert kept == [False, True, False, False, False, True]
        assert await driver.dump() == before
        assert await driver.store.renew([], LEASE_MS) == []

    async def test_taken_over_too_often(self, driver: Driver) -> None:
        """Lost leases are counted apart and bounded; then it is dead-lettered, and not returned."""
        stream = await driver.stream(2)
        for number in range(TAKEOVERS_MAX):
            driver.clock.advance(LEASE_MS)
            [claimed] = await driver.claim()
            assert claimed.execution.takeovers == number + 1
        driver.clock.advance(LEASE_MS)
        other = await driver.submit()

        claims = await driver.claim()

        dump = await driver.dump()
        execution, letter = dump.executions[stream.id], dump.dead_letters[stream.id]
        assert [one.execution.id for one in claims] == [other]
        assert (execution.status, execution.error_code) == (ExecutionStatus.DLQ, "worker-lost")
        assert (letter.status, letter.attempts) == (ExecutionStatus.DLQ, TAKEOVERS_MAX + 1)
        assert dump.units[stream.unit].status is UnitStatus.FAILED
        assert dump.journal[stream.id][-1].kind is JournalKind.DEAD_LETTERED

    async def test_counted_per_boundary(self, driver: Driver) -> None:
        """A boundary that is reached forgives the leases lost before it, and the attempts."""
        stream = await driver.stream(1)
        driver.clock.advance(LEASE_MS)
        [claimed] = await driver.claim()
        await driver.one(stream._replace(claimed=claimed).close(1))

        await driver.do(*answers_to(stream, [0]))

        [resumed] = await driver.claim()
        assert (resumed.execution.takeovers, resumed.execution.attempt) == (0, 1)

    async def test_reopens_the_unit(self, driver: Driver) -> None:
        """Who takes over learns of the unit that the run before has opened, and of its base."""
        interaction = await driver.parked()
        await driver.one(answer(interaction))
        [claimed] = await driver.claim()
        first = (await driver.asked(interaction)).unit
        second = Stream(claimed, first.id._replace(number=2))
        await driver.do(second.open(), second.append(0, 2))
        driver.clock.advance(LEASE_MS)

        [taken] = await driver.claim()

        _, reopened = await driver.store.units(TENANT, interaction.execution)
        assert (taken.base, taken.body, taken.reopened) == (first, b'"yes"', reopened)


class TestSegment:
    """What a worker reports."""

    async def test_finish(self, driver: Driver) -> None:
        """Success keeps the result with the execution, and nobody has to look at it again."""
        execution = (await driver.running()).execution

        outcome = await driver.one(Finish(execution.id, execution.fence, 2, b'"done"'))

        finished = expect(outcome, Moved).execution
        assert finished == await driver.execution(execution.id)
        assert (finished.status, finished.result) == (ExecutionStatus.SUCCEEDED, b'"done"')
        assert (finished.step_index, finished.due_at, finished.owner) == (2, None, None)
        assert await driver.store.dead_letter(TENANT, execution.id) is None

    async def test_results_are_hidden_until_the_end(self, driver: Driver) -> None:
        """Results are seen when the execution has succeeded, by index, in pages, and not before."""
        execution = (await driver.running()).execution
        id, fence = execution.id, execution.fence
        bodies = tuple(b"%d" % n for n in range(5))
        await driver.do(
            StoreResults(id, fence, 0, bodies[:3]), StoreResults(id, fence, 3, bodies[3:])
        )
        before = await driver.store.results(TENANT, id, 0, 10)

        await driver.one(Finish(id, fence, 1, None, 5))

        pages = [await driver.store.results(TENANT, id, first, 2) for first in (0, 2, 4, 6)]
        assert before == []
        assert pages == [[b"0", b"1"], [b"2", b"3"], [b"4"], []]

    async def test_results_of_a_repeat(self, driver: Driver) -> None:
        """A repeat of the segment overwrites by index; what it gave no more is not seen (I4)."""
        execution = (await driver.running()).execution
        await driver.one(StoreResults(execution.id, execution.fence, 0, (b"a", b"b", b"c")))
        driver.clock.advance(LEASE_MS)
        [claimed] = await driver.claim("worker-2")
        fence = claimed.execution.fence
        stale = StoreResults(execution.id, execution.fence, 0, (b"x", b"x", b"x"))

        outcomes = await driver.do(
            StoreResults(execution.id, fence, 0, (b"A", b"B")),
            stale,
            Finish(execution.id, fence, 1, None, 2),
        )

        assert [type(outcome) for outcome in outcomes] == [Moved, Refused, Moved]
        assert await driver.store.results(TENANT, execution.id, 0, 10) == [b"A", b"B"]

    async def test_results_twice_in_one_batch(self, driver: Driver) -> None:
        """Of two writes of one index in one batch the later stands."""
        execution = (await driver.running()).execution
        id, fence = execution.id, execution.fence

        await driver.do(
            StoreResults(id, fence, 0, (b"a", b"b")),
            StoreResults(id, fence, 1, (b"B",)),
            Finish(id, fence, 1, None, 2),
        )

        assert await driver.store.results(TENANT, id, 0, 10) == [b"a", b"B"]

    async def test_retry(self, driver: Driver) -> None:
        """A retry waits for its delay and keeps its attempts; the claim counts one more."""
        execution = (await driver.running()).execution
        move = Retry(execution.id, execution.fence, 1, 3, MINUTE, "service is down")

        waiting = expect(await driver.one(move), Moved).execution

        assert (waiting.status, waiting.attempt) == (ExecutionStatus.WAIT_RETRY, 3)
        assert waiting.due_at == driver.clock() + MINUTE
        driver.clock.advance(MINUTE - 1)
        assert await driver.claim() == []
        driver.clock.advance(1)
        [claimed] = await driver.claim()
        assert (claimed.execution.attempt, claimed.execution.takeovers) == (4, 0)
        assert claimed.body == b"{}"

    async def test_give_back(self, driver: Driver) -> None:
        """What is given back is due again at once, and the attempt is not counted."""
        execution = (await driver.running()).execution

        transacted = await driver.store.transact([GiveBack(execution.id, execution.fence)])

        queued = await driver.execution(execution.id)
        assert transacted.left_ready == 1
        assert (queued.status, queued.attempt) == (ExecutionStatus.QUEUED, 0)
        [claimed] = await driver.claim()
        assert (claimed.execution.attempt, claimed.execution.fence) == (1, 2)

    @pytest.mark.parametrize("status", [ExecutionStatus.FAILED, ExecutionStatus.DLQ])
    async def test_fail(self, driver: Driver, status: ExecutionStatus) -> None:
        """A failure writes the dead letter and ends the open unit in the same commit (I11)."""
        stream = await driver.stream(2)
        fail = Fail(stream.id, stream.fence, status, 1, "charge", 4, "boom", "it broke")

        await driver.one(fail)

        dump = await driver.dump()
        execution, letter = dump.executions[stream.id], dump.dead_letters[stream.id]
        assert (execution.status, execution.attempt, execution.fence) == (status, 4, 2)
        assert (execution.error_code, execution.error_message) == ("boom", "it broke")
        assert letter == DeadLetter(
            stream.id, TENANT, "orders", DeadLetterKind.EXECUTION, stream.id, status, "boom",
            "it broke", "charge", 4, driver.clock(),
        )  # fmt: skip
        assert dump.units[stream.unit].status is UnitStatus.FAILED

    @pytest.mark.parametrize(
        "status", [ExecutionStatus.QUEUED, ExecutionStatus.SUCCEEDED, ExecutionStatus.CANCELLED]
    )
    async def test_fail_with_what_is_no_failure(
        self, driver: Driver, status: ExecutionStatus
    ) -> None:
        """A failure that names another status is refused, and its neighbours are made."""
        execution = (await driver.running()).execution

        outcomes = await driver.do(
            Fail(execution.id, execution.fence, status, 1, "charge", 4, "boom", "it broke"),
            driver.submission(),
        )

        assert [type(outcome) for outcome in outcomes] == [Refused, Submitted]
        assert await driver.execution(execution.id) == execution


class TestHandover:
    """The worker that commits may go straight on."""

    OFFER = Handover("worker-1", LEASE_MS, 2, FINGERPRINTS)

    async def test_bounded_by_slots(self, driver: Driver) -> None:
        """No more is handed over than there are slots; the rest is queued, and said to be."""
        moves = [driver.submission() for _ in range(5)]

        transacted = await driver.store.transact(moves, self.OFFER)

        statuses = [(await driver.execution(move.execution)).status for move in moves]
        assert ids_of(transacted.claims) == [move.execution for move in moves[:2]]
        assert statuses == [ExecutionStatus.RUNNING] * 2 + [ExecutionStatus.QUEUED] * 3
        assert transacted.left_ready == 3
        assert len(await driver.claim()) == 3

    async def test_bounded_by_fingerprints(self, driver: Driver) -> None:
        """What the worker cannot run is queued for others and takes no slot."""
        moves = [driver.submission(fingerprint=FOREIGN), driver.submission()]

        transacted = await driver.store.transact(moves, replace(self.OFFER, slots=1))

        assert ids_of(transacted.claims) == [moves[1].execution]
        assert transacted.left_ready == 1

    async def test_equals_queue_and_claim_at_submit(self, driver: Driver) -> None:
        """A submit that is handed over reads as if queued and claimed at once, but for a version."""
        move = driver.submission()
        [handed] = await driver.handed(self.OFFER, move)

        queued = await driver.running()

        assert handed.execution == await driver.execution(move.execution)
        assert comparable(handed.execution) == comparable(queued.execution)
        facts = await driver.store.journal(TENANT, move.execution)
        assert [(fact.kind, fact.detail) for fact in facts] == [(JournalKind.SUBMITTED, "worker-1")]

    @pytest.mark.parametrize("items", [None, 0, 2])
    async def test_equals_queue_and_claim_at_resume(
        self, driver: Driver, items: int | None
    ) -> None:
        """A resume that is handed over starts from the same as one that is queued and claimed."""
        handed = await self._resumed(driver, items, self.OFFER)
        queued = await self._resumed(driver, items, None)

        assert comparable(handed[0]) == comparable(queued[0])
        assert handed[1:] == queued[1:]

    async def test_at_a_deadline(self, driver: Driver) -> None:
        """An execution that a fallback resumes is handed over with it, or is nobody's."""
        interaction = await driver.parked(timeout_ms=LEASE_MS, fallback=b'"nobody"')
        driver.clock.advance(LEASE_MS + 1)

        [handed] = await driver.handed(self.OFFER, Expire(interaction))

        assert handed.execution == await driver.execution(interaction.execution)
        assert handed.body == b'"nobody"'

    async def _resumed(
        self, driver: Driver, items: int | None, handover: Handover | None
    ) -> tuple[Execution, bytes | None, bool | None, bool]:
        """The execution after its wait, and what its segment starts from."""
        moves: list[Move]
        if items is None:
            moves = [answer(await driver.parked())]
        elif items == 0:
            stream = await driver.stream()
            moves = [stream.close(0)]
        else:
            stream = await driver.parked_stream(items)
            moves = answers_to(stream, range(items))
        transacted = await driver.store.transact(moves, handover)
        [claimed] = transacted.claims if handover else await driver.claim()
        assert claimed.execution == await driver.execution(claimed.execution.id)
        return (
            claimed.execution,
            claimed.body,
            claimed.base.per_item if claimed.base else None,
            claimed.reopened is None,
        )

    async def test_not_what_was_given_back(self, driver: Driver) -> None:
        """What a worker gives back is not handed to it again."""
        execution = (await driver.running()).execution

        handed = await driver.handed(self.OFFER, GiveBack(execution.id, execution.fence))

        assert handed == []
        assert (await driver.execution(execution.id)).status is ExecutionStatus.QUEUED

    async def test_not_what_was_there(self, driver: Driver) -> None:
        """Duplicates of a batch and of the past are handed to nobody."""
        move = driver.submission("order-42")
        await driver.one(move)

        moves = [driver.submission(key) for key in ("order-42", "new", "new")]
        transacted = await driver.store.transact(moves, self.OFFER)

        assert ids_of(transacted.claims) == [moves[1].execution]
        assert transacted.left_ready == 0

    async def test_is_a_lease(self, driver: Driver) -> None:
        """What was handed over and lost is taken over like any other claim, and fenced (I7)."""
        move = driver.submission()
        [handed] = await driver.handed(self.OFFER, move)
        driver.clock.advance(LEASE_MS)

        [taken] = await driver.claim("worker-2")

        assert (taken.execution.takeovers, taken.execution.fence) == (1, handed.execution.fence + 1)
        stale = await driver.one(Finish(handed.execution.id, handed.execution.fence, 1, b"1"))
        expect(stale, Refused)

    async def test_cancelled_in_the_same_batch(self, driver: Driver) -> None:
        """A claim that a later move of its batch ends is fenced like any other (I7)."""
        move = driver.submission()
        [handed] = await driver.handed(
            self.OFFER, move, Cancel(move.execution, TENANT, "not wanted")
        )

        outcome = await driver.one(Finish(move.execution, handed.execution.fence, 1, b"1"))

        expect(outcome, Refused)
        assert (await driver.execution(move.execution)).status is ExecutionStatus.CANCELLED


def ids_of(claims: Sequence[Claimed]) -> list[ExecutionId]:
    """Which executions were claimed."""
    return [claim.execution.id for claim in claims]


def comparable(execution: Execution) -> Execution:
    """An execution without what tells it from any other that has been through the same."""
    return replace(execution, id=ExecutionId(b""), version=0)
