"""The parts of one cycle can be measured, and are those of a cycle that comes to its end."""

from pathlib import Path

from benchmarks.cycle import committer, cycle, decider, microseconds
from bide.model.status import ExecutionStatus
from bide.runtime.clock import ExecutionIds
from bide.stores.sqlite.connection import open_reader


def test_what_is_measured_comes_to_its_end(tmp_path: Path) -> None:
    """The four batches lead each execution from its submission to its success."""
    path, new_id = tmp_path / "cycle.db", ExecutionIds()
    make = committer(path)

    for moves in cycle([new_id() for _ in range(5)]):
        make(moves)

    found = open_reader(str(path)).execute("select status, count(*) from executions group by 1")
    assert found.fetchall() == [(ExecutionStatus.SUCCEEDED, 5)]


def test_each_move_takes_its_time() -> None:
    """There is a figure for each of the four moves."""
    assert all(took > 0 for took in microseconds(decider(), batch=50, rounds=2))
