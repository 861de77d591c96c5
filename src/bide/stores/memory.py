"""The reference store: dictionaries, and the plainest reading of every duty.

It is what the other stores are compared with, so it prefers the obvious to the fast: readers scan.
It keeps nothing when the process ends. Each verb first lets other tasks run and then does its work
without awaiting, so a verb is one critical section of the event loop: that is all its locking, and
why a caller can be cancelled before the commit or not at all (S8).

Several `MemoryStore`s may share one `MemoryData`, as several processes share one file.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import astuple

from bide.engine.dispatching import DispatchOffer, RouteOffer
from bide.engine.fold import (
    Transacted,
    claims_of,
    fold,
    fold_claims,
    fold_dispatches,
    fold_handoffs,
    starts_of,
)
from bide.engine.moves import Claimed, Handover, Move, ToSend
from bide.engine.publishing import HandoffOffer
from bide.engine.rows import Key, Needs, Rows
from bide.engine.rules import needs_of
from bide.engine.running import ClaimOffer
from bide.engine.settling import taken
from bide.engine.waiting import holds
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
    SubmitKey,
    Trace,
    TraceContext,
    Unit,
    WorkerSeen,
    replace,
)
from bide.model.status import (
    AnswerSource,
    DeadLetterKind,
    ExecutionStatus,
    ReceiptOutcome,
    UnitStatus,
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
from bide.stores.isolate import check_storable, isolate

_DAY_MS = 86_400_000


class MemoryData:
    """The tables, and the latest time that was committed."""

    def __init__(self) -> None:
        self.correlations: dict[CorrelationKey, Correlation] = {}
        self.keys: dict[Key, SubmitKey] = {}
        self.executions: dict[ExecutionId, Execution] = {}
        self.inputs: dict[ExecutionId, bytes] = {}
        self.units: dict[UnitId, Unit] = {}
        self.interactions: dict[InteractionId, Interaction] = {}
        self.dispatches: dict[InteractionId, Dispatch] = {}
        self.results: defaultdict[ExecutionId, dict[int, bytes]] = defaultdict(dict)
        self.journal: defaultdict[ExecutionId, list[JournalFact]] = defaultdict(list)
        self.dead_letters: dict[ExecutionId, DeadLetter] = {}
        self.rejects: dict[RejectId, Reject] = {}
        self.traces: dict[ExecutionId, Trace] = {}
        self.refusals: defaultdict[InteractionId, list[Refusal]] = defaultdict(list)
        self.audit: dict[ExecutionId, AuditEntry] = {}
        self.handoffs: dict[ExecutionId, Handoff] = {}
        self.origins: defaultdict[ExecutionId, dict[ExecutionId, Origin]] = defaultdict(dict)
        self.boundaries: dict[str, StoredBoundary] = {}
        self.workers: dict[str, WorkerSeen] = {}
        self.paused: set[str] = set()
        self.high_water = 0

    def load(self, needs: Needs) -> Rows:
        """The rows that a batch concerns."""
        rows = Rows()
        for correlation in needs.correlations & self.correlations.keys():
            rows.correlations.load(correlation, self.correlations[correlation])
            needs.follow(self.correlations[correlation])
        for key in needs.keys & self.keys.keys():
            rows.keys.load(key, self.keys[key])
        for handoff in needs.handoffs & self.handoffs.keys():
            rows.handoffs.load(handoff, self.handoffs[handoff])
        for execution in needs.executions & self.executions.keys():
            rows.executions.load(execution, self.executions[execution])
        units = set(needs.units)
        for execution in needs.current_unit_of & self.executions.keys():
            units.add(UnitId(execution, self.executions[execution].units))
        for unit in units & self.units.keys():
            rows.units.load(unit, self.units[unit])
        interactions = set(needs.interactions)
        for unit, first, stop in needs.ranges:
            interactions.update(InteractionId(*unit, item) for item in range(first, stop))
        for interaction in interactions & self.interactions.keys():
            rows.interactions.load(interaction, self.interactions[interaction])
        for id in needs.dispatches(rows.units.read()):
            if id in self.dispatches:
                rows.dispatches.load(id, self.dispatches[id])
        return rows

    def write(self, rows: Rows) -> None:
        """Write what a batch came to, all of it or nothing.

        Raises:
            DataError: a row cannot be stored, so none was.
        """
        keys, units = rows.keys.written(), rows.units.written()
        executions, interactions = rows.executions.written(), rows.interactions.written()
        dispatches, handoffs = rows.dispatches.written(), rows.handoffs.written()
        for table in (
            keys, units, interactions, dispatches, executions, rows.inputs, rows.results, rows.journal,
            rows.dead_letters, rows.refusals, rows.rejects, rows.traces, rows.audit, handoffs,
            rows.origins,
            rows.correlations.written(),
        ):  # fmt: skip
            for row in table:
                check_storable(type(row).__name__, astuple(row))
        for correlation in rows.correlations.written():
            self.correlations[correlation.id] = correlation
            if correlation.is_empty:
                del self.correlations[correlation.id]
        self.keys.update(((row.tenant, row.pipeline, row.key), row) for row in keys)
        self.units.update((row.id, row) for row in units)
        self.interactions.update((row.id, row) for row in interactions)
        self.dispatches.update((row.id, row) for row in dispatches)
        for each in rows.rerouted:
            for id, dispatch in self.dispatches.items():
                if id[:2] == each.unit and dispatch.due_at is not None:
                    self.dispatches[id] = replace(dispatch, route=each.route)
        self.executions.update((row.id, row) for row in executions)
        self.inputs.update((row.execution, row.body) for row in rows.inputs)
        for row in rows.dead_letters:
            self.dead_letters.setdefault(row.id, row)
        self.rejects.update((row.id, row) for row in rows.rejects)
        self.traces.update((row.execution, row) for row in rows.traces)
        self.audit.update((row.id, row) for row in rows.audit)
        self.handoffs.update((row.id, row) for row in handoffs)
        for origin in rows.origins:
            self.origins[origin.execution].setdefault(origin.source, origin)
        for result in rows.results:
            self.results[result.execution][result.item] = result.body
        for fact in rows.journal:
            self.journal[fact.execution].append(fact)
        for refusal in rows.refusals:
            interaction = InteractionId(
                refusal.execution, refusal.unit, refusal.item, refusal.generation
            )
            self.refusals[interaction].append(refusal)

    def interactions_of(self, unit: UnitId) -> Iterator[Interaction]:
        """The last asking for each item of a unit, by item."""
        of_unit = sorted(id for id in self.interactions if id[:2] == unit)
        last = {id.item: self.interactions[id] for id in of_unit}
        yield from last.values()

    def forget_unowned(self, older_than: int) -> None:
        """Delete what early answers left behind that never met an interaction."""
        for letter in list(self.dead_letters.values()):
            if letter.execution is None and letter.created_at < older_than:
                del self.dead_letters[letter.id]
        for id, refusals in list(self.refusals.items()):
            if id.unit == 0:
                self.refusals[id] = [row for row in refusals if row.created_at >= older_than]

    def forget(self, execution: ExecutionId) -> None:
        """Delete an execution with all its rows but the submit key."""
        del self.executions[execution]
        for table in (self.inputs, self.results, self.journal, self.dead_letters):
            table.pop(execution, None)
        for key in [row.id for row in self.correlations.values() if row.execution == execution]:
            row = self.correlations[key]
            self.correlations[key] = replace(
                row, version=row.version + 1, execution=None, unit=None, item=None, generation=None
            )
            if self.correlations[key].is_empty:
                del self.correlations[key]
        for unit in [id for id in self.units if id.execution == execution]:
            del self.units[unit]
        for interaction in [id for id in self.interactions if id.execution == execution]:
            del self.interactions[interaction]
            self.dispatches.pop(interaction, None)
            self.refusals.pop(interaction, None)
        self.traces.pop(execution, None)
        self.origins.pop(execution, None)
        for handoff in [row.id for row in self.handoffs.values() if row.execution == execution]:
            del self.handoffs[handoff]
            self.dead_letters.pop(handoff, None)
        for reject in [id for id in self.rejects if id.execution == execution]:
            del self.rejects[reject]


def _is_held(execution: Execution, query: ExecutionQuery, now: int) -> bool:
    """Due, and claimed by nobody who claims by the query's fingerprints."""
    assert query.due_outside is not None
    if execution.due_at is None or execution.due_at > now:
        return False
    return execution.pipeline in query.paused or execution.fingerprint not in query.due_outside


class MemoryStore:
    """A `Store` that lives as long as its `MemoryData`."""

    def __init__(self, clock: Clock, data: MemoryData | None = None) -> None:
        """Use `clock` for time, and `data` where several handles share their rows."""
        self._clock = clock
        self.data = data or MemoryData()

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to disconnect from."""

    async def schema(self) -> Schema:
        """Say that there are no tables."""
        return Schema(present=0, needed=0)

    async def migrate(self) -> Schema:
        """Do nothing: there are no tables."""
        return await self.schema()

    async def examine(self) -> list[Check]:
        """Add nothing: there is no database behind it."""
        return []

    async def info(self) -> StoreInfo:
        """Say that it is memory."""
        return StoreInfo(url="memory://", kind="memory", version="", schema_version=0)

    async def now(self) -> int:
        """The clock's time, but never behind a commit's."""
        return max(self._clock(), self.data.high_water)

    def _commit_time(self) -> int:
        self.data.high_water = max(self._clock(), self.data.high_water)
        return self.data.high_water

    # --- the deciding verbs ---------------------------------------------------------------

    async def transact(self, moves: Sequence[Move], handover: Handover | None = None) -> Transacted:
        """Decide and write the batch."""
        await asyncio.sleep(0)
        now = self._commit_time()

        def attempt(part: Sequence[Move], offer: Handover | None) -> Transacted:
            rows = self.data.load(needs_of(part))
            made = fold(part, rows, now, offer)
            self.data.write(rows)
            return made

        return isolate(list(moves), handover, attempt)

    async def claim(self, offer: ClaimOffer) -> list[Claimed]:
        """Claim what is due."""
        await asyncio.sleep(0)
        now = self._commit_time()
        due = [
            execution
            for execution in self.data.executions.values()
            if execution.due_at is not None
            and execution.due_at <= now
            and execution.fingerprint in offer.fingerprints
        ]
        due.sort(key=lambda execution: (execution.due_at, execution.id))
        due = due[: offer.limit]
        rows = Rows()
        for execution in due:
            rows.executions.load(execution.id, execution)
            for number in (execution.resumed, execution.units):
                unit = self.data.units.get(UnitId(execution.id, number))
                if unit is not None:
                    rows.units.load(unit.id, unit)
        claimed = fold_claims(offer, due, rows, now)
        self.data.write(rows)
        starting, resuming = starts_of(rows, claimed)
        bodies = {id: self.data.inputs[id] for id in starting}
        for base in resuming:
            [only] = self.data.interactions_of(base)
            body = taken(only)
            if body is not None:
                bodies[base.execution] = body
        return claims_of(rows, claimed, bodies)

    async def claim_dispatches(self, offer: DispatchOffer) -> list[ToSend]:
        """Claim what is due to be sent."""
        await asyncio.sleep(0)
        now = self._commit_time()
        due = [row for route in offer.routes for row in self._due_of(route, now)]
        rows = Rows()
        for dispatch in due:
            rows.dispatches.load(dispatch.id, dispatch)
            rows.interactions.load(dispatch.id, self.data.interactions[dispatch.id])
            unit = self.data.units[UnitId(dispatch.execution, dispatch.unit)]
            rows.units.load(unit.id, unit)
        claimed = fold_dispatches(offer, due, rows, now)
        self.data.write(rows)
        return claimed

    def _due_of(self, route: RouteOffer, now: int) -> list[Dispatch]:
        in_flight = sum(
            row.in_flight
            and (row.pipeline, row.step_id) == (route.pipeline, route.step_id)
            and (row.due_at is None or row.due_at > now)
            for row in self.data.dispatches.values()
        )
        due = sorted(
            (row.due_at, row.id)
            for row in self.data.dispatches.values()
            if row.route == route.route and row.due_at is not None and row.due_at <= now
        )
        return [self.data.dispatches[id] for _, id in due[: route.room(in_flight)]]

    async def claim_handoffs(self, offer: HandoffOffer) -> list[Handoff]:
        """Claim what is due to be offered."""
        await asyncio.sleep(0)
        now = self._commit_time()
        due: list[Handoff] = []
        for publication, limit in offer.publications:
            of_it = sorted(
                (row.due_at, row.id)
                for row in self.data.handoffs.values()
                if row.publication == publication and row.due_at is not None and row.due_at <= now
            )
            due += [self.data.handoffs[id] for _, id in of_it[:limit]]
        rows = Rows()
        claimed = fold_handoffs(offer, due, rows, now)
        self.data.write(rows)
        return claimed

    async def renew(self, leases: Sequence[LeaseKey], lease_ms: int) -> list[bool]:
        """Prolong what is still held. A renewal is no change of state: no version, no fact."""
        await asyncio.sleep(0)
        now = self._commit_time()
        kept: list[bool] = []
        for id, fence in leases:
            execution = self.data.executions.get(id)
            held = execution is not None and holds(execution, fence)
            if execution is not None and held:
                self.data.executions[id] = replace(execution, due_at=now + lease_ms)
            kept.append(held)
        return kept

    # --- what a running segment reads ---------------------------------------------------------

    async def input_of(self, tenant: str, execution: ExecutionId) -> bytes | None:
        """The input, to its own tenant."""
        await asyncio.sleep(0)
        return self.data.inputs[execution] if self._owned(tenant, execution) else None

    async def answers(
        self, tenant: str, unit: UnitId, first_item: int, limit: int
    ) -> list[Interaction]:
        """The last asking for each item from `first_item` on, without its request."""
        found = await self.askings(tenant, unit, first_item, limit)
        return [replace(interaction, request=None) for interaction in found]

    async def askings(
        self, tenant: str, unit: UnitId, first_item: int, limit: int
    ) -> list[Interaction]:
        """The last asking for each item from `first_item` on."""
        await asyncio.sleep(0)
        items = self.data.interactions_of(unit) if self._owned(tenant, unit.execution) else ()
        return [one for one in items if one.item >= first_item][:limit]

    async def results(
        self, tenant: str, execution: ExecutionId, first_item: int, limit: int
    ) -> list[bytes]:
        """Results below the count that the end has fixed: a repeat may have given fewer."""
        await asyncio.sleep(0)
        owned = self._owned(tenant, execution)
        if owned is None or owned.status is not ExecutionStatus.SUCCEEDED:
            return []
        stored = self.data.results.get(execution, {})
        stop = min(first_item + limit, owned.result_count or 0)
        return [stored[item] for item in range(first_item, stop) if item in stored]

    # --- what people and edges read -----------------------------------------------------------

    def _owned(self, tenant: str | None, id: ExecutionId) -> Execution | None:
        execution = self.data.executions.get(id)
        if execution is None or (tenant is not None and execution.tenant != tenant):
            return None
        return execution

    def _asked(self, interaction: Interaction) -> Asked:
        execution = self.data.executions[interaction.execution]
        unit = self.data.units[UnitId(interaction.execution, interaction.unit)]
        return Asked(interaction, execution.pipeline, unit)

    async def executions_by_id(
        self, tenant: str | None, ids: Sequence[ExecutionId]
    ) -> list[Execution | None]:
        """Executions by id."""
        await asyncio.sleep(0)
        return [self._owned(tenant, id) for id in ids]

    async def executions(self, query: ExecutionQuery) -> list[Execution]:
        """Newest first: ids are in order of time."""
        now = await self.now()
        found = [
            execution
            for id, execution in sorted(self.data.executions.items(), reverse=True)
            if execution.tenant == query.tenant
            and (query.due_outside is None or _is_held(execution, query, now))
            and query.pipeline in {None, execution.pipeline}
            and query.status in {None, execution.status}
            and (query.before is None or id < query.before)
            and query.redriven_from in {None, execution.redriven_from}
        ]
        return found[: query.limit]

    async def interactions_by_id(
        self, tenant: str, ids: Sequence[InteractionId]
    ) -> list[Asked | None]:
        """Interactions by id, with what a reader wants beside them."""
        await asyncio.sleep(0)
        found = [self.data.interactions.get(id) for id in ids]
        return [self._asked(one) if one and one.tenant == tenant else None for one in found]

    async def dispatches(self, tenant: str, ids: Sequence[InteractionId]) -> list[Dispatch | None]:
        """How the sending of each stands."""
        await asyncio.sleep(0)
        found = [self.data.dispatches.get(id) for id in ids]
        return [row if row and row.tenant == tenant else None for row in found]

    async def traces(self, wanted: Sequence[tuple[str, ExecutionId]]) -> list[TraceContext | None]:
        """In which trace each goes on."""
        await asyncio.sleep(0)
        found = [(tenant, self.data.traces.get(id)) for tenant, id in wanted]
        return [row.context if row and row.tenant == tenant else None for tenant, row in found]

    async def correlated(self, tenant: str, keys: Sequence[str]) -> list[list[Correlated]]:
        """What is known under each key, in every scope."""
        await asyncio.sleep(0)

        def of(row: Correlation) -> Correlated:
            holder = self.data.interactions.get(row.holder) if row.holder else None
            return Correlated(row, self._asked(holder) if holder else None)

        return [
            [
                of(row)
                for id, row in sorted(self.data.correlations.items())
                if id.tenant == tenant and id.key == key
            ]
            for key in keys
        ]

    async def pending(self, query: PendingQuery) -> list[Asked]:
        """Open interactions of open units, the most urgent first."""
        await asyncio.sleep(0)
        found = [
            asked
            for interaction in self.data.interactions.values()
            if interaction.tenant == query.tenant
            and not interaction.status.is_terminal
            and query.group in {None, interaction.group}
            and query.assignee in {None, interaction.assignee}
            and query.step_id in {None, interaction.step_id}
            and query.execution in {None, interaction.execution}
            and not (asked := self._asked(interaction)).unit.status.is_terminal
        ]
        found.sort(key=lambda asked: (asked.interaction.deadline_at, asked.interaction.id))
        return found[: query.limit]

    async def units(self, tenant: str, execution: ExecutionId) -> list[Unit]:
        """The units of an execution, by number."""
        await asyncio.sleep(0)
        owned = self._owned(tenant, execution)
        numbers = range(1, owned.units + 1) if owned else ()
        return [self.data.units[UnitId(execution, number)] for number in numbers]

    async def items(
        self, tenant: str, unit: UnitId, after: ItemKey | None, limit: int
    ) -> list[Interaction]:
        """A page of a unit's interactions, without payloads."""
        await asyncio.sleep(0)
        if self._owned(tenant, unit.execution) is None:
            return []
        found = sorted(
            (id for id in self.data.interactions if id[:2] == unit and id[2:] > (after or ())),
        )
        return [
            replace(
                self.data.interactions[id], request=None, fallback=None, answer=None, output=None
            )
            for id in found[:limit]
        ]

    async def journal(
        self, tenant: str, execution: ExecutionId, after: int = 0
    ) -> list[JournalFact]:
        """An execution's facts; there is one for each version."""
        await asyncio.sleep(0)
        return self.data.journal[execution][after:] if self._owned(tenant, execution) else []

    async def handoffs(self, tenant: str, execution: ExecutionId) -> list[Handoff]:
        """What an execution has published."""
        await asyncio.sleep(0)
        return [
            replace(row, body=None)
            for _, row in sorted(self.data.handoffs.items())
            if row.execution == execution and row.tenant == tenant
        ]

    async def handoff(self, tenant: str, id: ExecutionId) -> Handoff | None:
        """One publication."""
        await asyncio.sleep(0)
        found = self.data.handoffs.get(id)
        return found if found is not None and found.tenant == tenant else None

    async def origins(self, tenant: str, execution: ExecutionId) -> list[Origin]:
        """The publications that an execution was made of."""
        await asyncio.sleep(0)
        found = self.data.origins.get(execution, {}).values()
        ordered = sorted(found, key=lambda row: (row.at, row.source))
        return [row for row in ordered if row.tenant == tenant]

    async def dead_letters(
        self, tenant: str, *, pipeline: str | None, before: ExecutionId | None, limit: int
    ) -> list[DeadLetter]:
        """Dead letters, the newest execution first."""
        await asyncio.sleep(0)
        found = [
            letter
            for id, letter in sorted(self.data.dead_letters.items(), reverse=True)
            if letter.tenant == tenant
            and pipeline in {None, letter.pipeline}
            and (before is None or id < before)
        ]
        return found[:limit]

    async def dead_letter(self, tenant: str, id: ExecutionId) -> DeadLetter | None:
        """One dead letter."""
        await asyncio.sleep(0)
        letter = self.data.dead_letters.get(id)
        return letter if letter and letter.tenant == tenant else None

    async def rejects(
        self, tenant: str, *, pipeline: str | None, after: RejectId | None, limit: int
    ) -> list[Reject]:
        """Rejects, the newest execution first."""
        await asyncio.sleep(0)
        ordered = sorted(self.data.rejects.values(), key=lambda row: row.id[1:])
        ordered.sort(key=lambda row: row.execution, reverse=True)
        found = [
            replace(row, body=b"")
            for row in ordered
            if row.tenant == tenant
            and pipeline in {None, row.pipeline}
            and (
                after is None
                or row.execution < after.execution
                or (row.execution == after.execution and row.id > after)
            )
        ]
        return found[:limit]

    async def reject(self, tenant: str, id: RejectId) -> Reject | None:
        """One reject."""
        await asyncio.sleep(0)
        found = self.data.rejects.get(id)
        return found if found is not None and found.tenant == tenant else None

    async def refusals(self, tenant: str, interaction: InteractionId) -> list[Refusal]:
        """Refused completions, in order of arrival."""
        await asyncio.sleep(0)
        owned = self._owned(tenant, interaction.execution)
        return list(self.data.refusals.get(interaction, [])) if owned else []

    def _was_taken_over(self, row: Interaction) -> bool:
        """Whether a redrive has copied it from where it was answered."""
        first = self.data.journal[row.execution][0]
        return row.unit == 1 == first.unit and row.created_at == row.updated_at

    async def count_receipts(self, tenant: str) -> dict[ReceiptOutcome, int]:
        """What rows say of the completions received."""
        await asyncio.sleep(0)
        answered = [
            row
            for row in self.data.interactions.values()
            if row.tenant == tenant
            and row.source not in {None, AnswerSource.TIMEOUT}
            and not self._was_taken_over(row)
        ]
        kept = [row for row in self.data.correlations.values() if row.tenant == tenant]
        letters = [
            row
            for row in self.data.dead_letters.values()
            if row.tenant == tenant and row.kind is DeadLetterKind.COMPLETION
        ]
        refused = Counter(
            row.outcome
            for rows in self.data.refusals.values()
            for row in rows
            if row.tenant == tenant
        )
        early = sum(row.source is AnswerSource.EARLY for row in answered)
        repeated = sum(row.duplicates for row in answered) + sum(row.duplicates for row in kept)
        return {
            ReceiptOutcome.APPLIED: len(answered) - early,
            ReceiptOutcome.DUPLICATE: repeated + sum(row.attempts - 1 for row in letters),
            ReceiptOutcome.CONFLICT: refused[ReceiptOutcome.CONFLICT],
            ReceiptOutcome.LATE: refused[ReceiptOutcome.LATE],
            ReceiptOutcome.BUFFERED: early
            + sum(row.early is not None for row in kept)
            + len(letters),
        }

    async def count_by_status(
        self, tenant: str | None, pipeline: str | None
    ) -> dict[ExecutionStatus, int]:
        """How many executions stand where; a status with none is left out."""
        await asyncio.sleep(0)
        return Counter(
            execution.status
            for execution in self.data.executions.values()
            if tenant in {None, execution.tenant} and pipeline in {None, execution.pipeline}
        )

    # --- deploys ------------------------------------------------------------------------------

    async def announce(self, notices: Sequence[Notice]) -> None:
        """Keep what was said."""
        await asyncio.sleep(0)
        now = self._commit_time()
        for notice in notices:
            match notice:
                case StoredBoundary():
                    self.data.boundaries.setdefault(notice.fingerprint, notice)
                case WorkerSeen():
                    self.data.workers[notice.id] = replace(notice, seen_at=now)
                case SignOut(worker):
                    self.data.workers.pop(worker, None)
                case Pause(pipeline, True):
                    self.data.paused.add(pipeline)
                case Pause(pipeline):
                    self.data.paused.discard(pipeline)
        lost = [one.id for one in self.data.workers.values() if one.seen_at < now - _DAY_MS]
        for id in lost:
            del self.data.workers[id]

    async def deployed(self) -> Deployed:
        """What was said."""
        data = self.data
        workers = sorted(data.workers.values(), key=lambda worker: worker.id)
        return Deployed(await self.now(), dict(data.boundaries), workers, frozenset(data.paused))

    async def standing(self) -> list[Standing]:
        """How many stand under which fingerprint."""
        await asyncio.sleep(0)
        counted: Counter[tuple[str, str, str | None]] = Counter()
        for execution in self.data.executions.values():
            if execution.due_at is not None:
                counted[execution.pipeline, execution.fingerprint, None] += 1
        for unit in self.data.units.values():
            execution = self.data.executions[unit.execution]
            waits = execution.status is ExecutionStatus.WAITING_EXTERNAL
            if waits and unit.status is UnitStatus.WAITING_EXTERNAL:
                counted[execution.pipeline, unit.fingerprint, unit.step_id] += 1
        return [Standing(*key, count) for key, count in counted.items()]

    async def backlog(self) -> Backlog:
        """What is due now."""
        now, data = await self.now(), self.data
        executions = [(row.fingerprint, row.due_at) for row in data.executions.values()]
        dispatches = [(row.route, row.due_at) for row in data.dispatches.values()]
        handoffs = [(row.publication, row.due_at) for row in data.handoffs.values()]
        untaken = [
            (row.publication, row.created_at)
            for row in data.handoffs.values()
            if row.due_at is not None
        ]
        queues = (executions, dispatches, handoffs, untaken)
        return Backlog(now, *(_queues(each, now) for each in queues))

    # --- upkeep -------------------------------------------------------------------------------

    async def overdue(self, limit: int) -> Overdue:
        """What a sweep has to look at, the longest overdue first; at most `limit` of each."""
        now = await self.now()
        expired: list[InteractionId] = []
        left_open: list[InteractionId] = []
        by_deadline = sorted(
            self.data.interactions.values(), key=lambda one: (one.deadline_at, one.id)
        )
        for interaction in by_deadline:
            if interaction.status.is_terminal:
                continue
            if self._asked(interaction).unit.status.is_terminal:
                left_open.append(interaction.id)
            elif interaction.deadline_at < now:
                expired.append(interaction.id)
        units = sorted(
            (unit.deadline_at, id)
            for id, unit in self.data.units.items()
            if unit.deadline_at is not None
            and unit.deadline_at < now
            and not unit.status.is_terminal
        )
        early = [
            row.id
            for row in self.data.correlations.values()
            if row.expires_at is not None and row.expires_at < now
        ]
        return Overdue(
            expired[:limit], left_open[:limit], [id for _, id in units[:limit]], early[:limit]
        )

    async def retire(self, older_than: int, limit: int) -> int:
        """Delete what ended before `older_than`, the longest ended first."""
        await asyncio.sleep(0)
        ended = sorted(
            (execution.updated_at, id)
            for id, execution in self.data.executions.items()
            if execution.status.is_terminal
            and execution.updated_at < older_than
            and not any(
                row.due_at is not None for row in self.data.handoffs.values() if row.execution == id
            )
        )
        for _, id in ended[:limit]:
            self.data.forget(id)
        self.data.forget_unowned(older_than)
        return len(ended[:limit])

    async def forget_keys(self, older_than: int, limit: int) -> int:
        """Delete old keys of executions that are gone."""
        await asyncio.sleep(0)
        old = [
            key
            for key, row in self.data.keys.items()
            if row.created_at < older_than and row.execution not in self.data.executions
        ]
        for key in old[:limit]:
            self.data.origins.pop(self.data.keys.pop(key).execution, None)
        return len(old[:limit])

    async def audit(self, query: AuditQuery) -> list[AuditEntry]:
        """A page of the audit, newest first."""
        await asyncio.sleep(0)
        found = [
            entry
            for id, entry in sorted(self.data.audit.items(), reverse=True)
            if entry.tenant == query.tenant
            and query.execution in {None, entry.execution}
            and (query.before is None or id < query.before)
        ]
        return found[: query.limit]

    async def forget_audit(self, before: ExecutionId, limit: int) -> int:
        """Delete old entries of the audit."""
        await asyncio.sleep(0)
        old = sorted(id for id in self.data.audit if id < before)[:limit]
        for id in old:
            del self.data.audit[id]
        return len(old)

    async def wait_for_change(self, timeout_s: float) -> bool:
        """There is no other process."""
        await asyncio.sleep(timeout_s)
        return False


def _queues(rows: Iterable[tuple[str, int | None]], now: int) -> list[Queue]:
    due: dict[str, list[int]] = defaultdict(list)
    for fingerprint, due_at in rows:
        if due_at is not None and due_at <= now:
            due[fingerprint].append(due_at)
    return [Queue(fingerprint, len(times), min(times)) for fingerprint, times in due.items()]
