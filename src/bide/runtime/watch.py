"""Waiting for an execution to get somewhere, in this process or in another."""

import asyncio
from collections.abc import Callable, Sequence

from bide.engine.moves import Handover, Outcome
from bide.errors import NotRunning, UnknownExecution
from bide.model.ids import ExecutionId, format_execution
from bide.model.records import Execution
from bide.model.status import ExecutionStatus
from bide.runtime.lookups import LookUps
from bide.spi.store import Store

Condition = Callable[[Execution], bool]
_Waiter = tuple[Condition, asyncio.Future[Execution]]
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
        self._look_ups = LookUps(self._fetch, most=_LOOK_UP_MAX)

    @property
    def is_waited_on(self) -> bool:
        """True while anybody waits."""
        return bool(self._waiters)

    async def until(
        self, execution: ExecutionId, condition: Condition, timeout_s: float | None
    ) -> Execution:
        """Wait until the execution fulfils the condition, and give it as it was then.

        What this process has seen park may have moved on elsewhere since.

        Raises:
            UnknownExecution: there is none of that id.
            TimeoutError: it did not in time.
            NotRunning: the app was closed meanwhile.
        """
        recent = self._recent.get(execution)
        if recent is not None and condition(recent):
            return recent
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Execution] = loop.create_future()
        waiter = (condition, future)
        self._waiters.setdefault(execution, []).append(waiter)
        try:
            # Registered first, then looked up: a commit in between is seen by one of the two. What
            # this process's own worker holds is told of by its next commit.
            if not self._is_running_here(execution):
                row = await self._look_ups.get(execution)
                if row is None:
                    raise UnknownExecution(f"there is no execution {format_execution(execution)!r}")
                if condition(row):
                    return row
            if timeout_s is None:
                return await future
            expiry = loop.call_later(timeout_s, _expire, future)
            try:
                return await future
            finally:
                expiry.cancel()
        finally:
            self._forget(execution, waiter)

    def stop(self) -> None:
        """Tell everybody who still waits that nobody will tell them anything more."""
        for waiters in self._waiters.values():
            for _, future in waiters:
                if not future.done():
                    future.set_exception(NotRunning("the app was closed; the execution goes on"))

    def offer(self) -> Handover | None:
        """A watcher runs nothing."""
        return None

    def committed(
        self, outcomes: Sequence[Outcome], executions: Sequence[Execution], left_ready: int
    ) -> None:
        """Tell those who wait for what a commit wrote."""
        del outcomes, left_ready
        for execution in executions:
            if execution.status in _RESTING:
                self._recent[execution.id] = execution
            else:
                self._recent.pop(execution.id, None)
            if execution.id in self._waiters:
                self._tell(execution)
        while len(self._recent) > _RECENT_MAX:
            del self._recent[next(iter(self._recent))]

    async def refresh(self) -> None:
        """Look at the store, for what other processes have done."""
        waited_for = list(self._waiters)
        for start in range(0, len(waited_for), _LOOK_UP_MAX):
            for execution in await self._fetch(waited_for[start : start + _LOOK_UP_MAX]):
                if execution is not None:
                    self._tell(execution)

    async def _fetch(self, ids: Sequence[ExecutionId]) -> list[Execution | None]:
        return await self._store.executions_by_id(None, ids)

    def _tell(self, execution: Execution) -> None:
        for condition, future in self._waiters.get(execution.id, ()):
            if not future.done() and condition(execution):
                future.set_result(execution)

    def _forget(self, execution: ExecutionId, waiter: _Waiter) -> None:
        waiters = self._waiters[execution]
        waiters.remove(waiter)
        if not waiters:
            del self._waiters[execution]


def _expire(future: asyncio.Future[Execution]) -> None:
    if not future.done():
        future.set_exception(TimeoutError("the execution did not get there in time"))
