"""What one item of a stream costs, alone and by part: `python -m benchmarks.item`.

An item is written as a request, stored with its page (*append*), answered (*door*: the answer is
found its await, checked against its type, written, and given its receipt), admitted with others
(*admit*) and read again by the step after the wait. *Append* and *admit* are whole commits to SQLite,
syncing included. Each figure is seconds of this thread's processor, the least of several rounds: what
other programs do to the machine is left out as far as it can be.
"""

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.cycle import Batch, committer
from bide.bench.pipelines import Parcel, items
from bide.engine.moves import Append, Move, OpenUnit, Outcome, Received, Submit
from bide.model.ids import ExecutionId, InteractionId, format_interaction
from bide.model.status import InteractionStatus, ReceiptOutcome
from bide.planning.pipeline import plan_of
from bide.runtime.admission import Admission, Typed
from bide.runtime.clock import ExecutionIds, system_clock
from bide.runtime.committer import Committer
from bide.runtime.deploys import Deploys
from bide.runtime.plans import Plans
from bide.runtime.segment.ends import interaction_of, stream_boundary_of
from bide.security.desk import CLOSED
from bide.settings import Settings
from bide.stores.memory import MemoryStore

PARTS = ("request", "append", "door", "admit", "read")
_TENANT, _START = "default", "start"  # the latter is what `committer` hands over


class Told(Committer):
    """Keeps what it is asked to commit, and says at once that it was applied."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, rows=1, size=1, pending_rows=1)
        self.moves: Sequence[Move] = ()

    async def commit_many(self, moves: Sequence[Move]) -> list[Outcome]:
        self.moves = moves
        applied = ReceiptOutcome.APPLIED
        return [Received(applied, InteractionStatus.COMPLETED, "answer")] * len(moves)


class Page:
    """One page of items of one execution, through all of its parts."""

    def __init__(self, make: Batch, size: int) -> None:
        self._plan, self._settings, self._make = plan_of(items), Settings(), make
        [self._boundary] = self._plan.awaits()
        self._values = [Parcel(number=number, note="x" * 58) for number in range(size)]
        store, plans = MemoryStore(system_clock), Plans([self._plan])
        self._told = Told(store)
        self._door = Admission(
            store, self._told, plans, self._settings, system_clock,
            Deploys(store, plans, self._settings), ExecutionIds(), CLOSED,
        )  # fmt: skip

    def took(self, id_: ExecutionId) -> list[float]:
        """Seconds of each part, for the whole page."""
        at, values, seconds = self._boundary, self._values, list[float]()

        def timed(part: Callable[[], object]) -> None:
            began = time.thread_time()
            part()
            seconds.append(time.thread_time() - began)

        self._make([Submit(id_, _TENANT, self._plan.pipeline, _START, b"{}", b"")])
        self._make([OpenUnit(id_, 1, stream_boundary_of(at))])
        asked = [interaction_of(_TENANT, at, value, self._settings) for value in values]
        timed(lambda: [interaction_of(_TENANT, at, value, self._settings) for value in values])
        timed(lambda: self._make([Append(id_, 1, 1, 0, tuple(asked))]))
        answers = [
            Typed(format_interaction(InteractionId(id_, 1, number)), value, None, at.id)
            for number, value in enumerate(values)
        ]
        with asyncio.Runner() as runner:
            timed(lambda: runner.run(self._door.admit(_TENANT, answers)))
        timed(lambda: self._make(self._told.moves))
        bodies = [request.request for request in asked]
        timed(lambda: [at.output.decode(body) for body in bodies])
        return seconds


def microseconds(make: Batch, *, page: int, rounds: int) -> list[float]:
    """What each part takes, for one item."""
    new_id, pages = ExecutionIds(), Page(make, page)
    found = [pages.took(new_id()) for _ in range(rounds)]
    return [min(part) / page * 1e6 for part in zip(*found, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--page", type=int, default=250, help="items of a page")
    parser.add_argument("--rounds", type=int, default=80, help="pages")
    given = parser.parse_args()
    gc.freeze()
    gc.disable()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        took = microseconds(committer(Path(folder, "i.db")), page=given.page, rounds=given.rounds)
    print("us" + "".join(f"{name:>9}" for name in (*PARTS, "item")))
    print("  " + "".join(f"{each:9.1f}" for each in (*took, sum(took))))


if __name__ == "__main__":
    main()
