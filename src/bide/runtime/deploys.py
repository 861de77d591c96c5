"""What this process claims, what the others claim, and what nobody does.

Theory of operation
-------------------
A worker claims by fingerprints: those of its own boundaries, and those of other deployments whose
stored values it may be able to read (`bide.planning.fitting`). It writes down what its own stand
for, reads what others have written, and adopts what fits. When stored bytes then do not validate it
gives the execution back and drops that fingerprint until it is started anew, so nothing fails and
nothing goes in circles.

Each worker also says, with every renewal of leases, that it is there and what it claims. What is due
and claimed by no live worker is *held*. That is nobody's status: it is computed whenever somebody
looks, from the fingerprints of the workers that were seen within a lease's time.

A paused pipeline is looked for twice a second: what is claimed stops then, whatever was claimed
before goes on to its next boundary.

What happens when it crashes here: the worker's row grows old, and it is no longer counted.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from bide.errors import StoreUnavailable
from bide.model.records import Execution, WorkerSeen
from bide.model.status import ExecutionStatus
from bide.runtime.plans import Plans
from bide.settings import Settings
from bide.spi.store import Deployed, Notice, Pause, SignOut, Store

log = logging.getLogger(__name__)

#: How old the picture of the others may be; a pause is seen within it.
_PICTURE_S = 0.5
_HELD_IN = {ExecutionStatus.QUEUED, ExecutionStatus.WAIT_RETRY, ExecutionStatus.RUNNING}


class Deploys:
    """The deployments that share a store, as one process sees them."""

    def __init__(self, store: Store, plans: Plans, settings: Settings) -> None:
        self._store = store
        self._plans = plans
        self._settings = settings
        self._worker: str | None = None
        self._only: frozenset[str] = frozenset()
        self._dropped: set[str] = set()
        self._announced: frozenset[str] = frozenset()
        self._started_at = 0
        self._picture = Deployed(0, {}, [], frozenset())
        self._read_at = float("-inf")
        self._said_at = float("-inf")
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._wake: Callable[[], None] = lambda: None
        #: The fingerprints that this process claims now.
        self.claims: frozenset[str] = frozenset()

    # --- a worker's part ----------------------------------------------------------------------

    async def start(self, worker: str, pipelines: Sequence[str], *, looping: bool = True) -> None:
        """Say what this process's fingerprints stand for and that it claims by them; then, if
        `looping`, look and speak from time to time.
        """
        self._worker = worker
        self._only = frozenset(pipelines)
        self._started_at = await self._store.now()
        boundaries = self._plans.boundaries()
        self._plans.adopt((await self._store.deployed()).boundaries.values())
        await self.say(boundaries)
        await self.refresh()
        if looping:
            self._task = asyncio.create_task(self._run(), name="bide-deploys")

    async def stop(self) -> None:
        """Say that it claims no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._worker is not None:
            with suppress(StoreUnavailable):
                await self._store.announce([SignOut(self._worker)])
            self._worker = None

    def on_change(self, wake: Callable[[], None]) -> None:
        """Say whom to wake when there is more to claim."""
        self._wake = wake

    def drop(self, fingerprint: str) -> None:
        """Claim no more of what this process cannot read."""
        if fingerprint in self._dropped:
            return
        self._dropped.add(fingerprint)
        self._decide()
        self._changed.set()
        log.error(
            "stored values do not validate against this deployment; no longer claiming %s",
            fingerprint,
        )

    async def _run(self) -> None:
        """Look twice a second, and speak with every renewal or when something has changed."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PICTURE_S):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.refresh()
                age = asyncio.get_running_loop().time() - self._said_at
                renewal = self._settings.lease_renew_ms / 1000
                if age >= renewal or self._announced != self._claimable():
                    await self.say()
            except StoreUnavailable as error:
                log.warning("cannot look at the other workers: %s", error)
            except Exception:  # a defect must not end the looks for good
                log.exception("a look at the other workers failed in a way that none should")

    async def say(self, notices: Sequence[Notice] = ()) -> None:
        """Announce that this worker is there and what it claims."""
        assert self._worker is not None
        claimable = self._claimable()
        seen = WorkerSeen(self._worker, self._started_at, 0, claimable)
        await self._store.announce([*notices, seen])
        self._announced = claimable
        self._said_at = asyncio.get_running_loop().time()

    def _claimable(self) -> frozenset[str]:
        """What it could take, paused or not."""
        plans = self._plans
        known = plans.of_pipelines(tuple(self._only)) if self._only else plans.fingerprints
        return known - self._dropped

    def _decide(self) -> None:
        if self._worker is None:
            return
        before, paused = self.claims, self._picture.paused
        self.claims = self._claimable()
        if paused:
            self.claims -= self._plans.of_pipelines(tuple(paused))
        if self.claims - before:
            self._wake()

    # --- everybody's --------------------------------------------------------------------------

    async def refresh(self) -> Deployed:
        """Look at what was announced, adopt what fits, and say what is there."""
        self._picture = await self._store.deployed()
        self._read_at = asyncio.get_running_loop().time()
        self._plans.adopt(self._picture.boundaries.values())
        self._decide()
        return self._picture

    async def picture(self) -> Deployed:
        """What was announced, at most half a second ago."""
        if asyncio.get_running_loop().time() - self._read_at > _PICTURE_S:
            await self.refresh()
        return self._picture

    async def pause(self, pipeline: str, *, paused: bool) -> None:
        """Stop the claims of a pipeline in every process, or let them go on."""
        await self._store.announce([Pause(pipeline, paused)])
        await self.refresh()

    async def claimed_by_somebody(self) -> frozenset[str]:
        """The fingerprints that live workers could take."""
        picture = await self.picture()
        claimed: frozenset[str] = frozenset()
        for worker in self._live(picture):
            claimed |= worker.fingerprints
        return claimed

    async def held(self, execution: Execution) -> str | None:
        """Why no live worker can claim an execution that is due; None where it is not held."""
        if execution.due_at is None or execution.status not in _HELD_IN:
            return None
        picture = await self.picture()
        age_ms = (asyncio.get_running_loop().time() - self._read_at) * 1_000
        if execution.due_at > picture.now + age_ms + 1:
            return None
        if execution.pipeline in picture.paused:
            return f"pipeline {execution.pipeline!r} is paused"
        live = self._live(picture)
        if any(execution.fingerprint in worker.fingerprints for worker in live):
            return None
        if not live:
            return "no worker is running"
        why = self._plans.misfit(execution.fingerprint)
        return (
            f"no live worker can go on from {execution.fingerprint}"
            f"{f' ({why})' if why else ''}; deploy what fits, or release it"
        )

    def _live(self, picture: Deployed) -> list[WorkerSeen]:
        oldest = picture.now - max(self._settings.lease_ms, 2 * self._settings.lease_renew_ms)
        return [worker for worker in picture.workers if worker.seen_at >= oldest]
