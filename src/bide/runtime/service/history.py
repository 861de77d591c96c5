"""What has happened to an execution: as a timeline, as a replay, live."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from bide.model.ids import (
    ExecutionId,
    InteractionId,
    UnitId,
    format_execution,
    format_interaction,
    format_unit,
    parse_execution,
)
from bide.model.records import AuditEntry, Execution, JournalFact
from bide.model.status import JournalKind
from bide.runtime.replay import Replay
from bide.runtime.service.base import Operations
from bide.runtime.views import (
    AuditView,
    TimelineEntry,
    UnitView,
)
from bide.spi.store import AuditQuery

_WHAT = {
    JournalKind.SUBMITTED: "submitted",
    JournalKind.CLAIMED: "claimed",
    JournalKind.TAKEN_OVER: "taken over after a lost lease",
    JournalKind.UNIT_OPENED: "await unit opened",
    JournalKind.PARKED: "parked",
    JournalKind.RESUMED: "resumed",
    JournalKind.RETRY_SCHEDULED: "retry scheduled",
    JournalKind.GIVEN_BACK: "given back",
    JournalKind.SUCCEEDED: "succeeded",
    JournalKind.FAILED: "failed",
    JournalKind.DEAD_LETTERED: "dead-lettered",
    JournalKind.CANCELLED: "cancelled",
    JournalKind.RELEASED: "released",
}


class History(Operations):
    """What has happened to an execution: as a timeline, as a replay, live."""

    async def timeline(self, tenant: str, execution_id: str) -> list[TimelineEntry]:
        """The facts of an execution's life, in order."""
        id_ = parse_execution(execution_id)
        if id_ is None:
            return []
        facts = [_timeline_entry(fact) for fact in await self._store.journal(tenant, id_)]
        sent = await self._sent(tenant, id_, facts)
        return sorted([*facts, *sent], key=lambda entry: (entry.at_ms, entry.version))

    async def _sent(
        self, tenant: str, execution: ExecutionId, facts: Sequence[TimelineEntry]
    ) -> list[TimelineEntry]:
        """When the one request of a unit was out; those of a stream have rows of their own."""
        units = await self._store.units(tenant, execution)
        ids = [InteractionId(*unit.id) for unit in units if unit.sends and not unit.per_item]
        found = await self._store.dispatches(tenant, ids) if ids else []
        opened = {fact.unit_id: fact.version for fact in reversed(facts)}
        return [
            TimelineEntry(
                at_ms=each.dispatched_at,
                version=opened.get(unit_id, 0),
                what="dispatched",
                unit_id=unit_id,
                detail="at the first try" if each.attempts == 1 else f"after {each.attempts} tries",
            )
            for each in found
            if each is not None and each.dispatched_at is not None
            for unit_id in [format_unit(UnitId(each.execution, each.unit))]
        ]

    async def audit(
        self,
        tenant: str,
        *,
        execution_id: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[AuditView]:
        """A page of the audit, newest first; `before` is the last id of the page before."""
        execution = parse_execution(execution_id) if execution_id is not None else None
        cursor = parse_execution(before) if before is not None else None
        if (execution_id is not None and execution is None) or (before and cursor is None):
            return []
        query = AuditQuery(tenant, execution, cursor, limit)
        return [_audit_view(entry) for entry in await self._store.audit(query)]

    async def replay(
        self, tenant: str, execution_id: str, *, payloads: bool = False
    ) -> AsyncIterator[bytes]:
        """An execution's life as one JSON document (`docs/reference/replay.md`), in pieces.

        Raises:
            UnknownExecution.
        """
        execution = await self._existing(tenant, execution_id)
        plan = self._plans.find(execution.pipeline)
        return Replay(self._store, plan, execution, payloads=payloads).pieces()

    async def follow(
        self, tenant: str, execution_id: str, after: int = 0, *, pause_s: float = 1.0
    ) -> AsyncIterator[list[TimelineEntry]]:
        """The facts after version `after` as they come, up to the terminal one.

        Gives an empty list for each pause in which nothing came, so that whoever follows may tell
        that the line is alive.

        Raises:
            UnknownExecution.
        """
        execution = await self._existing(tenant, execution_id)
        return self._following(execution, after, pause_s)

    async def _following(
        self, execution: Execution, after: int, pause_s: float
    ) -> AsyncIterator[list[TimelineEntry]]:
        while True:
            facts = await self._store.journal(execution.tenant, execution.id, after)
            if facts:
                after = facts[-1].version
                yield [_timeline_entry(fact) for fact in facts]
            [now] = await self._store.executions_by_id(execution.tenant, [execution.id])
            if now is None or (now.status.is_terminal and now.version <= after):
                return
            if now.version > after:
                continue
            try:
                await self._watch.until(now.tenant, now.id, partial(_is_past, after), pause_s)
            except TimeoutError:
                yield []

    async def units(self, tenant: str, execution_id: str) -> list[UnitView]:
        """The await units of an execution, in the order of their opening."""
        id_ = parse_execution(execution_id)
        return [
            UnitView(
                unit_id=format_unit(unit.id),
                step_id=unit.step_id,
                status=unit.status,
                per_item=unit.per_item,
                appended=unit.appended,
                total=unit.total,
                settled=unit.settled,
                missing=unit.missing,
                deadline_ms=unit.deadline_at,
                created_at_ms=unit.created_at,
                updated_at_ms=unit.updated_at,
            )
            for unit in (await self._store.units(tenant, id_) if id_ else [])
        ]


def _is_past(version: int, execution: Execution) -> bool:
    return execution.version > version


def _timeline_entry(fact: JournalFact) -> TimelineEntry:
    return TimelineEntry(
        at_ms=fact.at,
        version=fact.version,
        what=_WHAT[fact.kind],
        unit_id=format_unit(UnitId(fact.execution, fact.unit)) if fact.unit else None,
        detail=fact.detail,
    )


def _audit_view(entry: AuditEntry) -> AuditView:
    place = None
    if entry.execution is not None and entry.unit is not None:
        place = InteractionId(entry.execution, entry.unit, entry.item or 0, entry.generation or 0)
    return AuditView(
        audit_id=format_execution(entry.id),
        at_ms=entry.at,
        deed=entry.deed,
        outcome=entry.outcome,
        actor=entry.actor,
        credential=entry.credential,
        execution_id=None if entry.execution is None else format_execution(entry.execution),
        interaction_id=None if place is None else format_interaction(place),
        shown=None if entry.shown is None else entry.shown.hex(),
        detail=entry.detail,
    )
