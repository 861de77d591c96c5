"""The reading half of the PostgreSQL store.

Nothing here writes, locks or decides. `PostgresStore` adds the connections and the verbs that do.
"""

from collections.abc import Sequence
from typing import Any

from bide.model.ids import ExecutionId, InteractionId, RejectId, UnitId
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
from bide.model.status import ExecutionStatus, ReceiptOutcome
from bide.spi.store import (
    Asked,
    AuditQuery,
    Backlog,
    Correlated,
    Deployed,
    ExecutionQuery,
    ItemKey,
    PendingQuery,
    Queue,
    Standing,
)
from bide.stores.postgres.statements import load
from bide.stores.rows import (
    Row,
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

#: The statements, by name.
READS = load("reads.sql")
_BEFORE_ALL = ItemKey(-1, 0)


class Reads:
    """Every verb of the store that only reads."""

    async def _fetch(self, text: str, *values: Any) -> Sequence[Row]:
        """Run one statement outside a transaction."""
        raise NotImplementedError

    async def now(self) -> int:
        """The store's time."""
        raise NotImplementedError

    async def _read(self, name: str, *values: Any) -> Sequence[Row]:
        return await self._fetch(READS[name], *values)

    # --- what a running segment reads ---------------------------------------------------------

    async def input_of(self, tenant: str, execution: ExecutionId) -> bytes | None:
        """What an execution was submitted with."""
        rows = await self._read("input_of", tenant, execution)
        return rows[0][0] if rows else None

    async def answers(
        self, tenant: str, unit: UnitId, first_item: int, limit: int
    ) -> list[Interaction]:
        """A page of a unit's answers, by item."""
        rows = await self._read("answers_page", tenant, *unit, first_item, limit)
        return [interaction_of(row) for row in rows]

    async def askings(
        self, tenant: str, unit: UnitId, first_item: int, limit: int
    ) -> list[Interaction]:
        """A page of a unit's items."""
        rows = await self._read("askings_page", tenant, *unit, first_item, limit)
        return [interaction_of(row) for row in rows]

    async def results(
        self, tenant: str, execution: ExecutionId, first_item: int, limit: int
    ) -> list[bytes]:
        """A page of a streaming result."""
        rows = await self._read("results_page", tenant, execution, first_item, limit)
        return [row[0] for row in rows]

    # --- what people and edges read -----------------------------------------------------------

    async def executions_by_id(
        self, tenant: str | None, ids: Sequence[ExecutionId]
    ) -> list[Execution | None]:
        """Executions by id."""
        rows = await self._read("executions_by_id", tenant, list(ids))
        found = {row[0]: execution_of(row) for row in rows}
        return [found.get(id_) for id_ in ids]

    async def executions(self, query: ExecutionQuery) -> list[Execution]:
        """A page of executions, newest first."""
        keys = (query.tenant, query.pipeline, query.status, query.before, query.limit)
        if query.redriven_from is not None:
            rows = await self._read("redrives", *keys, query.redriven_from)
        elif query.due_outside is not None:
            now = await self.now()
            outside, paused = sorted(query.due_outside), sorted(query.paused)
            rows = await self._read("held_page", *keys, now, outside, paused)
        else:
            rows = await self._read("executions_page", *keys)
        return [execution_of(row) for row in rows]

    async def interactions_by_id(
        self, tenant: str, ids: Sequence[InteractionId]
    ) -> list[Asked | None]:
        """Interactions by id, with requests."""
        found = await self._asked_by_id(tenant, ids)
        return [found.get(id_) for id_ in ids]

    async def dispatches(self, tenant: str, ids: Sequence[InteractionId]) -> list[Dispatch | None]:
        """How the sending of each stands."""
        columns = [list(column) for column in zip(*ids, strict=True)] or [[]] * 4
        rows = await self._read("dispatches_by_id", tenant, *columns)
        found = {dispatch.id: dispatch for dispatch in map(dispatch_of, rows)}
        return [found.get(id_) for id_ in ids]

    async def traces(self, wanted: Sequence[tuple[str, ExecutionId]]) -> list[TraceContext | None]:
        """In which trace each goes on."""
        tenants, ids = [each[0] for each in wanted], [each[1] for each in wanted]
        rows = await self._read("traces", tenants, ids)
        found = {(row[0], ExecutionId(row[1])): TraceContext(row[2], row[3]) for row in rows}
        return [found.get(each) for each in wanted]

    async def _asked_by_id(
        self, tenant: str, ids: Sequence[InteractionId]
    ) -> dict[InteractionId, Asked]:
        columns = [list(column) for column in zip(*ids, strict=True)] or [[]] * 4
        rows = await self._read("interactions_by_id", tenant, *columns)
        return {asked.interaction.id: asked for asked in map(asked_of, rows)}

    async def correlated(self, tenant: str, keys: Sequence[str]) -> list[list[Correlated]]:
        """What is known under each key, in every scope; holders are looked up after their rows."""
        rows = await self._read("correlated", tenant, list(dict.fromkeys(keys)))
        correlations = [Correlation(*row) for row in rows]
        holders = [row.holder for row in correlations if row.holder]
        asked = await self._asked_by_id(tenant, holders) if holders else {}
        return correlated_of(keys, correlations, asked)

    async def pending(self, query: PendingQuery) -> list[Asked]:
        """Open interactions, oldest deadline first."""
        keys = (query.tenant, query.group, query.assignee, query.step_id, query.limit)
        if query.execution is None:
            rows = await self._read("pending", *keys)
        else:
            rows = await self._read("pending_of_execution", *keys, query.execution)
        return [asked_of(row) for row in rows]

    async def units(self, tenant: str, execution: ExecutionId) -> list[Unit]:
        """The units of an execution."""
        return [unit_of(row) for row in await self._read("units_of", tenant, execution)]

    async def items(
        self, tenant: str, unit: UnitId, after: ItemKey | None, limit: int
    ) -> list[Interaction]:
        """A page of a unit's interactions, without payloads."""
        keys = (*unit, *(after or _BEFORE_ALL))
        return [interaction_of(row) for row in await self._read("items_page", tenant, *keys, limit)]

    async def journal(
        self, tenant: str, execution: ExecutionId, after: int = 0
    ) -> list[JournalFact]:
        """An execution's facts."""
        return [fact_of(row) for row in await self._read("journal_of", tenant, execution, after)]

    async def audit(self, query: AuditQuery) -> list[AuditEntry]:
        """A page of the audit, newest first."""
        tenant, execution, before, limit = query
        if execution is None:
            rows = await self._read("audit_page", tenant, before, limit)
        else:
            rows = await self._read("audit_of", tenant, execution, before, limit)
        return [AuditEntry(*row) for row in rows]

    async def handoffs(self, tenant: str, execution: ExecutionId) -> list[Handoff]:
        """What an execution has published."""
        return [handoff_of(row) for row in await self._read("handoffs_of", tenant, execution)]

    async def handoff(self, tenant: str, id: ExecutionId) -> Handoff | None:
        """One publication."""
        rows = await self._read("handoff_by_id", tenant, id)
        return handoff_of(rows[0]) if rows else None

    async def origins(self, tenant: str, execution: ExecutionId) -> list[Origin]:
        """The publications that an execution was made of."""
        return [Origin(*row) for row in await self._read("origins_of", tenant, execution)]

    async def dead_letters(
        self, tenant: str, *, pipeline: str | None, before: ExecutionId | None, limit: int
    ) -> list[DeadLetter]:
        """A page of dead letters, newest first."""
        rows = await self._read("dead_letters_page", tenant, pipeline, before, limit)
        return [dead_letter_of(row) for row in rows]

    async def dead_letter(self, tenant: str, id: ExecutionId) -> DeadLetter | None:
        """One dead letter."""
        rows = await self._read("dead_letter", tenant, id)
        return dead_letter_of(rows[0]) if rows else None

    async def rejects(
        self, tenant: str, *, pipeline: str | None, after: RejectId | None, limit: int
    ) -> list[Reject]:
        """A page of rejects, the newest execution first."""
        place = after or (None, None, None)
        return [
            Reject(*row)
            for row in await self._read("rejects_page", tenant, pipeline, *place, limit)
        ]

    async def reject(self, tenant: str, id: RejectId) -> Reject | None:
        """One reject, with its body."""
        rows = await self._read("reject_by_id", tenant, *id)
        return Reject(*rows[0]) if rows else None

    async def refusals(self, tenant: str, interaction: InteractionId) -> list[Refusal]:
        """Conflicting and late completions of an interaction."""
        return [Refusal(*row) for row in await self._read("refusals_of", tenant, *interaction)]

    async def count_receipts(self, tenant: str) -> dict[ReceiptOutcome, int]:
        """What rows say of the completions received."""
        rows = await self._read("count_receipts", tenant)
        return {ReceiptOutcome(outcome): count for outcome, count in rows}

    async def count_by_status(
        self, tenant: str | None, pipeline: str | None
    ) -> dict[ExecutionStatus, int]:
        """How many executions stand where."""
        rows = await self._read("count_by_status", tenant, pipeline)
        return {ExecutionStatus(status): count for status, count in rows}

    # --- deploys ------------------------------------------------------------------------------

    async def deployed(self) -> Deployed:
        """All that was announced."""
        boundaries = [StoredBoundary(*row) for row in await self._read("all_boundaries")]
        workers = await self._read("all_workers")
        paused = await self._read("all_paused")
        return Deployed(
            await self.now(),
            {row.fingerprint: row for row in boundaries},
            [WorkerSeen(row[0], row[1], row[2], frozenset(row[3])) for row in workers],
            frozenset(row[0] for row in paused),
        )

    async def standing(self) -> list[Standing]:
        """How many stand under which fingerprint."""
        return [Standing(*row) for row in await self._read("standing")]

    async def backlog(self) -> Backlog:
        """What is due now."""
        now = await self.now()
        ready = await self._read("ready_by_fingerprint", now)
        to_send = await self._read("to_send_by_route", now)
        to_hand = await self._read("to_hand_by_publication", now)
        untaken = await self._read("untaken_by_publication")
        found = (ready, to_send, to_hand, untaken)
        queues = [[Queue(*row) for row in rows] for rows in found]
        return Backlog(now, *queues)
