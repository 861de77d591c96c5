"""Finding out when something falls due next, without asking the process that it would happen to."""

from pathlib import Path

from bide.stores.sqlite.store import SqliteStore

#: More than anybody lets fall due in one test.
_MANY = 100_000
#: How much farther each look goes than the one before.
_FARTHER = 8


class Lookout:
    """A second pair of eyes on a store's file, at whatever time is asked about."""

    def __init__(self, file: Path) -> None:
        """Name the file; it is opened at the first look."""
        self._at = 0
        self._store = SqliteStore(str(file), lambda: self._at)
        self._is_open = False

    async def close(self) -> None:
        """Look no more; safe to call twice."""
        await self._store.close()
        self._is_open = False

    async def next_due(self, now: int, until: int) -> int | None:
        """The first instant after `now` at which more is due than at `now`, if nothing happens
        meanwhile; None when there is none up to `until`. Unix milliseconds of the store's clock.

        What is due stays due, so the instant can be closed in on.
        """
        due_now, step = await self._count(now), 1
        early, late = now, min(now + step, until)
        while await self._count(late) == due_now:
            if late >= until:
                return None
            step *= _FARTHER
            early, late = late, min(now + step, until)
        while late - early > 1:
            middle = (early + late) // 2
            if await self._count(middle) == due_now:
                early = middle
            else:
                late = middle
        return late

    async def _count(self, at: int) -> int:
        """How much would be due then."""
        if not self._is_open:
            await self._store.open()
            self._is_open = True
        self._at = at
        backlog, overdue = await self._store.backlog(), await self._store.overdue(_MANY)
        queues = (*backlog.ready, *backlog.to_send, *backlog.to_hand)
        waiting = sum(queue.length for queue in queues)
        passed = len(overdue.expired) + len(overdue.units) + len(overdue.early)
        return waiting + passed + len(overdue.left_open)
