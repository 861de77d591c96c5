"""What keeps a process from doing its work: one list for readiness, `bide doctor` and logs.

Each check has a stable name, by which an alert can tell it, and a sentence for people. A check that
fails without `warning` takes the process out of service; a warning says that work is late or will
be. Looking is cheap enough for a probe every second: what has to be counted is counted once in a
while (`Backlogs`).
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bide.errors import StoreUnavailable
from bide.runtime.courier import Courier
from bide.runtime.deploys import Deploys
from bide.runtime.dispatcher import Dispatcher
from bide.runtime.plans import Plans
from bide.runtime.sweeper import Sweeper
from bide.runtime.views import Check
from bide.runtime.worker import Worker
from bide.security.desk import TokenDesk
from bide.settings import Settings
from bide.spi.clock import Clock
from bide.spi.handoff import Carrier
from bide.spi.store import Backlog, Queue, Schema, Store, StoreInfo
from bide.spi.telemetry import Untaken, Waiting
from bide.spi.transport import Problem, Transport

#: Every check that readiness makes, by its name: what it says when it does not fail.
CHECKS: Final[Mapping[str, str]] = {
    "app": "The app is open in this process.",
    "store": "The store answers.",
    "schema": "Its tables are those of this release.",
    "clock": "Its time is this machine's.",
    "tokens": "There is a keyring if an await hands out resume tokens.",
    "worker": "The worker claims, if this process has one.",
    "leases": "Its leases were renewed in time.",
    "sweeper": "The sweeper runs, and came to the end of a sweep lately.",
    "transport": "What carries requests finds nothing wrong with itself.",
    "dispatch": "The dispatcher runs, and no endpoint is left alone for its failures.",
    "dispatch-backlog": "Nothing waits to be sent for longer than the setting says.",
    "held": "Every execution that is due can be claimed by a live worker.",
}

#: What clocks may differ by.
_SKEW_MS = 1_000
#: A transport says within a second how it is.
_PROBLEMS_S = 2.0
#: How old the store's description may be, and how old the counts; seconds.
_ABOUT_S = 30.0
_BACKLOG_S = 5.0
#: Sweep intervals, and seconds, without a whole sweep after which the sweeper is called late.
_SWEEPS = 10
_SWEEP_S = 30.0


class Backlogs:
    """What waits in the store, counted once for everybody who asks within a few seconds."""

    def __init__(self, store: Store, plans: Plans) -> None:
        self._store = store
        self._plans = plans
        self._found: Backlog | None = None
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> Backlog:
        """What is due.

        Raises:
            StoreUnavailable: nobody can say.
        """
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._found is None or now - self._read_at > _BACKLOG_S:
                self._found = await self._store.backlog()
                self._read_at = now
            return self._found

    def waiting(self, queues: Iterable[Queue], now: int) -> list[Waiting]:
        """The same by the names of what waits; what this process knows nothing of has none."""
        return [
            Waiting(
                self._plans.names_of(each.fingerprint),
                each.length,
                max(0, now - each.oldest_due_at) / 1000,
            )
            for each in queues
        ]

    def untaken(self, backlog: Backlog) -> list[Untaken]:
        """What other deployments have not taken yet, by publication."""
        return [
            Untaken(publication, length, max(0, backlog.now - oldest) / 1000)
            for publication, length, oldest in backlog.untaken
        ]


class Health:
    """The checks of one process."""

    def __init__(
        self,
        store: Store,
        plans: Plans,
        settings: Settings,
        deploys: Deploys,
        tokens: TokenDesk,
        transports: Sequence[Transport | Carrier],
        sweeper: Sweeper,
        backlogs: Backlogs,
        clock: Clock,
    ) -> None:
        self._store = store
        self._plans = plans
        self._settings = settings
        self._deploys = deploys
        self._tokens = tokens
        self._transports = transports
        self._sweeper = sweeper
        self._backlogs = backlogs
        self._clock = clock
        self._about: tuple[StoreInfo, Schema] | None = None
        self._about_at = float("-inf")
        #: Set once they have started; None in a process that runs no steps, or sends nothing.
        self.worker: Worker | None = None
        self.dispatcher: Dispatcher | None = None
        self.courier: Courier | None = None

    async def checks(self, for_workers: bool) -> list[Check]:
        """Everything that would keep an await from working, the store first.

        `for_workers` judges a process that runs no steps as one that does.
        """
        try:
            found = await self._store_checks()
        except StoreUnavailable as error:
            hint = "see the message; the app accepts no work until the store answers"
            return [Check(name="store", ok=False, message=str(error), hint=hint)]
        found += [*self._token_checks(), *self._worker_checks()]
        found += await self._transport_checks(for_workers)
        if self.dispatcher is not None:
            found += self.dispatcher.checks()
        if self.courier is not None:
            found += self.courier.checks()
        try:
            return found + await self._backlog_checks()
        except StoreUnavailable as error:
            late = Check(name="held", ok=False, warning=True, message=str(error))
            return [*found, late]

    async def _store_checks(self) -> list[Check]:
        asked = self._clock()
        now = await self._store.now()
        ahead = now - (asked + self._clock()) // 2
        info, schema = await self._about_the_store()
        is_right = schema.present == schema.needed
        needs = "" if is_right else f", and this release needs {schema.needed}"
        hint = "run bide migrate" if schema.present < schema.needed else "run the newer release"
        return [
            Check(name="store", ok=True, message=f"{info.url}: {info.version}"),
            Check(
                name="schema",
                ok=is_right,
                message=f"schema {schema.present}{needs}",
                hint=None if is_right else hint,
            ),
            _of_clocks(now, ahead),
        ]

    async def _about_the_store(self) -> tuple[StoreInfo, Schema]:
        """What seldom changes and may cost a connection; asked for once in a while."""
        now = asyncio.get_running_loop().time()
        if self._about is None or now - self._about_at > _ABOUT_S:
            self._about = await self._store.info(), await self._store.schema()
            self._about_at = now
        return self._about

    def _token_checks(self) -> list[Check]:
        """A keyring can go while the process runs; without one no request can leave."""
        needs = [
            boundary.name
            for plan in self._plans.versions
            for boundary in plan.awaits()
            if boundary.transport.needs_token
        ]
        if not needs:
            return []
        if self._tokens.is_open:
            return [Check(name="tokens", ok=True, message="there is a keyring")]
        message = f"await {needs[0]!r} hands out resume tokens, and there is no keyring"
        hint = "set BIDE_KEYRING_FILE; make one with: bide keys generate --file FILE"
        return [Check(name="tokens", ok=False, message=message, hint=hint)]

    def _worker_checks(self) -> list[Check]:
        worker = self.worker
        if worker is None:
            message = "this process runs no steps; `bide worker` does"
            return [Check(name="worker", ok=True, message=message)]
        if not worker.is_claiming:
            message, hint = "the worker has stopped claiming", "restart the process; see its log"
            return [Check(name="worker", ok=False, message=message, hint=hint)]
        running = f"worker {worker.name} runs {worker.running} executions"
        return [
            Check(name="worker", ok=True, message=running),
            self._lease_check(worker),
            self._sweeper_check(),
        ]

    def _lease_check(self, worker: Worker) -> Check:
        settings, since = self._settings, worker.unrenewed_s
        if since * 1000 > settings.lease_ms:
            message = f"no lease was renewed for {since:.0f} s; others take the executions over"
            hint = "look at the store, and at what holds up this process"
            return Check(name="leases", ok=False, message=message, hint=hint)
        if settings.lease_renew_ms * 2 > settings.lease_ms:
            message = (
                f"lease_renew_ms ({settings.lease_renew_ms}) is over half of lease_ms"
                f" ({settings.lease_ms}): one late renewal loses a lease"
            )
            hint = "raise BIDE_LEASE_MS, or lower BIDE_LEASE_RENEW_MS"
            return Check(name="leases", ok=False, message=message, hint=hint, warning=True)
        return Check(name="leases", ok=True, message=f"looked after {since:.0f} s ago")

    def _sweeper_check(self) -> Check:
        if not self._sweeper.is_running:
            message, hint = "the sweeper has stopped", "restart the process; see its log"
            return Check(name="sweeper", ok=False, message=message, hint=hint)
        since = self._sweeper.unswept_s
        if since > max(_SWEEP_S, _SWEEPS * self._settings.sweep_interval_ms / 1000):
            message = f"no sweep came to its end for {since:.0f} s; timeouts are late"
            hint = "see the log for what it fails on"
            return Check(name="sweeper", ok=False, warning=True, message=message, hint=hint)
        return Check(name="sweeper", ok=True, message=f"swept {since:.0f} s ago")

    async def _transport_checks(self, for_workers: bool) -> list[Check]:
        """What would keep interactions from leaving; a remark only where others send them."""
        is_sender = for_workers or self.worker is not None
        found: list[Check] = []
        for transport in self._transports:
            try:
                async with asyncio.timeout(_PROBLEMS_S):
                    problems = await transport.problems()
            except TimeoutError:
                problems = [Problem("it", "does not say how it is", is_fatal=True)]
            found += [
                Check(
                    name="transport",
                    ok=False,
                    warning=not (each.is_fatal and is_sender),
                    message=f"{each.subject}: {each.message}",
                )
                for each in problems
            ]
        return found

    async def _backlog_checks(self) -> list[Check]:
        backlog = await self._backlogs.get()
        found: list[Check] = []
        longest = self._settings.dispatch_late_ms / 1000
        for late in self._backlogs.waiting(backlog.to_send, backlog.now):
            if late.age_s > longest:
                step = late.names.step or "an await that this process does not know"
                message = f"{late.length:,} interactions of {step} wait to be sent, the oldest for"
                hint = "start a worker that can send them, or look at where they go"
                found.append(
                    Check(
                        name="dispatch-backlog",
                        ok=False,
                        warning=True,
                        message=f"{message} {late.age_s:.0f} s",
                        hint=hint,
                    )
                )
        claimed = await self._deploys.claimed_by_somebody()
        held = sum(each.length for each in backlog.ready if each.fingerprint not in claimed)
        if held:
            message = f"{held:,} executions are due, and no live worker can claim them"
            hint = "bide executions --held says which; deploy what fits them, or release them"
            found.append(Check(name="held", ok=False, warning=True, message=message, hint=hint))
        return found


def _of_clocks(now: int, ahead_ms: int) -> Check:
    """Whether the store's time is this machine's, as far as it matters to people and tokens."""
    if abs(ahead_ms) <= _SKEW_MS:
        return Check(name="clock", ok=True, message=f"the store's time is {now} ms, as here")
    where = "ahead of" if ahead_ms > 0 else "behind"
    return Check(
        name="clock",
        ok=False,
        warning=True,
        message=f"the store's time is {abs(ahead_ms) / 1_000:,.1f} s {where} this machine's",
        hint="deadlines go by the store's; let NTP set the clocks of all machines",
    )
