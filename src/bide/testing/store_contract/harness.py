"""What the suite needs to know of a store, and the moves of the model in short.

A store is brought in as a `StoreFactory`, from a fixture named `store_factory`. What a store cannot
do is left out of it as None; the tests that need it are then skipped with the reason in the report,
never silently.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import pytest

from bide.engine.dispatching import DispatchOffer, RouteOffer
from bide.engine.moves import (
    Admit,
    AdmitByKey,
    Append,
    Boundary,
    Cancel,
    Claimed,
    CloseUnit,
    Fail,
    Failure,
    Finish,
    Handover,
    Move,
    Moved,
    NewInteraction,
    OpenUnit,
    Outcome,
    Park,
    Redrive,
    Sent,
    Settled,
    SettleDispatch,
    Submit,
    Submitted,
    TakeOver,
    ToSend,
)
from bide.engine.running import ClaimOffer
from bide.model.ids import (
    CorrelationKey,
    ExecutionId,
    InteractionId,
    RejectId,
    UnitId,
    compose_execution_id,
)
from bide.model.records import (
    AuditEntry,
    DeadLetter,
    Dispatch,
    Execution,
    Handoff,
    Interaction,
    JournalFact,
    Origin,
    Refusal,
    Reject,
    Unit,
    replace,
)
from bide.model.status import ExecutionStatus, UnitStatus
from bide.spi.clock import Clock
from bide.spi.store import (
    Asked,
    AuditQuery,
    Correlated,
    ExecutionQuery,
    Overdue,
    PendingQuery,
    Store,
)
from bide.testing.clock import FakeClock

T = TypeVar("T")

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
LEASE_MS = 30 * SECOND
TENANT, OTHER_TENANT = "default", "globex"
START, AFTER_AWAIT, FOREIGN = "start", "after-await", "another-deploy"
FINGERPRINTS = frozenset({START, AFTER_AWAIT})
LIMIT = 10_000
#: Tries of one dispatch.
ATTEMPTS_MAX = 3
#: Correlation keys of the suite.
KEYS = ("k", "l", "m")


class Faults(Protocol):
    """The hook of a store whose commits can be made to go wrong."""

    def fail_next_commit(self, *, after: bool) -> None:
        """Lose the connection at the next commit: after it was made durable, or before."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFactory:
    """How the suite opens the store under test."""

    name: str
    #: A store on new, empty data, open and with this clock.
    fresh: Callable[[Clock], AbstractAsyncContextManager[Store]]
    #: One more handle on the data of an open or closed store, as another process would have it;
    #: None when its data cannot be shared.
    another: Callable[[Store, Clock], AbstractAsyncContextManager[Store]] | None = None
    #: The fault hook of a store; None when its commits have no unknown outcome.
    faults: Callable[[Store], Faults] | None = None


def digest_of(body: bytes) -> bytes:
    """Stand in for the digest of a canonical value; the store takes it as it is."""
    return body[::-1].ljust(32, b"\0")[:32]


def correlated(key: str, scope: str = "orders/decide-1") -> CorrelationKey:
    """A correlation key of the suite's await."""
    return CorrelationKey(TENANT, key, scope)


def asking(
    item: int = 0,
    *,
    timeout_ms: int = DAY,
    key: str | None = None,
    group: str | None = None,
    correlation: CorrelationKey | None = None,
) -> NewInteraction:
    """A request for one item."""
    body = b'{"item":%d}' % item
    return NewInteraction(body, key, timeout_ms, group, correlation=correlation)


def askings(count: int, first: int = 0, *, timeout_ms: int = DAY) -> tuple[NewInteraction, ...]:
    """Requests for `count` items."""
    return tuple(asking(item, timeout_ms=timeout_ms) for item in range(first, first + count))


def boundary(step_index: int = 1, *, dispatched: bool = True) -> Boundary:
    """The await of the suite's pipeline."""
    return Boundary(f"decide-{step_index}", step_index, AFTER_AWAIT, dispatched)


def expect(outcome: Outcome, kind: type[T]) -> T:
    """The outcome, which has to be of this kind."""
    assert isinstance(outcome, kind), outcome
    return outcome


class Stream(NamedTuple):
    """A running execution that has opened a unit over a stream."""

    claimed: Claimed
    unit: UnitId

    @property
    def id(self) -> ExecutionId:
        """The execution."""
        return self.claimed.execution.id

    @property
    def fence(self) -> int:
        """The fence of its worker."""
        return self.claimed.execution.fence

    def item(self, item: int) -> InteractionId:
        """The interaction for an item."""
        return InteractionId(*self.unit, item)

    def open(self) -> OpenUnit:
        """Open the unit."""
        return OpenUnit(self.id, self.fence, boundary())

    def append(self, first: int, count: int) -> Append:
        """Store further items."""
        return Append(self.id, self.fence, self.unit.number, first, askings(count, first))

    def close(self, total: int) -> CloseUnit:
        """Close the unit."""
        return CloseUnit(self.id, self.fence, self.unit.number, total, 1)


class Dump(NamedTuple):
    """All that a store shows of its rows, so that two moments can be compared."""

    executions: dict[ExecutionId, Execution]
    inputs: dict[ExecutionId, bytes | None]
    units: dict[UnitId, Unit]
    interactions: dict[InteractionId, Interaction]
    refusals: dict[InteractionId, list[Refusal]]
    journal: dict[ExecutionId, list[JournalFact]]
    dead_letters: dict[ExecutionId, DeadLetter]
    rejects: dict[RejectId, Reject]
    results: dict[ExecutionId, list[bytes]]
    pending: dict[str, list[Asked]]
    counts: dict[ExecutionStatus, int]
    overdue: Overdue
    #: Under the keys that the suite uses.
    correlations: dict[str, list[Correlated]]
    #: Of interactions that are sent.
    dispatches: dict[InteractionId, Dispatch]
    #: By tenant.
    audit: dict[str, list[AuditEntry]]
    handoffs: dict[ExecutionId, Handoff]
    #: By the execution that they made.
    origins: dict[ExecutionId, list[Origin]]

    def without_receipts(self) -> "Dump":
        """The same without what a refused completion leaves behind."""
        interactions = {
            id: replace(row, duplicates=0, refusals=0) for id, row in self.interactions.items()
        }
        correlations = {
            key: [
                each._replace(row=replace(each.row, version=0, duplicates=0, refusals=0),
                              holder=None)
                for each in rows
            ]
            for key, rows in self.correlations.items()
        }  # fmt: skip
        pending = {
            tenant: [
                asked._replace(interaction=interactions[asked.interaction.id]) for asked in listed
            ]
            for tenant, listed in self.pending.items()
        }
        return self._replace(
            interactions=interactions, pending=pending, refusals={}, correlations=correlations
        )


class Driver:
    """A store with its clock, and the moves of the model in short."""

    def __init__(self, store: Store, clock: FakeClock, factory: StoreFactory) -> None:
        self.store = store
        self.clock = clock
        self.factory = factory
        self._sequence = 0

    # --- making moves -------------------------------------------------------------------------

    async def do(self, *moves: Move, handover: Handover | None = None) -> list[Outcome]:
        """Make a batch of moves."""
        return (await self.store.transact(moves, handover)).outcomes

    async def one(self, move: Move, handover: Handover | None = None) -> Outcome:
        """Make a batch of one move."""
        [outcome] = await self.do(move, handover=handover)
        return outcome

    async def handed(self, handover: Handover, *moves: Move) -> list[Claimed]:
        """Make a batch of moves, and give what it hands over."""
        return (await self.store.transact(moves, handover)).claims

    def new_id(self) -> ExecutionId:
        """An id that is newer than those before."""
        self._sequence += 1
        return compose_execution_id(self.clock(), self._sequence & 0xFFF, self._sequence)

    def submission(
        self,
        key: str | None = None,
        body: bytes = b"{}",
        *,
        tenant: str = TENANT,
        pipeline: str = "orders",
        fingerprint: str = START,
    ) -> Submit:
        """A submit that has not been made yet."""
        return Submit(self.new_id(), tenant, pipeline, fingerprint, body, digest_of(body), key)

    async def submit(self, *, tenant: str = TENANT, pipeline: str = "orders") -> ExecutionId:
        """An execution that is QUEUED."""
        move = self.submission(tenant=tenant, pipeline=pipeline)
        return expect(await self.one(move), Submitted).execution

    def offer(self, owner: str = "worker-1", limit: int = LIMIT) -> ClaimOffer:
        """The offer of a worker that can run everything of the suite."""
        return ClaimOffer(owner, LEASE_MS, limit, FINGERPRINTS)

    async def claim(self, owner: str = "worker-1", limit: int = LIMIT) -> list[Claimed]:
        """Claim what is due."""
        return await self.store.claim(self.offer(owner, limit))

    def sending(
        self,
        owner: str = "dispatcher-1",
        limit: int = LIMIT,
        *,
        route: str = AFTER_AWAIT,
        max_in_flight: int | None = None,
    ) -> DispatchOffer:
        """The offer of a dispatcher that can send what the suite's await asks."""
        at = RouteOffer(route, "orders", "decide-1", limit, LEASE_MS, ATTEMPTS_MAX, max_in_flight)
        return DispatchOffer(owner, (at,))

    async def to_send(
        self,
        owner: str = "dispatcher-1",
        limit: int = LIMIT,
        *,
        max_in_flight: int | None = None,
    ) -> list[ToSend]:
        """Claim what is due to be sent."""
        offer = self.sending(owner, limit, max_in_flight=max_in_flight)
        return await self.store.claim_dispatches(offer)

    async def dispatch(self, id: InteractionId, tenant: str = TENANT) -> Dispatch:
        """How the sending of an interaction stands."""
        [dispatch] = await self.store.dispatches(tenant, [id])
        assert dispatch is not None
        return dispatch

    async def dispatching(self, *, timeout_ms: int = DAY) -> ToSend:
        """An interaction that a dispatcher is sending."""
        id = await self.parked(dispatched=False, timeout_ms=timeout_ms)
        return next(each for each in await self.to_send() if each.interaction.id == id)

    async def sent(self) -> InteractionId:
        """An interaction that its receiver has got."""
        id = (claimed := await self.dispatching()).interaction.id
        expect(await self.one(SettleDispatch(id, claimed.dispatch.fence, Sent())), Settled)
        return id

    async def running(self, *, tenant: str = TENANT) -> Claimed:
        """An execution that has just been claimed, with whatever else was due."""
        id = await self.submit(tenant=tenant)
        return next(one for one in await self.claim() if one.execution.id == id)

    async def parked(
        self,
        *,
        tenant: str = TENANT,
        timeout_ms: int = DAY,
        dispatched: bool = True,
        group: str | None = None,
        fallback: bytes | None = None,
        correlation: CorrelationKey | None = None,
    ) -> InteractionId:
        """An execution that waits for one answer."""
        execution = (await self.running(tenant=tenant)).execution
        asked = asking(timeout_ms=timeout_ms, group=group, correlation=correlation)
        request = replace(asked, fallback=fallback)
        at = boundary(dispatched=dispatched)
        expect(await self.one(Park(execution.id, execution.fence, at, request)), Moved)
        return InteractionId(execution.id, 1, 0)

    async def stream(
        self,
        items: int = 0,
        *,
        timeout_ms: int = DAY,
        fallback: bytes | None = None,
        at: Boundary | None = None,
    ) -> Stream:
        """An execution that reads its source and has stored `items` of it."""
        claimed = await self.running()
        execution = claimed.execution
        opened = await self.one(OpenUnit(execution.id, execution.fence, at or boundary()))
        stream = Stream(claimed, UnitId(execution.id, expect(opened, Moved).execution.units))
        if items:
            asked = askings(items, timeout_ms=timeout_ms)
            asked = tuple(replace(one, fallback=fallback) for one in asked)
            expect(await self.one(replace(stream.append(0, items), items=asked)), Moved)
        return stream

    async def parked_stream(
        self,
        items: int,
        *,
        timeout_ms: int = DAY,
        fallback: bytes | None = None,
        at: Boundary | None = None,
    ) -> Stream:
        """An execution that waits for the answers of `items` items."""
        stream = await self.stream(items, timeout_ms=timeout_ms, fallback=fallback, at=at)
        expect(await self.one(stream.close(items)), Moved)
        return stream

    async def succeeded(self, *, tenant: str = TENANT, result: bytes = b"1") -> ExecutionId:
        """An execution that ended well."""
        execution = (await self.running(tenant=tenant)).execution
        expect(await self.one(Finish(execution.id, execution.fence, 2, result)), Moved)
        return execution.id

    async def failed(
        self, status: ExecutionStatus = ExecutionStatus.FAILED, *, tenant: str = TENANT
    ) -> ExecutionId:
        """An execution that ended badly."""
        execution = (await self.running(tenant=tenant)).execution
        fail = Fail(execution.id, execution.fence, status, 0, "charge", 1, "boom", "it broke")
        expect(await self.one(fail), Moved)
        return execution.id

    async def cancelled(self) -> ExecutionId:
        """An execution that somebody cancelled."""
        id = await self.submit()
        expect(await self.one(Cancel(id, TENANT, "not wanted")), Moved)
        return id

    # --- looking ------------------------------------------------------------------------------

    async def execution(self, id: ExecutionId) -> Execution:
        """An execution's row."""
        [execution] = await self.store.executions_by_id(None, [id])
        assert execution is not None
        return execution

    async def asked(self, id: InteractionId, tenant: str = TENANT) -> Asked:
        """An interaction with its unit."""
        [asked] = await self.store.interactions_by_id(tenant, [id])
        assert asked is not None
        return asked

    async def dump(self, tenants: Iterable[str] = (TENANT, OTHER_TENANT)) -> Dump:
        """Everything that the read verbs show."""
        store = self.store
        dump = Dump(
            {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
            {s: n for s, n in (await store.count_by_status(None, None)).items() if n},
            await store.overdue(LIMIT),
            dict(zip(KEYS, await store.correlated(TENANT, KEYS), strict=True)),
            {}, {}, {}, {},
        )  # fmt: skip
        for tenant in tenants:
            dump.audit[tenant] = await store.audit(AuditQuery(tenant, limit=LIMIT))
            dump.pending[tenant] = await store.pending(PendingQuery(tenant, limit=LIMIT))
            for letter in await store.dead_letters(tenant, pipeline=None, before=None, limit=LIMIT):
                dump.dead_letters[letter.id] = letter
            for reject in await store.rejects(tenant, pipeline=None, after=None, limit=LIMIT):
                whole = await store.reject(tenant, reject.id)
                assert whole is not None
                assert replace(whole, body=b"") == reject
                dump.rejects[reject.id] = whole
            for execution in await store.executions(ExecutionQuery(tenant, limit=LIMIT)):
                await self._dump_execution(dump, execution)
        return dump

    async def _dump_execution(self, dump: Dump, execution: Execution) -> None:
        store, tenant, id = self.store, execution.tenant, execution.id
        dump.executions[id] = execution
        dump.inputs[id] = await store.input_of(tenant, id)
        dump.journal[id] = await store.journal(tenant, id)
        dump.results[id] = await store.results(tenant, id, 0, LIMIT)
        dump.origins[id] = await store.origins(tenant, id)
        for handoff in await store.handoffs(tenant, id):
            whole = await store.handoff(tenant, handoff.id)
            assert whole is not None
            assert replace(whole, body=None) == handoff
            dump.handoffs[handoff.id] = whole
        for unit in await store.units(tenant, id):
            dump.units[unit.id] = unit
            items = await store.askings(tenant, unit.id, 0, LIMIT)
            ids = [
                item.id._replace(generation=n) for item in items for n in range(item.generation + 1)
            ]
            for asked in await store.interactions_by_id(tenant, ids):
                assert asked is not None
                assert asked.unit == unit
                assert asked.pipeline == execution.pipeline
                dump.interactions[asked.interaction.id] = asked.interaction
                refused = await store.refusals(tenant, asked.interaction.id)
                dump.refusals[asked.interaction.id] = refused
            for dispatch in filter(None, await store.dispatches(tenant, ids)):
                dump.dispatches[dispatch.id] = dispatch

    # --- what not every store can do ----------------------------------------------------------

    @asynccontextmanager
    async def another(self, clock: Clock | None = None) -> AsyncGenerator[Store]:
        """One more handle on the same data, or a visible skip."""
        if self.factory.another is None:
            pytest.skip(f"{self.factory.name}: its data cannot be shared by two handles")
        async with self.factory.another(self.store, clock or self.clock) as store:
            yield store

    def faults(self) -> Faults:
        """The fault hook, or a visible skip."""
        if self.factory.faults is None:
            pytest.skip(f"{self.factory.name}: a commit of it has no unknown outcome")
        return self.factory.faults(self.store)


def redrive_of(
    driver: Driver, source: ExecutionId, unit: Unit | None = None, *, name: str | None = None
) -> Redrive:
    """Do an execution again, from the start or from a unit; named by it unless said otherwise."""
    return Redrive(
        driver.new_id(), TENANT, "orders", unit.fingerprint if unit else START, b"{}", source,
        name or source.hex(), b"await" if unit else b"start", None, unit,
    )  # fmt: skip


async def taking_over(driver: Driver, source: UnitId) -> tuple[Claimed, Unit]:
    """An execution that redrives another from a unit and has just been claimed; and that unit."""
    units = await driver.store.units(TENANT, source.execution)
    old = next(unit for unit in units if unit.id == source)
    move = redrive_of(driver, source.execution, old)
    expect(await driver.one(move), Submitted)
    claimed = next(one for one in await driver.claim() if one.execution.id == move.execution)
    return claimed, old


async def take_over(
    driver: Driver, claimed: Claimed, old: Unit, first: int, limit: int
) -> TakeOver:
    """A batch of what it takes over."""
    items = await driver.store.askings(TENANT, old.id, first, limit)
    done = old.status is UnitStatus.COMPLETED
    execution = claimed.execution
    total = old.total or 0
    scope = "orders/decide-1"
    return TakeOver(execution.id, execution.fence, 1, first, tuple(items), total, done, scope)


def reject_of(execution: Execution, item: int, reason: str = "no good") -> Reject:
    """An item that a step left out."""
    body = b'{"item":%d}' % item
    return Reject(
        execution.id, 1, item, execution.tenant, execution.pipeline, "check", digest_of(body),
        reason, body, 0,
    )  # fmt: skip


def answer(
    interaction: InteractionId,
    body: bytes = b'"yes"',
    *,
    tenant: str = TENANT,
    actor: str | None = "ada",
    failure: Failure | None = None,
) -> Admit:
    """A completion."""
    return Admit(interaction, tenant, body, digest_of(body), actor, failure)


def answer_by_key(
    driver: Driver,
    key: str,
    body: bytes = b'"yes"',
    *,
    scope: str = "orders/decide-1",
    step_id: str = "decide-1",
    failure: Failure | None = None,
) -> AdmitByKey:
    """A completion that names a correlation key."""
    return AdmitByKey(
        correlated(key, scope), "orders", step_id, body, digest_of(body), driver.new_id(), DAY,
        "ada", failure,
    )  # fmt: skip


def answers_to(stream: Stream, items: Sequence[int]) -> list[Move]:
    """Completions of several items, in this order."""
    return [answer(stream.item(item), b"%d" % item) for item in items]
