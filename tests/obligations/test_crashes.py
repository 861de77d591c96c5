"""A process dies right after each sort of commit, having told nobody; another one goes on."""

from pathlib import Path

import pytest

from bide.model.status import ExecutionStatus, JournalKind
from tests.obligations.registry import Mode, Shape
from tests.obligations.world import COMMITS, World, result_of


async def outlived(commit: str, shape: Shape, store: str, folder: Path) -> None:
    """Die after the commit, and come to the same end."""
    story = await World(store, folder).live(shape, [COMMITS[commit]])

    execution = story.dump.executions[story.id]
    journal = story.dump.journal[story.id]
    assert story.deaths == 1
    assert execution.status is ExecutionStatus.SUCCEEDED
    assert execution.result == result_of(shape)
    resumed = [fact.unit for fact in journal if fact.kind is JournalKind.RESUMED]
    assert resumed == [unit.number for unit in story.dump.units]
    assert all(not row.duplicates for row in story.dump.interactions.values())


@pytest.mark.covers("crash-after-submit")
async def test_after_submit(shape: Shape, mode: Mode, store: str, tmp_path: Path) -> None:
    """The execution is there; its key finds it, and a worker runs it."""
    await outlived("submit", shape, store, tmp_path)


@pytest.mark.covers("crash-after-park")
async def test_after_park(shape: Shape, mode: Mode, store: str, tmp_path: Path) -> None:
    """The execution waits, and its question can be answered."""
    await outlived("park", shape, store, tmp_path)


@pytest.mark.covers("crash-after-open")
async def test_after_open(shape: Shape, mode: Mode, store: str, tmp_path: Path) -> None:
    """The unit is taken up again by who takes the execution over."""
    await outlived("open", shape, store, tmp_path)


@pytest.mark.covers("crash-after-append")
async def test_after_append(shape: Shape, mode: Mode, store: str, tmp_path: Path) -> None:
    """Stored items are recognised when the source is read again."""
    await outlived("append", shape, store, tmp_path)


@pytest.mark.covers("crash-after-close")
async def test_after_close(shape: Shape, mode: Mode, store: str, tmp_path: Path) -> None:
    """The unit waits for what is open, or has released its execution already."""
    await outlived("close", shape, store, tmp_path)


@pytest.mark.covers("crash-after-admit")
async def test_after_admit(shape: Shape, mode: Mode, store: str, tmp_path: Path) -> None:
    """The answer counts once, though nobody was told that it was admitted."""
    await outlived("admit", shape, store, tmp_path)


@pytest.mark.covers("crash-after-finish")
async def test_after_finish(shape: Shape, mode: Mode, store: str, tmp_path: Path) -> None:
    """The result is there, and nothing runs again."""
    await outlived("finish", shape, store, tmp_path)
