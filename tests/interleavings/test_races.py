"""Every pair of racing moves, in either order, with a mishap at either, on real databases.

Transactions do not overlap here: the orders of two are two, and what can go wrong beside is that a
process dies, or a commit's outcome is lost, at the first or at the second. On SQLite they never
overlap; how they do on PostgreSQL is in `tests/postgres/test_overlaps.py`.
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from bide.stores.postgres.store import PostgresStore
from bide.stores.sqlite.store import SqliteStore
from tests.interleavings.racing import (
    DISPATCH_MOVES,
    DISPATCH_STAGES,
    MOVES,
    STAGES,
    Mishap,
    Table,
    check_legal,
    ended_first,
    is_made,
    look,
)

#: Moves of which either can win, by where they race: it is made when it comes first, and refused
#: when the other one did.
RIVALS = {
    "running": [
        ("park", "claim"), ("park", "finish"), ("park", "retry"), ("cancel", "finish"),
        ("claim", "finish"), ("finish", "retry"),
    ],
    "parked": [
        ("admit", "admit another"), ("admit", "admit a failure"), ("admit", "expire"),
        ("admit another", "expire"), ("admit a failure", "expire"), ("admit a failure", "cancel"),
        ("expire", "cancel"),
    ],
    "reading": [
        ("append", "close"), ("close", "claim"), ("close", "retry"), ("admit", "admit another"),
        ("admit", "expire"), ("admit a failure", "cancel"), ("expire", "cancel"),
    ],
    "being sent": [
        ("sent", "denied"), ("sent", "postponed"), ("denied", "postponed"), ("denied", "admit"),
        ("denied", "expire"), ("denied", "cancel"), ("send", "denied"), ("send", "postponed"),
    ],
    "last item": [
        ("admit", "admit another"), ("admit", "admit a failure"), ("admit", "expire"),
        ("admit a failure", "cancel"), ("expire", "cancel"),
    ],
}  # fmt: skip
#: Moves of which the first forbids the second, while the second leaves room for the first: what
#: raises the fence, or ends the unit, against what needs them.
BINDING = {
    "running": [("cancel", "park"), ("cancel", "claim"), ("claim", "retry")],
    "parked": [("cancel", "admit"), ("cancel", "admit another")],
    "reading": [
        ("admit a failure", "append"), ("admit a failure", "close"), ("expire", "append"),
        ("expire", "claim"), ("cancel", "append"), ("cancel", "close"), ("cancel", "admit"),
        ("cancel", "claim"), ("claim", "append"), ("retry", "append"),
    ],
    "to be sent": [("admit", "send"), ("cancel", "send"), ("expire", "send")],
    "being sent": [("admit", "sent"), ("admit", "postponed"), ("expire", "sent"), ("admit", "send")],
    "last item": [("cancel", "admit")],
}  # fmt: skip


@pytest.fixture(params=["sqlite", "postgres"])
async def table(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Table]:
    if request.param == "sqlite":
        made = Table(lambda clock: SqliteStore(str(tmp_path / "bide.db"), clock))
    else:
        url: str = request.getfixturevalue("postgres_tables")
        # The others come to a new connection as well, which takes its time.
        made = Table(lambda clock: PostgresStore(url, clock), [Mishap.LOST_AFTER])
    await made.store.open()
    yield made
    await made.store.close()


async def race(
    table: Table, stage: str, moves: tuple[str, str], at: int = 0, mishap: Mishap = Mishap.NONE
) -> tuple[bool, bool]:
    """Make two moves, one of them with a mishap; gives which of them had its way."""
    scene = await table.scene(stage)
    made: list[bool] = []
    dumps = []
    for index, move in enumerate(moves):
        made.append(is_made(await table.run(scene, move, mishap if index == at else Mishap.NONE)))
        dumps.append(await look(scene))
        check_legal(scene, dumps[-1])
    ended_first(*dumps)
    return made[0], made[1]


def _moves(stage: str) -> Mapping[str, object]:
    return DISPATCH_MOVES if stage in DISPATCH_STAGES else MOVES


@pytest.mark.parametrize(
    ("stage", "first"), [(stage, move) for stage in STAGES for move in _moves(stage)]
)
async def test_every_pair(table: Table, stage: str, first: str) -> None:
    """Whichever move comes second, whatever befalls either, rows end in a legal state."""
    for second in _moves(stage):
        moves = (first, second)
        calm = await race(table, stage, moves)
        for at, move in enumerate(moves):
            # What writes nothing has no commit to lose; a refused completion leaves its receipt.
            if not calm[at] and not move.startswith("admit"):
                continue
            for mishap in table.mishaps:
                made = await race(table, stage, moves, at, mishap)
                if mishap is not Mishap.CRASH:  # a repeat of what was made is told so
                    assert made == calm, (second, at, mishap)


def _pairs(of: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    return [(stage, *pair) for stage, pairs in of.items() for pair in pairs]


@pytest.mark.parametrize(("stage", "one", "other"), _pairs(RIVALS))
async def test_both_winners_are_seen(table: Table, stage: str, one: str, other: str) -> None:
    """Of two moves that exclude each other, the one that commits first has its way."""
    assert await race(table, stage, (one, other)) == (True, False)
    assert await race(table, stage, (other, one)) == (True, False)


@pytest.mark.parametrize(("stage", "one", "other"), _pairs(BINDING))
async def test_an_end_binds_at_once(table: Table, stage: str, one: str, other: str) -> None:
    """What needs a fence or a unit is refused after what took it away, and made before it."""
    assert await race(table, stage, (one, other)) == (True, False)
    assert await race(table, stage, (other, one)) == (True, True)
