"""One process of an app: opens store and resources, starts the loops, stops them in order."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any

from bide.authoring.publications import Destination
from bide.authoring.transports import Transport as Via
from bide.errors import StoreUnavailable
from bide.model.ids import ExecutionId
from bide.model.records import Interaction
from bide.planning.hints import ResourceKey, resource_of
from bide.runtime.admission import Admission
from bide.runtime.clock import ExecutionIds, worker_name
from bide.runtime.committer import Committer
from bide.runtime.courier import Courier
from bide.runtime.deploys import Deploys
from bide.runtime.dispatcher import Dispatcher
from bide.runtime.door import Door
from bide.runtime.health import Backlogs, Health
from bide.runtime.plans import Plans
from bide.runtime.pool import StepPool
from bide.runtime.publishing import Publisher
from bide.runtime.segment.tools import Tools
from bide.runtime.segment.transacting import Transactions
from bide.runtime.service import Service
from bide.runtime.sweeper import Sweeper
from bide.runtime.watch import Watch
from bide.runtime.worker import Worker
from bide.security.desk import CLOSED, TokenDesk
from bide.security.tokens import Purpose
from bide.settings import Settings
from bide.spi.clock import Clock
from bide.spi.handoff import Carrier
from bide.spi.receiving import Receiver
from bide.spi.store import Store
from bide.spi.telemetry import NO_METER, SILENT, Levels, Telemetry, Untaken, Waiting
from bide.spi.transactions import Transactional
from bide.spi.transport import Transport

log = logging.getLogger(__name__)

Resource = Callable[[], AbstractAsyncContextManager[Any]]
DEFAULT_CONCURRENCY = 2_000


class Runtime:
    """Everything that runs in one process over one store."""

    def __init__(
        self,
        store: Store,
        plans: Plans,
        settings: Settings,
        clock: Clock,
        *,
        tokens: TokenDesk = CLOSED,
        resources: Sequence[Resource],
        given: Mapping[ResourceKey, object],
        transports: Mapping[type[Via], Transport] | None = None,
        carriers: Mapping[type[Destination], Carrier] | None = None,
        telemetry: Telemetry = SILENT,
        new_id: Callable[[], ExecutionId] | None = None,
    ) -> None:
        self.store = store
        self.plans = plans
        self.settings = settings
        self.tokens = tokens
        self._clock = clock
        self._telemetry = telemetry
        self._resources = resources
        self._given = given
        self._transports = transports or {}
        self._carriers = carriers or {}
        self.dispatcher: Dispatcher | None = None
        self.courier: Courier | None = None
        self.worker: Worker | None = None
        self.watch = Watch(store, self._is_running_here)
        self.committer = Committer(
            store,
            rows=settings.batch_rows,
            size=settings.batch_bytes,
            pending_rows=settings.pending_rows,
            meter=telemetry.meter,
        )
        new_id = new_id or ExecutionIds()
        self._publisher = Publisher(plans, settings, new_id)
        self.deploys = Deploys(store, plans, settings)
        self.admission = Admission(
            store,
            self.committer,
            plans,
            settings,
            clock,
            self.deploys,
            new_id,
            tokens,
            telemetry,
        )
        self._sweeper = Sweeper(store, self.committer, settings, telemetry.meter)
        self._backlogs = Backlogs(store, plans)
        self.health = Health(
            store, plans, settings, self.deploys, tokens,
            [*self._transports.values(), *self._carriers.values()], self._sweeper,
            self._backlogs, clock,
        )  # fmt: skip
        self.service = Service(
            store, self.committer, self.watch, plans, self.admission, settings, new_id,
            self.health.checks, self.deploys, tokens, self._metrics,
            telemetry.tracing, self._publisher,
        )  # fmt: skip
        self._pool = StepPool(settings.step_threads)
        self._stack = AsyncExitStack()
        self._follow: asyncio.Task[None] | None = None

    async def start(
        self,
        *,
        workers: bool,
        concurrency: int = DEFAULT_CONCURRENCY,
        pipelines: Sequence[str] = (),
        looping: bool = True,
    ) -> None:
        """Open the store, then what steps ask for, then begin to work.

        Whatever was opened is closed again when a later part cannot be. Unless `looping`, it does
        nothing by itself but to go on with what its own commits hand over: a simulator calls `turn`.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self._telemetry.tracing.close)
            stack.push_async_callback(self.store.close)
            await self.store.open()
            self.committer.start()
            stack.push_async_callback(self.committer.stop)
            if workers:
                await self._start_worker(stack, concurrency, pipelines, looping=looping)
            followers = (self.worker, self.dispatcher, self.courier, self.watch)
            self.committer.follow([each for each in followers if each is not None])
            if looping:
                self._follow = asyncio.create_task(self._follow_others(), name="bide-follow")
                stack.push_async_callback(_cancelled, self._follow)
            stack.callback(self.watch.stop)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Let running segments finish, commit what is waiting, close everything."""
        await self._stack.aclose()

    async def turn(self) -> bool:
        """Do the next thing that is due now, with whatever follows from it at once.

        Claims one execution, or else what is to be sent, or else settles what is overdue; so that
        what a process does comes in one order, however its threads are scheduled.

        Returns:
            Whether there was anything to do.

        Raises:
            StoreUnavailable: it was not done.
        """
        done = self.worker is not None and await self.worker.claim_due(1) > 0
        if not done and self.dispatcher is not None:
            done = await self.dispatcher.claim_due() > 0
        if not done and self.courier is not None:
            done = await self.courier.claim_due() > 0
        if not done:
            done = await self._sweeper.sweep() > 0
        await self.idle()
        return done

    @property
    def steps_running(self) -> int:
        """How many threads are in a step; after a stop, those that cannot be told to end."""
        return self._pool.busy

    async def idle(self) -> None:
        """Return once nothing is under way: no segment, nothing being sent, no commit."""
        while True:
            if self.worker is not None:
                await self.worker.idle()
            if self.dispatcher is not None:
                await self.dispatcher.idle()
            if self.courier is not None:
                await self.courier.idle()
            await self.committer.idle()
            # What was waited for last may have begun what was waited for first.
            begun = (
                (self.worker and self.worker.running)
                or (self.dispatcher and self.dispatcher.sending)
                or (self.courier and self.courier.offering)
            )
            if not begun and self.committer.is_idle:
                return

    async def _start_worker(
        self,
        stack: AsyncExitStack,
        concurrency: int,
        pipelines: Sequence[str],
        *,
        looping: bool,
    ) -> None:
        opened: dict[Any, object] = dict(self._given)
        for factory in self._resources:
            kind = resource_of(factory)
            if kind not in opened:
                opened[kind] = await stack.enter_async_context(factory())
        self._pool.start()
        stack.callback(self._pool.stop)
        transactions = (
            Transactions(self.store, self.settings)
            if isinstance(self.store, Transactional)
            else None
        )
        tools = Tools(
            self.store,
            self._pool,
            self.settings,
            self._clock,
            opened,
            self._publisher,
            transactions=transactions,
        )
        names = [self.plans.get(name).pipeline for name in pipelines]
        name = worker_name()
        await self.deploys.start(name, names, looping=looping)
        stack.push_async_callback(self.deploys.stop)
        self.worker = Worker(
            name, self.store, self.committer, self.plans, tools, self.settings,
            concurrency=concurrency, deploys=self.deploys, telemetry=self._telemetry,
        )  # fmt: skip
        self.deploys.on_change(self.worker.wake)
        stack.push_async_callback(self.worker.stop, self.settings.stop_timeout_ms / 1000)
        self.health.worker = self.worker
        stack.push_async_callback(self._sweeper.stop)
        if looping:
            self.worker.start()
            self._sweeper.start()
        if self._transports:
            await self._start_dispatcher(stack, name, looping=looping)
        if self._carriers:
            await self._start_courier(stack, name, names, looping=looping)

    async def _start_dispatcher(self, stack: AsyncExitStack, name: str, *, looping: bool) -> None:
        for transport in self._transports.values():
            stack.push_async_callback(transport.close)
            await transport.open()
        self.dispatcher = Dispatcher(
            name, self.store, self.committer, self.plans, self.deploys, self._transports,
            self.settings, self._token_of, telemetry=self._telemetry,
        )  # fmt: skip
        self.health.dispatcher = self.dispatcher
        if looping:
            self.dispatcher.start()
        stack.push_async_callback(self.dispatcher.stop, self.settings.stop_timeout_ms / 1000)
        self._listen(stack, self._transports.values())

    async def _start_courier(
        self, stack: AsyncExitStack, name: str, pipelines: Sequence[str], *, looping: bool
    ) -> None:
        for carrier in self._carriers.values():
            stack.push_async_callback(carrier.close)
            await carrier.open()
        self.courier = Courier(
            name, self.store, self.committer, self.plans, self._carriers, self.settings,
            pipelines=pipelines,
        )  # fmt: skip
        self.health.courier = self.courier
        if looping:
            self.courier.start()
        stack.push_async_callback(self.courier.stop, self.settings.stop_timeout_ms / 1000)
        self._listen(stack, self._carriers.values())

    def _listen(self, stack: AsyncExitStack, parts: Iterable[object]) -> None:
        """Have those that take something in bring it."""
        door = Door(
            self.admission,
            self.service.take,
            self.committer,
            self.plans,
            self.tokens,
            self.settings,
        )
        for part in parts:
            if isinstance(part, Receiver):
                stack.push_async_callback(part.unlisten)
                part.listen(door)

    def _token_of(self, interaction: Interaction, via: Via) -> str | None:
        """The right to answer that goes out with a request."""
        return self.tokens.issue(interaction, Purpose.RESUME) if via.needs_token else None

    async def _follow_others(self) -> None:
        """Look after what other processes commit: wake the worker, tell the waiters."""
        longest = self.settings.poll_max_ms / 1000
        while True:
            try:
                changed = await self.store.wait_for_change(longest)
                if changed:
                    self._wake()
                await self.watch.refresh(changed=changed)
            except StoreUnavailable as error:
                log.warning("cannot follow the store: %s", error)
                await asyncio.sleep(longest)
            except Exception:  # a defect must not keep waiters from hearing anything more
                log.exception("following the store failed in a way that it should not")
                await asyncio.sleep(longest)

    def _wake(self) -> None:
        """Another process has committed: there may be something to claim."""
        for each in (self.worker, self.dispatcher, self.courier):
            if each is not None:
                each.wake()

    def _is_running_here(self, execution: ExecutionId) -> bool:
        return self.worker is not None and self.worker.holds(execution)

    async def _metrics(self) -> tuple[bytes, str] | None:
        """Everything that the meter heard, and how full everything is now."""
        if self._telemetry.meter is NO_METER:
            return None
        ready: list[Waiting] = []
        to_send: list[Waiting] = []
        untaken: list[Untaken] = []
        try:
            backlog = await self._backlogs.get()
        except StoreUnavailable as error:
            log.warning("cannot count what waits in the store: %s", error)
        else:
            ready = self._backlogs.waiting(backlog.ready, backlog.now)
            to_send = self._backlogs.waiting(backlog.to_send, backlog.now)
            untaken = self._backlogs.untaken(backlog)
        levels = Levels(
            ready=ready,
            to_send=to_send,
            untaken=untaken,
            pending_moves=self.committer.pending,
            executions_held=self.worker.running if self.worker else 0,
            threads=self.settings.step_threads,
            threads_busy=self._pool.busy,
            jobs_waiting=self._pool.waiting,
            sending=self.dispatcher.sending if self.dispatcher else 0,
        )
        return self._telemetry.meter.exposition(levels)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
