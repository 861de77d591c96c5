"""Moves that race for one execution, where they race, and what must hold whoever comes first."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from bide.engine.dispatching import DispatchOffer, RouteOffer
from bide.engine.moves import (
    Append,
    Boundary,
    Cancel,
    CloseBehind,
    CloseUnit,
    Denied,
    Expire,
    Failure,
    Finish,
    Mismatch,
    Move,
    Moved,
    OpenUnit,
    Outcome,
    Park,
    Postponed,
    Received,
    Refused,
    Retry,
    Sent,
    Settled,
    SettleDispatch,
)
from bide.engine.running import ClaimOffer
from bide.errors import StoreUnavailable
from bide.model.ids import ExecutionId, InteractionId, UnitId
from bide.model.records import Execution, Unit
from bide.model.status import JournalKind, ReceiptOutcome
from bide.spi.store import PendingQuery
from bide.stores.postgres.store import PostgresStore
from bide.stores.sqlite.store import SqliteStore
from bide.testing import FakeClock
from bide.testing.store_contract import StoreFactory, check_invariants
from bide.testing.store_contract.harness import (
    LEASE_MS,
    LIMIT,
    MINUTE,
    Driver,
    Dump,
    answer,
    askings,
    expect,
)

SqlStore = SqliteStore | PostgresStore

_TIMEOUT_MS = 10 * MINUTE
_ENDS = {
    JournalKind.SUCCEEDED, JournalKind.FAILED, JournalKind.DEAD_LETTERED, JournalKind.CANCELLED,
}  # fmt: skip


@dataclass
class Scene:
    """One execution of a tenant of its own, so that many can stand in one file."""

    driver: Driver
    tenant: str
    id: ExecutionId
    fence: int
    started_at: int
    #: Completions that were told to be applied, each of which has to stay.
    applied: list[bytes] = field(default_factory=list)
    #: Its requests have to be sent.
    sends: bool = False
    #: Under which fence a dispatcher has its request.
    dispatch_fence: int = 0

    @property
    def asked(self) -> InteractionId:
        """The interaction that is raced for."""
        return InteractionId(self.id, 1, 0)

    @property
    def fingerprint(self) -> str:
        """What only a claim of this scene can run."""
        return self.tenant

    @property
    def boundary(self) -> Boundary:
        return Boundary("decide", 1, self.fingerprint, not self.sends)

    async def do(self, move: Move) -> Outcome:
        return await self.driver.one(move)

    def past(self, ms: int) -> None:
        """Turn the clock to so long after the scene began, unless it is later already."""
        clock = self.driver.clock
        clock.advance(max(0, self.started_at + ms + 1 - clock()))


Act = Callable[[Scene], Awaitable[object]]
Stage = Callable[[Scene], Awaitable[None]]


# --- where they race ----------------------------------------------------------------------------


async def running(scene: Scene) -> None:
    """A worker runs the segment before the boundary."""


async def parked(scene: Scene) -> None:
    """It waits for one answer."""
    expect(await park(scene), Moved)


async def reading(scene: Scene) -> None:
    """Its source is being read; two items are stored."""
    expect(await scene.do(OpenUnit(scene.id, scene.fence, scene.boundary)), Moved)
    items = askings(2, timeout_ms=_TIMEOUT_MS)
    expect(await scene.do(Append(scene.id, scene.fence, 1, 0, items)), Moved)


async def last_item(scene: Scene) -> None:
    """Its source is read, and one item of two is open."""
    await reading(scene)
    second = answer(InteractionId(scene.id, 1, 1), tenant=scene.tenant)
    expect(await scene.do(second), Received)
    expect(await close(scene), Moved)


async def to_be_sent(scene: Scene) -> None:
    """It waits for one answer, to a request that is still to be sent."""
    scene.sends = True
    expect(await park(scene), Moved)


async def being_sent(scene: Scene) -> None:
    """A dispatcher is sending its request."""
    await to_be_sent(scene)
    [claimed] = await scene.driver.store.claim_dispatches(_sending(scene, "dispatcher-1"))
    scene.dispatch_fence = claimed.dispatch.fence


def _sending(scene: Scene, owner: str) -> DispatchOffer:
    route = RouteOffer(scene.fingerprint, "orders", "decide", LIMIT, LEASE_MS, 9)
    return DispatchOffer(owner, (route,))


DISPATCH_STAGES: dict[str, Stage] = {"to be sent": to_be_sent, "being sent": being_sent}
STAGES: dict[str, Stage] = {
    **DISPATCH_STAGES,
    "running": running, "parked": parked, "reading": reading, "last item": last_item,
}  # fmt: skip


# --- what races ---------------------------------------------------------------------------------


async def park(scene: Scene) -> Outcome:
    [request] = askings(1, timeout_ms=_TIMEOUT_MS)
    return await scene.do(Park(scene.id, scene.fence, scene.boundary, request))


async def append(scene: Scene) -> Outcome:
    items = askings(2, 2, timeout_ms=_TIMEOUT_MS)
    return await scene.do(Append(scene.id, scene.fence, 1, 2, items))


async def close(scene: Scene) -> Outcome:
    return await scene.do(CloseUnit(scene.id, scene.fence, 1, 2, 1))


async def _admit(scene: Scene, body: bytes, failure: Failure | None = None) -> Outcome:
    move = answer(scene.asked, body, tenant=scene.tenant, failure=failure)
    outcome = expect(await scene.do(move), Received)
    if outcome.outcome is ReceiptOutcome.APPLIED:
        scene.applied.append(move.digest)
    return outcome


async def admit(scene: Scene) -> Outcome:
    return await _admit(scene, b'"yes"')


async def admit_another(scene: Scene) -> Outcome:
    return await _admit(scene, b'"no"')


async def admit_failure(scene: Scene) -> Outcome:
    return await _admit(scene, b"failed", Failure("declined", "no"))


async def expire(scene: Scene) -> Outcome:
    scene.past(_TIMEOUT_MS)
    return await scene.do(Expire(scene.asked))


async def cancel(scene: Scene) -> Outcome:
    return await scene.do(Cancel(scene.id, scene.tenant, "not wanted"))


async def claim(scene: Scene) -> Outcome:
    """Another worker, once the lease of the first has run out."""
    scene.past(LEASE_MS)
    offer = ClaimOffer("worker-2", LEASE_MS, LIMIT, frozenset({scene.fingerprint}))
    claimed = await scene.driver.store.claim(offer)
    return Moved(claimed[0].execution) if claimed else Refused("nothing is due")


async def finish(scene: Scene) -> Outcome:
    return await scene.do(Finish(scene.id, scene.fence, 2, b"1"))


async def retry(scene: Scene) -> Outcome:
    return await scene.do(Retry(scene.id, scene.fence, 0, 1, 10, "down"))


async def close_behind(scene: Scene) -> Outcome:
    """The sweeper, over all that it would find of this execution."""
    found = await scene.driver.store.items(scene.tenant, UnitId(scene.id, 1), None, LIMIT)
    moves = [CloseBehind(row.id) for row in found]
    outcomes = await scene.driver.do(*moves)
    return next((one for one in outcomes if isinstance(one, Settled)), Refused("nothing is open"))


async def send(scene: Scene) -> Outcome:
    """Another dispatcher, once the lease of the first has run out."""
    scene.past(LEASE_MS)
    claimed = await scene.driver.store.claim_dispatches(_sending(scene, "dispatcher-2"))
    return Settled(scene.asked) if claimed else Refused("nothing is to be sent")


async def _settled(scene: Scene, result: Sent | Denied | Postponed) -> Outcome:
    return await scene.do(SettleDispatch(scene.asked, scene.dispatch_fence, result))


async def sent(scene: Scene) -> Outcome:
    return await _settled(scene, Sent())


async def denied(scene: Scene) -> Outcome:
    return await _settled(scene, Denied("http-404", "Not Found"))


async def postponed(scene: Scene) -> Outcome:
    return await _settled(scene, Postponed("busy", MINUTE, 9))


#: What may befall a request that has to be sent.
DISPATCH_MOVES: dict[str, Callable[[Scene], Awaitable[Outcome]]] = {
    "send": send,
    "sent": sent,
    "denied": denied,
    "postponed": postponed,
    "admit": admit,
    "admit a failure": admit_failure,
    "expire": expire,
    "cancel": cancel,
    "close behind": close_behind,
}
MOVES: dict[str, Callable[[Scene], Awaitable[Outcome]]] = {
    "park": park,
    "append": append,
    "close": close,
    "admit": admit,
    "admit another": admit_another,
    "admit a failure": admit_failure,
    "expire": expire,
    "cancel": cancel,
    "claim": claim,
    "finish": finish,
    "retry": retry,
    "close behind": close_behind,
}


# --- how it goes wrong --------------------------------------------------------------------------


class Mishap(Enum):
    """What befalls one of the two."""

    NONE = "nothing"
    #: Its process dies once the commit is durable: nobody is told, and it is done again.
    CRASH = "a crash"
    #: The outcome of its commit is lost, before or after it took place.
    LOST_BEFORE = "an outcome lost before the commit"
    LOST_AFTER = "an outcome lost after the commit"


class Table:
    """A store's executions, and the process that has it open."""

    def __init__(
        self,
        make: Callable[[FakeClock], SqlStore],
        mishaps: Sequence[Mishap] = (Mishap.CRASH, Mishap.LOST_BEFORE, Mishap.LOST_AFTER),
    ) -> None:
        self._make = make
        #: What may befall a move, to be tried one after another.
        self.mishaps = mishaps
        self._clock = FakeClock()
        self._scenes = 0
        self.driver = self._driver()

    def _driver(self) -> Driver:
        factory = StoreFactory(name="raced", fresh=None)  # type: ignore[arg-type]  # opens no other
        return Driver(self._make(self._clock), self._clock, factory)

    @property
    def store(self) -> SqlStore:
        store = self.driver.store
        assert isinstance(store, SqliteStore | PostgresStore)
        return store

    async def restart(self) -> None:
        """Lose all that the process knew."""
        await self.store.close()
        self.driver = self._driver()
        await self.store.open()

    async def scene(self, stage: str) -> Scene:
        """A new execution, driven to where the race is."""
        self._scenes += 1
        driver, tenant = self.driver, f"tenant-{self._scenes}"
        self._clock.advance(1)
        move = driver.submission(tenant=tenant, fingerprint=tenant)
        # The driver counts its ids from 1 again after a restart.
        await driver.one(move)
        offer = ClaimOffer("worker-1", LEASE_MS, LIMIT, frozenset({tenant}))
        [claimed] = await driver.store.claim(offer)
        row = claimed.execution
        scene = Scene(driver, tenant, row.id, row.fence, row.updated_at)
        await STAGES[stage](scene)
        return scene

    async def run(self, scene: Scene, move: str, mishap: Mishap) -> Outcome:
        """Make a move, with what befalls it; gives what is known of it in the end."""
        act = (MOVES | DISPATCH_MOVES)[move]
        if mishap is Mishap.CRASH:
            await act(scene)
            await self.restart()
            scene.driver = self.driver
            return await act(scene)
        if mishap in {Mishap.LOST_BEFORE, Mishap.LOST_AFTER}:
            self.store.faults.fail_next_commit(after=mishap is Mishap.LOST_AFTER)
            try:
                return await act(scene)
            except StoreUnavailable:
                return await act(scene)
            finally:
                # A move that had nothing to commit leaves its mishap for nobody else.
                self.store.faults.disarm()
        return await act(scene)


# --- what must hold -----------------------------------------------------------------------------


def is_made(outcome: Outcome) -> bool:
    """Whether the move had its way."""
    if isinstance(outcome, Received):
        return outcome.outcome is ReceiptOutcome.APPLIED
    return not isinstance(outcome, Refused | Mismatch)


async def look(scene: Scene) -> Dump:
    """All rows of the scene."""
    driver, tenant = scene.driver, scene.tenant
    counts = dict(await driver.store.count_by_status(tenant, None))
    dump = (await driver.dump(tenants=[]))._replace(counts=counts)
    query = PendingQuery(tenant, execution=scene.id, limit=LIMIT)
    dump.pending[tenant] = await driver.store.pending(query)
    letter = await driver.store.dead_letter(tenant, scene.id)
    if letter is not None:
        dump.dead_letters[scene.id] = letter
    await driver._dump_execution(dump, await driver.execution(scene.id))
    return dump


def check_legal(scene: Scene, dump: Dump) -> None:
    """The invariants of every row; and one resume, one answer and one end of each."""
    check_invariants(dump)
    journal = dump.journal[scene.id]
    resumed = [fact.unit for fact in journal if fact.kind is JournalKind.RESUMED]
    assert len(resumed) == len(set(resumed))
    row: Execution = dump.executions[scene.id]
    ends = [fact for fact in journal if fact.kind in _ENDS]
    assert len(ends) == row.status.is_terminal
    assert len(set(scene.applied)) <= 1
    asked = dump.interactions.get(scene.asked)
    for digest in scene.applied:
        assert asked is not None
        assert asked.answer_digest == digest


def ended_first(first: Dump, last: Dump) -> None:
    """What was terminal after the first move is as it was after the second."""
    for id_, row in first.executions.items():
        if row.status.is_terminal:
            assert last.executions[id_] == row
    units: Sequence[Unit] = list(first.units.values())
    for unit in units:
        if unit.status.is_terminal:
            assert last.units[unit.id].status is unit.status
    for key, interaction in first.interactions.items():
        if interaction.status.is_terminal:
            now = last.interactions[key]
            assert (now.status, now.answer, now.actor) == (
                interaction.status, interaction.answer, interaction.actor,
            )  # fmt: skip
