"""Dispatch: what is to be sent is claimed under a lease, and what came of it is recorded once."""

import asyncio
from contextlib import suppress

import pytest

from bide.engine.dispatching import REFUSED, DispatchOffer
from bide.engine.moves import (
    AskAgain,
    AskedAgain,
    Cancel,
    CloseBehind,
    Denied,
    Expire,
    ExpireUnit,
    Failure,
    Handover,
    Moved,
    Park,
    Postponed,
    Received,
    Refused,
    Release,
    Sent,
    Settled,
    SettleDispatch,
    ToSend,
    Unsent,
)
from bide.engine.transitions import INTERACTION, InteractionEvent, after
from bide.errors import StoreUnavailable
from bide.model.ids import InteractionId
from bide.model.records import replace
from bide.model.status import (
    ExecutionStatus,
    InteractionStatus,
    ReceiptOutcome,
    UnitStatus,
)
from bide.testing.store_contract.harness import (
    AFTER_AWAIT,
    ATTEMPTS_MAX,
    DAY,
    FINGERPRINTS,
    HOUR,
    LEASE_MS,
    LIMIT,
    MINUTE,
    OTHER_TENANT,
    SECOND,
    TENANT,
    Driver,
    Stream,
    answer,
    answer_by_key,
    asking,
    boundary,
    correlated,
    expect,
    take_over,
    taking_over,
)
from bide.testing.store_contract.law import INTERACTION_STAGES

Result = Sent | Denied | Postponed | Unsent

DENIED = Denied("http-404", "Not Found")
POSTPONED = Postponed("http-503: Service Unavailable", MINUTE, ATTEMPTS_MAX)
#: What may come of a try, and what happens to the interaction by it.
RESULTS: dict[str, tuple[Result, InteractionEvent]] = {
    "sent": (Sent(), InteractionEvent.DISPATCHED),
    "denied": (DENIED, InteractionEvent.FAILED),
    "postponed": (POSTPONED, InteractionEvent.DISPATCH_POSTPONED),
    "unsent": (Unsent(), InteractionEvent.DISPATCH_POSTPONED),
}


def settling(claimed: ToSend, result: Result) -> SettleDispatch:
    """What a dispatcher says of what it has claimed."""
    return SettleDispatch(claimed.interaction.id, claimed.dispatch.fence, result)


def ids_of(claimed: list[ToSend]) -> list[InteractionId]:
    """Which interactions were claimed, in the order of the claim."""
    return [each.interaction.id for each in claimed]


async def sending_stream(driver: Driver, items: int, *, tolerated: int | None = None) -> Stream:
    """An execution that waits for `items` answers, whose requests are still to be sent."""
    at = replace(boundary(dispatched=False), tolerated=tolerated)
    return await driver.parked_stream(items, at=at)


class TestDispatchTable:
    """Every status times every move of a dispatcher."""

    @pytest.mark.parametrize("stage", INTERACTION_STAGES)
    async def test_claims(self, driver: Driver, stage: str) -> None:
        """What the table lets be sent is claimed when it is due, and nothing else is."""
        unit_status, status, build = INTERACTION_STAGES[stage]
        scene = await build(driver)
        assert scene.interaction is not None
        driver.clock.advance(HOUR)
        before = await driver.dump()

        claimed = await driver.to_send("dispatcher-2")

        follows = after(INTERACTION, status, InteractionEvent.DISPATCH_STARTED)
        if follows is None or unit_status.is_terminal:
            assert claimed == []
            now = await driver.dump()
            assert now.interactions == before.interactions
            assert now.executions == before.executions
            return
        assert ids_of(claimed) == [scene.interaction]
        asked = await driver.asked(scene.interaction)
        assert asked.interaction.status is follows
        assert claimed == [
            ToSend(asked.interaction, asked.unit, await driver.dispatch(scene.interaction))
        ]

    @pytest.mark.parametrize("result", RESULTS)
    @pytest.mark.parametrize("stage", INTERACTION_STAGES)
    async def test_what_came_of_it(self, driver: Driver, stage: str, result: str) -> None:
        """What came of a try is recorded where the table holds it, and refused elsewhere."""
        unit_status, status, build = INTERACTION_STAGES[stage]
        move, event = RESULTS[result]
        scene = await build(driver)
        assert scene.interaction is not None
        before = await driver.dump()
        known = before.dispatches.get(scene.interaction)

        outcome = await driver.one(
            SettleDispatch(scene.interaction, known.fence if known else 0, move)
        )

        denies_the_ended = event is InteractionEvent.FAILED and unit_status.is_terminal
        if status is not InteractionStatus.DISPATCHING or denies_the_ended:
            assert isinstance(outcome, Refused)
            assert await driver.dump() == before
            return
        assert outcome == Settled(scene.interaction)
        asked = await driver.asked(scene.interaction)
        assert asked.interaction.status is after(INTERACTION, status, event)

    @pytest.mark.parametrize("result", RESULTS)
    async def test_stale_fences(self, driver: Driver, result: str) -> None:
        """A dispatcher whose lease was taken over changes nothing, whatever came of its try (I7)."""
        claimed = await driver.dispatching()
        driver.clock.advance(HOUR)
        [taken] = await driver.to_send("dispatcher-2")
        before = await driver.dump()

        for fence in (claimed.dispatch.fence, 0, taken.dispatch.fence + 1):
            move = SettleDispatch(taken.interaction.id, fence, RESULTS[result][0])
            assert isinstance(await driver.one(move), Refused)

        assert await driver.dump() == before

    async def test_unknown_interactions(self, driver: Driver) -> None:
        """What came of sending nothing is refused and makes nothing."""
        known = await driver.dispatching()
        id = known.interaction.id
        before = await driver.dump()

        outcomes = await driver.do(
            SettleDispatch(id._replace(item=1), 1, Sent()),
            SettleDispatch(id._replace(unit=2), 1, Sent()),
            SettleDispatch(id._replace(generation=1), 1, DENIED),
            SettleDispatch(id._replace(execution=driver.new_id()), 1, POSTPONED),
        )

        assert [type(outcome) for outcome in outcomes] == [Refused] * 4
        assert await driver.dump() == before


class TestDispatch:
    """What a dispatcher claims, and what follows from what came of it."""

    async def test_an_inbox_needs_none(self, driver: Driver) -> None:
        """What is out by being stored has no dispatch, and no dispatcher hears of it."""
        execution = (await driver.running()).execution
        made = await driver.store.transact(
            [Park(execution.id, execution.fence, boundary(), asking())]
        )

        assert made.to_send == 0
        assert await driver.store.dispatches(TENANT, [InteractionId(execution.id, 1)]) == [None]
        assert await driver.to_send() == []

    async def test_commits_say_what_is_to_be_sent(self, driver: Driver) -> None:
        """A commit tells how many interactions it stored that somebody has to send."""
        stream = await driver.stream(at=boundary(dispatched=False))

        first = await driver.store.transact([stream.append(0, 3)])
        again = await driver.store.transact([stream.append(0, 3), stream.append(3, 2)])

        assert (first.to_send, again.to_send) == (3, 2)

    async def test_claimed_whole(self, driver: Driver) -> None:
        """What is claimed comes with its request, unit and lease; its attempt is counted."""
        id = await driver.parked(dispatched=False)

        [claimed] = await driver.to_send()

        dispatch = claimed.dispatch
        assert claimed.interaction.request == asking().request
        assert claimed.interaction.status is InteractionStatus.DISPATCHING
        assert claimed.unit.id == (id.execution, id.unit)
        assert (dispatch.attempts, dispatch.fence, dispatch.owner) == (1, 1, "dispatcher-1")
        assert dispatch.due_at == driver.clock() + LEASE_MS
        assert (dispatch.pipeline, dispatch.step_id) == ("orders", "decide-1")
        assert (await driver.asked(id)).interaction == claimed.interaction

    async def test_the_longest_due_first(self, driver: Driver) -> None:
        """A claim takes as many as it was asked for, the longest due first, then by path."""
        first = await driver.parked(dispatched=False)
        driver.clock.advance(1)
        stream = await sending_stream(driver, 3)

        claims = [ids_of(await driver.to_send(limit=2)) for _ in range(3)]

        assert claims == [[first, stream.item(0)], [stream.item(1), stream.item(2)], []]

    async def test_only_what_it_knows(self, driver: Driver) -> None:
        """A dispatcher gets what goes by its routes; another route's is left to others."""
        id = await driver.parked(dispatched=False)

        assert await driver.store.claim_dispatches(driver.sending(route="another")) == []
        assert await driver.store.claim_dispatches(DispatchOffer("dispatcher-1", ())) == []
        assert ids_of(await driver.to_send()) == [id]

    async def test_claims_at_once(self, driver: Driver) -> None:
        """Claims of two dispatchers at the same time share nothing and leave nothing."""
        stream = await sending_stream(driver, 40)
        async with driver.another() as other:
            offers = [driver.sending(f"dispatcher-{n}", 20) for n in range(4)]

            claims = await asyncio.gather(
                *(
                    (driver.store, other)[n % 2].claim_dispatches(offer)
                    for n, offer in enumerate(offers)
                )
            )
            claims.append(await driver.to_send())

        claimed = [each for claim in claims for each in ids_of(claim)]
        assert sorted(claimed) == [stream.item(item) for item in range(40)]

    async def test_lost_leases(self, driver: Driver) -> None:
        """A lease that ran out is taken over: the same id, a raised fence, another attempt."""
        claimed = await driver.dispatching()
        driver.clock.advance(LEASE_MS - 1)
        assert await driver.to_send("dispatcher-2") == []
        driver.clock.advance(1)

        [taken] = await driver.to_send("dispatcher-2")

        assert taken.interaction.id == claimed.interaction.id
        assert taken.interaction.request == claimed.interaction.request
        assert (taken.dispatch.fence, taken.dispatch.attempts) == (2, 2)
        assert taken.dispatch.owner == "dispatcher-2"

    async def test_lost_too_often(self, driver: Driver) -> None:
        """One whose dispatchers were all lost is exhausted, and stays open to be answered."""
        id = await driver.parked(dispatched=False)
        for _ in range(ATTEMPTS_MAX):
            assert ids_of(await driver.to_send()) == [id]
            driver.clock.advance(LEASE_MS)

        assert await driver.to_send() == []

        dispatch = await driver.dispatch(id)
        assert (dispatch.exhausted, dispatch.due_at) == (True, None)
        assert (await driver.asked(id)).interaction.status is InteractionStatus.WAITING
        assert expect(await driver.one(answer(id)), Received).outcome is ReceiptOutcome.APPLIED

    async def test_sent(self, driver: Driver) -> None:
        """What its receiver has got is out since the record of it, and is not sent again."""
        claimed = await driver.dispatching()
        driver.clock.advance(5)

        outcome = await driver.one(settling(claimed, Sent()))

        assert outcome == Settled(claimed.interaction.id)
        asked = await driver.asked(claimed.interaction.id)
        dispatch = await driver.dispatch(claimed.interaction.id)
        assert asked.interaction.status is InteractionStatus.DISPATCHED
        assert (dispatch.dispatched_at, dispatch.due_at) == (driver.clock(), None)
        assert (dispatch.owner, dispatch.attempts) == (None, 1)
        driver.clock.advance(HOUR)
        assert await driver.to_send() == []

    async def test_postponed(self, driver: Driver) -> None:
        """What may not have arrived is due again after the rest, and says why."""
        claimed = await driver.dispatching()

        expect(await driver.one(settling(claimed, POSTPONED)), Settled)

        dispatch = await driver.dispatch(claimed.interaction.id)
        assert (dispatch.due_at, dispatch.error) == (driver.clock() + MINUTE, POSTPONED.message)
        driver.clock.advance(MINUTE - 1)
        assert await driver.to_send() == []
        driver.clock.advance(1)
        [again] = await driver.to_send()
        assert again.dispatch.attempts == 2

    async def test_exhausted(self, driver: Driver) -> None:
        """After the last try it stays open and is marked; an answer or its deadline ends it."""
        stream = await sending_stream(driver, 2, tolerated=1)
        for _ in range(ATTEMPTS_MAX):
            claims = await driver.to_send()
            assert len(claims) == 2
            await driver.do(*[settling(each, POSTPONED) for each in claims])
            driver.clock.advance(MINUTE)

        assert await driver.to_send() == []

        dispatch = await driver.dispatch(stream.item(0))
        assert (dispatch.exhausted, dispatch.attempts) == (True, ATTEMPTS_MAX)
        assert dispatch.error == POSTPONED.message
        assert expect(await driver.one(answer(stream.item(0))), Received).outcome == "applied"
        driver.clock.advance(DAY)
        assert await driver.one(Expire(stream.item(1))) == Settled(stream.item(1))
        execution = await driver.execution(stream.id)
        assert execution.status is ExecutionStatus.QUEUED

    async def test_unsent(self, driver: Driver) -> None:
        """What was claimed and not tried is due at once, and its attempt does not count."""
        claimed = await driver.dispatching()

        expect(await driver.one(settling(claimed, Unsent())), Settled)

        [again] = await driver.to_send()
        assert (again.dispatch.attempts, again.dispatch.fence) == (1, 2)

    async def test_denied(self, driver: Driver) -> None:
        """A definite refusal fails the interaction, its unit and its execution in one commit."""
        claimed = await driver.dispatching()
        id = claimed.interaction.id

        expect(await driver.one(settling(claimed, DENIED)), Settled)

        asked, execution = await driver.asked(id), await driver.execution(id.execution)
        assert asked.interaction.status is InteractionStatus.FAILED
        assert asked.interaction.error_code == execution.error_code == REFUSED
        assert asked.interaction.error_message == "http-404: Not Found"
        assert asked.unit.status is UnitStatus.FAILED
        assert execution.status is ExecutionStatus.FAILED
        letter = await driver.store.dead_letter(TENANT, id.execution)
        assert letter is not None
        assert letter.code == REFUSED
        late = expect(await driver.one(answer(id)), Received)
        assert late.outcome is ReceiptOutcome.LATE

    async def test_denied_items(self, driver: Driver) -> None:
        """Where items may be missing, a refused one is; the last one releases its execution."""
        stream = await sending_stream(driver, 2, tolerated=1)
        claims = await driver.to_send()
        await driver.one(settling(claims[0], DENIED))
        assert (await driver.asked(stream.item(0))).unit.missing == 1
        offer = Handover("worker-1", LEASE_MS, 1, FINGERPRINTS)

        await driver.one(settling(claims[1], Sent()))
        made = await driver.store.transact([answer(stream.item(1))], offer)

        assert [each.execution.id for each in made.claims] == [stream.id]

    async def test_denied_last(self, driver: Driver) -> None:
        """A refusal that completes its unit resumes the execution, and may hand it over."""
        stream = await sending_stream(driver, 2, tolerated=1)
        await driver.one(answer(stream.item(1)))
        claims = {each.interaction.id: each for each in await driver.to_send()}
        offer = Handover("worker-1", LEASE_MS, 1, FINGERPRINTS)

        made = await driver.store.transact([settling(claims[stream.item(0)], DENIED)], offer)

        assert made.outcomes == [Settled(stream.item(0))]
        assert [each.execution for each in made.claims] == [await driver.execution(stream.id)]

    async def test_denied_too_late(self, driver: Driver) -> None:
        """After its deadline a refusal fails nothing: the deadline says what follows."""
        id = await driver.parked(dispatched=False, timeout_ms=10, fallback=b'"no"')
        [claimed] = await driver.to_send()
        driver.clock.advance(11)

        assert isinstance(await driver.one(settling(claimed, DENIED)), Refused)
        assert await driver.one(Expire(id)) == Settled(id)
        assert (await driver.execution(id.execution)).status is ExecutionStatus.QUEUED

    @pytest.mark.parametrize("result", RESULTS)
    @pytest.mark.parametrize("failure", [None, Failure("declined", "no")])
    async def test_overtaken(self, driver: Driver, result: str, failure: Failure | None) -> None:
        """An answer that comes before the record of its dispatch is admitted; the record loses."""
        claimed = await driver.dispatching()
        id = claimed.interaction.id

        admitted = await driver.one(answer(id, failure=failure))
        before = await driver.dump()

        assert expect(admitted, Received).outcome is ReceiptOutcome.APPLIED
        assert isinstance(await driver.one(settling(claimed, RESULTS[result][0])), Refused)
        assert await driver.dump() == before

    async def test_overtaken_in_one_batch(self, driver: Driver) -> None:
        """In one batch, too, what comes first has its way (S2)."""
        one, other = await driver.dispatching(), await driver.dispatching()

        outcomes = await driver.do(
            answer(one.interaction.id),
            settling(one, Sent()),
            settling(other, Sent()),
            answer(other.interaction.id),
        )

        assert [type(each) for each in outcomes] == [Received, Refused, Settled, Received]
        row = await driver.dispatch(other.interaction.id)
        assert (row.in_flight, row.dispatched_at) == (False, driver.clock())


class TestNotSent:
    """What nobody waits for any more is not sent."""

    async def test_late_ones(self, driver: Driver) -> None:
        """One whose deadline has passed is put aside, and the deadline ends it."""
        id = await driver.parked(dispatched=False, timeout_ms=10)
        driver.clock.advance(11)

        assert await driver.to_send() == []

        assert (await driver.dispatch(id)).due_at is None
        assert await driver.one(Expire(id)) == Settled(id)

    async def test_at_its_deadline(self, driver: Driver) -> None:
        """At the last instant at which an answer is in time it is still sent."""
        id = await driver.parked(dispatched=False, timeout_ms=10)
        driver.clock.advance(10)

        assert ids_of(await driver.to_send()) == [id]

    async def test_a_unit_past_its_deadline(self, driver: Driver) -> None:
        """Items of a unit whose own deadline has passed are put aside."""
        at = replace(boundary(dispatched=False), unit_timeout_ms=10)
        stream = await driver.parked_stream(2, at=at)
        driver.clock.advance(11)

        assert await driver.to_send() == []

        expect(await driver.one(ExpireUnit(stream.unit)), Moved)
        assert await driver.to_send() == []

    @pytest.mark.parametrize("sending", [False, True])
    async def test_what_was_cancelled(self, driver: Driver, *, sending: bool) -> None:
        """A cancelled execution's requests stay at home, those that were being sent as well."""
        id = await driver.parked(dispatched=False)
        if sending:
            await driver.to_send()
        await driver.one(Cancel(id.execution, TENANT, "not wanted"))
        driver.clock.advance(HOUR)

        assert await driver.to_send("dispatcher-2") == []

        assert await driver.one(CloseBehind(id)) == Settled(id)
        row = await driver.dispatch(id)
        assert (row.due_at, row.in_flight) == (None, False)

    async def test_beside_a_failed_item(self, driver: Driver) -> None:
        """Once an item has failed its unit, the others are not sent."""
        stream = await sending_stream(driver, 3)
        [first] = await driver.to_send(limit=1)

        await driver.one(settling(first, DENIED))

        assert await driver.to_send() == []
        assert (await driver.execution(stream.id)).status is ExecutionStatus.FAILED

    async def test_what_was_answered(self, driver: Driver) -> None:
        """What was answered before it was sent, or between two tries, is not sent."""
        first = await driver.parked(dispatched=False)
        await driver.one(answer(first))
        claimed = await driver.dispatching()
        await driver.one(settling(claimed, POSTPONED))
        await driver.one(answer(claimed.interaction.id))
        driver.clock.advance(HOUR)

        assert await driver.to_send() == []

    async def test_early_answers(self, driver: Driver) -> None:
        """What had its answer before it was asked is never sent."""
        await driver.one(answer_by_key(driver, "k"))

        id = await driver.parked(dispatched=False, correlation=correlated("k"))

        assert (await driver.asked(id)).interaction.status is InteractionStatus.COMPLETED
        assert await driver.store.dispatches(TENANT, [id]) == [None]
        assert await driver.to_send() == []


class TestInFlight:
    """`max_in_flight` bounds the unanswered interactions of an await, over all dispatchers."""

    async def test_bounded(self, driver: Driver) -> None:
        """Claims stop at the bound; answers and failures make room for just as many."""
        stream = await sending_stream(driver, 6, tolerated=6)

        first = await driver.to_send(max_in_flight=2)
        assert len(first) == 2
        assert await driver.to_send(max_in_flight=2) == []
        await driver.one(settling(first[0], Sent()))
        assert await driver.to_send(max_in_flight=2) == []
        await driver.one(answer(stream.item(0)))
        second = await driver.to_send(max_in_flight=2)
        assert ids_of(second) == [stream.item(2)]
        await driver.one(settling(first[1], DENIED))
        third = await driver.to_send(max_in_flight=2)
        assert ids_of(third) == [stream.item(3)]

    async def test_what_rests_is_not_in_flight(self, driver: Driver) -> None:
        """One that waits for its next try, or has had its last, takes nobody's place."""
        stream = await sending_stream(driver, 2)
        [first] = await driver.to_send(max_in_flight=1)
        await driver.one(settling(first, replace(POSTPONED, attempts_max=1)))

        assert ids_of(await driver.to_send(max_in_flight=1)) == [stream.item(1)]

    async def test_lost_ones_are_taken_over(self, driver: Driver) -> None:
        """A lease that ran out is taken over though everything is in flight."""
        stream = await sending_stream(driver, 3)
        await driver.to_send(max_in_flight=2)
        driver.clock.advance(LEASE_MS)

        taken = await driver.to_send("dispatcher-2", max_in_flight=2)

        assert len(taken) == 2
        assert {each.dispatch.owner for each in taken} == {"dispatcher-2"}
        assert set(ids_of(taken)) <= {stream.item(item) for item in range(3)}

    async def test_over_two_dispatchers(self, driver: Driver) -> None:
        """Two that claim at the same time exceed the bound by at most a batch of one of them."""
        await sending_stream(driver, 20)
        async with driver.another() as other:
            claims = await asyncio.gather(
                driver.store.claim_dispatches(driver.sending("dispatcher-1", 4, max_in_flight=4)),
                other.claim_dispatches(driver.sending("dispatcher-2", 4, max_in_flight=4)),
            )

            assert 4 <= sum(map(len, claims)) <= 8
            later = await other.claim_dispatches(driver.sending(max_in_flight=4))

        assert later == []

    async def test_ends_make_room(self, driver: Driver) -> None:
        """What was cancelled is in flight until it is closed behind its unit, and not after."""
        claimed = await driver.dispatching()
        await driver.one(settling(claimed, Sent()))
        other = await driver.parked(dispatched=False)
        assert await driver.to_send(max_in_flight=1) == []

        await driver.one(Cancel(claimed.interaction.execution, TENANT, "not wanted"))
        await driver.one(CloseBehind(claimed.interaction.id))

        assert ids_of(await driver.to_send(max_in_flight=1)) == [other]


class TestDispatchRows:
    """Further askings, releases, redrives, tenants and retention."""

    async def test_asked_again(self, driver: Driver) -> None:
        """A refused item that is asked again is sent under its next generation, from one try on."""
        stream = await sending_stream(driver, 2, tolerated=1)
        claims = {each.interaction.id: each for each in await driver.to_send()}
        await driver.one(settling(claims[stream.item(0)], DENIED))

        made = await driver.store.transact([AskAgain(stream.item(0), TENANT, b'{"item":0}')])

        again = stream.item(0)._replace(generation=1)
        assert made.outcomes == [AskedAgain(again)]
        assert made.to_send == 1
        [claimed] = await driver.to_send()
        assert (claimed.interaction.id, claimed.dispatch.attempts) == (again, 1)

    async def test_released(self, driver: Driver) -> None:
        """A release lets what is still to be sent go by the new route; what is out stays."""
        sent = await driver.sent()
        id = await driver.parked(dispatched=False)
        for each in (id, sent):
            expect(await driver.one(Release(each.execution, TENANT, "another")), Moved)

        assert await driver.to_send() == []

        found = await driver.store.claim_dispatches(driver.sending(route="another"))
        assert ids_of(found) == [id]
        assert (await driver.dispatch(sent)).route == AFTER_AWAIT

    async def test_redriven(self, driver: Driver) -> None:
        """A redrive sends what it asks anew, and nothing that it took over with its answer."""
        stream = await sending_stream(driver, 3, tolerated=0)
        await driver.one(answer(stream.item(1)))
        claims = {each.interaction.id: each for each in await driver.to_send()}
        await driver.one(settling(claims[stream.item(0)], DENIED))
        claimed, old = await taking_over(driver, stream.unit)

        expect(await driver.one(await take_over(driver, claimed, old, 0, 3)), Moved)

        sent = [each.item for each in ids_of(await driver.to_send())]
        assert sorted(sent) == [0, 2]

    async def test_tenants(self, driver: Driver) -> None:
        """How another tenant's interaction is sent looks like one that there is not (S9)."""
        id = await driver.parked(tenant=OTHER_TENANT, dispatched=False)
        absent = id._replace(item=7)

        assert await driver.store.dispatches(TENANT, [id, absent]) == [None, None]
        assert await driver.store.dispatches(OTHER_TENANT, [absent, id]) == [
            None, await driver.dispatch(id, OTHER_TENANT),
        ]  # fmt: skip
        assert ids_of(await driver.to_send()) == [id]

    async def test_retired(self, driver: Driver) -> None:
        """What is retired leaves nothing to send, and no dispatch behind."""
        sent = await driver.sent()
        await driver.one(answer(sent))
        await driver.one(Cancel(sent.execution, TENANT, "not wanted"))
        driver.clock.advance(40 * DAY)

        assert await driver.store.retire(driver.clock() - DAY, LIMIT) == 1

        assert await driver.store.dispatches(TENANT, [sent]) == [None]

    async def test_durable(self, driver: Driver) -> None:
        """A claim and what came of it are seen by every other handle at once (S1)."""
        claimed = await driver.dispatching()
        async with driver.another() as other:
            assert await other.dispatches(TENANT, [claimed.interaction.id]) == [claimed.dispatch]
            await driver.one(settling(claimed, POSTPONED))
            driver.clock.advance(MINUTE + SECOND)

            [again] = await other.claim_dispatches(driver.sending("dispatcher-2"))

        assert again.dispatch.attempts == 2

    async def test_lost_outcomes(self, driver: Driver) -> None:
        """A claim whose outcome was lost is a lease that runs out, or that was never taken (S7)."""
        id = await driver.parked(dispatched=False)
        faults = driver.faults()

        for after_commit in (False, True):
            faults.fail_next_commit(after=after_commit)
            with suppress(StoreUnavailable):
                await driver.to_send()
            driver.clock.advance(LEASE_MS)

        [claimed] = await driver.to_send("dispatcher-2")
        assert claimed.interaction.id == id
