"""The worker: claims what is due, runs its segments, commits what they come to.

Theory of operation
-------------------
Executions reach a worker in two ways. It *claims* what is due, oldest first; and the committer of
its own process *hands over* what a commit has just made ready, which saves both the claim and the
wait for it. Hand-overs leave some of its room to claims, so that older work is not starved.

Plain segments go to the pool as a batch and come back one by one through an outbox, so that a
finished one is committed while the others still run. Other segments are tasks on the event loop.

Leases are renewed in a lane of their own. A renewal that is refused means that somebody else has
the execution; nothing that this worker still writes about it is accepted, since every move carries
the fence of its claim.

What happens when it crashes here: leases run out, and other workers take over. A stop gives back
what was not begun and lets the rest finish.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from bide.engine.fold import Transacted
from bide.engine.moves import (
    Claimed,
    Fail,
    GiveBack,
    Handover,
    Move,
    Moved,
    Outcome,
    Refused,
    Unstorable,
)
from bide.engine.running import ClaimOffer
from bide.errors import StoreUnavailable
from bide.model.ids import ExecutionId, format_execution
from bide.model.records import Execution
from bide.model.status import ExecutionStatus
from bide.runtime.committer import Committer, Result
from bide.runtime.deploys import Deploys
from bide.runtime.plans import Plans
from bide.runtime.pool import call_on
from bide.runtime.segment.ends import Made, starts_midway, traced
from bide.runtime.segment.failing import Again
from bide.runtime.segment.plain import PlainSegment
from bide.runtime.segment.task import SegmentTask
from bide.runtime.segment.tools import Tools
from bide.settings import Settings
from bide.spi.store import LeaseKey, Store
from bide.spi.telemetry import SILENT, UNTRACED, Telemetry, Traced

log = logging.getLogger(__name__)

_POLL_FIRST_S = 0.05
_RECOMMIT_S = 0.25
#: How long a stop waits for steps that were cut off and clean up.
_CLEAN_UP_S = 2.0
#: The part of a worker's room that hand-overs may take.
_HANDOVER_SHARE = 0.75


class _Ended(NamedTuple):
    """A segment that has ended, and the move that it ends in."""

    execution: Execution
    move: Move


class Worker:
    """Runs segments of the pipelines of one app in this process."""

    def __init__(
        self,
        name: str,
        store: Store,
        committer: Committer,
        plans: Plans,
        tools: Tools,
        settings: Settings,
        *,
        concurrency: int,
        deploys: Deploys,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.name = name
        self._meter, self._tracing = telemetry
        self._beginning: set[asyncio.Task[None]] = set()
        self._store = store
        self._committer = committer
        self._plans = plans
        self._tools = tools
        self._settings = settings
        self._concurrency = concurrency
        self._deploys = deploys
        self._running: dict[ExecutionId, int] = {}
        self._tasks: dict[ExecutionId, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._outbox: deque[tuple[PlainSegment, Move | Again]] = deque()
        self._outbox_signalled = False
        self._stopping = False
        self._renewed_at = self._loop.time()
        self._loops: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self) -> None:
        """Begin to claim."""
        log.info("worker %s claims", self.name)
        self._loops = [
            asyncio.create_task(self._claim_loop(), name="bide-claim"),
            asyncio.create_task(self._renew_loop(), name="bide-renew"),
        ]

    async def stop(self, timeout_s: float) -> None:
        """Claim no more; let running segments finish, and give back what was not begun."""
        self._stopping = True
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                # A claim that is under way is not cut off: the store would keep what it brings.
                if self._loops:
                    await asyncio.wait(self._loops[:1])
                await self._idle.wait()
        except TimeoutError:
            log.warning("stopping with %d segments unfinished", len(self._running))
        left = [*self._loops, *self._tasks.values()]
        for task in left:
            task.cancel()
        held = list(self._running.items())
        for id_, _ in held:
            self._forget(id_)
        # Given back before anything of theirs is waited for; then their tasks may clean up, as
        # long as what they use is open.
        await self._give_back(held)
        if left:
            await asyncio.wait(left, timeout=_CLEAN_UP_S)

    def wake(self) -> None:
        """Look for due executions now."""
        self._wake.set()

    def holds(self, execution: ExecutionId) -> bool:
        """True while it runs that execution."""
        return execution in self._running

    @property
    def is_claiming(self) -> bool:
        """False when its loops have ended, which only a defect makes them do before a stop."""
        return not any(loop.done() for loop in self._loops)

    @property
    def running(self) -> int:
        """How many executions it holds."""
        return len(self._running)

    async def idle(self) -> None:
        """Return once it holds none."""
        while self._running:
            await self._idle.wait()

    @property
    def unrenewed_s(self) -> float:
        """Seconds since its leases were all known to be kept or lost."""
        return self._loop.time() - self._renewed_at

    # --- as a follower of commits -------------------------------------------------------------

    def offer(self) -> Handover | None:
        """What it would take over from the next commit."""
        slots = int(self._concurrency * _HANDOVER_SHARE) - len(self._running)
        if self._stopping or slots <= 0 or not self._deploys.claims:
            return None
        return Handover(self.name, self._settings.lease_ms, slots, self._deploys.claims)

    def committed(self, done: Transacted) -> None:
        """Take what the commit handed over; look for the rest."""
        if done.claims:
            self._meter.handed_over(len(done.claims))
            self._take(done.claims)
        if done.left_ready:
            self._wake.set()

    # --- claiming -----------------------------------------------------------------------------

    async def _claim_loop(self) -> None:
        pause = _POLL_FIRST_S
        while not self._stopping:
            self._wake.clear()
            room = self._concurrency - len(self._running)
            claimed = 0
            try:
                claimed = await self.claim_due(room)
            except StoreUnavailable as error:
                log.warning("cannot claim: %s", error)
            if claimed:
                pause = _POLL_FIRST_S
                if claimed >= room:
                    await self._pause(_POLL_FIRST_S)
                continue
            await self._pause(pause)
            pause = min(pause * 2, self._settings.poll_max_ms / 1000)

    async def claim_due(self, room: int) -> int:
        """Claim and begin what is due, `room` executions at most; gives how many.

        Raises:
            StoreUnavailable: nothing was claimed.
        """
        if room <= 0 or not self._deploys.claims:
            return 0
        began = self._loop.time()
        claimed = await self._store.claim(self._claim_offer(room))
        self._meter.claimed(claimed, self._loop.time() - began)
        if claimed:
            self._take(claimed)
        return len(claimed)

    def _claim_offer(self, room: int) -> ClaimOffer:
        limit = min(room, self._settings.batch_rows)
        return ClaimOffer(
            self.name,
            self._settings.lease_ms,
            limit,
            self._deploys.claims,
            self._settings.lease_takeovers_max,
        )

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _renew_loop(self) -> None:
        while True:
            held = list(self._running.items())
            await asyncio.sleep(self._settings.lease_renew_ms / 1000)
            # What came since is young; what is gone needs none.
            leases = [
                LeaseKey(id_, fence) for id_, fence in held if self._running.get(id_) == fence
            ]
            if not leases:
                self._renewed_at = self._loop.time()
                continue
            try:
                kept = await self._store.renew(leases, self._settings.lease_ms)
            except StoreUnavailable as error:
                log.warning("cannot renew %d leases: %s", len(leases), error)
                continue
            self._renewed_at = self._loop.time()
            lost = kept.count(False)
            if lost:
                self._meter.leases_lost(lost)
            for lease, is_kept in zip(leases, kept, strict=True):
                if not is_kept:
                    self._lost(lease)

    def _lost(self, lease: LeaseKey) -> None:
        if self._running.get(lease.execution) != lease.fence:
            return  # it has ended meanwhile, or has gone on here under a later claim
        log.warning("lost the lease on %s", format_execution(lease.execution))
        self._forget(lease.execution)
        task = self._tasks.get(lease.execution)
        if task is not None:
            task.cancel()

    # --- running ------------------------------------------------------------------------------

    def _take(self, claims: Sequence[Claimed]) -> None:
        if self._stopping:
            # Through the committer, which commits what is waiting before it stops.
            back = [GiveBack(each.execution.id, each.execution.fence) for each in claims]
            self._committer.add(back, lambda _: None)
            return
        self._idle.clear()
        for claimed in claims:
            self._running[claimed.execution.id] = claimed.execution.fence
        if self._tracing.is_on:
            task = self._loop.create_task(self._begin_traced(claims))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)
        else:
            self._begin(claims, [UNTRACED] * len(claims))

    async def _begin_traced(self, claims: Sequence[Claimed]) -> None:
        """Begin segments in the traces that their executions are in; one look for all of them."""
        wanted = [(each.execution.tenant, each.execution.id) for each in claims]
        try:
            within = await self._store.traces(wanted)
        except StoreUnavailable as error:
            log.warning("segments run untraced: %s", error)
            within = [None] * len(claims)
        held = [
            (claimed, self._tracing.running(claimed, context))
            for claimed, context in zip(claims, within, strict=True)
            if self._holds(claimed.execution)
        ]
        self._begin([claimed for claimed, _ in held], [trace for _, trace in held])

    def _begin(self, claims: Sequence[Claimed], traces: Sequence[Traced]) -> None:
        plain: list[PlainSegment] = []
        for claimed, trace in zip(claims, traces, strict=True):
            execution = claimed.execution
            tools = self._tools if trace is UNTRACED else self._tools._replace(trace=trace)
            stretch = self._plans.stretch(execution.fingerprint)
            if (
                stretch.is_plain
                and claimed.body is not None
                and claimed.reopened is None
                and not starts_midway(execution)
            ):
                plain.append(PlainSegment(claimed, stretch, tools, self._post))
            else:
                task = self._loop.create_task(
                    self._run_task(
                        SegmentTask(
                            claimed, stretch, tools, self._commit, self._committer.commit_apart
                        )
                    )
                )
                self._tasks[execution.id] = task
        if plain:
            self._tools.pool.put(plain)

    async def _run_task(self, segment: SegmentTask) -> None:
        execution = segment.execution
        try:
            move = await segment.run()
        except BaseException:
            segment.trace.failed("dropped")
            segment.trace.end()
            raise
        finally:
            if self._tasks.get(execution.id) is asyncio.current_task():
                del self._tasks[execution.id]
        if move is None:
            segment.trace.failed("dropped")
            segment.trace.end()
            self._forget(execution.id)
        elif isinstance(move, Made):
            traced(move.move, segment.trace)
            self._settled(_Ended(execution, move.move), move.outcome)
        else:
            self._finish([_Ended(execution, traced(move, segment.trace))])

    async def _commit(self, move: Move) -> Outcome:
        return await self._committer.commit(move)

    def _post(self, segment: PlainSegment, move: Move | Again) -> None:
        """Take a finished segment from whichever thread it ran on."""
        self._outbox.append((segment, move))
        if not self._outbox_signalled:
            self._outbox_signalled = True
            call_on(self._loop, self._collect)

    def _collect(self) -> None:
        self._outbox_signalled = False
        ended: list[_Ended] = []
        while self._outbox:
            segment, move = self._outbox.popleft()
            if not isinstance(move, Again):
                ended.append(_Ended(segment.execution, traced(move, segment.trace)))
            elif self._holds(segment.execution):
                self._loop.call_later(move.delay_ms / 1000, self._tools.pool.put, [segment])
        self._finish(ended)

    def _holds(self, execution: Execution) -> bool:
        return self._running.get(execution.id) == execution.fence

    # --- committing what came of it -----------------------------------------------------------

    def _finish(self, ended: Sequence[_Ended]) -> None:
        # Not what was lost, or given back by a stop, since the last try.
        held = [each for each in ended if self._holds(each.execution)]
        for execution, move in held:
            if isinstance(move, GiveBack):
                self._deploys.drop(execution.fingerprint)

        def done(part: slice, result: Result) -> None:
            if isinstance(result, StoreUnavailable):
                # The leases are kept for as long as the store cannot say otherwise.
                self._loop.call_later(_RECOMMIT_S, self._finish, held[part])
                return
            for each, outcome in zip(held[part], result, strict=True):
                self._settled(each, outcome)

        self._committer.add_each([each.move for each in held], done)

    def _settled(self, ended: _Ended, outcome: Outcome) -> None:
        if not isinstance(outcome, Moved) and not self._came_to_nothing(ended, outcome):
            return
        # A commit that hands the same execution over again has raised the fence.
        if self._holds(ended.execution):
            self._forget(ended.execution.id)

    def _came_to_nothing(self, ended: _Ended, outcome: Outcome) -> bool:
        """Say so, and whether that is the end of it: else the execution is ended in another way."""
        execution, move = ended
        id_ = format_execution(execution.id)
        match outcome:
            case Refused(reason):
                log.info("a move of %s came to nothing: %s", id_, reason)
            case _ if isinstance(move, Fail):
                log.error("%s cannot be ended: %s", id_, outcome)
            case _:
                code = "unstorable" if isinstance(outcome, Unstorable) else "replay-mismatch"
                failed = _failed(execution, code, getattr(outcome, "message", ""))
                self._finish([_Ended(execution, failed)])
                return False
        return True

    def _forget(self, id_: ExecutionId) -> None:
        self._running.pop(id_, None)
        if not self._running:
            self._idle.set()

    async def _give_back(self, held: Sequence[tuple[ExecutionId, int]]) -> None:
        if not held:
            return
        with suppress(StoreUnavailable):
            await self._store.transact([GiveBack(id_, fence) for id_, fence in held])


def _failed(execution: Execution, code: str, message: str) -> Fail:
    return Fail(
        execution.id, execution.fence, ExecutionStatus.DLQ, execution.step_index, None,
        execution.attempt, code, message,
    )  # fmt: skip
