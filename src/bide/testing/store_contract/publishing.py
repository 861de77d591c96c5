"""Checkpoint handoff: publications in their source's commit, and their way to other deployments."""

import asyncio

import pytest

from bide.engine.moves import (
    Denied,
    Failure,
    Finish,
    Handed,
    HandedOver,
    Handover,
    Later,
    Move,
    Moved,
    NewHandoff,
    OfferAgain,
    Park,
    Refused,
    SettleHandoff,
    Submit,
    Unsent,
)
from bide.engine.publishing import CONFLICT, HandoffOffer, Outgoing
from bide.model.ids import ExecutionId
from bide.model.records import Execution, Handoff, Origin, replace
from bide.model.status import DeadLetterKind, ExecutionStatus, HandoffStatus, JournalKind
from bide.spi.store import ExecutionQuery, Queue
from bide.testing.store_contract.harness import (
    DAY,
    FINGERPRINTS,
    HOUR,
    LEASE_MS,
    LIMIT,
    OTHER_TENANT,
    SECOND,
    START,
    TENANT,
    Driver,
    asking,
    boundary,
    correlated,
    digest_of,
    expect,
)

PLACED = "order-placed"
TARGET = "dispatch"


def handed_to(
    driver: Driver,
    source: Execution,
    key: str = "order-42",
    body: bytes = b"1",
    *,
    target: str = TARGET,
    publication: str = PLACED,
) -> NewHandoff:
    """A publication for a pipeline of the same store."""
    origin = Origin(source.id, source.id, source.tenant, source.pipeline, publication, key, 0)
    submit = Submit(
        driver.new_id(), source.tenant, target, START, b"mapped " + body, digest_of(body), key,
        None, origin,
    )  # fmt: skip
    return NewHandoff(driver.new_id(), publication, target, key, body, submit)


def sent_elsewhere(driver: Driver, key: str = "order-42", body: bytes = b"1") -> NewHandoff:
    """A publication for another deployment."""
    return NewHandoff(driver.new_id(), PLACED, "", key, body)


def finishing(source: Execution, *handoffs: NewHandoff) -> Finish:
    """The end of a segment that has published."""
    return Finish(source.id, source.fence, 2, b"1", None, handoffs)


async def published(driver: Driver, key: str = "order-42", body: bytes = b"1") -> Handoff:
    """A publication that waits to be offered to another deployment."""
    source = (await driver.running()).execution
    new = sent_elsewhere(driver, key, body)
    expect(await driver.one(finishing(source, new)), Moved)
    return await handoff_of(driver, new.id)


async def handoff_of(driver: Driver, id: ExecutionId, tenant: str = TENANT) -> Handoff:
    """A publication's row."""
    found = await driver.store.handoff(tenant, id)
    assert found is not None
    return found


def offering(owner: str = "dispatcher-1", limit: int = LIMIT) -> HandoffOffer:
    """The offer of a dispatcher that can send what the suite publishes."""
    return HandoffOffer(owner, LEASE_MS, (Outgoing(PLACED, limit),))


async def offered(driver: Driver) -> Handoff:
    """A publication that a dispatcher is offering."""
    waiting = await published(driver)
    claimed = await driver.store.claim_handoffs(offering())
    return next(each for each in claimed if each.id == waiting.id)


async def refused(driver: Driver) -> Handoff:
    """A publication that its target did not take."""
    claimed = await offered(driver)
    no = SettleHandoff(claimed.id, claimed.fence, Denied("handoff-invalid", "no such field"))
    return expect(await driver.one(no), Handed).handoff


class TestPublish:
    """A publication and what it makes in the same store are one commit with their source's end."""

    async def test_one_commit(self, driver: Driver) -> None:
        """The source's end, the publication and the target's execution are there together."""
        source = (await driver.running()).execution
        new = handed_to(driver, source)
        assert new.admission is not None

        outcome = await driver.one(finishing(source, new))

        now = driver.clock()
        assert expect(outcome, Moved).execution.status is ExecutionStatus.SUCCEEDED
        target = await driver.execution(new.admission.execution)
        assert (target.pipeline, target.status, target.due_at) == (
            TARGET, ExecutionStatus.QUEUED, now,
        )  # fmt: skip
        assert await driver.store.input_of(TENANT, target.id) == b"mapped 1"
        [fact] = await driver.store.journal(TENANT, target.id)
        assert fact.kind is JournalKind.SUBMITTED
        [handoff] = await driver.store.handoffs(TENANT, source.id)
        assert handoff == Handoff(
            new.id, TENANT, source.id, "orders", PLACED, TARGET, "order-42",
            HandoffStatus.ADMITTED, now, now, None, None, admitted_as=target.id,
        )  # fmt: skip
        assert await driver.store.origins(TENANT, target.id) == [
            Origin(target.id, source.id, TENANT, "orders", PLACED, "order-42", now)
        ]

    async def test_nothing_published(self, driver: Driver) -> None:
        """An execution that publishes nothing leaves no row of it, and one submitted no origin."""
        id_ = await driver.succeeded()

        assert await driver.store.handoffs(TENANT, id_) == []
        assert await driver.store.origins(TENANT, id_) == []

    @pytest.mark.parametrize("together", [True, False])
    async def test_duplicate(self, driver: Driver, *, together: bool) -> None:
        """Two sources that publish the same under one key make one execution, which names both."""
        first, second = (await driver.running()).execution, (await driver.running()).execution
        one, other = handed_to(driver, first), handed_to(driver, second)
        moves = [finishing(first, one), finishing(second, other)]

        for batch in [moves] if together else [[move] for move in moves]:
            await driver.do(*batch)
            driver.clock.advance(SECOND)

        assert one.admission is not None
        made = one.admission.execution
        [target] = await driver.store.executions(ExecutionQuery(TENANT, TARGET))
        assert target.id == made
        found = [await handoff_of(driver, each.id) for each in (one, other)]
        assert [each.admitted_as for each in found] == [made, made]
        assert [each.duplicate for each in found] == [False, True]
        origins = await driver.store.origins(TENANT, made)
        assert [each.source for each in origins] == [first.id, second.id]

    @pytest.mark.parametrize("together", [True, False])
    async def test_conflict(self, driver: Driver, *, together: bool) -> None:
        """Another payload under a taken key is refused with a dead letter; its source ends well."""
        first, second = (await driver.running()).execution, (await driver.running()).execution
        one, other = handed_to(driver, first), handed_to(driver, second, body=b"2")
        moves = [finishing(first, one), finishing(second, other)]

        for batch in [moves] if together else [[move] for move in moves]:
            await driver.do(*batch)

        assert (await driver.execution(second.id)).status is ExecutionStatus.SUCCEEDED
        assert len(await driver.store.executions(ExecutionQuery(TENANT, TARGET))) == 1
        handoff = await handoff_of(driver, other.id)
        assert (handoff.status, handoff.error_code) == (HandoffStatus.REFUSED, CONFLICT)
        assert handoff.body == b"2"
        letter = await driver.store.dead_letter(TENANT, other.id)
        assert letter is not None
        assert (letter.kind, letter.execution, letter.correlation, letter.payload) == (
            DeadLetterKind.HANDOFF, second.id, "order-42", b"2",
        )  # fmt: skip

    async def test_several_targets(self, driver: Driver) -> None:
        """Each target of a publication takes it on its own: one may refuse what another takes."""
        source = (await driver.running()).execution
        mapped = handed_to(driver, source, target="billing")
        failed = replace(
            handed_to(driver, source), admission=None, refused=Failure("mapper-failed", "boom")
        )

        await driver.one(finishing(source, mapped, failed, sent_elsewhere(driver)))

        handoffs = await driver.store.handoffs(TENANT, source.id)
        assert {each.target: each.status for each in handoffs} == {
            "billing": HandoffStatus.ADMITTED,
            TARGET: HandoffStatus.REFUSED,
            "": HandoffStatus.WAITING,
        }
        [billing] = await driver.store.executions(ExecutionQuery(TENANT, "billing"))
        assert billing.status is ExecutionStatus.QUEUED

    async def test_apart_from_submissions(self, driver: Driver) -> None:
        """A publication's key is no submit key: a submission under the same text is another one."""
        source = (await driver.running()).execution
        await driver.one(driver.submission("order-42", b"other", pipeline=TARGET))

        await driver.one(finishing(source, handed_to(driver, source)))
        again = await driver.one(driver.submission("order-42", b"other", pipeline=TARGET))

        assert getattr(again, "duplicate", None) is True
        assert len(await driver.store.executions(ExecutionQuery(TENANT, TARGET))) == 2

    async def test_apart_by_tenant(self, driver: Driver) -> None:
        """Two tenants publish the same under one key, and each has an execution of its own (S9)."""
        sources = [(await driver.running(tenant=each)).execution for each in (TENANT, OTHER_TENANT)]

        await driver.do(*[finishing(each, handed_to(driver, each)) for each in sources])

        for tenant in (TENANT, OTHER_TENANT):
            [made] = await driver.store.executions(ExecutionQuery(tenant, TARGET))
            assert made.tenant == tenant

    async def test_stale_fence(self, driver: Driver) -> None:
        """A worker that has lost its lease publishes nothing."""
        source = (await driver.running()).execution
        driver.clock.advance(LEASE_MS + 1)
        await driver.claim("worker-2")
        before = await driver.dump()

        outcome = await driver.one(finishing(source, handed_to(driver, source)))

        expect(outcome, Refused)
        assert await driver.dump() == before
        assert await driver.store.handoffs(TENANT, source.id) == []

    async def test_at_a_park(self, driver: Driver) -> None:
        """What a segment publishes before an await is there as soon as that waits."""
        source = (await driver.running()).execution
        new = handed_to(driver, source)

        park = Park(source.id, source.fence, boundary(), asking(), None, (new,))
        expect(await driver.one(park), Moved)

        assert (await handoff_of(driver, new.id)).status is HandoffStatus.ADMITTED

    async def test_at_a_close(self, driver: Driver) -> None:
        """What a segment publishes before a stream is there once the stream's await is closed."""
        stream = await driver.stream(1)
        new = handed_to(driver, stream.claimed.execution)

        expect(await driver.one(replace(stream.close(1), handoffs=(new,))), Moved)

        assert (await handoff_of(driver, new.id)).status is HandoffStatus.ADMITTED

    async def test_of_a_failed_end(self, driver: Driver) -> None:
        """A segment whose end fails its execution has published nothing."""
        await driver.parked(correlation=correlated("k"))
        source = (await driver.running()).execution
        asked = asking(correlation=correlated("k"))
        park = Park(source.id, source.fence, boundary(), asked, None, (handed_to(driver, source),))

        outcome = await driver.one(park)

        assert expect(outcome, Moved).execution.status is ExecutionStatus.FAILED
        assert await driver.store.handoffs(TENANT, source.id) == []
        assert await driver.store.executions(ExecutionQuery(TENANT, TARGET)) == []

    async def test_hand_over(self, driver: Driver) -> None:
        """The worker that ends the source may go straight on with the target."""
        source = (await driver.running()).execution
        new = handed_to(driver, source)

        [claimed] = await driver.handed(
            Handover("worker-1", LEASE_MS, 1, FINGERPRINTS), finishing(source, new)
        )

        assert new.admission is not None
        assert claimed.execution.id == new.admission.execution
        assert claimed.execution.status is ExecutionStatus.RUNNING
        assert claimed.body == b"mapped 1"

    async def test_many_at_once_from_two_processes(self, driver: Driver) -> None:
        """Sources that end in two processes make one execution a key between them (S4, S10)."""
        async with driver.another() as other:
            sources = [(await driver.running()).execution for _ in range(40)]
            moves = [
                finishing(each, handed_to(driver, each, f"key-{number % 10}"))
                for number, each in enumerate(sources)
            ]

            await asyncio.gather(
                driver.store.transact(moves[:20]), other.transact(list(reversed(moves[20:])))
            )

            made = await other.executions(ExecutionQuery(TENANT, TARGET, limit=LIMIT))
            assert len(made) == 10
            handoffs = [each for one in sources for each in await other.handoffs(TENANT, one.id)]
            assert [each.status for each in handoffs] == [HandoffStatus.ADMITTED] * 40
            assert sum(each.duplicate for each in handoffs) == 30


class TestOffer:
    """A publication for another deployment: leased, offered, settled by what that one says."""

    async def test_claim(self, driver: Driver) -> None:
        """It is due at once, and comes with what was published, to one dispatcher at a time."""
        waiting = await published(driver, body=b"what was published")

        [claimed] = await driver.store.claim_handoffs(offering())
        again = await driver.store.claim_handoffs(offering("dispatcher-2"))

        assert (waiting.status, waiting.due_at) == (HandoffStatus.WAITING, driver.clock())
        assert claimed.body == b"what was published"
        assert (claimed.status, claimed.owner, claimed.attempts, claimed.fence) == (
            HandoffStatus.SENDING, "dispatcher-1", 1, 1,
        )  # fmt: skip
        assert claimed.due_at == driver.clock() + LEASE_MS
        assert await handoff_of(driver, claimed.id) == claimed
        assert again == []

    async def test_claim_by_publication(self, driver: Driver) -> None:
        """A dispatcher gets what it can send, the longest due first, as many as it has room for."""
        first = await published(driver, "a")
        driver.clock.advance(SECOND)
        await published(driver, "b")

        nothing = await driver.store.claim_handoffs(
            HandoffOffer("dispatcher-1", LEASE_MS, (Outgoing("another", LIMIT),))
        )
        [claimed] = await driver.store.claim_handoffs(offering(limit=1))

        assert nothing == []
        assert claimed.id == first.id

    async def test_two_claims_at_once(self, driver: Driver) -> None:
        """Two dispatchers in two processes never get the same publication."""
        ids = {(await published(driver, f"key-{number}")).id for number in range(20)}
        async with driver.another() as other:
            ours, theirs = await asyncio.gather(
                driver.store.claim_handoffs(offering("dispatcher-1", 12)),
                other.claim_handoffs(offering("dispatcher-2", 12)),
            )
            rest = await other.claim_handoffs(offering("dispatcher-3"))

        claimed = [each.id for each in [*ours, *theirs, *rest]]
        assert len(claimed) == 20
        assert set(claimed) == ids

    async def test_lost_lease(self, driver: Driver) -> None:
        """A lost dispatcher's publication is offered by another one; the first says no more."""
        lost = await offered(driver)
        driver.clock.advance(LEASE_MS + 1)
        [taken] = await driver.store.claim_handoffs(offering("dispatcher-2"))
        made = HandedOver(driver.new_id(), duplicate=False)

        late = await driver.one(SettleHandoff(lost.id, lost.fence, made))
        told = await driver.one(SettleHandoff(taken.id, taken.fence, made))

        assert (taken.id, taken.fence, taken.attempts) == (lost.id, 2, 2)
        expect(late, Refused)
        assert expect(told, Handed).handoff.status is HandoffStatus.ADMITTED

    async def test_admitted(self, driver: Driver) -> None:
        """Once the other side has admitted it, it is settled for good and its payload goes."""
        claimed, there = await offered(driver), driver.new_id()

        await driver.one(SettleHandoff(claimed.id, claimed.fence, HandedOver(there, True)))

        handoff = await handoff_of(driver, claimed.id)
        assert (handoff.status, handoff.admitted_as, handoff.duplicate) == (
            HandoffStatus.ADMITTED, there, True,
        )  # fmt: skip
        assert (handoff.due_at, handoff.owner, handoff.body) == (None, None, None)
        driver.clock.advance(DAY)
        assert await driver.store.claim_handoffs(offering()) == []

    async def test_later(self, driver: Driver) -> None:
        """What may not have arrived is offered again after its rest, and not before."""
        claimed = await offered(driver)

        await driver.one(SettleHandoff(claimed.id, claimed.fence, Later("no answer", 5 * SECOND)))

        handoff = await handoff_of(driver, claimed.id)
        assert (handoff.status, handoff.error, handoff.owner) == (
            HandoffStatus.WAITING, "no answer", None,
        )  # fmt: skip
        driver.clock.advance(5 * SECOND - 1)
        assert await driver.store.claim_handoffs(offering()) == []
        driver.clock.advance(1)
        [again] = await driver.store.claim_handoffs(offering())
        assert (again.attempts, again.body) == (2, b"1")

    async def test_unsent(self, driver: Driver) -> None:
        """What was claimed and not tried is due again, as if it had not been claimed."""
        claimed = await offered(driver)

        await driver.one(SettleHandoff(claimed.id, claimed.fence, Unsent()))

        [again] = await driver.store.claim_handoffs(offering())
        assert (again.attempts, again.fence) == (1, 2)

    async def test_refused(self, driver: Driver) -> None:
        """What the other side will not take is kept, with a dead letter, and not offered again."""
        handoff = await refused(driver)

        letter = await driver.store.dead_letter(TENANT, handoff.id)
        assert letter is not None
        assert (letter.kind, letter.code, letter.payload, letter.attempts) == (
            DeadLetterKind.HANDOFF, "handoff-invalid", b"1", 1,
        )  # fmt: skip
        assert (handoff.status, handoff.due_at, handoff.body) == (
            HandoffStatus.REFUSED, None, b"1",
        )  # fmt: skip
        driver.clock.advance(DAY)
        assert await driver.store.claim_handoffs(offering()) == []

    async def test_again(self, driver: Driver) -> None:
        """What was refused may be offered once more; a second refusal needs no second letter."""
        first = await refused(driver)

        expect(await driver.one(OfferAgain(first.id, TENANT)), Handed)

        [claimed] = await driver.store.claim_handoffs(offering())
        no = SettleHandoff(claimed.id, claimed.fence, Denied("handoff-conflict", "taken"))
        expect(await driver.one(no), Handed)
        handoff = await handoff_of(driver, first.id)
        assert (handoff.status, handoff.error_code) == (HandoffStatus.REFUSED, "handoff-conflict")
        letters = await driver.store.dead_letters(TENANT, pipeline=None, before=None, limit=LIMIT)
        assert [each.id for each in letters] == [first.id]

    async def test_again_in_the_same_store(self, driver: Driver) -> None:
        """Offered again to a target of the same store, it is admitted in that very commit."""
        source = (await driver.running()).execution
        whole = handed_to(driver, source)
        failed = replace(whole, admission=None, refused=Failure("mapper-failed", "boom"))
        await driver.one(finishing(source, failed))

        outcome = await driver.one(OfferAgain(failed.id, TENANT, whole.admission))

        assert whole.admission is not None
        handoff = expect(outcome, Handed).handoff
        assert (handoff.status, handoff.admitted_as) == (
            HandoffStatus.ADMITTED, whole.admission.execution,
        )  # fmt: skip
        assert await handoff_of(driver, failed.id) == handoff
        made = await driver.execution(whole.admission.execution)
        assert made.status is ExecutionStatus.QUEUED

    @pytest.mark.parametrize("tenant", [TENANT, OTHER_TENANT])
    async def test_again_of_what_is_not_refused(self, driver: Driver, tenant: str) -> None:
        """Only what was refused is offered again, and only to its own tenant (S9)."""
        waiting = await (published if tenant == TENANT else refused)(driver)
        before = await driver.dump()

        outcome = await driver.one(OfferAgain(waiting.id, tenant))

        expect(outcome, Refused)
        assert await driver.dump() == before
        assert await handoff_of(driver, waiting.id) == waiting

    async def test_of_nothing(self, driver: Driver) -> None:
        """Of a publication that is not there, nothing can be settled and nothing is offered."""
        moves: list[Move] = [
            SettleHandoff(driver.new_id(), 1, Unsent()),
            OfferAgain(driver.new_id(), TENANT),
        ]

        outcomes = await driver.do(*moves)

        assert [type(each) for each in outcomes] == [Refused, Refused]

    async def test_backlog(self, driver: Driver) -> None:
        """What waits to be offered counts by publication, since the longest waiting."""
        began = driver.clock()
        await published(driver, "a")
        await published(driver, "b")
        driver.clock.advance(SECOND)

        assert (await driver.store.backlog()).to_hand == [Queue(PLACED, 2, began)]

    async def test_untaken(self, driver: Driver) -> None:
        """What no target has settled counts since it was published, however often it was offered."""
        began = driver.clock()
        waiting = [await published(driver, key) for key in ("a", "b", "c")]
        driver.clock.advance(SECOND)
        first, second, third = await driver.store.claim_handoffs(offering())
        there = HandedOver(driver.new_id(), duplicate=False)
        await driver.one(SettleHandoff(first.id, first.fence, there))
        await driver.one(SettleHandoff(second.id, second.fence, Later("no answer", DAY)))

        backlog = await driver.store.backlog()

        assert {first.id, second.id, third.id} == {each.id for each in waiting}
        assert backlog.to_hand == []
        assert backlog.untaken == [Queue(PLACED, 2, began)]
        await driver.one(SettleHandoff(third.id, third.fence, Denied("handoff-invalid", "no")))
        assert (await driver.store.backlog()).untaken == [Queue(PLACED, 1, began)]


class TestRetiredPublications:
    """What is published outlives its source's retention until it is settled, and no longer."""

    async def test_unsettled(self, driver: Driver) -> None:
        """A source stays for as long as its publication is on its way."""
        waiting = await published(driver)
        driver.clock.advance(HOUR)

        early = await driver.store.retire(driver.clock(), LIMIT)
        [claimed] = await driver.store.claim_handoffs(offering())
        await driver.one(
            SettleHandoff(claimed.id, claimed.fence, HandedOver(driver.new_id(), False))
        )
        late = await driver.store.retire(driver.clock(), LIMIT)

        assert (early, late) == (0, 1)
        assert await driver.store.handoff(TENANT, waiting.id) is None
        assert await driver.store.handoffs(TENANT, waiting.execution) == []

    async def test_refused(self, driver: Driver) -> None:
        """A refused publication goes with its source, and its dead letter as well."""
        handoff = await refused(driver)
        driver.clock.advance(HOUR)

        assert await driver.store.retire(driver.clock(), LIMIT) == 1

        assert await driver.store.handoff(TENANT, handoff.id) is None
        assert await driver.store.dead_letter(TENANT, handoff.id) is None

    async def test_target(self, driver: Driver) -> None:
        """A target goes with its origins; its key is known until it is forgotten, and then goes."""
        source = (await driver.running()).execution
        new = handed_to(driver, source)
        assert new.admission is not None
        made = new.admission.execution
        await driver.one(finishing(source, new))
        [claimed] = await driver.claim()
        await driver.one(Finish(made, claimed.execution.fence, 1, b"1"))
        driver.clock.advance(HOUR)
        retired = await driver.store.retire(driver.clock(), LIMIT)
        other = (await driver.running()).execution
        late = handed_to(driver, other)

        await driver.one(finishing(other, late))

        assert retired == 2
        handoff = await handoff_of(driver, late.id)
        assert (handoff.admitted_as, handoff.duplicate) == (made, True)
        assert [each.source for each in await driver.store.origins(TENANT, made)] == [other.id]
        assert await driver.store.forget_keys(driver.clock(), LIMIT) == 1
        assert await driver.store.origins(TENANT, made) == []
