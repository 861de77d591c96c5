"""Waiting for an execution to get somewhere, in this process or in another."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from bide.engine.fold import Transacted
from bide.engine.moves import Handover, Moved, Outcome
from bide.errors import NotRunning, UnknownExecution
from bide.model.ids import ExecutionId, format_execution
from bide.model.records import Execution
from bide.model.status import ExecutionStatus
from bide.runtime.deadlines import Deadlines
from bide.runtime.lookups import LookUps
from bide.spi.store import Asked, Store

Condition = Callable[[Execution], bool]


class Seen(NamedTuple):
    """An execution as it was when a waiter's condition was fulfilled."""

    execution: Execution
    #: What it waits for, where the commit that was waited for parked it.
    asked: Asked | None = None


class _Waiter(NamedTuple):
    tenant: str
    condition: Condition
    future: asyncio.Future[Seen]

    def tell(self, seen: Seen) -> None:
        """End the wait if this is what it is for, or nothing that it may see."""
        if self.future.done():
            return
        if seen.execution.tenant != self.tenant or self.condition(seen.execution):
            self.future.set_result(seen)


_LOOK_UP_MAX = 1_000
#: Executions that this process has seen park or end, so that asking for what is there already
#: costs no look at the store.
_RECENT_MAX = 20_000


#: Statuses in which an execution stays for a while; all but the first for ever.
_RESTING = frozenset(
    {
        ExecutionStatus.WAITING_EXTERNAL,
        ExecutionStatus.SUCCEEDED,
        ExecutionStatus.FAILED,
        ExecutionStatus.DLQ,
        ExecutionStatus.CANCELLED,
    }
)


class Watch:
    """Tells waiters of commits: its own process's at once, others' when it looks again."""

    def __init__(self, store: Store, is_running_here: Callable[[ExecutionId], bool]) -> None:
        self._store = store
        self._is_running_here = is_running_here
        self._waiters: dict[ExecutionId, list[_Waiter]] = {}
        self._recent: dict[ExecutionId, Execution] = {}
        self._waiting_before: set[ExecutionId] = set()
        self._deadlines = Deadlines()
        self._look_ups = LookUps(self._fetch, most=_LOOK_UP_MAX)

    async def until(
        self, tenant: str, execution: ExecutionId, condition: Condition, timeout_s: float | None
    ) -> Seen:
        """Wait until the execution fulfils the condition, and give it as it was then.

        What this process has seen park may have moved on elsewhere since.

        Raises:
            UnknownExecution: there is none of that id in the tenant; another's is not waited for.
            TimeoutError: it did not in time.
            NotRunning: the app was closed meanwhile.
        """
        recent = self._recent.get(execution)
        if recent is not None and recent.tenant == tenant and condition(recent):
            return Seen(recent)
        future: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(tenant, condition, future)
        waiters = self._waiters.setdefault(execution, [])
        waiters.append(waiter)
        try:
            # Registered first, then looked up: a commit in between is seen by one of the two. What
            # this process's own worker holds is told of by its next commit.
            if not self._is_running_here(execution):
                row = await self._look_ups.get(execution)
                if row is None:
                    raise _unknown(execution)
                waiter.tell(Seen(row))
            if timeout_s is not None:
                self._deadlines.add(waiter.future, timeout_s)
            seen = await waiter.future
        finally:
            waiter.future.cancel()  # where nobody waits any more, its deadline is dropped
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[execution]
        if seen.execution.tenant != tenant:
            raise _unknown(execution)
        return seen

    def stop(self) -> None:
        """Tell everybody who still waits that nobody will tell them anything more."""
        self._deadlines.stop()
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.future.done():
                    waiter.future.set_exception(
                        NotRunning("the app was closed; the execution goes on")
                    )

    def offer(self) -> Handover | None:
        """A watcher runs nothing."""
        return None

    def committed(self, done: Transacted) -> None:
        """Tell those who wait for what a commit wrote."""
        asked = _asked(done.outcomes) if self._waiters else {}
        for execution in done.executions:
            id_ = execution.id
            if execution.status in _RESTING:
                self._recent[id_] = execution
            else:
                self._recent.pop(id_, None)
            if id_ in self._waiters:
                self._tell(Seen(execution, asked.get(id_)))
        if len(self._recent) > _RECENT_MAX:
            # The older half at a time: a dict's first key is looked for past all that were deleted.
            newest = islice(self._recent.items(), len(self._recent) - _RECENT_MAX // 2, None)
            self._recent = dict(newest)

    async def refresh(self, *, changed: bool) -> None:
        """Look at the store, for what other processes have done.

        Unless one of them is known to have `changed` something, only for those who were waiting at
        the last look already: the others looked themselves when they began.
        """
        waiting = set(self._waiters)
        waited_for = list(waiting if changed else waiting & self._waiting_before)
        self._waiting_before = waiting
        for start in range(0, len(waited_for), _LOOK_UP_MAX):
            for execution in await self._fetch(waited_for[start : start + _LOOK_UP_MAX]):
                if execution is not None:
                    self._tell(Seen(execution))

    async def _fetch(self, ids: Sequence[ExecutionId]) -> list[Execution | None]:
        return await self._store.executions_by_id(None, ids)

    def _tell(self, seen: Seen) -> None:
        for waiter in self._waiters.get(seen.execution.id, ()):
            waiter.tell(seen)


def _asked(outcomes: Sequence[Outcome]) -> dict[ExecutionId, Asked]:
    """The questions that a commit has asked, by execution."""
    found: dict[ExecutionId, Asked] = {}
    for outcome in outcomes:
        if isinstance(outcome, Moved) and outcome.asked is not None:
            unit, interaction = outcome.asked
            found[interaction.execution] = Asked(interaction, outcome.execution.pipeline, unit)
    return found


def _unknown(execution: ExecutionId) -> UnknownExecution:
    return UnknownExecution(f"there is no execution {format_execution(execution)!r}")
