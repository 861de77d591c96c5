"""The dispatcher: sends what is waiting to be sent, and records what came of it.

Theory of operation
-------------------
It claims interactions of those awaits whose boundary this process knows and whose transport it has,
and never more for an endpoint than it may have in hand there. A claim is a lease that outlives the
longest try, so it is not renewed. What was claimed together for one endpoint is sent together.

Each delivery is settled in the shared commits, under the fence of its claim. One that loses (it was
answered first, or was taken over) changes nothing. What is unclear is tried again after a rest that
doubles, with jitter, and is no shorter than its receiver asked for; when its tries are used up it
stays open. What is refused fails, with all that the engine says follows.

An endpoint that fails over and over is left alone for a while (`bide.engine.breaker`): nothing is
claimed for it, so nothing loses a try to it.

It looks for work when a commit of this process stores something to be sent, when a rest is over,
and otherwise from time to time, for other processes commit as well.

What happens when it crashes here: leases run out, and other dispatchers send the same interactions
again, under the same ids.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from bide.authoring.transports import Transport as Via
from bide.engine.breaker import Breaker, BreakerRules, BreakerState
from bide.engine.dispatching import DispatchOffer, RouteOffer
from bide.engine.fold import Transacted
from bide.engine.moves import (
    Denied,
    Handover,
    Outcome,
    Postponed,
    Received,
    Sent,
    SettleDispatch,
    ToSend,
    Unsent,
    Unstorable,
)
from bide.errors import StoreUnavailable
from bide.model.ids import format_interaction
from bide.model.records import Interaction
from bide.planning.plan import PlanAwait
from bide.runtime.committer import Committer
from bide.runtime.deploys import Deploys
from bide.runtime.plans import Plans
from bide.runtime.texts import storable
from bide.runtime.views import Check
from bide.settings import Settings
from bide.spi.store import Store
from bide.spi.telemetry import SILENT, UNTRACED, Telemetry, Traced
from bide.spi.transport import Delivered, Delivery, Outgoing, Refused, Route, Transport, Unclear

log = logging.getLogger(__name__)

_POLL_FIRST_S = 0.05
_RECOMMIT_S = 0.25
#: What `send` may take beyond its own bound, before it is cut off.
_GRACE_S = 1.0
#: The longest rest that a receiver may ask for.
_RETRY_AFTER_MAX_MS = 3_600_000

#: Gives the right to answer one interaction; None where its await needs none.
TokenOf = Callable[[Interaction, Via], str | None]


@dataclass(frozen=True, slots=True)
class _Outlet:
    """One await whose interactions this process can send."""

    boundary: PlanAwait
    transport: Transport
    route: Route
    endpoint: "_Endpoint"


@dataclass(slots=True, eq=False)
class _Endpoint:
    """What fails as one: its breaker, and how much is being sent to it."""

    name: str
    at_once: int | None = None
    breaker: Breaker = field(default_factory=Breaker)
    in_hand: int = 0
    #: What went wrong last.
    error: str = ""


class Dispatcher:
    """Sends the interactions of one app's awaits from this process."""

    def __init__(
        self,
        name: str,
        store: Store,
        committer: Committer,
        plans: Plans,
        deploys: Deploys,
        transports: Mapping[type[Via], Transport],
        settings: Settings,
        token_of: TokenOf,
        *,
        chance: Callable[[], float] = random.random,
        telemetry: Telemetry = SILENT,
    ) -> None:
        """Take what it sends with; nothing is sent before `start`.

        `chance` gives numbers from 0 to 1, which spread rests.
        """
        self._name = name
        self._store = store
        self._committer = committer
        self._plans = plans
        self._deploys = deploys
        self._transports = transports
        self._settings = settings
        self._token_of = token_of
        self._chance = chance
        self._meter, self._tracing = telemetry
        self._rules = BreakerRules(
            settings.dispatch_breaker_failures,
            settings.dispatch_breaker_first_ms,
            settings.dispatch_breaker_longest_ms,
        )
        self._outlets: dict[str, _Outlet | None] = {}
        self._endpoints: dict[tuple[type[Via], str], _Endpoint] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._is_bounded = False
        self._stopping = False
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to send."""
        self._loops = [asyncio.create_task(self._claim_loop(), name="bide-dispatch")]

    async def stop(self, timeout_s: float) -> None:
        """Claim no more; let what is being sent come to its end, else record it as unclear."""
        self._stopping = True
        self._wake.set()
        # A claim that is under way is not cut off: the store would keep what it brings.
        if self._loops:
            await asyncio.wait(self._loops, timeout=timeout_s)
        for loop in self._loops:
            loop.cancel()
        if self._sending:
            await asyncio.wait(self._sending, timeout=timeout_s)
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        for timer in self._timers:
            timer.cancel()

    @property
    def sending(self) -> int:
        """How many interactions are being sent."""
        return sum(each.in_hand for each in self._endpoints.values())

    async def idle(self) -> None:
        """Return once nothing is being sent; what came of it may still wait for its commit."""
        while self._sending:
            await asyncio.wait(self._sending)

    def wake(self) -> None:
        """Look for what is to be sent now."""
        self._wake.set()

    # --- as a follower of commits -------------------------------------------------------------

    def offer(self) -> Handover | None:
        """A dispatcher runs no executions."""
        return None

    def committed(self, done: Transacted) -> None:
        """Look for what a commit left to be sent, or for the room that its answers made."""
        if done.to_send or (
            self._is_bounded and any(isinstance(each, Received) for each in done.outcomes)
        ):
            self._wake.set()

    # --- claiming -----------------------------------------------------------------------------

    async def _claim_loop(self) -> None:
        pause = _POLL_FIRST_S
        while not self._stopping:
            self._wake.clear()
            claimed = 0
            try:
                claimed = await self.claim_due()
            except StoreUnavailable as error:
                log.warning("cannot claim what is to be sent: %s", error)
            except Exception:  # a defect must not end the sending of everything else
                log.exception("a claim of what is to be sent failed as none should")
            if claimed:
                pause = _POLL_FIRST_S
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            pause = min(pause * 2, self._settings.poll_max_ms / 1000)

    async def claim_due(self) -> int:
        """Claim what is due and begin to send it; gives how many interactions.

        Raises:
            StoreUnavailable: nothing was claimed.
        """
        offer = self._offer()
        if not offer.routes:
            return 0
        claimed = await self._store.claim_dispatches(offer)
        if claimed:
            self._put_back(claimed) if self._stopping else self._take(claimed)
        return len(claimed)

    def _offer(self) -> DispatchOffer:
        """What it has room for; an endpoint's room is shared out among the awaits that go there."""
        now = self._now()
        by_endpoint: dict[_Endpoint, list[tuple[str, _Outlet]]] = {}
        for fingerprint in sorted(self._deploys.claims):
            outlet = self._outlet(fingerprint)
            if outlet is not None:
                by_endpoint.setdefault(outlet.endpoint, []).append((fingerprint, outlet))
        routes: list[RouteOffer] = []
        for endpoint, outlets in by_endpoint.items():
            limit = endpoint.at_once or self._settings.dispatch_rows
            room = endpoint.breaker.room(now, limit, endpoint.in_hand)
            share = -(-room // len(outlets))
            routes += [self._route_offer(*each, share) for each in outlets if share]
        self._is_bounded = any(route.max_in_flight is not None for route in routes)
        return DispatchOffer(self._name, tuple(routes))

    def _route_offer(self, fingerprint: str, outlet: _Outlet, limit: int) -> RouteOffer:
        plan = self._plans.stretch(fingerprint).plan
        return RouteOffer(
            fingerprint,
            plan.pipeline,
            outlet.boundary.id,
            limit,
            outlet.route.timeout_ms + self._settings.lease_ms,
            outlet.route.retry.attempts,
            outlet.route.max_in_flight,
        )

    def _outlet(self, fingerprint: str) -> _Outlet | None:
        """How to send what a boundary asks; None where nothing is sent, or not from here."""
        if fingerprint not in self._outlets:
            self._outlets[fingerprint] = self._new_outlet(fingerprint)
        return self._outlets[fingerprint]

    def _new_outlet(self, fingerprint: str) -> _Outlet | None:
        boundary = self._plans.stretch(fingerprint).base
        transport = self._transports.get(type(boundary.transport)) if boundary else None
        if boundary is None or transport is None:
            return None
        route = transport.route(boundary.transport)
        key = type(boundary.transport), route.endpoint
        endpoint = self._endpoints.setdefault(key, _Endpoint(route.endpoint, route.at_once))
        return _Outlet(boundary, transport, route, endpoint)

    # --- sending ------------------------------------------------------------------------------

    def _take(self, claimed: Sequence[ToSend]) -> None:
        batches: dict[_Endpoint, list[tuple[_Outlet, ToSend]]] = {}
        for each in claimed:
            outlet = self._outlet(each.dispatch.route)
            assert outlet is not None, "nothing is claimed by a route that was not offered"
            batches.setdefault(outlet.endpoint, []).append((outlet, each))
        for endpoint, batch in batches.items():
            endpoint.in_hand += len(batch)
            task = self._loop.create_task(self._send(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def _put_back(self, claimed: Sequence[ToSend]) -> None:
        for each in claimed:
            move = SettleDispatch(each.interaction.id, each.dispatch.fence, Unsent())
            self._record(move, self._loop.time())

    async def _send(self, batch: Sequence[tuple[_Outlet, ToSend]]) -> None:
        """Send a batch of one endpoint and record what came of it, whatever happens."""
        outlet = batch[0][0]
        deliveries: Sequence[Delivery] = [Unclear("the dispatcher was stopped")] * len(batch)
        began = self._loop.time()
        traces = [UNTRACED] * len(batch)
        try:
            if self._tracing.is_on:
                traces = await self._traced(batch)
            deliveries = await self._deliveries(outlet, batch, traces)
        finally:
            outlet.endpoint.in_hand -= len(batch)
            self._count(batch, deliveries, self._loop.time() - began)
            for trace, delivery in zip(traces, deliveries, strict=True):
                _say(trace, delivery)
            for (each_outlet, each), delivery in zip(batch, deliveries, strict=True):
                self._judge(each_outlet, delivery)
                self._settle(each_outlet.route, each, delivery)
            self._wake.set()

    def _count(
        self,
        batch: Sequence[tuple[_Outlet, ToSend]],
        deliveries: Sequence[Delivery],
        seconds: float,
    ) -> None:
        """Tell what came of a batch, by await."""
        of_await: dict[str, list[Delivery]] = {}
        for (_, each), delivery in zip(batch, deliveries, strict=True):
            of_await.setdefault(each.dispatch.route, []).append(delivery)
        for route, those in of_await.items():
            self._meter.dispatched(self._plans.names_of(route), those, seconds)

    async def _traced(self, batch: Sequence[tuple[_Outlet, ToSend]]) -> list[Traced]:
        """The requests in the traces that their executions are in; one look for all of them."""
        rows = [each.interaction for _, each in batch]
        try:
            within = await self._store.traces([(row.tenant, row.execution) for row in rows])
        except StoreUnavailable as error:
            log.warning("requests are sent untraced: %s", error)
            within = [None] * len(batch)
        return [
            self._tracing.dispatching(
                self._plans.names_of(each.dispatch.route), each.interaction.id, context
            )
            for (_, each), context in zip(batch, within, strict=True)
        ]

    async def _deliveries(
        self, outlet: _Outlet, batch: Sequence[tuple[_Outlet, ToSend]], traces: Sequence[Traced]
    ) -> Sequence[Delivery]:
        ready = [
            self._ready(each_outlet, each, trace)
            for (each_outlet, each), trace in zip(batch, traces, strict=True)
        ]
        outgoing = [each for each in ready if isinstance(each, Outgoing)]
        limit_s = outlet.route.timeout_ms / 1000 + _GRACE_S
        try:
            async with asyncio.timeout(limit_s):
                deliveries = iter(await outlet.transport.send(outgoing) if outgoing else ())
            return [next(deliveries) if isinstance(each, Outgoing) else each for each in ready]
        except StopIteration:
            what = f"answered fewer than its {len(outgoing)} requests"
        except TimeoutError:
            what = f"did not answer within {limit_s:g} s"
        except Exception as error:  # a defect of an adapter: the batch may have arrived
            log.exception("a transport failed in a way that none should")
            what = f"failed: {type(error).__name__}"
        return [Unclear(f"the transport {what}")] * len(batch)

    def _ready(self, outlet: _Outlet, claimed: ToSend, trace: Traced) -> Outgoing | Unclear:
        """What the transport gets; one that cannot be made does not keep its neighbours back."""
        try:
            return self._outgoing(outlet, claimed, trace)
        except Exception as error:
            log.exception("%s cannot be sent", format_interaction(claimed.interaction.id))
            return Unclear(f"it could not be made ready: {error}")

    def _outgoing(self, outlet: _Outlet, claimed: ToSend, trace: Traced) -> Outgoing:
        interaction, unit, dispatch = claimed.interaction, claimed.unit, claimed.dispatch
        boundary, id_ = outlet.boundary, format_interaction(interaction.id)
        return Outgoing(
            via=boundary.transport,
            tenant=interaction.tenant,
            interaction=interaction.id,
            item_index=interaction.item if unit.per_item else None,
            pipeline=dispatch.pipeline,
            step_id=interaction.step_id,
            correlation_id=interaction.correlation or id_,
            idempotency_key=interaction.key or id_,
            resume_token=self._token_of(interaction, boundary.transport),
            input_type=boundary.request.name,
            output_type=boundary.answer.name,
            deadline_at=interaction.deadline_at,
            request=interaction.request or b"null",
            attempt=dispatch.attempts,
            trace=trace.context.headers if trace.context else {},
        )

    # --- what came of it ----------------------------------------------------------------------

    def _judge(self, outlet: _Outlet, delivery: Delivery) -> None:
        """Tell the endpoint's breaker."""
        endpoint, now = outlet.endpoint, self._now()
        if not isinstance(delivery, Unclear):
            endpoint.breaker = endpoint.breaker.after_answer()
            return
        endpoint.error = delivery.message
        before = endpoint.breaker
        endpoint.breaker = before.after_failure(
            self._rules, now, self._chance(), delivery.retry_after_ms or 0
        )
        until = endpoint.breaker.until
        if until is not None and until != before.until:
            log.warning(
                "nothing is sent to %s for %d ms: %s", endpoint.name, until - now, endpoint.error
            )
            self._wake_after(until - now)

    def _settle(self, route: Route, claimed: ToSend, delivery: Delivery) -> None:
        result: Sent | Denied | Postponed | Unsent
        match delivery:
            case Delivered():
                result = Sent()
            case Refused(code, message):
                result = Denied(storable(code), storable(message))
            case Unclear(message, retry_after_ms):
                asked = min(retry_after_ms or 0, _RETRY_AFTER_MAX_MS)
                rest = route.retry.rest_ms(claimed.dispatch.attempts, self._chance())
                result = Postponed(storable(message), max(rest, asked), route.retry.attempts)
        move = SettleDispatch(claimed.interaction.id, claimed.dispatch.fence, result)
        self._record(move, self._loop.time() + self._settings.lease_ms / 1000)

    def _record(self, move: SettleDispatch, until: float) -> None:
        """Commit what came of a try; while the store fails, again, as long as the lease lasts."""
        self._committer.add([move], partial(self._recorded, move, until))

    def _recorded(
        self, move: SettleDispatch, until: float, result: list[Outcome] | StoreUnavailable
    ) -> None:
        id_ = format_interaction(move.interaction)
        if isinstance(result, StoreUnavailable):
            if self._stopping or self._loop.time() > until:
                log.warning("what came of sending %s was not recorded: %s", id_, result)
                return
            self._later(_RECOMMIT_S, partial(self._record, move, until))
            return
        if isinstance(result[0], Unstorable):
            log.error("what came of sending %s cannot be stored: %s", id_, result[0].message)
        if isinstance(move.result, Postponed):
            self._wake_after(move.result.delay_ms)

    def _wake_after(self, ms: int) -> None:
        self._later(ms / 1000, self._wake.set)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it after a while, unless the dispatcher is stopped before."""

        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = self._loop.call_later(seconds, run)
        self._timers.add(timer)

    def _now(self) -> int:
        """Milliseconds of a clock that runs evenly, for breakers."""
        return round(self._loop.time() * 1000)

    # --- for people ---------------------------------------------------------------------------

    def checks(self) -> list[Check]:
        """What keeps it from sending."""
        if any(loop.done() for loop in self._loops):
            message, hint = "the dispatcher has stopped", "restart the process; see its log"
            return [Check(name="dispatch", ok=False, message=message, hint=hint)]
        now = self._now()
        return [
            Check(
                name="dispatch",
                ok=False,
                warning=True,
                message=f"{each.name} fails ({each.error}); little or nothing is sent to it",
                hint="look at that endpoint; sending goes on by itself once it answers",
            )
            for each in self._endpoints.values()
            if each.breaker.state(now) is not BreakerState.CLOSED
        ]


def _say(trace: Traced, delivery: Delivery) -> None:
    match delivery:
        case Delivered():
            trace.note("delivered")
        case Refused(code=code):
            trace.note("refused")
            trace.failed(code)
        case Unclear():
            trace.note("unclear")
            trace.failed("unclear")
    trace.end()
