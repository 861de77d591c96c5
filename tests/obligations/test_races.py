"""The eight races, over every shape: both orders of two moves, by one process and by two."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bide.engine.moves import (
    Admit,
    Append,
    Cancel,
    Claimed,
    CloseUnit,
    Expire,
    GiveBack,
    Mismatch,
    Moved,
    OpenUnit,
    Outcome,
    Park,
    Received,
    Refused,
    Sent,
    Settled,
    SettleDispatch,
    ToSend,
)
from bide.model.ids import InteractionId
from bide.model.records import replace
from bide.model.status import (
    ExecutionStatus,
    InteractionStatus,
    JournalKind,
    ReceiptOutcome,
    UnitStatus,
)
from bide.testing.store_contract import driver
from bide.testing.store_contract.harness import (
    LEASE_MS,
    MINUTE,
    TENANT,
    Driver,
    Stream,
    answer,
    answer_by_key,
    asking,
    askings,
    boundary,
    correlated,
    expect,
)
from tests.obligations.registry import Mode, Shape

__all__ = ["driver"]

_BODIES = {
    Shape.ONE_TO_MANY: b'["a","b"]',
    Shape.MANY_TO_MANY: b'["a","b"]',
}


class Race:
    """An execution that waits for its last answer, and who makes each move."""

    def __init__(self, driver: Driver, other: Driver, asked: InteractionId, shape: Shape) -> None:
        self.driver = driver
        self._other = other
        self.asked = asked
        self.body = _BODIES.get(shape, b'"a"')

    async def first(self, move: object) -> Outcome:
        return await self.driver.one(move)  # type: ignore[arg-type]  # any move of the model

    async def second(self, move: object) -> Outcome:
        """Made by the other process, where there are two."""
        return await self._other.one(move)  # type: ignore[arg-type]  # any move of the model

    def answer(self, body: bytes | None = None) -> Admit:
        return answer(self.asked, body or self.body)


@asynccontextmanager
async def _other(driver: Driver, mode: Mode) -> AsyncIterator[Driver]:
    """The process that makes the second move: the same, or one that was started since."""
    if mode is Mode.UNINTERRUPTED:
        yield driver
        return
    async with driver.another() as store:
        yield Driver(store, driver.clock, driver.factory)


@pytest.fixture
async def race(driver: Driver, shape: Shape, mode: Mode) -> AsyncIterator[Race]:
    async with _other(driver, mode) as other:
        if shape is Shape.STREAM:
            stream = await driver.parked_stream(2, timeout_ms=MINUTE)
            await driver.one(answer(stream.item(1)))
            asked = stream.item(0)
        else:
            asked = await driver.parked(timeout_ms=MINUTE)
            if shape is Shape.SEQUENTIAL:
                await driver.one(answer(asked))
                [claimed] = await driver.claim()
                row = claimed.execution
                again = Park(row.id, row.fence, boundary(2), asking(timeout_ms=MINUTE))
                expect(await driver.one(again), Moved)
                asked = asked._replace(unit=2)
        yield Race(driver, other, asked, shape)


@pytest.fixture
async def reading(driver: Driver, mode: Mode) -> AsyncIterator[tuple[Stream, Driver]]:
    """An execution that reads its source, and who goes on."""
    async with _other(driver, mode) as other:
        yield await driver.stream(2), other


async def resumes(driver: Driver, id: InteractionId) -> int:
    facts = await driver.store.journal(TENANT, id.execution)
    return sum(fact.kind is JournalKind.RESUMED and fact.unit == id.unit for fact in facts)


def receipt(outcome: Outcome) -> ReceiptOutcome:
    return expect(outcome, Received).outcome


@pytest.mark.covers("duplicate-against-completion")
async def test_duplicate_against_completion(race: Race) -> None:
    """Of two equal answers one is applied; the other is told so, and nothing is released twice."""
    assert receipt(await race.first(race.answer())) is ReceiptOutcome.APPLIED
    assert receipt(await race.second(race.answer())) is ReceiptOutcome.DUPLICATE
    assert (await race.driver.asked(race.asked)).interaction.duplicates == 1
    assert await resumes(race.driver, race.asked) == 1


@pytest.mark.covers("conflict-against-completion")
async def test_conflict_against_completion(race: Race) -> None:
    """Of two different answers the first stays; the other leaves its digest alone."""
    assert receipt(await race.first(race.answer())) is ReceiptOutcome.APPLIED
    assert receipt(await race.second(race.answer(b'"other"'))) is ReceiptOutcome.CONFLICT
    [refused] = await race.driver.store.refusals(TENANT, race.asked)
    assert refused.payload is None
    assert (await race.driver.asked(race.asked)).interaction.answer == race.body


@pytest.mark.covers("timeout-against-completion")
async def test_timeout_against_completion(race: Race) -> None:
    """An answer in time leaves the deadline nothing to do."""
    assert receipt(await race.first(race.answer())) is ReceiptOutcome.APPLIED
    race.driver.clock.advance(2 * MINUTE)
    assert isinstance(await race.second(Expire(race.asked)), Refused)
    status = (await race.driver.asked(race.asked)).interaction.status
    assert status is InteractionStatus.COMPLETED


@pytest.mark.covers("timeout-against-completion")
async def test_completion_against_timeout(race: Race) -> None:
    """A deadline that has bound leaves the answer late, also when nobody has swept yet."""
    race.driver.clock.advance(2 * MINUTE)
    assert receipt(await race.first(race.answer())) is ReceiptOutcome.LATE
    assert isinstance(await race.first(Expire(race.asked)), Settled | Moved)
    assert receipt(await race.second(race.answer())) is ReceiptOutcome.LATE
    assert (await race.driver.execution(race.asked.execution)).status is ExecutionStatus.FAILED


@pytest.mark.covers("cancellation-against-completion")
async def test_cancellation_against_completion(race: Race) -> None:
    """An end binds at once: the answer after it is late, the execution stays cancelled."""
    expect(await race.first(Cancel(race.asked.execution, TENANT, "no")), Moved)
    assert receipt(await race.second(race.answer())) is ReceiptOutcome.LATE
    assert (await race.driver.execution(race.asked.execution)).status is ExecutionStatus.CANCELLED
    assert await resumes(race.driver, race.asked) == 0


@pytest.mark.covers("cancellation-against-completion")
async def test_completion_against_cancellation(race: Race) -> None:
    """An answer before the end is kept, and its unit is complete; what follows is cancelled."""
    assert receipt(await race.first(race.answer())) is ReceiptOutcome.APPLIED
    expect(await race.second(Cancel(race.asked.execution, TENANT, "no")), Moved)
    asked = await race.driver.asked(race.asked)
    assert asked.interaction.status is InteractionStatus.COMPLETED
    assert asked.unit.status is UnitStatus.COMPLETED


@pytest.fixture
async def sent(driver: Driver, shape: Shape, mode: Mode) -> AsyncIterator[tuple[Race, ToSend]]:
    """What waits for its last answer and is being sent."""
    async with _other(driver, mode) as other:
        if shape is Shape.STREAM:
            at = boundary(dispatched=False)
            stream = await driver.parked_stream(2, timeout_ms=MINUTE, at=at)
            await driver.one(answer(stream.item(1)))
            asked = stream.item(0)
        else:
            asked = await driver.parked(timeout_ms=MINUTE, dispatched=False)
            if shape is Shape.SEQUENTIAL:
                await driver.one(answer(asked))
                [claimed] = await driver.claim()
                row = claimed.execution
                at = replace(boundary(2, dispatched=False), step_id="decide-1")
                again = Park(row.id, row.fence, at, asking(timeout_ms=MINUTE))
                expect(await driver.one(again), Moved)
                asked = asked._replace(unit=2)
        [claimed_for] = await driver.to_send()
        assert claimed_for.interaction.id == asked
        yield Race(driver, other, asked, shape), claimed_for


def recorded(claimed: ToSend) -> SettleDispatch:
    return SettleDispatch(claimed.interaction.id, claimed.dispatch.fence, Sent())


@pytest.mark.covers("completion-against-dispatch")
async def test_completion_against_dispatch(sent: tuple[Race, ToSend]) -> None:
    """An answer that comes before the record of its dispatch is admitted; the record is refused."""
    race, claimed = sent
    assert receipt(await race.first(race.answer())) is ReceiptOutcome.APPLIED
    assert isinstance(await race.second(recorded(claimed)), Refused)
    assert await resumes(race.driver, race.asked) == 1
    assert (await race.driver.dispatch(race.asked)).in_flight is False


@pytest.mark.covers("completion-against-dispatch")
async def test_dispatch_against_completion(sent: tuple[Race, ToSend]) -> None:
    """An answer that comes after the record of its dispatch is admitted like any other."""
    race, claimed = sent
    assert isinstance(await race.first(recorded(claimed)), Settled)
    assert receipt(await race.second(race.answer())) is ReceiptOutcome.APPLIED
    assert await resumes(race.driver, race.asked) == 1
    assert (await race.driver.dispatch(race.asked)).dispatched_at is not None


@pytest.mark.covers("two-releases")
async def test_two_releases(race: Race, mode: Mode) -> None:
    """After the release there is nothing left to release: one resume, and one claim of it."""
    await race.first(race.answer())
    await race.second(race.answer())
    await race.second(race.answer(b'"other"'))
    first = await race.driver.claim("worker-1")
    second = await race.driver.claim("worker-2")
    assert [one.execution.id for one in first] == [race.asked.execution]
    assert second == []
    assert await resumes(race.driver, race.asked) == 1


@pytest.mark.covers("final-item-against-release")
async def test_final_item_against_release(reading: tuple[Stream, Driver], shape: Shape) -> None:
    """The close comes before the last answer: the answer releases, once."""
    stream, other = reading
    await other.one(answer(stream.item(0)))
    closed = expect(await other.one(stream.close(2)), Moved)
    assert closed.execution.status is ExecutionStatus.WAITING_EXTERNAL
    await other.one(answer(stream.item(1)))
    assert await resumes(other, stream.item(0)) == 1


@pytest.mark.covers("final-item-against-release")
async def test_release_against_final_item(reading: tuple[Stream, Driver], shape: Shape) -> None:
    """The last answer comes before the close: the close releases, once, and nothing waits."""
    stream, other = reading
    await other.do(answer(stream.item(0)), answer(stream.item(1)))
    assert await resumes(other, stream.item(0)) == 0
    closed = expect(await other.one(stream.close(2)), Moved)
    assert closed.execution.status is ExecutionStatus.QUEUED
    assert await resumes(other, stream.item(0)) == 1


@pytest.mark.covers("reload-against-completion")
async def test_reload_against_completion(reading: tuple[Stream, Driver], shape: Shape) -> None:
    """An item is answered while its reader is lost; who reads again closes over it, once."""
    stream, other = reading
    other.clock.advance(LEASE_MS + 1)
    [again] = await other.claim("worker-2")
    await other.one(answer(stream.item(1)))
    fence = again.execution.fence
    repeated = Append(stream.id, fence, 1, 0, askings(2))
    expect(await other.one(repeated), Moved)
    expect(await other.one(CloseUnit(stream.id, fence, 1, 2, 1)), Moved)
    assert (await other.asked(stream.item(1))).interaction.status is InteractionStatus.COMPLETED
    await other.one(answer(stream.item(0)))
    assert await resumes(other, stream.item(0)) == 1


@pytest.mark.covers("replay-of-a-partial-item-set")
async def test_replay_of_a_partial_item_set(reading: tuple[Stream, Driver], shape: Shape) -> None:
    """A source that starts over adds what is new; one that gives something else is found out."""
    stream, other = reading
    expect(await other.one(GiveBack(stream.id, stream.fence)), Moved)
    [again] = await other.claim("worker-2")
    fence = again.execution.fence
    longer = Append(stream.id, fence, 1, 0, askings(4))
    assert isinstance(await other.one(replace(longer, items=askings(2, 7))), Mismatch)
    expect(await other.one(longer), Moved)
    assert (await other.asked(stream.item(3))).unit.appended == 4
    assert isinstance(await other.one(CloseUnit(stream.id, fence, 1, 3, 1)), Mismatch)
    expect(await other.one(CloseUnit(stream.id, fence, 1, 4, 1)), Moved)


async def asking_under(driver: Driver, claimed: Claimed, shape: Shape) -> InteractionId:
    """Ask under the key, as the shape does: in a park of its own, or with an item of a stream."""
    row = claimed.execution
    asked = asking(correlation=correlated("k"))
    if shape is not Shape.STREAM:
        expect(await driver.one(Park(row.id, row.fence, boundary(), asked)), Moved)
        return InteractionId(row.id, row.units + 1, 0)
    await driver.do(
        OpenUnit(row.id, row.fence, boundary()),
        Append(row.id, row.fence, 1, 0, (asked, asking(1))),
    )
    await driver.do(answer(InteractionId(row.id, 1, 1)), CloseUnit(row.id, row.fence, 1, 2, 1))
    return InteractionId(row.id, 1, 0)


@pytest.fixture
async def before(
    driver: Driver, shape: Shape, mode: Mode
) -> AsyncIterator[tuple[Claimed, Driver, Driver]]:
    """An execution that is about to ask, who makes the first move, and who makes the second."""
    async with _other(driver, mode) as other:
        claimed = await driver.running()
        if shape is Shape.SEQUENTIAL:
            row = claimed.execution
            expect(await driver.one(Park(row.id, row.fence, boundary(), asking())), Moved)
            await driver.one(answer(InteractionId(row.id, 1)))
            [claimed] = await driver.claim()
        yield claimed, driver, other


@pytest.mark.covers("early-completion-against-park")
async def test_early_completion_against_park(
    before: tuple[Claimed, Driver, Driver], shape: Shape
) -> None:
    """An answer that comes before its question is kept, and taken in the commit that asks."""
    claimed, first, second = before
    early = answer_by_key(first, "k", _BODIES.get(shape, b'"a"'))
    assert receipt(await first.one(early)) is ReceiptOutcome.BUFFERED

    asked = await asking_under(second, claimed, shape)

    row = (await second.asked(asked)).interaction
    assert (row.status, row.answer) == (InteractionStatus.COMPLETED, early.body)
    assert await resumes(second, asked) == 1


@pytest.mark.covers("early-completion-against-park")
async def test_park_against_early_completion(
    before: tuple[Claimed, Driver, Driver], shape: Shape
) -> None:
    """An answer that comes after its question finds it by the key, and is applied."""
    claimed, first, second = before
    asked = await asking_under(first, claimed, shape)
    by_key = answer_by_key(second, "k", _BODIES.get(shape, b'"a"'))

    assert receipt(await second.one(by_key)) is ReceiptOutcome.APPLIED
    assert receipt(await second.one(by_key)) is ReceiptOutcome.DUPLICATE

    assert (await second.asked(asked)).interaction.answer == by_key.body
    assert await resumes(second, asked) == 1
