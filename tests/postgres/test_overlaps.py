"""Two transactions that overlap: one is stopped before each of its statements while the other runs.

So every instant at which another backend can come between a look, a lock, a write and a commit is
tried, and not only the two orders of two commits.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from bide.engine.moves import (
    Cancel,
    Moved,
    Outcome,
    Park,
    Received,
    Submitted,
)
from bide.model.ids import InteractionId
from bide.model.status import ExecutionStatus, JournalKind, ReceiptOutcome, UnitStatus
from bide.testing import FakeClock
from bide.testing.store_contract import StoreFactory, check_invariants
from bide.testing.store_contract.harness import (
    TENANT,
    Driver,
    Stream,
    answer,
    answer_by_key,
    asking,
    boundary,
    correlated,
    expect,
)
from tests.interleavings.racing import (
    DISPATCH_MOVES,
    MOVES,
    Scene,
    Table,
    check_legal,
    is_made,
    look,
)
from tests.interleavings.test_races import BINDING, RIVALS
from tests.postgres.halting import Backends, Overlap

Act = Callable[[], Awaitable[Any]]


class Stand:
    """Two backends, each with its driver, and scenes for both."""

    def __init__(self, backends: Backends, clock: FakeClock) -> None:
        self.backends = backends
        factory = StoreFactory(name="postgres", fresh=None)  # type: ignore[arg-type]  # opens no other
        self.first = Driver(backends.first, clock, factory)
        self.second = Driver(backends.second, clock, factory)
        self._table = Table(lambda _: backends.second)
        self._table._clock = clock
        self._table.driver = self.second

    async def scene(self, stage: str) -> Scene:
        """An execution at a stage, driven there by the second backend."""
        return await self._table.scene(stage)

    async def overlaps(
        self, prepare: Callable[[], Awaitable[tuple[Act, Act]]]
    ) -> AsyncIterator[Overlap]:
        """Two acts on something new, overlapping at each statement of the first in turn."""
        for at in count():
            first, second = await prepare()
            done = await self.backends.overlap(at, first, second)
            if done is None:
                assert at > 3  # begin, a lock, the clock, a write
                return
            yield done


@pytest.fixture
async def stand(postgres_tables: str) -> AsyncIterator[Stand]:
    clock = FakeClock()
    async with Backends(postgres_tables, clock).opened() as backends:
        yield Stand(backends, clock)


async def race(stand: Stand, stage: str, one: str, other: str) -> AsyncIterator[tuple[bool, bool]]:
    """Overlap two moves at each statement of the first; gives which of them had its way."""
    scenes: list[Scene] = []

    async def prepare() -> tuple[Act, Act]:
        scene = await stand.scene(stage)
        # The first move comes from the other backend, with the same knowledge of the execution.
        ours = replace(scene, driver=stand.first)
        scenes.append(scene)
        moves = MOVES | DISPATCH_MOVES
        return (lambda: moves[one](ours)), (lambda: moves[other](scene))

    async for done in stand.overlaps(prepare):
        check_legal(scenes[-1], await look(scenes[-1]))
        yield is_made(done.first), is_made(done.second)


def _pairs(of: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    return [(stage, *pair) for stage, pairs in of.items() for pair in pairs]


@pytest.mark.parametrize(("stage", "one", "other"), _pairs(RIVALS))
async def test_one_of_two_rivals_wins(stand: Stand, stage: str, one: str, other: str) -> None:
    """Of two moves that exclude each other exactly one has its way, wherever they overlap."""
    for first, second in ((one, other), (other, one)):
        async for made in race(stand, stage, first, second):
            assert sorted(made) == [False, True], (first, second)


@pytest.mark.parametrize(("stage", "one", "other"), _pairs(BINDING))
async def test_an_end_binds(stand: Stand, stage: str, one: str, other: str) -> None:
    """What ends a unit or raises a fence has its way, wherever the other one stands just then.

    A claim passes over what another transaction holds, and comes back for it.
    """
    async for made in race(stand, stage, one, other):
        assert made[0] or one == "claim"
    async for made in race(stand, stage, other, one):
        assert made[1] or one == "claim"


@pytest.mark.parametrize("turned", [False, True])
async def test_early_answer_against_park(stand: Stand, *, turned: bool) -> None:
    """An answer under a key and the park that asks under it never miss each other."""
    parked: list[InteractionId] = []
    keys = count()

    async def prepare() -> tuple[Act, Act]:
        key = f"{turned}-{next(keys)}"
        claimed = await stand.second.running()
        row = claimed.execution
        park = Park(row.id, row.fence, boundary(), asking(correlation=correlated(key)))
        admit = answer_by_key(stand.second, key)
        parked.append(InteractionId(row.id, 1, 0))
        moves = (admit, park) if turned else (park, admit)
        return (lambda: stand.first.one(moves[0])), (lambda: stand.second.one(moves[1]))

    async for done in stand.overlaps(prepare):
        outcomes = [one for one in done if isinstance(one, Received)]
        assert len(outcomes) == 1
        assert outcomes[0].outcome in {ReceiptOutcome.APPLIED, ReceiptOutcome.BUFFERED}
        execution = await stand.second.execution(parked[-1].execution)
        assert execution.status is ExecutionStatus.QUEUED
        assert (await stand.second.asked(parked[-1])).unit.status is UnitStatus.COMPLETED


async def test_two_parks_under_one_key(stand: Stand) -> None:
    """Of two that ask under one key at the same time one waits and the other ends, told why."""
    keys = count()

    async def prepare() -> tuple[Act, Act]:
        key = correlated(f"k{next(keys)}")
        rows = [(await stand.second.running()).execution for _ in range(2)]
        parks = [Park(row.id, row.fence, boundary(), asking(correlation=key)) for row in rows]
        return (lambda: stand.first.one(parks[0])), (lambda: stand.second.one(parks[1]))

    async for done in stand.overlaps(prepare):
        rows = [expect(one, Moved).execution for one in done]
        assert {row.status for row in rows} == {
            ExecutionStatus.WAITING_EXTERNAL, ExecutionStatus.FAILED,
        }  # fmt: skip


async def test_two_last_items(stand: Stand) -> None:
    """Of two answers that are the last of a unit, one resumes its execution, once."""
    executions: list[InteractionId] = []

    async def prepare() -> tuple[Act, Act]:
        stream = await stand.second.parked_stream(2)
        executions.append(stream.item(0))
        moves = [answer(stream.item(item)) for item in range(2)]
        return (lambda: stand.first.one(moves[0])), (lambda: stand.second.one(moves[1]))

    async for done in stand.overlaps(prepare):
        assert [expect(one, Received).outcome for one in done] == [ReceiptOutcome.APPLIED] * 2
        id_ = executions[-1].execution
        facts = await stand.second.store.journal(TENANT, id_)
        assert [fact.kind for fact in facts].count(JournalKind.RESUMED) == 1
        assert (await stand.second.execution(id_)).status is ExecutionStatus.QUEUED


async def test_two_claims_of_dispatches(stand: Stand) -> None:
    """Two dispatchers that claim at once share nothing, and leave nothing for later."""
    streams: list[Stream] = []

    async def prepare() -> tuple[Act, Act]:
        streams.append(await stand.second.parked_stream(4, at=boundary(dispatched=False)))
        return (lambda: stand.first.to_send("one", 2)), (lambda: stand.second.to_send("two", 2))

    async for one, other in stand.overlaps(prepare):
        rest = await stand.second.to_send("three")
        ids = [each.interaction.id for claim in (one, other, rest) for each in claim]
        assert sorted(ids) == [streams[-1].item(item) for item in range(4)]
        assert len(one) == len(other) == 2


@pytest.mark.parametrize("turned", [False, True])
async def test_last_item_against_close(stand: Stand, *, turned: bool) -> None:
    """The last answer and the end of the source: whoever comes second resumes, once."""
    executions: list[InteractionId] = []

    async def prepare() -> tuple[Act, Act]:
        stream = await stand.second.stream(1)
        executions.append(stream.item(0))
        moves: list[Any] = [answer(stream.item(0)), stream.close(1)]
        if turned:
            moves.reverse()
        return (lambda: stand.first.one(moves[0])), (lambda: stand.second.one(moves[1]))

    async for done in stand.overlaps(prepare):
        assert all(map(is_made, done))
        id_ = executions[-1].execution
        facts = await stand.second.store.journal(TENANT, id_)
        assert [fact.kind for fact in facts].count(JournalKind.RESUMED) == 1
        assert (await stand.second.execution(id_)).status is ExecutionStatus.QUEUED


async def test_submit_under_one_key(stand: Stand) -> None:
    """Of two submits under one key one makes the execution, and the other finds it."""
    keys = count()

    async def prepare() -> tuple[Act, Act]:
        key = f"order-{next(keys)}"
        moves = [stand.second.submission(key) for _ in range(2)]
        return (lambda: stand.first.one(moves[0])), (lambda: stand.second.one(moves[1]))

    async for done in stand.overlaps(prepare):
        one, other = (expect(outcome, Submitted) for outcome in done)
        assert one.execution == other.execution
        assert one.duplicate != other.duplicate


@pytest.mark.parametrize("turned", [False, True])
async def test_cancel_against_a_unit_that_opens(stand: Stand, *, turned: bool) -> None:
    """A cancel ends the unit that its execution opened just then: nothing is left waiting."""
    executions: list[Any] = []

    async def prepare() -> tuple[Act, Act]:
        row = (await stand.second.running()).execution
        executions.append(row.id)
        moves: list[Any] = [
            Cancel(row.id, TENANT, "not wanted"),
            Park(row.id, row.fence, boundary(), asking()),
        ]
        if turned:
            moves.reverse()
        return (lambda: stand.first.one(moves[0])), (lambda: stand.second.one(moves[1]))

    async for _ in stand.overlaps(prepare):
        row = await stand.second.execution(executions[-1])
        assert row.status is ExecutionStatus.CANCELLED
        units = await stand.second.store.units(TENANT, row.id)
        assert all(unit.status is UnitStatus.CANCELLED for unit in units)


async def test_a_large_batch_against_its_reverse(stand: Stand) -> None:
    """Two batches over the same rows in opposite orders: both are made, and no one is refused."""
    streams: list[Any] = []

    async def prepare() -> tuple[Act, Act]:
        made = [await stand.second.parked_stream(4) for _ in range(3)]
        streams.append(made)
        ours = [answer(stream.item(n)) for stream in made for n in (0, 1)]
        theirs = [answer(stream.item(n)) for stream in reversed(made) for n in (3, 2)]
        return (lambda: stand.first.do(*ours)), (lambda: stand.second.do(*theirs))

    async for done in stand.overlaps(prepare):
        outcomes: list[Outcome] = [*done.first, *done.second]
        assert {expect(one, Received).outcome for one in outcomes} == {ReceiptOutcome.APPLIED}
        for stream in streams[-1]:
            assert (await stand.second.execution(stream.id)).status is ExecutionStatus.QUEUED
    check_invariants(await stand.second.dump())
