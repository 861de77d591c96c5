"""A process dies right after each sort of commit, having told nobody; another one goes on."""

import pytest

from bide.model.ids import format_interaction
from bide.model.status import ExecutionStatus, JournalKind
from tests.obligations.registry import Mode, Shape
from tests.obligations.world import COMMITS, Rows, World, result_of


async def outlived(commit: str, shape: Shape, rows: Rows) -> list[str]:
    """Die after the commit, and come to the same end; gives the ids that a partner has got."""
    world = World(rows)
    story = await world.live(shape, [COMMITS[commit]])

    execution = story.dump.executions[story.id]
    journal = story.dump.journal[story.id]
    assert story.deaths == 1
    assert execution.status is ExecutionStatus.SUCCEEDED
    assert execution.result == result_of(shape)
    resumed = [fact.unit for fact in journal if fact.kind is JournalKind.RESUMED]
    assert resumed == [unit.number for unit in story.dump.units]
    assert all(not row.duplicates for row in story.dump.interactions.values())
    assert set(world.partner.ids()) == {format_interaction(id) for id in story.dump.dispatches}
    return world.partner.ids()


@pytest.mark.covers("crash-after-submit")
async def test_after_submit(shape: Shape, mode: Mode, rows: Rows) -> None:
    """The execution is there; its key finds it, and a worker runs it."""
    await outlived("submit", shape, rows)


@pytest.mark.covers("crash-after-park")
async def test_after_park(shape: Shape, mode: Mode, rows: Rows) -> None:
    """The execution waits, and its question can be answered."""
    await outlived("park", shape, rows)


@pytest.mark.covers("crash-after-open")
async def test_after_open(shape: Shape, mode: Mode, rows: Rows) -> None:
    """The unit is taken up again by who takes the execution over."""
    await outlived("open", shape, rows)


@pytest.mark.covers("crash-after-append")
async def test_after_append(shape: Shape, mode: Mode, rows: Rows) -> None:
    """Stored items are recognised when the source is read again."""
    await outlived("append", shape, rows)


@pytest.mark.covers("crash-after-close")
async def test_after_close(shape: Shape, mode: Mode, rows: Rows) -> None:
    """The unit waits for what is open, or has released its execution already."""
    await outlived("close", shape, rows)


@pytest.mark.covers("crash-after-admit")
async def test_after_admit(shape: Shape, mode: Mode, rows: Rows) -> None:
    """The answer counts once, though nobody was told that it was admitted."""
    await outlived("admit", shape, rows)


@pytest.mark.covers("crash-after-finish")
async def test_after_finish(shape: Shape, mode: Mode, rows: Rows) -> None:
    """The result is there, and nothing runs again."""
    await outlived("finish", shape, rows)


@pytest.mark.covers("crash-after-dispatch-claim")
async def test_after_dispatch_claim(shape: Shape, mode: Mode, rows: Rows) -> None:
    """Nobody knows whether it was sent; another dispatcher sends it, under the same id."""
    await outlived("dispatch-claim", shape, rows)


@pytest.mark.covers("crash-after-dispatch-settle")
async def test_after_dispatch_settle(shape: Shape, mode: Mode, rows: Rows) -> None:
    """What was recorded as sent is not sent again; what was under way beside it may be."""
    sent = await outlived("dispatch-settle", shape, rows)

    if shape is not Shape.STREAM:  # one request at a time, so none was under way
        assert len(sent) == len(set(sent))
