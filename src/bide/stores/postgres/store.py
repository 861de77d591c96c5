"""The store's verbs on PostgreSQL: many processes, one database.

The verbs that decide run in transactions on lanes (`writer`), those that only read on a few
connections of their own (`reads`), renewals on one that waits behind nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from msgspec.structs import astuple

from bide.engine.dispatching import DispatchOffer
from bide.engine.fold import Transacted
from bide.engine.moves import Claimed, Handover, Move, Refused, ToSend
from bide.engine.publishing import HandoffOffer
from bide.engine.running import ClaimOffer
from bide.errors import StoreUnavailable
from bide.model.ids import CorrelationKey, ExecutionId, InteractionId, UnitId
from bide.model.records import Handoff, StoredBoundary, WorkerSeen
from bide.model.status import ExecutionStatus
from bide.spi.clock import Clock
from bide.spi.store import (
    Check,
    LeaseKey,
    Notice,
    Overdue,
    Pause,
    Schema,
    SignOut,
    StoreInfo,
)
from bide.spi.transactions import Bounds, OpenTransaction
from bide.stores.address import shown
from bide.stores.faults import Faults
from bide.stores.isolate import DataError
from bide.stores.postgres import connection, transacting
from bide.stores.postgres.complaints import explained
from bide.stores.postgres.connection import Connection, Pool, is_expected
from bide.stores.postgres.examine import examine
from bide.stores.postgres.held import HeldTransaction
from bide.stores.postgres.notifier import Notifier
from bide.stores.postgres.reads import Reads
from bide.stores.postgres.statements import load
from bide.stores.postgres.writer import LOCKS, TYPES, Lane, Transaction
from bide.stores.rows import Row

T = TypeVar("T")

_UPKEEP = load("upkeep.sql")
_LANES = 3
_READERS = 2
#: Transactions that steps may hold at once.
_STEP_LANES = 8
_DAY_MS = 86_400_000
_FIRST = ExecutionId(bytes(16))


class PostgresStore(Reads):
    """One PostgreSQL database, its tables in the schema `bide`."""

    def __init__(self, url: str, clock: Clock | None = None, faults: Faults | None = None) -> None:
        """Name the database; nothing is touched before `open`.

        Args:
            url: `postgresql://user:password@host:port/database`.
            clock: time in place of the server's, for tests.
            faults: what a test makes go wrong.
        """
        self._url = url
        self._label = f"the database {shown(url)}"
        self._clock = clock
        self.faults = faults or Faults()
        self._lanes = [self._lane() for _ in range(_LANES)]
        self._renewing = self._lane()
        self._step_lanes = [
            Lane(self._connect_for_steps, self._clock, self.faults, self._label)
            for _ in range(_STEP_LANES)
        ]
        self._step_turn = asyncio.Semaphore(_STEP_LANES)
        self._readers = Pool(self._connect, _READERS)
        self._notifier = Notifier(self._connect)
        self._is_open = False
        self._is_pooled = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._turn = asyncio.Semaphore(_LANES)
        self._retired_to = _FIRST
        self._keys_looked_at = ("", "", "")
        self._closed_to = InteractionId(_FIRST, 0)

    def _lane(self) -> Lane:
        return Lane(self._connect_to_write, self._clock, self.faults, self._label)

    async def _connect(self) -> Connection:
        return await connection.connect(self._url, pooled=self._is_pooled)

    async def _connect_to_write(self) -> Connection:
        db = await self._connect()
        if not self._is_pooled:
            await db.prepare(TYPES)
        return db

    async def _connect_for_steps(self) -> Connection:
        db = await connection.connect(self._url, pooled=self._is_pooled, for_steps=True)
        if not self._is_pooled:
            await db.prepare(TYPES)
        return db

    @property
    def _all_lanes(self) -> tuple[Lane, ...]:
        return (*self._lanes, *self._step_lanes, self._renewing)

    # --- its life -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and refuse tables that are not of this release."""
        there = await self.schema()
        if there.present < there.needed:
            raise StoreUnavailable(
                f"{self._label} has schema {there.present} and this release needs {there.needed}:"
                " run bide migrate"
            )
        connection.check_not_newer(there.present)
        for lane in self._all_lanes:
            lane.open()
        self._is_pooled = await self._once(connection.is_pooled)
        await self._renewing.forget_marks(await self._now())
        await self._notifier.open(listens=not self._is_pooled)
        self._is_open = True

    async def close(self) -> None:
        """Finish what runs, then disconnect."""
        self._is_open = False
        for lane in self._all_lanes:
            lane.give_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self._all_lanes:
            await lane.close()
        await self._notifier.close()
        await self._readers.close()

    async def info(self) -> StoreInfo:
        """The address, the server's version and the tables'."""
        [[version]] = await self._fetch("show server_version")
        schema = await self.schema()
        return StoreInfo(shown(self._url), "postgres", f"PostgreSQL {version}", schema.present)

    async def schema(self) -> Schema:
        """Which tables there are."""
        newest = connection.migrations()[-1][0]

        async def look(db: Connection) -> int:
            async with connection.one_session(db):
                return await connection.schema_version(db)

        return Schema(await self._once(look), newest)

    async def migrate(self) -> Schema:
        """Bring the tables up to date."""
        before = await self.schema()
        await self._once(connection.migrate)
        return before

    async def examine(self) -> list[Check]:
        """Look at the server for what would keep it from serving well."""

        async def look(db: Connection) -> list[Check]:
            async with connection.one_session(db):
                return await examine(db, _LANES + _STEP_LANES + _READERS + 2)

        return await self._once(look)

    async def now(self) -> int:
        """The store's time."""
        self._check_open()
        return await self._now()

    async def _now(self) -> int:
        async def look(db: Connection) -> int:
            return int(await db.fetchval(LOCKS["now"], self._clock() if self._clock else None))

        return await self._on_reader(look)

    # --- deciding -----------------------------------------------------------------------------

    async def transact(self, moves: Sequence[Move], handover: Handover | None = None) -> Transacted:
        """Make every move of the batch in one commit."""

        async def whole(transaction: Transaction) -> Transacted:
            return await transacting.make(transaction, moves, handover)

        async def apart(transaction: Transaction) -> Transacted:
            return await transacting.make_apart(transaction, moves, handover)

        async def either() -> Transacted:
            try:
                made = await self._run(whole)
            except DataError:
                made = await self._run(apart)
            if made.executions:
                self._notifier.tell()
            return made

        if not moves:
            return Transacted([], [], 0, [])
        return await self._shielded(either())

    async def claim(self, offer: ClaimOffer) -> list[Claimed]:
        """Claim what is due."""
        if not offer.fingerprints or offer.limit < 1:
            return []
        return await self._shielded(self._run(lambda tx: transacting.claim(tx, offer)))

    async def claim_dispatches(self, offer: DispatchOffer) -> list[ToSend]:
        """Claim what is due to be sent."""
        if not offer.routes:
            return []
        return await self._shielded(self._run(lambda tx: transacting.claim_dispatches(tx, offer)))

    async def claim_handoffs(self, offer: HandoffOffer) -> list[Handoff]:
        """Claim what is due to be offered."""
        if not offer.publications:
            return []
        return await self._shielded(self._run(lambda tx: transacting.claim_handoffs(tx, offer)))

    async def renew(self, leases: Sequence[LeaseKey], lease_ms: int) -> list[bool]:
        """Prolong leases."""

        async def work(transaction: Transaction) -> list[bool]:
            now = await transaction.now()
            found = await transaction.fetch(LOCKS["renew"], sorted(leases), now + lease_ms)
            if found:
                await transaction.write([], now)
            kept = {LeaseKey(*row) for row in found}
            return [lease in kept for lease in leases]

        if not leases:
            return []
        return await self._shielded(self._renewing.run(work))

    async def begin(self, lease: LeaseKey, bounds: Bounds) -> OpenTransaction | Refused:
        """Begin a step's transaction, on a connection that it has for itself."""
        self._check_open()
        await self._step_turn.acquire()
        lane = next(lane for lane in self._step_lanes if lane.is_free)
        release = await lane.take()

        def let_go(*, committed: bool) -> None:
            release()
            self._step_turn.release()
            if committed:
                self._notifier.tell()

        held = HeldTransaction(lane, bounds, self._to_its_end, let_go)
        return await held.begin(lease) or held

    # --- what workers say ---------------------------------------------------------------------

    async def announce(self, notices: Sequence[Notice]) -> None:
        """Write what workers say of themselves, and what is paused."""

        async def work(transaction: Transaction) -> None:
            now = await transaction.now()
            for notice in sorted(
                notices, key=repr
            ):  # one order for all, or they wait for each other
                await transaction.execute(*_said(notice, now))
            await transaction.execute(_UPKEEP["forget_lost_workers"], now - _DAY_MS)
            await transaction.write([], now)

        await self._shielded(self._run(work))

    # --- upkeep -------------------------------------------------------------------------------

    async def overdue(self, limit: int) -> Overdue:
        """What a sweep has to look at."""
        now = await self.now()
        left_open = await self._left_open(limit)
        if left_open:
            self._closed_to = left_open[-1]
        expired = await self._fetch(_UPKEEP["expired"], now, limit)
        units = await self._fetch(_UPKEEP["units_expired"], now, limit)
        early = await self._fetch(_UPKEEP["expired_early"], now, limit)
        return Overdue(
            [InteractionId(*row) for row in expired],
            left_open,
            [UnitId(*row) for row in units],
            [CorrelationKey(*row) for row in early],
        )

    async def _left_open(self, limit: int) -> list[InteractionId]:
        """What ended units have left open, from where the last look came to.

        A unit may have a hundred thousand items, and a look that began at the first would go through
        all that are closed already. What was passed over is found once the end is reached.
        """
        found: list[InteractionId] = []
        for unit in await self._fetch(_UPKEEP["units_left_open"], limit):
            room = limit - len(found)
            if room <= 0:
                break
            first = self._closed_to.item if tuple(unit) == self._closed_to[:2] else 0
            rows = await self._fetch(_UPKEEP["open_items"], *unit, first, room)
            if first and len(rows) < room:
                rows = await self._fetch(_UPKEEP["open_items"], *unit, 0, room)
            found += [InteractionId(*row) for row in rows]
        return found

    async def retire(self, older_than: int, limit: int) -> int:
        """Delete executions that ended long ago.

        Goes through the table a page a call and starts over at its end: an index on when they
        ended would cost every execution, and nobody waits for this.
        """
        page = await self._fetch(_UPKEEP["retirable"], self._retired_to, limit)
        self._retired_to = ExecutionId(page[-1][0]) if len(page) == limit else _FIRST
        old = [
            id_
            for id_, status, ended_at, publishes in page
            if ExecutionStatus(status).is_terminal and ended_at < older_than and not publishes
        ]

        async def work(transaction: Transaction) -> int:
            now = await transaction.now()
            await transaction.execute(_UPKEEP["retire"], old)
            gone = [
                await transaction.fetch(_UPKEEP[f"retire_unowned_{table}"], older_than)
                for table in ("letters", "refusals")
            ]
            if old or any(gone):
                await transaction.write([], now)
            return len(old)

        return await self._shielded(self._run(work))

    async def forget_keys(self, older_than: int, limit: int) -> int:
        """Delete old keys of executions that are gone; a page of the keys a call, like `retire`."""
        page = await self._fetch(_UPKEEP["keys_page"], *self._keys_looked_at, limit)
        self._keys_looked_at = tuple(page[-1][:3]) if len(page) == limit else ("", "", "")
        old = [tuple(row[:3]) for row in page if row[3] < older_than]

        async def work(transaction: Transaction) -> int:
            now = await transaction.now()
            forgotten = await transaction.fetch(_UPKEEP["forget_keys"], old)
            await transaction.write([], now)
            return len(forgotten)

        return await self._shielded(self._run(work)) if old else 0

    async def forget_audit(self, before: ExecutionId, limit: int) -> int:
        """Delete old entries of the audit."""

        async def work(transaction: Transaction) -> int:
            now = await transaction.now()
            forgotten = await transaction.fetch(_UPKEEP["forget_audit"], before, limit)
            if forgotten:
                await transaction.write([], now)
            return len(forgotten)

        return await self._shielded(self._run(work))

    async def wait_for_change(self, timeout_s: float) -> bool:
        """Wait for what another process has said after its commit."""
        return await self._notifier.wait(timeout_s)

    # --- connections --------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable(f"{self._label} is not open")

    async def _run(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Do `work` on a lane that is free."""
        async with self._turn:
            lane = next(lane for lane in self._lanes if lane.is_free)
            return await lane.run(work)

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end, also when whoever waits for it goes away."""
        try:
            self._check_open()
        except StoreUnavailable:
            work.close()
            raise
        return await self._to_its_end(work)

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits gets it; if nobody does any more, nobody is to be told

    async def _fetch(self, text: str, *values: Any) -> list[Row]:
        self._check_open()
        return await self._on_reader(lambda db: db.fetch(text, *values))

    async def _on_reader(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Read, to the end: a driver that is cut off asks the server, over one more connection, to
        cancel as well.
        """

        async def read() -> T:
            try:
                async with self._readers.connection() as db:
                    return await work(db)
            except BaseException as error:
                if is_expected(error):
                    raise explained(error, self._label) from error
                raise

        return await self._to_its_end(read())

    async def _once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` on a connection of its own, whether the store is open or not."""
        try:
            db = await connection.connect(self._url, pooled=True)  # who knows?
            try:
                return await work(db)
            finally:
                await db.close(timeout=5)
        except BaseException as error:
            if is_expected(error):
                raise explained(error, self._label) from error
            raise


def _said(notice: Notice, now: int) -> tuple[Any, ...]:
    """What to write of a notice: a statement and its parameters."""
    match notice:
        case StoredBoundary():
            return _UPKEEP["new_boundary"], *astuple(notice)
        case WorkerSeen():
            values = (notice.id, notice.started_at, now, sorted(notice.fingerprints))
            return _UPKEEP["put_worker"], *values
        case SignOut(worker):
            return _UPKEEP["forget_worker"], worker
        case Pause(pipeline, True):
            return _UPKEEP["pause"], pipeline, now
        case Pause(pipeline):
            return _UPKEEP["resume"], pipeline
