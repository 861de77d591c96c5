"""Eight backends over the same hundred units, all moves at once, in whatever order they come."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from bide.engine.moves import (
    Cancel,
    CloseBehind,
    Expire,
    ExpireUnit,
    Move,
    Park,
    Received,
    Unstorable,
)
from bide.model.ids import InteractionId
from bide.model.records import replace
from bide.model.status import ReceiptOutcome
from bide.stores.postgres.store import PostgresStore
from bide.testing import FakeClock
from bide.testing.store_contract import StoreFactory, check_invariants
from bide.testing.store_contract.harness import (
    MINUTE,
    TENANT,
    Driver,
    Stream,
    answer,
    asking,
    boundary,
)

_BACKENDS = 8
_UNITS = 100
_ITEMS = 6
_ROUNDS = 12
_BATCH = 40


@pytest.fixture
async def drivers(postgres_tables: str) -> AsyncIterator[list[Driver]]:
    clock = FakeClock()
    factory = StoreFactory(name="postgres", fresh=None)  # type: ignore[arg-type]  # opens no other
    async with AsyncExitStack() as stack:
        made: list[Driver] = []
        for _ in range(_BACKENDS):
            store = PostgresStore(postgres_tables, clock)
            await store.open()
            stack.push_async_callback(store.close)
            made.append(Driver(store, clock, factory))
        yield made


def _moves(chance: random.Random, streams: list[Stream], parks: list[Park]) -> list[Move]:
    """A batch that no two backends have in the same order."""
    moves: list[Move] = []
    for _ in range(_BATCH):
        stream = chance.choice(streams)
        asked = InteractionId(*stream.unit, chance.randrange(_ITEMS))
        moves.append(
            chance.choices(
                [
                    answer(asked),
                    Expire(asked),
                    chance.choice(parks),
                    ExpireUnit(stream.unit),
                    CloseBehind(asked),
                    Cancel(stream.id, TENANT, "not wanted"),
                ],
                [60, 15, 15, 4, 4, 2],
            )[0]
        )
    return moves


@pytest.mark.parametrize("seed", range(2))
async def test_storm(drivers: list[Driver], seed: int) -> None:
    """No deadlock and no lost race reaches a caller, and every row ends in a legal state (S4, S10)."""
    ours = drivers[0]
    at = replace(boundary(), unit_timeout_ms=MINUTE)
    streams = [await ours.parked_stream(_ITEMS, timeout_ms=MINUTE, at=at) for _ in range(_UNITS)]
    rows = [(await ours.running()).execution for _ in range(_UNITS)]
    parks = [Park(row.id, row.fence, boundary(), asking()) for row in rows]
    applied: list[InteractionId] = []

    async def storm(number: int, driver: Driver) -> None:
        chance = random.Random(seed * _BACKENDS + number)
        for turn in range(_ROUNDS):
            if turn == _ROUNDS // 2 and number == 0:
                driver.clock.advance(MINUTE + 1)
            moves = _moves(chance, streams, parks)
            outcomes = await driver.do(*moves)
            assert not [one for one in outcomes if isinstance(one, Unstorable)]
            applied.extend(
                move.interaction  # type: ignore[union-attr]  # what is received was an answer
                for move, outcome in zip(moves, outcomes, strict=True)
                if isinstance(outcome, Received) and outcome.outcome is ReceiptOutcome.APPLIED
            )

    await asyncio.gather(*(storm(number, driver) for number, driver in enumerate(drivers)))

    assert len(applied) == len(set(applied)) > _UNITS
    dump = await ours.dump()
    check_invariants(dump)
    answered = [id_ for id_, row in dump.interactions.items() if row.answer is not None]
    assert sorted(answered) == sorted(applied)
