"""The nine transitions, over every shape, by processes that live and by processes that die."""

import pytest

from bide.model.records import JournalFact
from bide.model.status import (
    AnswerSource,
    ExecutionStatus,
    InteractionStatus,
    JournalKind,
    UnitStatus,
)
from tests.obligations.registry import Mode, Shape
from tests.obligations.world import ITEMS, Rows, Story, result_of, story_of


@pytest.fixture
async def story(shape: Shape, mode: Mode, rows: Rows) -> Story:
    return await story_of(shape, mode, rows)


def facts(story: Story, kind: JournalKind) -> list[JournalFact]:
    return [fact for fact in story.dump.journal[story.id] if fact.kind is kind]


@pytest.mark.covers("request-persisted")
async def test_request_persisted(story: Story, shape: Shape) -> None:
    """Every request is stored once, in its unit and at its place, however often it was written."""
    ids = sorted(story.dump.interactions)
    units = [1, 2] if shape is Shape.SEQUENTIAL else [1]
    items = range(ITEMS) if shape is Shape.STREAM else range(1)

    assert [(id.unit, id.item, id.generation) for id in ids] == [
        (unit, item, 0) for unit in units for item in items
    ]
    assert all(story.dump.interactions[id].request is not None for id in ids)


@pytest.mark.covers("dispatch-admitted")
async def test_dispatch_admitted(story: Story) -> None:
    """A request that needs no sending is out from the commit that stores it, and is listed so."""
    assert story.listed
    assert set(story.listed) == {InteractionStatus.DISPATCHED}


@pytest.mark.covers("completion-persisted")
async def test_completion_persisted(story: Story) -> None:
    """Every answer is kept with who gave it, once."""
    for row in story.dump.interactions.values():
        assert row.status is InteractionStatus.COMPLETED
        assert row.answer is not None
        assert (row.actor, row.source) == ("ada", AnswerSource.PERSON)
        assert (row.duplicates, row.refusals) == (0, 0)


@pytest.mark.covers("scalar-release")
async def test_scalar_release(story: Story) -> None:
    """The one answer of a unit releases its execution once, in the commit that admits it."""
    resumed = facts(story, JournalKind.RESUMED)

    assert [fact.unit for fact in resumed] == [unit.number for unit in story.dump.units]
    for fact, row in zip(resumed, story.dump.interactions.values(), strict=True):
        assert fact.at == row.updated_at


@pytest.mark.covers("item-output-persisted")
async def test_item_output_persisted(story: Story) -> None:
    """What each item was answered is read at its index, whatever the order of the answers."""
    [rows] = story.answers.values()

    assert [(row.item, row.answer) for row in rows] == [
        (item, f'"<{item}>"'.encode()) for item in range(ITEMS)
    ]


@pytest.mark.covers("parent-release-guard")
async def test_parent_release_guard(story: Story) -> None:
    """A stream's unit is complete when its count is known and every item has ended, not before."""
    [unit] = story.dump.units.values()
    [resumed] = facts(story, JournalKind.RESUMED)

    assert unit.total == unit.settled == unit.appended == len(story.dump.interactions)
    for row in story.dump.interactions.values():
        assert row.updated_at <= resumed.at


@pytest.mark.covers("item-parent-release")
async def test_item_parent_release(story: Story) -> None:
    """The last item, or the close of what is empty, releases the execution once."""
    [unit] = story.dump.units.values()

    assert [fact.unit for fact in facts(story, JournalKind.RESUMED)] == [1]
    assert unit.status is UnitStatus.COMPLETED
    assert story.dump.executions[story.id].resumed == 1


@pytest.mark.covers("continuation-admitted")
async def test_continuation_admitted(story: Story, shape: Shape) -> None:
    """What follows the boundary runs on all the answers, in their order, to the same result."""
    execution = story.dump.executions[story.id]

    assert execution.status is ExecutionStatus.SUCCEEDED
    assert execution.result == result_of(shape)


@pytest.mark.covers("terminal-cleanup")
async def test_terminal_cleanup(story: Story, mode: Mode) -> None:
    """After the end nothing is open, leased, due or listed; the processes had died as meant."""
    execution = story.dump.executions[story.id]

    assert (execution.owner, execution.due_at) == (None, None)
    assert all(unit.status is UnitStatus.COMPLETED for unit in story.dump.units.values())
    assert not any(story.dump.pending.values())
    assert len(facts(story, JournalKind.SUCCEEDED)) == 1
    assert (story.deaths > 0) == (mode is Mode.RESTARTED)
