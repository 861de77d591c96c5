"""The store's verbs on SQLite.

Each verb reads the rows that are concerned, lets the engine decide, and writes what came out; it
knows the tables and no policy. One writer connection a process (`writer`), one reader connection
on another thread, so that a page of the inbox never waits for a commit.
"""

# apsw's stubs name a type that pyright cannot find, so all that touches a binding is half unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import apsw
import orjson
from msgspec.structs import astuple

from bide.engine.dispatching import DispatchOffer
from bide.engine.fold import Transacted
from bide.engine.moves import Claimed, Handover, Move, Refused, ToSend
from bide.engine.publishing import HandoffOffer
from bide.engine.running import ClaimOffer
from bide.errors import StoreUnavailable
from bide.model.ids import CorrelationKey, ExecutionId, InteractionId, RejectId, UnitId
from bide.model.records import (
    AuditEntry,
    Correlation,
    DeadLetter,
    Dispatch,
    Execution,
    Handoff,
    Interaction,
    JournalFact,
    Origin,
    Refusal,
    Reject,
    StoredBoundary,
    TraceContext,
    Unit,
    WorkerSeen,
)
from bide.model.status import (
    ExecutionStatus,
    ReceiptOutcome,
)
from bide.spi.clock import Clock
from bide.spi.store import (
    Asked,
    AuditQuery,
    Backlog,
    Check,
    Correlated,
    Deployed,
    ExecutionQuery,
    ItemKey,
    LeaseKey,
    Notice,
    Overdue,
    Pause,
    PendingQuery,
    Queue,
    Schema,
    SignOut,
    Standing,
    StoreInfo,
)
from bide.spi.transactions import Bounds, OpenTransaction
from bide.stores.faults import Faults
from bide.stores.rows import (
    asked_of,
    correlated_of,
    dead_letter_of,
    dispatch_of,
    execution_of,
    fact_of,
    handoff_of,
    interaction_of,
    unit_of,
)
from bide.stores.sqlite import transacting
from bide.stores.sqlite.connection import explained, open_reader, schema_of, schema_version
from bide.stores.sqlite.held import HeldTransaction
from bide.stores.sqlite.lane import Lane
from bide.stores.sqlite.recent import Recent
from bide.stores.sqlite.statements import (
    change_rows,
    fetch,
    fetch_one,
    for_rows,
    statement,
)
from bide.stores.sqlite.transacting import Transaction
from bide.stores.sqlite.writer import Writer

T = TypeVar("T")
Row = tuple[Any, ...]

_UNIT_COLUMNS = 19
_INTERACTION_COLUMNS = 25
_CHANGE_POLL_S = 0.01
_DAY_MS = 86_400_000
_RETIRED_TABLES = (
    "letters_of_handoffs", "handoffs", "origins", "correlations", "results", "rejects", "refusals", "dispatches", "traces", "interactions",
    "units", "journal", "dead_letters", "inputs", "executions",
)  # fmt: skip


class SqliteStore:
    """One SQLite file."""

    def __init__(self, path: str, clock: Clock, faults: Faults | None = None) -> None:
        """Name the file; nothing is touched before `open`.

        Args:
            path: the database file; it is created when it is absent, its folder is not.
            clock: the wall clock.
            faults: what a test makes go wrong.
        """
        self._path = path
        self._clock = clock
        self.faults = faults or Faults()
        self._recent = Recent()
        self._writer = Writer(path, clock, self.faults, self._recent)
        self._reader = Lane("bide-sqlite-reader")
        self._reading: apsw.Connection | None = None
        self._retired_to = ExecutionId(b"")
        self._keys_looked_at: Row = ("", "", "")
        self._closed_to = InteractionId(ExecutionId(b""), 0)
        self._seen_version = 0

    async def open(self) -> None:
        """Open the file, create or migrate its tables."""
        await self._writer.start()
        self._reader.start()
        await self._read(lambda db: fetch(db, "high_water"))

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        await self._writer.stop()
        await self._reader.stop(self._close_reader)

    async def schema(self) -> Schema:
        """Look which tables are in the file, if it is there."""
        return await asyncio.to_thread(schema_of, self._path)

    async def migrate(self) -> Schema:
        """Make the file, or bring it up to date: what opening it does."""
        before = await self.schema()
        await self.open()
        await self.close()
        return before

    async def examine(self) -> list[Check]:
        """Add nothing: what would lose data is refused when it is opened."""
        return []

    async def info(self) -> StoreInfo:
        """The file, the version of SQLite and of the tables."""
        version = await self._read(schema_version)
        return StoreInfo(
            f"sqlite:///{self._path}", "sqlite", f"SQLite {apsw.sqlite_lib_version()}", version
        )

    async def now(self) -> int:
        """The store's time."""
        return await self._writer.commit(lambda _, now: now)

    # --- deciding -----------------------------------------------------------------------------

    async def transact(self, moves: Sequence[Move], handover: Handover | None = None) -> Transacted:
        """Make every move of the batch in one commit."""
        return await self._writer.commit(
            lambda db, now: transacting.transact(
                Transaction(db, now, self._recent), moves, handover
            ),
            keeps=True,
        )

    async def claim(self, offer: ClaimOffer) -> list[Claimed]:
        """Claim what is due."""
        return await self._writer.commit(
            lambda db, now: transacting.claim(Transaction(db, now, self._recent), offer), keeps=True
        )

    async def claim_dispatches(self, offer: DispatchOffer) -> list[ToSend]:
        """Claim what is due to be sent."""
        return await self._writer.commit(
            lambda db, now: transacting.claim_dispatches(Transaction(db, now, self._recent), offer),
            keeps=True,
        )

    async def claim_handoffs(self, offer: HandoffOffer) -> list[Handoff]:
        """Claim what is due to be offered."""
        return await self._writer.commit(
            lambda db, now: transacting.claim_handoffs(Transaction(db, now, self._recent), offer),
            keeps=True,
        )

    async def renew(self, leases: Sequence[LeaseKey], lease_ms: int) -> list[bool]:
        """Prolong leases."""
        text = statement("renew").text

        def work(db: apsw.Connection, now: int) -> list[bool]:
            return [
                bool(db.execute(text, (now + lease_ms, execution, fence)).fetchall())
                for execution, fence in leases
            ]

        return await self._writer.commit(work)

    async def begin(self, lease: LeaseKey, bounds: Bounds) -> OpenTransaction | Refused:
        """Begin a step's transaction; while it is open nobody else writes to the file."""
        held = HeldTransaction(lease, bounds, self._recent, self._writer.guard)
        return await held.begin(self._writer.hold) or held

    # --- reading ------------------------------------------------------------------------------

    async def input_of(self, tenant: str, execution: ExecutionId) -> bytes | None:
        """What an execution was submitted with."""
        row = await self._read(lambda db: fetch_one(db, "input_of", (execution, tenant)))
        return row[0] if row else None

    async def answers(
        self, tenant: str, unit: UnitId, first_item: int, limit: int
    ) -> list[Interaction]:
        """A page of a unit's answers, by item."""
        rows = await self._fetch("answers_page", (*unit, first_item, tenant, limit))
        return [interaction_of(row) for row in rows]

    async def askings(
        self, tenant: str, unit: UnitId, first_item: int, limit: int
    ) -> list[Interaction]:
        """A page of a unit's items."""
        rows = await self._fetch("askings_page", (*unit, first_item, tenant, limit))
        return [interaction_of(row) for row in rows]

    async def results(
        self, tenant: str, execution: ExecutionId, first_item: int, limit: int
    ) -> list[bytes]:
        """A page of a streaming result."""
        keys = (execution, tenant, first_item, limit)
        return [row[0] for row in await self._fetch("results_page", keys)]

    async def executions_by_id(
        self, tenant: str | None, ids: Sequence[ExecutionId]
    ) -> list[Execution | None]:
        """Executions by id."""
        wanted = [(tenant, id_) for id_ in ids]
        rows = await self._read(lambda db: list(for_rows(db, "executions_by_id", wanted)))
        found = {row[0]: execution_of(row) for row in rows}
        return [found.get(id_) for id_ in ids]

    async def executions(self, query: ExecutionQuery) -> list[Execution]:
        """A page of executions, newest first."""
        keys: Row = (query.tenant, query.pipeline, query.status, query.before, query.limit)
        if query.redriven_from is not None:
            keys = (*keys[:4], query.redriven_from, query.limit)
            return [execution_of(row) for row in await self._fetch("redrives", keys)]
        if query.due_outside is not None:
            lists = (_json_list(query.due_outside), _json_list(query.paused))
            held = await self._fetch("held_page", (*keys, await self.now(), *lists))
            return [execution_of(row) for row in held]
        return [execution_of(row) for row in await self._fetch("executions_page", keys)]

    async def interactions_by_id(
        self, tenant: str, ids: Sequence[InteractionId]
    ) -> list[Asked | None]:
        """Interactions by id, with requests."""
        found = await self._read(lambda db: _asked_by_id(db, tenant, ids))
        return [found.get(id_) for id_ in ids]

    async def dispatches(self, tenant: str, ids: Sequence[InteractionId]) -> list[Dispatch | None]:
        """How the sending of each stands."""
        keys = [(tenant, *id_) for id_ in ids]
        rows = await self._read(lambda db: list(for_rows(db, "dispatches_by_id", keys)))
        found = {each.id: each for each in map(dispatch_of, rows)}
        return [found.get(id_) for id_ in ids]

    async def traces(self, wanted: Sequence[tuple[str, ExecutionId]]) -> list[TraceContext | None]:
        """In which trace each goes on."""
        rows = await self._read(lambda db: list(for_rows(db, "traces", list(wanted))))
        found = {(row[0], row[1]): TraceContext(row[2], row[3]) for row in rows}
        return [found.get(each) for each in wanted]

    async def correlated(self, tenant: str, keys: Sequence[str]) -> list[list[Correlated]]:
        """What is known under each key, in every scope."""

        def work(db: apsw.Connection) -> list[list[Correlated]]:
            wanted = [(tenant, key) for key in dict.fromkeys(keys)]
            rows = [Correlation(*row) for row in for_rows(db, "correlated", wanted)]
            holders = [row.holder for row in rows if row.holder]
            return correlated_of(keys, rows, _asked_by_id(db, tenant, holders))

        return await self._read(work)

    async def pending(self, query: PendingQuery) -> list[Asked]:
        """Open interactions, oldest deadline first."""
        keys: Row = (query.tenant, query.group, query.assignee, query.step_id, query.limit)
        if query.execution is None:
            rows = await self._fetch("pending", keys)
        else:
            rows = await self._fetch("pending_of_execution", (*keys, query.execution))
        return [asked_of(row) for row in rows]

    async def units(self, tenant: str, execution: ExecutionId) -> list[Unit]:
        """The units of an execution."""
        return [unit_of(row) for row in await self._fetch("units_of", (execution, tenant))]

    async def items(
        self, tenant: str, unit: UnitId, after: ItemKey | None, limit: int
    ) -> list[Interaction]:
        """A page of a unit's interactions, without payloads."""
        keys = (*unit, *(after or (-1, 0)), tenant, limit)
        return [interaction_of(row) for row in await self._fetch("items_page", keys)]

    async def journal(
        self, tenant: str, execution: ExecutionId, after: int = 0
    ) -> list[JournalFact]:
        """An execution's facts."""
        rows = await self._fetch("journal_of", (execution, tenant, after))
        return [fact_of(row) for row in rows]

    async def audit(self, query: AuditQuery) -> list[AuditEntry]:
        """A page of the audit, newest first."""
        tenant, execution, before, limit = query
        if execution is None:
            rows = await self._fetch("audit_page", (tenant, before, limit))
        else:
            rows = await self._fetch("audit_of", (tenant, execution, before, limit))
        return [AuditEntry(*row) for row in rows]

    async def handoffs(self, tenant: str, execution: ExecutionId) -> list[Handoff]:
        """What an execution has published."""
        return [handoff_of(row) for row in await self._fetch("handoffs_of", (execution, tenant))]

    async def handoff(self, tenant: str, id: ExecutionId) -> Handoff | None:
        """One publication."""
        rows = await self._fetch("handoff_by_id", (id, tenant))
        return handoff_of(rows[0]) if rows else None

    async def origins(self, tenant: str, execution: ExecutionId) -> list[Origin]:
        """The publications that an execution was made of."""
        return [Origin(*row) for row in await self._fetch("origins_of", (execution, tenant))]

    async def dead_letters(
        self, tenant: str, *, pipeline: str | None, before: ExecutionId | None, limit: int
    ) -> list[DeadLetter]:
        """A page of dead letters, newest first."""
        keys = (tenant, pipeline, before, limit)
        return [dead_letter_of(row) for row in await self._fetch("dead_letters_page", keys)]

    async def dead_letter(self, tenant: str, id: ExecutionId) -> DeadLetter | None:
        """One dead letter."""
        rows = await self._fetch("dead_letter", (id, tenant))
        return dead_letter_of(rows[0]) if rows else None

    async def rejects(
        self, tenant: str, *, pipeline: str | None, after: RejectId | None, limit: int
    ) -> list[Reject]:
        """A page of rejects, the newest execution first."""
        keys = (tenant, pipeline, *(after or (None, None, None)), limit)
        return [Reject(*row) for row in await self._fetch("rejects_page", keys)]

    async def reject(self, tenant: str, id: RejectId) -> Reject | None:
        """One reject, with its body."""
        rows = await self._fetch("reject_by_id", (*id, tenant))
        return Reject(*rows[0]) if rows else None

    async def refusals(self, tenant: str, interaction: InteractionId) -> list[Refusal]:
        """Conflicting and late completions of an interaction."""
        return [Refusal(*row) for row in await self._fetch("refusals_of", (*interaction, tenant))]

    async def count_receipts(self, tenant: str) -> dict[ReceiptOutcome, int]:
        """What rows say of the completions received."""
        rows = await self._fetch("count_receipts", (tenant,))
        return {ReceiptOutcome(outcome): int(count) for outcome, count in rows}

    async def count_by_status(
        self, tenant: str | None, pipeline: str | None
    ) -> dict[ExecutionStatus, int]:
        """How many executions stand where."""
        rows = await self._fetch("count_by_status", (tenant, pipeline))
        return {ExecutionStatus(status): count for status, count in rows}

    # --- deploys ------------------------------------------------------------------------------

    async def announce(self, notices: Sequence[Notice]) -> None:
        """Write what workers say of themselves, and what is paused."""
        await self._writer.commit(lambda db, now: _announce(db, now, notices))

    async def deployed(self) -> Deployed:
        """All that was announced."""

        def work(db: apsw.Connection) -> Deployed:
            high_water = fetch_one(db, "high_water")
            return Deployed(
                max(self._clock(), high_water[0] or 0 if high_water else 0),
                {row[0]: StoredBoundary(*row) for row in fetch(db, "all_boundaries")},
                [
                    WorkerSeen(row[0], row[1], row[2], frozenset(orjson.loads(row[3])))
                    for row in fetch(db, "all_workers")
                ],
                frozenset(row[0] for row in fetch(db, "all_paused")),
            )

        return await self._read(work)

    async def standing(self) -> list[Standing]:
        """How many stand under which fingerprint."""
        found = [*await self._fetch("standing_due", ()), *await self._fetch("standing_parked", ())]
        return [Standing(*row) for row in found]

    async def backlog(self) -> Backlog:
        """What is due now."""
        now = await self.now()
        ready = await self._fetch("ready_by_fingerprint", (now,))
        to_send = await self._fetch("to_send_by_route", (now,))
        to_hand = await self._fetch("to_hand_by_publication", (now,))
        untaken = await self._fetch("untaken_by_publication", ())
        found = (ready, to_send, to_hand, untaken)
        queues = [[Queue(*row) for row in rows] for rows in found]
        return Backlog(now, *queues)

    # --- upkeep -------------------------------------------------------------------------------

    async def overdue(self, limit: int) -> Overdue:
        """What a sweep has to look at."""
        now = await self.now()

        def work(db: apsw.Connection) -> Overdue:
            left_open = list(_left_open(db, self._closed_to, limit))
            if left_open:
                self._closed_to = left_open[-1]
            units = [UnitId(*row) for row in fetch(db, "units_expired", (now, limit))]
            early = [CorrelationKey(*row) for row in fetch(db, "expired_early", (now, limit))]
            return Overdue(list(_expired(db, now, limit)), left_open, units, early)

        return await self._read(work)

    async def retire(self, older_than: int, limit: int) -> int:
        """Delete executions that ended long ago.

        Goes through the table a page a call and starts over at its end: an index on when they
        ended would cost every execution, and nobody waits for this.
        """

        def work(db: apsw.Connection, now: int) -> int:
            del now
            page = fetch(db, "retirable", (self._retired_to, limit))
            self._retired_to = ExecutionId(page[-1][0] if len(page) == limit else b"")
            old = [
                (id_,)
                for id_, status, ended_at, publishes in page
                if ExecutionStatus(status).is_terminal and ended_at < older_than and not publishes
            ]
            for table in _RETIRED_TABLES:
                db.executemany(statement(f"retire_{table}").text, old)
            db.executemany(statement("unhold_correlations").text, old)
            for table in ("letters", "refusals"):
                db.execute(statement(f"retire_unowned_{table}").text, (older_than,))
            return len(old)

        return await self._writer.commit(work)

    async def forget_keys(self, older_than: int, limit: int) -> int:
        """Delete old keys of executions that are gone; a page of the keys a call, like `retire`."""

        def work(db: apsw.Connection, now: int) -> int:
            del now
            page = fetch(db, "keys_page", (*self._keys_looked_at, limit))
            self._keys_looked_at = page[-1][:3] if len(page) == limit else ("", "", "")
            old = [row for row in page if row[4] < older_than]
            db.executemany(statement("forget_origins").text, [row[3:4] for row in old])
            return change_rows(db, "forget_key", [row[:3] for row in old]) if old else 0

        return await self._writer.commit(work)

    async def forget_audit(self, before: ExecutionId, limit: int) -> int:
        """Delete old entries of the audit."""
        return await self._writer.commit(
            lambda db, _: len(fetch(db, "forget_audit", (before, limit)))
        )

    async def wait_for_change(self, timeout_s: float) -> bool:
        """Look every ten milliseconds whether another process has committed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            version = await self._writer.data_version()
            changed, self._seen_version = version != self._seen_version, version
            if changed:
                return True
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(min(_CHANGE_POLL_S, max(0.0, deadline - loop.time())))

    # --- the reading thread -------------------------------------------------------------------

    async def _fetch(self, name: str, parameters: Sequence[Any]) -> list[Row]:
        return await self._read(lambda db: fetch(db, name, parameters))

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        if not self._reader.is_running:
            raise StoreUnavailable(f"the database {self._path} is not open")
        return await self._reader.run(lambda: self._read_now(work))

    def _read_now(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            if self._reading is None:
                self._reading = open_reader(self._path)
            return work(self._reading)
        except apsw.Error as error:
            self._close_reader()
            raise explained(error, self._path) from error

    def _close_reader(self) -> None:
        if self._reading is not None:
            self._reading.close(force=True)
            self._reading = None


def _asked_by_id(
    db: apsw.Connection, tenant: str, ids: Iterable[InteractionId]
) -> dict[InteractionId, Asked]:
    rows = for_rows(db, "interactions_by_id", [(tenant, *id_) for id_ in ids])
    return {asked.interaction.id: asked for asked in map(asked_of, rows)}


def _announce(db: apsw.Connection, now: int, notices: Sequence[Notice]) -> None:
    for notice in notices:
        match notice:
            case StoredBoundary():
                fetch(db, "new_boundary", astuple(notice))
            case WorkerSeen():
                fingerprints = _json_list(notice.fingerprints)
                fetch(db, "put_worker", (notice.id, notice.started_at, now, fingerprints))
            case SignOut(worker):
                fetch(db, "forget_worker", (worker,))
            case Pause(pipeline, True):
                fetch(db, "pause", (pipeline, now))
            case Pause(pipeline):
                fetch(db, "resume", (pipeline,))
    fetch(db, "forget_lost_workers", (now - _DAY_MS,))


def _json_list(texts: frozenset[str]) -> str:
    return orjson.dumps(sorted(texts)).decode()


def _expired(db: apsw.Connection, now: int, limit: int) -> Iterable[InteractionId]:
    row = fetch_one(db, "first_tenant")
    while row and row[0] is not None and limit > 0:
        found = fetch(db, "expired", (row[0], now, limit))
        limit -= len(found)
        yield from (InteractionId(*each) for each in found)
        row = fetch_one(db, "next_tenant", (row[0],))


def _left_open(
    db: apsw.Connection, closed_to: InteractionId, limit: int
) -> Iterable[InteractionId]:
    """What ended units have left open, from where the last look came to.

    A unit may have a hundred thousand items, and a look that began at the first would go through
    all that are closed already. What was passed over is found once the end is reached.
    """
    for unit in fetch(db, "units_left_open", (limit,)):
        if limit <= 0:
            return
        first = closed_to.item if tuple(unit) == closed_to[:2] else 0
        found = fetch(db, "open_items", (*unit, first, limit))
        if first and len(found) < limit:
            found = fetch(db, "open_items", (*unit, 0, limit))
        limit -= len(found)
        yield from (InteractionId(*each) for each in found)
