"""An app on a virtual clock, whose process a test may end at any instant.

Theory of operation
-------------------
A `Simulation` is the app itself: its own engine, worker, dispatcher and sweeper, over a real SQLite
file. Only what makes one run differ from the next is taken out. No loop runs: a verb does what is
due, one thing after another (`Runtime.turn`), and returns when nothing more is. Time stands still
meanwhile, and moves from one due instant to the next when a test lets it pass. Ids come from the
order of the verbs. What is sent stays in memory (`Carrier`).

A crash ends the process's store (`Mortal`): what was in memory leaves no trace, and the file stays.
A new process then starts over that file, after its leases have run out. Whoever was asking asks
again, as a client does that has lost its connection.

The clock that steps see leaves out the time that leases need to run out, so that a step that runs
again after a crash has the time of its first run.
"""

import asyncio
import random
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from typing_extensions import TypeVar

from bide.app.app import DEFAULT_TENANT, App, admitted_by
from bide.authoring.durations import Duration, duration_ms
from bide.authoring.transports import Inbox
from bide.engine.dispatching import DispatchOffer, RouteOffer
from bide.engine.publishing import HandoffOffer
from bide.engine.publishing import Outgoing as HandedOn
from bide.engine.running import ClaimOffer
from bide.errors import StoreUnavailable
from bide.model.ids import ExecutionId, compose_execution_id, format_execution
from bide.model.records import Execution as Row
from bide.planning.plan import Plan
from bide.runtime.admission import Typed
from bide.runtime.plans import Plans
from bide.runtime.runtime import DEFAULT_CONCURRENCY, Runtime
from bide.runtime.views import Reply, Submission
from bide.runtime.watch import Condition, Seen
from bide.security.desk import TokenDesk
from bide.security.keyring import Keyring, new_key
from bide.spi.handoff import Offer
from bide.spi.store import ExecutionQuery, Store
from bide.spi.transport import Outgoing
from bide.stores.sqlite.store import SqliteStore
from bide.testing.carrier import Carrier, Handing, Partner, Taker, admits_all, takes_all
from bide.testing.clock import FakeClock
from bide.testing.fate import Commit, Mishap, Planned, When
from bide.testing.handles import SimulatedExecution
from bide.testing.ledger import Ledger, WatchedPlans
from bide.testing.lookout import Lookout
from bide.testing.mortal import Died, Mortal
from bide.testing.surroundings import muted, quick_folder

T = TypeVar("T")

_LEASE_MS = 100
#: Longer than any lease of a worker or a dispatcher.
_LAPSE_MS = 3 * _LEASE_MS
_CENTURY_MS = 100 * 365 * 86_400_000
_MANY = 100_000
#: Bits for the ids of one verb; the others are its ordinal's.
_ID_BITS = 32
#: How long the threads of a process that has died may go on with the step that they are in.
_THREADS_S = 10.0
#: Time stands still while anything runs, so leases need not be long; and every rest is one on the
#: clock.
_SETTINGS: Mapping[str, object] = {
    "lease_ms": _LEASE_MS,
    "retry_in_place_ms": 0,
    "stop_timeout_ms": 0,
    "dispatch_breaker_failures": _MANY,
}

Delivery = Literal["once", "twice", "reordered"]


class Conditions(NamedTuple):
    """Under which a simulation runs; the plain ones, unless `explore` says otherwise."""

    #: Decides the order of what has none, and, where it is odd, that every segment is claimed: an
    #: even one lets the commit that makes it ready hand it over.
    seed: int = 0
    mishap: Mishap | None = None
    #: How answers and keyed submissions come: once; twice; or answers of a batch in another order,
    #: each of them once more at some later time.
    delivery: Delivery = "once"


class End(NamedTuple):
    """Where an execution stands in the end, in terms that do not differ from run to run."""

    pipeline: str
    status: str
    #: Boundaries that it has met.
    units: int
    error_code: str | None
    #: As JSON; of a stream, one line an item.
    result: bytes | None


@dataclass(slots=True)
class _Verb:
    """A verb that the test has called: its ordinal, and how many ids were made for it."""

    number: int
    ids: int = 0
    #: In which it is asked; what the process goes on to do is not the verb's, though it has its
    #: context.
    task: asyncio.Task[Any] | None = None


_verb: ContextVar[_Verb | None] = ContextVar("bide_simulated_verb", default=None)


@asynccontextmanager
async def simulate(
    app: App,
    *,
    partner: Partner = takes_all,
    taker: Taker = admits_all,
    resources: Mapping[type, object] | None = None,
    conditions: Conditions = Conditions(),  # noqa: B008 - an immutable value, never changed
) -> AsyncGenerator["Simulation"]:
    """The app on a virtual clock, over a SQLite file of its own, for the body of the `async with`.

    Args:
        app: taken as it is, but for its store and for the settings that concern time.
        partner: says what comes of each try to send a request; takes them all by default.
        taker: says what another deployment answers to each try to hand a publication to it; admits
            them all by default, each key once.
        resources: objects in the place of the app's resources, by type.
        conditions: what `explore` varies.
    """
    carrier, handing = Carrier(partner), Handing(taker)
    kinds = {type(each.transport) for plan in app._plans.versions for each in plan.awaits()}
    with tempfile.TemporaryDirectory(prefix="bide-simulation-", dir=quick_folder()) as folder:
        sim = app._copied(
            Simulation,
            f"sqlite:///{folder}/bide.db",
            resources,
            app.settings.model_copy(update=_SETTINGS),
            dict.fromkeys(kinds - {Inbox}, carrier),
            dict.fromkeys({type(to) for to in app._plans.destinations().values()}, handing),
        )
        sim._begin(app._plans, Path(folder) / "bide.db", carrier, handing, conditions)
        with muted(lambda: sim._process.is_dead):
            await sim.start()
            try:
                yield sim
            finally:
                await sim.stop()


class Simulation(App):
    """An app whose time and whose crashes a test decides; `simulate` makes one.

    It has the verbs of an app, and each returns once nothing is due any more. Waiting is what lets
    time pass: `result(timeout=...)` and `parked(timeout=...)` go on from one due instant to the next
    until they have what they wait for, their timeout is over, or nothing would ever happen; then it
    is a `TimeoutError`.
    """

    # --- life ---------------------------------------------------------------------------------

    def _begin(
        self,
        plans: Plans,
        file: Path,
        carrier: Carrier,
        handing: Handing,
        conditions: Conditions,
    ) -> None:
        """Take what `simulate` has made; before anything else."""
        self._file = file
        self._carrier = carrier
        self._handing = handing
        self._conditions = conditions
        self._chance = random.Random(conditions.seed)
        self._clock = FakeClock()
        self._lapsed_ms = 0
        self._verbs = count(1)
        self._own = _Verb(0)
        self._own_kept = 0
        self._reviving = asyncio.Lock()
        self._repeats: list[Callable[[], Awaitable[None]]] = []
        self.fate = Planned(conditions.mishap, self._overtake, self._keep)
        self.ledger = Ledger()
        self._plans = WatchedPlans(plans, self.ledger)
        self._tokens = TokenDesk.of(self.settings)
        if not self._tokens.is_open:
            keyring = Keyring.of(new_key(self.now))
            self._tokens = TokenDesk(lambda: keyring, retention_ms=_CENTURY_MS)
        self._lookout = Lookout(file)

    async def start(
        self,
        *,
        workers: bool = True,
        concurrency: int = DEFAULT_CONCURRENCY,
        pipelines: Sequence[str] = (),
    ) -> None:
        """Start the first process."""
        if self._runtime is None:
            await self._start_process(workers=workers, pipelines=pipelines)

    async def stop(self) -> None:
        """End it, with whatever has not ended."""
        await self._lookout.close()
        await super().stop()

    async def _start_process(self, *, workers: bool, pipelines: Sequence[str]) -> None:
        self._process = Mortal(SqliteStore(str(self._file), self._stored_now), self.fate)
        runtime = Runtime(
            cast("Store", self._process), self._plans, self.settings, self._clock,
            tokens=self._tokens, resources=self.resources, given=self._given,
            transports=self.transports, carriers=self.carriers, new_id=self._new_id,
        )  # fmt: skip
        # One execution at a time is handed over while another ends; or none at all.
        concurrency = 1 if self._conditions.seed % 2 else 2
        await runtime.start(
            workers=workers, concurrency=concurrency, pipelines=pipelines, looping=False
        )
        self._runtime = runtime

    def _stored_now(self) -> int:
        return self._clock() + self._lapsed_ms

    def _new_id(self) -> ExecutionId:
        """The next id of the verb that asks, or of what the process does by itself.

        The same after a crash as before it, unless a commit has kept what was made before.
        """
        verb = _verb.get()
        if verb is None or verb.task is None or verb.task is not _current_task():
            verb = self._own
        verb.ids += 1
        return compose_execution_id(
            self._clock(), verb.ids & 0xFFF, verb.number << _ID_BITS | verb.ids
        )

    def _keep(self) -> None:
        """A commit has kept the ids that the process has made by itself."""
        self._own_kept = self._own.ids

    # --- crashes ------------------------------------------------------------------------------

    async def crash(self) -> None:
        """End the process and start another one over what it has stored, once its leases ran out.

        What was not committed is gone, and so is the memory of every resource.
        """
        process = self._process
        process.die()
        await self._revive(process)
        await self.settle()

    def crash_at(self, commit: str, when: When = "after") -> None:
        """Let the process die at its next commit of that kind, and another one start.

        Args:
            commit: what it makes, as `commits` names it: `submit`, `park`, `admit`, `finish`.
            when: `before` the commit, so that it is not made; `after` it, when nobody was told of
                it; or `late`: it stands still until others have its leases, then tries, and dies.
        """
        self.fate.arm(commit, when)

    @property
    def commits(self) -> list[Commit]:
        """What was committed so far, by all processes; also what was tried and died of."""
        return list(self.fate.commits)

    async def _revive(self, dead: Mortal) -> None:
        async with self._reviving:
            if self._process is not dead or self._runtime is None:
                return  # somebody else did, or the simulation is over
            runtime, self._runtime = self._runtime, None
            await runtime.stop()
            async with asyncio.timeout(_THREADS_S):
                while runtime.steps_running:  # noqa: ASYNC110 - threads that nobody waits for tell nobody
                    await asyncio.sleep(0.001)
            self._lapsed_ms += _LAPSE_MS
            self._own.ids = self._own_kept
            await self._start_process(workers=True, pipelines=())

    async def _overtake(self, store: Store) -> None:
        """Let every lease run out, and somebody else have what was under it."""
        self._lapsed_ms += _LAPSE_MS
        routes = tuple(
            RouteOffer(each.fingerprint, plan.pipeline, each.id, _MANY, _LEASE_MS, _MANY)
            for plan in self._plans.versions
            for each in plan.awaits()
            if not isinstance(each.transport, Inbox)
        )
        fingerprints = self._plans.fingerprints
        await store.claim(ClaimOffer("another", _LEASE_MS, _MANY, fingerprints, _MANY))
        await store.claim_dispatches(DispatchOffer("another", routes))
        handing = tuple(HandedOn(each, _MANY) for each in self._plans.destinations())
        await store.claim_handoffs(HandoffOffer("another", _LEASE_MS, handing))

    # --- time ---------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The time that steps see, in UTC."""
        return datetime.fromtimestamp(self._clock() / 1000, UTC)

    async def settle(self) -> None:
        """Do all that is due now, and whatever follows from it without time passing.

        Every verb does so before it returns.
        """
        while await self._through(lambda runtime: runtime.turn()):
            pass

    async def advance(self, duration: Duration) -> None:
        """Let time pass; what falls due meanwhile happens at its instant, in order.

        Args:
            duration: a `timedelta`, `"29m"` or `"PT29M"`.
        """
        until = self._clock() + duration_ms(duration, "advance")
        await self.settle()
        while await self._pass(until):
            await self.settle()
        await self._turn_to(until)

    async def skip(self) -> bool:
        """Let time pass to the next instant at which something is due, and do it.

        Returns:
            False when nothing would ever be: somebody has to answer.
        """
        passed = await self._pass(self._clock() + _CENTURY_MS)
        await self.settle()
        return passed

    async def _pass(self, until: int) -> bool:
        """Let time pass to the next instant at which something is due; False if there is none."""
        now, ahead = self._clock(), self._lapsed_ms
        at = await self._lookout.next_due(now + ahead, until + ahead)
        if at is None:
            return False
        await self._turn_to(at - ahead)
        return True

    async def _turn_to(self, at: int) -> None:
        self._clock.now = max(self._clock.now, at)
        await self._through(lambda runtime: runtime.deploys.say())
        await self._through(lambda runtime: runtime.deploys.refresh())

    async def _reach(
        self, tenant: str, id: ExecutionId, condition: Condition, timeout_s: float | None
    ) -> Seen:
        """Let time pass until an execution fulfils the condition; raises as `Watch.until` does."""
        last = self._clock() + (_CENTURY_MS if timeout_s is None else round(timeout_s * 1000))
        while True:
            await self.settle()
            # What has come about already is told at once, and so is what is unknown.
            row = await self._row(tenant, id)
            if row is None or condition(row):
                return await self._open.watch.until(tenant, id, condition, None)
            if not await self._pass(last):
                break
        await self._turn_to(last if timeout_s is not None else self._clock())
        raise TimeoutError(
            f"execution {format_execution(id)} is {row.status.name} and nothing more is due"
            f" {'within its time' if timeout_s is not None else 'ever'}; answer what it waits for"
        )

    async def _row(self, tenant: str, id: ExecutionId) -> Row | None:
        [row] = await self._open.store.executions_by_id(tenant, [id])
        return row

    # --- what is left -------------------------------------------------------------------------

    async def wind_up(self) -> list[End]:
        """Deliver what was held back, do what is due, and say where every execution stands."""
        await self.settle()
        await self._repeat_some(1)
        await self.settle()
        return [
            await self._end_of(row)
            for tenant in sorted(self.fate.tenants)
            for row in reversed(
                await self._open.store.executions(ExecutionQuery(tenant, limit=_MANY))
            )
        ]

    async def _end_of(self, row: Row) -> End:
        result = row.result
        if row.result_count is not None:
            bodies = self._open.service.result_bodies(row)
            result = b"\n".join([body async for body in bodies])
        return End(row.pipeline, row.status.name, row.units, row.error_code, result)

    # --- what is sent -------------------------------------------------------------------------

    @property
    def sent(self) -> list[Outgoing]:
        """Every try to send a request, in order; one that was repeated has the same id again."""
        return self._carrier.sent

    @property
    def handed(self) -> list[Offer]:
        """Every try to hand a publication to another deployment, in order; repeats have one id."""
        return self._handing.offered

    # --- verbs --------------------------------------------------------------------------------

    async def _asked(
        self, work: Callable[[Runtime], Awaitable[T]], *, counts_each: bool = False
    ) -> T:
        await self._repeat_some()
        token = _verb.set(_Verb(next(self._verbs)))
        try:
            done = await self._through(work, counts_each=counts_each)
        finally:
            _verb.reset(token)
        await self.settle()
        return done

    async def _repeat_some(self, share: float = 0.5) -> None:
        """Deliver some of the answers again that were held back for it, in any order."""
        due = [repeat for repeat in self._repeats if self._chance.random() < share]
        self._chance.shuffle(due)
        self._repeats = [repeat for repeat in self._repeats if repeat not in due]
        for repeat in due:
            await repeat()

    async def _submitted(
        self, work: Callable[[Runtime], Awaitable[Submission]], key: str | None
    ) -> Submission:
        made = await super()._submitted(work, key)
        if key is not None and self._conditions.delivery == "twice":
            again = await self._through(work)
            if again.execution_id != made.execution_id:
                raise AssertionError(f"a submission that came twice, with key {key!r}, made two")
        return made

    async def _admit(self, tenant: str, typed: Sequence[Typed]) -> list[Reply | None]:
        order = list(range(len(typed)))
        if self._conditions.delivery == "reordered":
            self._chance.shuffle(order)
        shuffled = [typed[place] for place in order]

        async def deliver(runtime: Runtime) -> list[Reply]:
            replies = await admitted_by(runtime, tenant, shuffled)
            told = [reply for reply in replies if reply is not None]
            if len(told) < len(replies):
                raise StoreUnavailable("the store failed midway; send the answers again")
            return told

        async def repeat() -> None:
            for first, again in zip(told, await self._through(deliver), strict=True):
                _check_repeat(first.receipt.outcome, again.receipt.outcome)

        told = await self._asked(deliver)
        if self._conditions.delivery == "twice":
            await repeat()
        elif self._conditions.delivery == "reordered":
            self._repeats.append(repeat)
        replies: list[Reply | None] = [None] * len(typed)
        for place, reply in zip(order, told, strict=True):
            replies[place] = reply
        return replies

    async def _through(
        self, work: Callable[[Runtime], Awaitable[T]], *, counts_each: bool = False
    ) -> T:
        """Ask the process, and the next one while one after the other dies."""
        verb = _verb.get()
        while True:
            if verb is not None and not counts_each:
                verb.ids = 0
            process = await self._alive()
            try:
                done = await process.while_alive(self._as_verb(verb, work))
            except StoreUnavailable:
                if not process.is_dead:
                    raise
                await self._revive(process)
                continue
            await self._rest()
            return done

    async def _as_verb(self, verb: _Verb | None, work: Callable[[Runtime], Awaitable[T]]) -> T:
        if verb is not None:
            verb.task = asyncio.current_task()
        return await work(self._open)

    async def _alive(self) -> Mortal:
        """The process, started again if somebody who asks at the same time has seen it die."""
        if self._process.is_dead:
            await self._revive(self._process)
        return self._process

    async def _rest(self) -> None:
        process = await self._alive()
        try:
            await process.while_alive(self._open.idle())
        except Died:
            await self._revive(process)

    def _handle(
        self, plan: Plan, id: str, *, duplicate: bool = False, tenant: str = DEFAULT_TENANT
    ) -> "SimulatedExecution[Any]":
        return SimulatedExecution(self, plan, id, duplicate=duplicate, tenant=tenant)


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # on a thread
        return None


def _check_repeat(first: str, again: str) -> None:
    """Refuse what an answer that was delivered once more must not be called."""
    expected = {"applied": {"duplicate"}, "buffered": {"buffered", "duplicate"}}
    if again not in expected.get(first, {first}):
        raise AssertionError(f"an answer that came again was {first} and then {again}")
