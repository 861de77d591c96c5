"""The courier: offers publications to other deployments until they are taken or refused.

It is the dispatcher's narrow sibling (`bide.runtime.dispatcher`): it claims under leases that
outlive the longest try, shares commits, rests with a growing pause, and leaves an endpoint alone that
fails over and over. It differs where publications do: they have no deadline and no last try. Only
what the other side says of a publication settles it, however long that takes.

What happens when it crashes here: leases run out, and another courier offers the same publications
again, under the same keys; the other side finds those that it has taken to be duplicates.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from bide.authoring.publications import Destination
from bide.authoring.retry import Retry
from bide.engine.breaker import Breaker, BreakerRules, BreakerState
from bide.engine.fold import Transacted
from bide.engine.moves import (
    Denied,
    HandedOver,
    Handover,
    Later,
    Outcome,
    SettleHandoff,
    Unsent,
)
from bide.engine.publishing import HandoffOffer, Outgoing
from bide.errors import StoreUnavailable
from bide.model.ids import format_execution
from bide.model.records import Handoff
from bide.model.status import HandoffStatus
from bide.runtime.committer import Committer
from bide.runtime.plans import Plans
from bide.runtime.texts import storable
from bide.runtime.views import Check
from bide.settings import Settings
from bide.spi.handoff import Answer, Carrier, Offer, Taken
from bide.spi.store import Store
from bide.spi.transport import Refused, Unclear

log = logging.getLogger(__name__)

_POLL_FIRST_S = 0.05
_RECOMMIT_S = 0.25
#: What `offer` may take beyond its own bound, before it is cut off.
_GRACE_S = 1.0
#: The longest rest that the other side may ask for.
_RETRY_AFTER_MAX_MS = 3_600_000
#: How far apart one publication is offered; how often does not matter, for it is never given up.
_REST: Final = Retry(first="500ms", longest="1m")


@dataclass(slots=True, eq=False)
class _Endpoint:
    """What fails as one: its breaker, and how much is being offered to it."""

    name: str
    carrier: Carrier
    breaker: Breaker = field(default_factory=Breaker)
    in_hand: int = 0
    #: What went wrong last.
    error: str = ""


class Courier:
    """Offers what the pipelines of one app publish for other deployments, from this process."""

    def __init__(
        self,
        name: str,
        store: Store,
        committer: Committer,
        plans: Plans,
        carriers: Mapping[type[Destination], Carrier],
        settings: Settings,
        *,
        pipelines: Sequence[str] = (),
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Take what it offers with; nothing is offered before `start`.

        It offers what all pipelines publish, or only those of `pipelines`, if any is named.
        `chance` gives numbers from 0 to 1, which spread rests.
        """
        self._name = name
        self._store = store
        self._committer = committer
        self._settings = settings
        self._chance = chance
        self._rules = BreakerRules(
            settings.dispatch_breaker_failures,
            settings.dispatch_breaker_first_ms,
            settings.dispatch_breaker_longest_ms,
        )
        self._to = plans.destinations(pipelines)
        self._endpoints: dict[tuple[type[Destination], str], _Endpoint] = {}
        #: Where each publication goes.
        self._endpoint_of: dict[str, _Endpoint] = {}
        for publication, to in self._to.items():
            carrier = carriers[type(to)]
            key = type(to), carrier.endpoint(to)
            endpoint = self._endpoints.setdefault(key, _Endpoint(key[1], carrier))
            self._endpoint_of[publication] = endpoint
        longest_ms = max((each.timeout_ms for each in carriers.values()), default=0)
        self._lease_ms = longest_ms + settings.lease_ms
        self._sending: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._claiming: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to offer."""
        self._claiming = asyncio.create_task(self._claim_loop(), name="bide-courier")

    async def stop(self, timeout_s: float) -> None:
        """Claim no more; let what is being offered come to its end, else record it as unclear."""
        self._stopping = True
        self._wake.set()
        # A claim that is under way is not cut off: the store would keep what it brings.
        if self._claiming is not None:
            await asyncio.wait([self._claiming], timeout=timeout_s)
            self._claiming.cancel()
        if self._sending:
            await asyncio.wait(self._sending, timeout=timeout_s)
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        for timer in self._timers:
            timer.cancel()

    @property
    def offering(self) -> int:
        """How many publications are being offered."""
        return sum(each.in_hand for each in self._endpoints.values())

    async def idle(self) -> None:
        """Return once nothing is being offered; what came of it may still wait for its commit."""
        while self._sending:
            await asyncio.wait(self._sending)

    def wake(self) -> None:
        """Look for what is to be offered now."""
        self._wake.set()

    # --- as a follower of commits -------------------------------------------------------------

    def offer(self) -> Handover | None:
        """A courier runs no executions."""
        return None

    def committed(self, done: Transacted) -> None:
        """Look for what a commit left to be offered."""
        if any(each.status is HandoffStatus.WAITING for each in done.handed):
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
                log.warning("cannot claim what is to be offered: %s", error)
            except Exception:  # a defect must not end the offering of everything else
                log.exception("a claim of what is to be offered failed as none should")
            if claimed:
                pause = _POLL_FIRST_S
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            pause = min(pause * 2, self._settings.poll_max_ms / 1000)

    async def claim_due(self) -> int:
        """Claim what is due and begin to offer it; gives how many publications.

        Raises:
            StoreUnavailable: nothing was claimed.
        """
        offer = self._offer()
        if not offer.publications:
            return 0
        claimed = await self._store.claim_handoffs(offer)
        if self._stopping:
            for each in claimed:
                move = SettleHandoff(each.id, each.fence, Unsent())
                self._record(move, self._loop.time())
        elif claimed:
            self._take(claimed)
        return len(claimed)

    def _offer(self) -> HandoffOffer:
        """What it has room for; an endpoint's room is shared out among what goes there."""
        now, limit = self._now(), self._settings.dispatch_rows
        going: dict[_Endpoint, list[str]] = {}
        for publication, endpoint in self._endpoint_of.items():
            going.setdefault(endpoint, []).append(publication)
        found: list[Outgoing] = []
        for endpoint, publications in going.items():
            room = endpoint.breaker.room(now, limit, endpoint.in_hand)
            share = -(-room // len(publications))
            found += [Outgoing(each, share) for each in publications if share]
        return HandoffOffer(self._name, self._lease_ms, tuple(found))

    # --- offering -----------------------------------------------------------------------------

    def _take(self, claimed: Sequence[Handoff]) -> None:
        batches: dict[_Endpoint, list[Handoff]] = {}
        for each in claimed:
            batches.setdefault(self._endpoint_of[each.publication], []).append(each)
        for endpoint, batch in batches.items():
            endpoint.in_hand += len(batch)
            task = self._loop.create_task(self._send(endpoint, batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, endpoint: _Endpoint, batch: Sequence[Handoff]) -> None:
        """Offer a batch to one endpoint and record what it said, whatever happens."""
        answers: Sequence[Answer] = [Unclear("the courier was stopped")] * len(batch)
        try:
            answers = await self._answers(endpoint, batch)
        finally:
            endpoint.in_hand -= len(batch)
            for each, answer in zip(batch, answers, strict=True):
                self._judge(endpoint, answer)
                self._settle(each, answer)
            self._wake.set()

    async def _answers(self, endpoint: _Endpoint, batch: Sequence[Handoff]) -> Sequence[Answer]:
        limit_s = endpoint.carrier.timeout_ms / 1000 + _GRACE_S
        try:
            offers = await self._offers(batch)
            async with asyncio.timeout(limit_s):
                answers = await endpoint.carrier.offer(offers)
            if len(answers) == len(batch):
                return answers
            what = f"answered {len(answers)} of {len(batch)} publications"
        except TimeoutError:
            what = f"did not answer within {limit_s:g} s"
        except Exception as error:  # a defect of a carrier: the batch may have arrived
            log.exception("a carrier failed in a way that none should")
            what = f"failed: {type(error).__name__}"
        return [Unclear(f"the carrier {what}")] * len(batch)

    async def _offers(self, batch: Sequence[Handoff]) -> list[Offer]:
        wanted = [(each.tenant, each.execution) for each in batch]
        try:
            traces = await self._store.traces(wanted)
        except StoreUnavailable as error:
            log.warning("publications are offered untraced: %s", error)
            traces = [None] * len(batch)
        return [
            Offer(
                to=self._to[each.publication],
                tenant=each.tenant,
                handoff=each.id,
                publication=each.publication,
                key=each.key,
                source=each.execution,
                pipeline=each.pipeline,
                body=each.body or b"null",
                published_at=each.created_at,
                attempt=each.attempts,
                trace=trace.headers if trace else {},
            )
            for each, trace in zip(batch, traces, strict=True)
        ]

    # --- what came of it ----------------------------------------------------------------------

    def _judge(self, endpoint: _Endpoint, answer: Answer) -> None:
        """Tell the endpoint's breaker."""
        if not isinstance(answer, Unclear):
            endpoint.breaker = endpoint.breaker.after_answer()
            return
        endpoint.error = answer.message
        before, now = endpoint.breaker, self._now()
        endpoint.breaker = before.after_failure(
            self._rules, now, self._chance(), answer.retry_after_ms or 0
        )
        until = endpoint.breaker.until
        if until is not None and until != before.until:
            log.warning(
                "nothing is offered to %s for %d ms: %s", endpoint.name, until - now, endpoint.error
            )
            self._wake_after(until - now)

    def _settle(self, handoff: Handoff, answer: Answer) -> None:
        result: HandedOver | Denied | Later
        match answer:
            case Taken(execution, duplicate):
                result = HandedOver(execution, duplicate)
            case Refused(code, message):
                result = Denied(storable(code), storable(message))
            case Unclear(message, retry_after_ms):
                asked = min(retry_after_ms or 0, _RETRY_AFTER_MAX_MS)
                rest = _REST.rest_ms(handoff.attempts, self._chance())
                result = Later(storable(message), max(rest, asked))
        move = SettleHandoff(handoff.id, handoff.fence, result)
        self._record(move, self._loop.time() + self._settings.lease_ms / 1000)

    def _record(self, move: SettleHandoff, until: float) -> None:
        """Commit what came of a try; while the store fails, again, as long as the lease lasts."""
        self._committer.add([move], partial(self._recorded, move, until))

    def _recorded(
        self, move: SettleHandoff, until: float, result: list[Outcome] | StoreUnavailable
    ) -> None:
        if isinstance(result, StoreUnavailable):
            if self._stopping or self._loop.time() > until:
                id_ = format_execution(move.handoff)
                log.warning("what came of offering %s was not recorded: %s", id_, result)
                return
            self._later(_RECOMMIT_S, partial(self._record, move, until))
            return
        if isinstance(move.result, Later):
            self._wake_after(move.result.delay_ms)

    def _wake_after(self, ms: int) -> None:
        self._later(ms / 1000, self._wake.set)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it after a while, unless the courier is stopped before."""

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
        """What keeps it from offering."""
        if self._claiming is not None and self._claiming.done():
            message, hint = "the courier has stopped", "restart the process; see its log"
            return [Check(name="handoff", ok=False, message=message, hint=hint)]
        now = self._now()
        return [
            Check(
                name="handoff",
                ok=False,
                warning=True,
                message=f"{each.name} fails ({each.error}); little or nothing is offered to it",
                hint="look at that deployment; offering goes on by itself once it answers",
            )
            for each in self._endpoints.values()
            if each.breaker.state(now) is not BreakerState.CLOSED
        ]
