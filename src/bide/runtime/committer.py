"""Shared commits: while one batch commits, the next one gathers.

There are no timers: an idle system commits a single move at once, a busy one shares each commit
among hundreds. Work that waits is bounded; past the bound a caller waits, or is told to come back.

What happens when it crashes here: nobody has been told of anything that was not committed.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from bide.engine.fold import Transacted
from bide.engine.moves import (
    Admit,
    AdmitByKey,
    Append,
    CloseUnit,
    Finish,
    Handover,
    KeepLetter,
    Move,
    Outcome,
    Park,
    Publishing,
    Redrive,
    StoreRejects,
    StoreResults,
    Submit,
    TakeOver,
)
from bide.errors import StoreUnavailable
from bide.spi.store import Store
from bide.spi.telemetry import NO_METER, Meter

log = logging.getLogger(__name__)

#: The outcomes of moves, in their order; or why there are none, and nothing was written.
Result = list[Outcome] | StoreUnavailable
Done = Callable[[Result], None]


class Follower(Protocol):
    """Who goes on with what a commit came to."""

    def offer(self) -> Handover | None:
        """What it could take over from the next commit."""
        ...

    def committed(self, done: Transacted) -> None:
        """Look at a commit that has just taken place."""
        ...


class Entry(NamedTuple):
    """Moves that go into one commit together, and who is told."""

    moves: Sequence[Move]
    rows: int
    size: int
    done: Done


# A table and not a chain of ifs: this runs once per move.
_WEIGHTS: dict[type[Move], Callable[[Any], tuple[int, int]]] = {
    Submit: lambda move: (1, len(move.body)),
    Admit: lambda move: (1, len(move.body)),
    AdmitByKey: lambda move: (1, len(move.body)),
    Redrive: lambda move: (1, len(move.body)),
    KeepLetter: lambda move: (1, len(move.letter.payload or b"")),
    Park: lambda move: _with_handoffs(move, len(move.interaction.request)),
    CloseUnit: lambda move: _with_handoffs(move, 0),
    Finish: lambda move: _with_handoffs(move, len(move.result or b"")),
    Append: lambda move: (len(move.items), sum(len(item.request) for item in move.items)),
    StoreResults: lambda move: (len(move.bodies), sum(map(len, move.bodies))),
    StoreRejects: lambda move: (len(move.rejects), sum(len(each.body) for each in move.rejects)),
    TakeOver: lambda move: (
        len(move.items),
        sum(len(item.request or b"") + len(item.answer or b"") for item in move.items),
    ),
}


def _with_handoffs(move: Publishing, size: int) -> tuple[int, int]:
    """What a segment has published counts once as it is, and once as its target takes it."""
    if not move.handoffs:
        return 1, size
    bodies = sum(len(each.body) for each in move.handoffs)
    made = [each.admission for each in move.handoffs if each.admission is not None]
    return 1 + len(made), size + bodies + sum(len(each.body) for each in made)


def weigh(move: Move) -> tuple[int, int]:
    """Rows and payload bytes of a move, for the bounds of a batch."""
    weight = _WEIGHTS.get(type(move))
    return weight(move) if weight else (1, 0)


def _settle(future: "asyncio.Future[list[Outcome]]", result: Result) -> None:
    if future.done():  # the caller went away; what was committed stays
        return
    if isinstance(result, StoreUnavailable):
        future.set_exception(result)
    else:
        future.set_result(result)


class Committer:
    """The one way from this process to its store's `transact`; for use on the event loop only."""

    def __init__(
        self,
        store: Store,
        *,
        rows: int,
        size: int,
        pending_rows: int,
        followers: Sequence[Follower] = (),
        meter: Meter = NO_METER,
    ) -> None:
        self._store = store
        self._meter = meter
        self._rows_max = rows
        self._size_max = size
        self._pending_max = pending_rows
        self._followers = followers
        self._entries: deque[Entry] = deque()
        self._pending = 0
        self._room: deque[asyncio.Future[None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._apart: set[asyncio.Task[Outcome]] = set()
        self._closed = True

    def follow(self, followers: Sequence[Follower]) -> None:
        """Say who goes on with what is committed."""
        self._followers = followers

    def start(self) -> None:
        """Accept moves."""
        self._closed = False

    async def stop(self) -> None:
        """Commit what is waiting, then accept nothing more."""
        self._closed = True
        await asyncio.gather(*self._apart, return_exceptions=True)
        if self._task is not None:
            await self._task

    async def idle(self) -> None:
        """Return once no commit is under way and none waits."""
        while self._task is not None:
            await asyncio.wait([self._task])

    @property
    def is_idle(self) -> bool:
        """True while no commit is under way and none waits."""
        return self._task is None

    @property
    def pending(self) -> int:
        """How many moves wait for a commit."""
        return self._pending

    @property
    def is_full(self) -> bool:
        """True when a caller that does not want to wait should come back later."""
        return self._pending >= self._pending_max

    def add(self, moves: Sequence[Move], done: Done) -> None:
        """Queue moves that go into one commit; `done` is called with their outcomes, in order."""
        rows = size = 0
        for move in moves:
            more_rows, more_size = weigh(move)
            rows, size = rows + more_rows, size + more_size
        self._queue(Entry(moves, rows, size, done))

    def add_each(self, moves: Sequence[Move], done: Callable[[slice, Result], None]) -> None:
        """Queue moves, as many to a commit as its bounds allow.

        `done` is called for each part of them: which they are, and their outcomes.
        """
        first = rows = size = 0
        for index, move in enumerate(moves):
            more_rows, more_size = weigh(move)
            if rows and not self._fits(rows + more_rows, size + more_size):
                part = slice(first, index)
                self._queue(Entry(moves[part], rows, size, partial(done, part)))
                first, rows, size = index, 0, 0
            rows, size = rows + more_rows, size + more_size
        if rows:
            part = slice(first, len(moves))
            self._queue(Entry(moves[part], rows, size, partial(done, part)))

    async def commit(self, move: Move) -> Outcome:
        """Commit one move, and give its outcome once it is durable.

        Raises:
            StoreUnavailable: nothing of it was written.
        """
        if self.is_full:
            await self._wait_for_room()
        return (await self._queued((move,)))[0]

    async def commit_many(self, moves: Sequence[Move]) -> list[Outcome]:
        """Commit moves together; a caller that is cancelled meanwhile disturbs nobody.

        Raises:
            StoreUnavailable: nothing of them was written.
        """
        if self.is_full:
            await self._wait_for_room()
        return await self._queued(moves)

    async def commit_apart(
        self, move: Move, commit: Callable[[Move], Coroutine[Any, Any, Transacted]]
    ) -> Outcome:
        """Commit one move by `commit`, in a transaction of its own, and give its outcome.

        The commit goes on if the caller is cancelled meanwhile, and `stop` waits for it.

        Raises:
            StoreUnavailable: nothing of it was written.
        """
        task = asyncio.get_running_loop().create_task(self._commit_apart(move, commit))
        self._apart.add(task)
        task.add_done_callback(self._apart_done)
        return await asyncio.shield(task)

    async def _commit_apart(
        self, move: Move, commit: Callable[[Move], Coroutine[Any, Any, Transacted]]
    ) -> Outcome:
        began = time.perf_counter()
        try:
            done = await commit(move)
        except StoreUnavailable:
            self._meter.commit_failed(1)
            raise
        self._meter.committed([move], done, time.perf_counter() - began)
        for follower in self._followers:
            follower.committed(done)
        return done.outcomes[0]

    def _apart_done(self, task: "asyncio.Task[Outcome]") -> None:
        self._apart.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits gets it; if nobody does any more, nobody is to be told

    def _queued(self, moves: Sequence[Move]) -> "asyncio.Future[list[Outcome]]":
        if self._closed:
            raise StoreUnavailable("the app is stopping; try again")
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self.add(moves, partial(_settle, future))
        return future

    async def _wait_for_room(self) -> None:
        while self.is_full and not self._closed:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():  # somebody else may have the room that was given to it
                    self._make_room()
                raise

    def _queue(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._pending += entry.rows
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._commit_all())

    def _fits(self, rows: int, size: int) -> bool:
        return rows <= self._rows_max and size <= self._size_max

    # --- the loop -----------------------------------------------------------------------------

    async def _commit_all(self) -> None:
        try:
            while self._entries:
                await self._commit_batch(self._gather())
                self._make_room()
        finally:
            self._task = None

    def _gather(self) -> list[Entry]:
        batch = [self._entries.popleft()]
        rows, size = batch[0].rows, batch[0].size
        while self._entries:
            entry = self._entries[0]
            rows, size = rows + entry.rows, size + entry.size
            if not self._fits(rows, size):
                break
            batch.append(self._entries.popleft())
        return batch

    async def _commit_batch(self, batch: list[Entry]) -> None:
        moves = [move for entry in batch for move in entry.moves]
        handover = next((offer for each in self._followers if (offer := each.offer())), None)
        began = time.perf_counter()
        try:
            done = await self._store.transact(moves, handover)
        except StoreUnavailable as error:
            log.warning("a commit of %d moves failed: %s", len(moves), error)
            self._meter.commit_failed(len(moves))
            for entry in batch:
                entry.done(error)
            return
        except Exception as error:  # a defect; whoever waits for this commit must hear of it
            log.exception("a commit of %d moves failed in a way that no store should", len(moves))
            self._meter.commit_failed(len(moves))
            unavailable = StoreUnavailable(f"the store failed: {type(error).__name__}: {error}")
            for entry in batch:
                entry.done(unavailable)
            return
        finally:
            self._pending -= sum(entry.rows for entry in batch)
        self._meter.committed(moves, done, time.perf_counter() - began)
        start = 0
        for entry in batch:
            stop = start + len(entry.moves)
            entry.done(done.outcomes[start:stop])
            start = stop
        for follower in self._followers:
            follower.committed(done)

    def _make_room(self) -> None:
        free = self._pending_max - self._pending
        while self._room and free > 0:
            turn = self._room.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
