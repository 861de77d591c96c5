"""What one cycle costs the thread that commits it, alone and by part: `python -m benchmarks.cycle`.

A cycle is four moves (submit, park, admit, finish), each in a batch of its kind. *Deciding* names
the rows of the moves and folds them, over rows in memory. *SQLite* is the whole commit: reading,
deciding, writing, syncing. Both are seconds of this thread's processor, the least of several rounds:
what other programs do to the machine is left out as far as it can be.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bide.engine.fold import fold
from bide.engine.moves import Admit, Boundary, Finish, Handover, Move, NewInteraction, Park, Submit
from bide.engine.rows import Rows
from bide.engine.rules import needs_of
from bide.model.ids import ExecutionId, InteractionId
from bide.runtime.clock import ExecutionIds, system_clock
from bide.stores.sqlite.connection import open_writer
from bide.stores.sqlite.recent import Recent
from bide.stores.sqlite.transacting import Transaction, transact

_START, _ANSWERED = "start", "answered"
_BODY = b'{"number":5,"note":"%s"}' % (b"x" * 76)
_DAY_MS = 86_400_000
_OFFER = Handover("worker", 15_000, 1_000_000, frozenset({_START, _ANSWERED}))
_BOUNDARY = Boundary("answer", 1, _ANSWERED, dispatched=True)

# The driver's own type hints are partly unknown to pyright.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

Batch = Callable[[Sequence[Move]], None]


def cycle(ids: Sequence[ExecutionId]) -> list[list[Move]]:
    """The four batches in which these executions are submitted, park, are answered and finish."""
    return [
        [Submit(id_, "default", "cycle", _START, _BODY, b"") for id_ in ids],
        [Park(id_, 1, _BOUNDARY, NewInteraction(_BODY, None, _DAY_MS)) for id_ in ids],
        [Admit(InteractionId(id_, 1), "default", _BODY, bytes(32)) for id_ in ids],
        [Finish(id_, 2, 3, b'{"number":5}') for id_ in ids],
    ]


def decider() -> Batch:
    """Decides batches over rows that an earlier one has left."""
    known = Rows()

    def make(moves: Sequence[Move]) -> None:
        nonlocal known
        rows, needs = Rows(), needs_of(moves)
        for id_ in needs.executions:
            if (execution := known.executions.get(id_)) is not None:
                rows.executions.load(id_, execution)
        for path in needs.units:
            if (unit := known.units.get(path)) is not None:
                rows.units.load(path, unit)
        for asked in needs.interactions:
            if (interaction := known.interactions.get(asked)) is not None:
                rows.interactions.load(asked, interaction)
        fold(moves, rows, system_clock(), _OFFER)
        known = rows

    return make


def committer(path: Path) -> Batch:
    """Commits batches to a fresh SQLite file."""
    db, recent = open_writer(str(path)), Recent()

    def make(moves: Sequence[Move]) -> None:
        db.execute("begin immediate")
        recent.check(int(db.pragma("data_version")))
        transact(Transaction(db, system_clock(), recent), moves, _OFFER)
        db.execute("commit")

    return make


def microseconds(make: Batch, *, batch: int, rounds: int) -> list[float]:
    """What each of the four moves takes, for one execution."""
    new_id, least = ExecutionIds(), [float("inf")] * 4
    for _ in range(rounds):
        for number, moves in enumerate(cycle([new_id() for _ in range(batch)])):
            began = time.thread_time()
            make(moves)
            least[number] = min(least[number], (time.thread_time() - began) / batch * 1e6)
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=400, help="moves of a commit")
    parser.add_argument("--rounds", type=int, default=40, help="cycles of a whole batch")
    given = parser.parse_args()
    gc.freeze()
    gc.disable()
    print(f"{'us':10}{'submit':>8}{'park':>8}{'admit':>8}{'finish':>8}{'cycle':>8}")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for name, make in (("deciding", decider()), ("SQLite", committer(Path(folder, "c.db")))):
            took = microseconds(make, batch=given.batch, rounds=given.rounds)
            print(f"{name:10}" + "".join(f"{each:8.1f}" for each in (*took, sum(took))))


if __name__ == "__main__":
    main()
