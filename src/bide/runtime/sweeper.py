"""The sweeper: deadlines that have passed, what ended units left open, what is old enough to go.

Several processes may sweep the same store: each decision is made under the row's lock, so a second
sweep finds nothing left to do. Nothing depends on when it runs: admission compares deadlines itself.
"""

import asyncio
import logging

from bide.engine.moves import CloseBehind, Expire, ExpireEarly, ExpireUnit, Move
from bide.errors import StoreUnavailable
from bide.model.ids import compose_execution_id
from bide.runtime.committer import Committer
from bide.settings import Settings
from bide.spi.store import Store
from bide.spi.telemetry import NO_METER, Meter

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000
#: Sweeps between two looks at what can be retired.
_RETIRE_EVERY = 30


class Sweeper:
    """One loop of one process."""

    def __init__(
        self, store: Store, committer: Committer, settings: Settings, meter: Meter = NO_METER
    ) -> None:
        self._store = store
        self._meter = meter
        self._committer = committer
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._swept_at = 0.0

    def start(self) -> None:
        """Begin to sweep."""
        self._swept_at = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._run(), name="bide-sweep")

    async def stop(self) -> None:
        """Sweep no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def is_running(self) -> bool:
        """False when its loop has ended, which only a defect makes it do before a stop."""
        return self._task is not None and not self._task.done()

    @property
    def unswept_s(self) -> float:
        """Seconds since a sweep came to its end."""
        return asyncio.get_running_loop().time() - self._swept_at

    async def sweep(self) -> int:
        """Settle one batch of what is overdue; gives how many moves that took."""
        overdue = await self._store.overdue(self._settings.batch_rows)
        # Units first: their end is what then binds for the items that are overdue with them.
        moves: list[Move] = [ExpireUnit(each) for each in overdue.units]
        moves += [CloseBehind(each) for each in overdue.left_open]
        moves += [Expire(each) for each in overdue.expired]
        moves += [ExpireEarly(each) for each in overdue.early]
        if moves:
            await self._committer.commit_many(moves)
        self._meter.swept("expired", len(overdue.expired))
        self._meter.swept("closed_behind", len(overdue.left_open))
        self._meter.swept("units", len(overdue.units))
        self._meter.swept("early", len(overdue.early))
        return len(moves)

    async def retire(self) -> int:
        """Delete one batch of executions that ended longer ago than the retention says."""
        older_than = await self._store.now() - round(self._settings.retention_days * _DAY_MS)
        return await self._store.retire(older_than, self._settings.batch_rows)

    async def forget_keys(self) -> int:
        """Delete one batch of submit keys that nobody will repeat any more."""
        older_than = await self._store.now() - round(self._settings.submit_key_days * _DAY_MS)
        return await self._store.forget_keys(older_than, self._settings.batch_rows)

    async def forget_audit(self) -> int:
        """Delete one batch of the audit that is older than the settings say."""
        older_than = await self._store.now() - round(self._settings.audit_days * _DAY_MS)
        before = compose_execution_id(max(older_than, 0), 0, 0)
        return await self._store.forget_audit(before, self._settings.batch_rows)

    async def _run(self) -> None:
        rounds = 0
        while True:
            try:
                full = True
                while full:
                    full = await self.sweep() >= self._settings.batch_rows
                if rounds % _RETIRE_EVERY == 0:
                    self._meter.swept("retired", await self.retire())
                    self._meter.swept("forgotten", await self.forget_keys())
                    await self.forget_audit()
                self._swept_at = asyncio.get_running_loop().time()
            except StoreUnavailable as error:
                log.warning("cannot sweep: %s", error)
            except Exception:  # a defect must not end the sweeps of everything else
                log.exception("a sweep failed in a way that none should")
            rounds += 1
            await asyncio.sleep(self._settings.sweep_interval_ms / 1000)
