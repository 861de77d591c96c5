"""The parts of one item can be measured, and are those of an item that is answered."""

from pathlib import Path

from benchmarks.cycle import committer
from benchmarks.item import PARTS, microseconds
from bide.model.status import InteractionStatus
from bide.stores.sqlite.connection import open_reader


def test_what_is_measured_is_answered(tmp_path: Path) -> None:
    """Each part takes its time, and afterwards every item has its answer."""
    path = tmp_path / "items.db"

    took = microseconds(committer(path), page=20, rounds=3)

    found = open_reader(str(path)).execute("select status, count(*) from interactions group by 1")
    assert found.fetchall() == [(InteractionStatus.COMPLETED, 60)]
    assert len(took) == len(PARTS)
    assert all(part > 0 for part in took)
