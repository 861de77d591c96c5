"""An execution's life as one JSON document, `bide.replay/1`: `docs/reference/replay.md`.

Theory of operation
-------------------
What happened is written in two places. The journal holds the facts of the execution and its units,
one for each version of its row; the facts of an item stand in the item's own row, which says when
it was asked and when and how it ended. A replay joins the two in one order of time.

Facts of one millisecond are ordered by what caused what: a fact of the journal by its version; a
request after the unit that it belongs to was opened; an answer before the end of its unit, and what
that end has closed behind it after it.

The document is written a page at a time. Of a unit with a hundred thousand items only their order
is held, a few numbers an item; their rows are read when it is their turn. It tells of the execution
as it was when the export began; items that settle meanwhile come at its end.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from bide.model.ids import (
    InteractionId,
    UnitId,
    format_execution,
    format_interaction,
    format_unit,
)
from bide.model.records import Dispatch, Execution, Interaction, JournalFact, Unit
from bide.model.status import InteractionStatus, JournalKind
from bide.planning.plan import Plan, PlanAwait, PlanStep
from bide.planning.shapes import CARDINALITIES
from bide.spi.store import ExecutionQuery, ItemKey, Store

SCHEMA = "bide.replay/1"

Json = dict[str, Any]

_PAGE = 1_000
#: Rows are read with their payloads, each of which may be a mebibyte.
_ROWS = 100
_REDRIVES_MAX = 1_000
_PIECE_BYTES = 64 * 1024

_WHAT = {
    JournalKind.CLAIMED: "claimed",
    JournalKind.TAKEN_OVER: "taken-over",
    JournalKind.RETRY_SCHEDULED: "retry-scheduled",
    JournalKind.GIVEN_BACK: "given-back",
    JournalKind.PARKED: "waiting",
    JournalKind.RESUMED: "resume-released",
}
#: A hand-over is told by the claimant's name in the fact of what it took over.
_HANDED_OVER = {JournalKind.SUBMITTED, JournalKind.RESUMED}
#: What ends a unit.
_ENDS = {
    JournalKind.RESUMED,
    JournalKind.FAILED,
    JournalKind.DEAD_LETTERED,
    JournalKind.CANCELLED,
}
_SETTLED = {
    InteractionStatus.COMPLETED: "completed",
    InteractionStatus.FAILED: "failed",
    InteractionStatus.TIMED_OUT: "timed-out",
    InteractionStatus.CANCELLED: "cancelled",
}


class _Place(NamedTuple):
    """Where a fact stands in the order: by time, then by cause."""

    at: int
    #: The journal's version that it belongs to.
    version: int
    #: Before that fact (negative), it (0), or after it.
    side: int


class _Fact(NamedTuple):
    place: _Place
    shown: Json


class _Span(NamedTuple):
    """The versions at which a unit was opened and ended."""

    opened: int
    #: True when the park itself wrote the request, so that nothing told of the unit before.
    parked_at_once: bool
    ended: int


class _Event(NamedTuple):
    """The beginning or the end of one asking; its fields in the order by which events sort.

    In one millisecond an item may fail and be asked again, so generations stand before the rest;
    what the end of the unit has closed comes after all that led to that end.
    """

    at: int
    closed_behind: bool
    generation: int
    is_end: bool
    item: int


_NEVER = 2**63 - 1
_NUMBER_BITS = 30
_NUMBER = (1 << _NUMBER_BITS) - 1


def _packed(event: _Event) -> int:
    """An event as one number that sorts as it does; a unit may have hundreds of thousands."""
    head = (event.at << 1 | event.closed_behind) << _NUMBER_BITS | event.generation
    return (head << 1 | event.is_end) << _NUMBER_BITS | event.item


def _unpacked(packed: int) -> _Event:
    head = packed >> _NUMBER_BITS + 1
    at = head >> _NUMBER_BITS
    is_end = bool(packed >> _NUMBER_BITS & 1)
    return _Event(at >> 1, bool(at & 1), head & _NUMBER, is_end, packed & _NUMBER)


class Replay:
    """One export."""

    def __init__(
        self, store: Store, plan: Plan | None, execution: Execution, *, payloads: bool
    ) -> None:
        self._store = store
        self._plan = plan
        self._execution = execution
        self._payloads = payloads
        self._tallies: dict[int, Json] = {}

    async def pieces(self) -> AsyncIterator[bytes]:
        """The document, in pieces of about 64 KiB."""
        store, execution = self._store, self._execution
        tenant = execution.tenant
        units = await store.units(tenant, execution.id)
        journal = [
            fact
            for fact in await store.journal(tenant, execution.id)
            if fact.version <= execution.version
        ]
        head = {
            "schema": SCHEMA,
            "execution": await self._execution_json(),
            "lineage": await self._lineage(),
            "topology": _topology(self._plan) if self._plan else None,
            "units": [self._unit_json(unit) for unit in units],
        }
        piece = bytearray(orjson.dumps(head)[:-1] + b',"facts":[')
        count = 0
        async for fact in self._facts(journal, units):
            piece += (b"," if count else b"") + orjson.dumps(fact.shown)
            count += 1
            if len(piece) >= _PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        tail = {"facts": count, "units": [self._tallies[unit.number] for unit in units]}
        piece += b'],"totals":' + orjson.dumps(tail) + b"}\n"
        yield bytes(piece)

    # --- the head -----------------------------------------------------------------------------

    async def _execution_json(self) -> Json:
        row = self._execution
        shown: Json = {
            "executionId": format_execution(row.id),
            "tenant": row.tenant,
            "pipeline": row.pipeline,
            "status": row.status.name,
            "version": row.version,
            "stepIndex": row.step_index,
            "attempt": row.attempt,
            "fingerprint": row.fingerprint,
            "createdAtEpochMs": row.created_at,
            "updatedAtEpochMs": row.updated_at,
            "errorCode": row.error_code,
            "errorMessage": row.error_message,
            "resultCount": row.result_count,
        }
        if self._payloads:
            shown["input"] = _raw(await self._store.input_of(row.tenant, row.id))
            shown["result"] = _raw(row.result)
        return shown

    async def _lineage(self) -> Json:
        row = self._execution
        query = ExecutionQuery(row.tenant, limit=_REDRIVES_MAX, redriven_from=row.id)
        made = [format_execution(each.id) for each in await self._store.executions(query)]
        origin = row.redriven_from
        return {
            "redrivenFrom": format_execution(origin) if origin else None,
            "redrives": made[::-1],
        }

    def _unit_json(self, unit: Unit) -> Json:
        boundary = self._boundary(unit)
        return {
            "unitId": format_unit(unit.id),
            "stepId": unit.step_id,
            "stepIndex": unit.step_index,
            "shape": boundary.cardinality.value if boundary else None,
            "perItem": unit.per_item,
            "status": unit.status.name,
            "appended": unit.appended,
            "total": unit.total,
            "settled": unit.settled,
            "missing": unit.missing,
            "deadlineEpochMs": unit.deadline_at,
            "fingerprint": unit.fingerprint,
            "createdAtEpochMs": unit.created_at,
            "updatedAtEpochMs": unit.updated_at,
        }

    def _boundary(self, unit: Unit) -> PlanAwait | None:
        return self._plan.await_by_id(unit.step_id) if self._plan else None

    # --- facts --------------------------------------------------------------------------------

    async def _facts(
        self, journal: Sequence[JournalFact], units: Sequence[Unit]
    ) -> AsyncIterator[_Fact]:
        """Join the journal with what the items' rows tell."""
        by_number = {unit.number: unit for unit in units}
        told = self._journal_facts(journal, by_number)
        following = next(told, None)
        for unit in units:
            span = _span(unit, journal)
            async for fact in self._item_facts(unit, span):
                while following is not None and following.place <= fact.place:
                    yield following
                    following = next(told, None)
                yield fact
        while following is not None:
            yield following
            following = next(told, None)

    def _journal_facts(
        self, journal: Sequence[JournalFact], units: dict[int, Unit]
    ) -> Iterator[_Fact]:
        closed: set[int] = set()
        for fact in journal:
            unit = units.get(fact.unit) if fact.unit else None
            place = _Place(fact.at, fact.version, 0)
            if unit is not None:
                for what in _unit_facts(fact, unit, closed):
                    # A park opens its unit, asks, and is done with both, all in one fact.
                    at_first = what == "unit-opened" and fact.kind is JournalKind.PARKED
                    yield _Fact(
                        place._replace(side=-2) if at_first else place,
                        _unit_fact(fact, unit, what),
                    )
            for what in _execution_facts(fact):
                yield _Fact(place, _execution_fact(fact, what))

    async def _item_facts(self, unit: Unit, span: _Span) -> AsyncIterator[_Fact]:
        """The items' facts in the order of time, their rows read a page at a time."""
        order = await self._order(unit)
        for start in range(0, len(order), _ROWS):
            page = [_unpacked(packed) for packed in order[start : start + _ROWS]]
            rows = await self._rows(unit, page)
            for event in page:
                row = rows.get(ItemKey(event.item, event.generation))
                if row is not None:
                    yield _Fact(_place(event, span), self._item_fact(unit, *row, event))

    async def _order(self, unit: Unit) -> list[int]:
        """When each asking began and ended, in order; and the tally of how."""
        order: list[int] = []
        statuses: dict[str, int] = {}
        duplicates = refusals = 0
        after: ItemKey | None = None
        while page := await self._store.items(self._execution.tenant, unit.id, after, _PAGE):
            for row in page:
                after = ItemKey(row.item, row.generation)
                began = _Event(row.created_at, False, row.generation, False, row.item)
                order.append(_packed(began))
                if row.status.is_terminal:
                    behind = row.status is InteractionStatus.CANCELLED
                    ended = _Event(row.updated_at, behind, row.generation, True, row.item)
                    order.append(_packed(ended))
                statuses[row.status.name] = statuses.get(row.status.name, 0) + 1
                duplicates += row.duplicates
                refusals += row.refusals
        self._tallies[unit.number] = {
            "unitId": format_unit(unit.id),
            "interactions": statuses,
            "duplicates": duplicates,
            "refusals": refusals,
        }
        order.sort()
        return order

    async def _rows(
        self, unit: Unit, page: Sequence[_Event]
    ) -> dict[ItemKey, tuple[Interaction, Dispatch | None]]:
        tenant = self._execution.tenant
        ids = sorted({InteractionId(*unit.id, event.item, event.generation) for event in page})
        found = await self._store.interactions_by_id(tenant, ids)
        sent = await self._store.dispatches(tenant, ids) if unit.sends else [None] * len(ids)
        return {
            ItemKey(each.interaction.item, each.interaction.generation): (
                each.interaction,
                dispatch,
            )
            for each, dispatch in zip(found, sent, strict=True)
            if each
        }

    def _item_fact(
        self, unit: Unit, row: Interaction, dispatch: Dispatch | None, event: _Event
    ) -> Json:
        began = not event.is_end
        shown: Json = {
            "atEpochMs": event.at,
            "layer": "item",
            "what": "request-persisted" if began else _SETTLED[row.status],
            "unitId": format_unit(unit.id),
            "interactionId": format_interaction(row.id),
            "itemIndex": row.item if unit.per_item else None,
            "generation": row.generation,
        }
        if began:
            out = dispatch is not None and dispatch.dispatched_at is not None
            shown["dispatched"] = True if out or not unit.sends else None
            if dispatch is not None:
                shown["dispatch"] = _dispatch_json(dispatch)
            shown["deadlineEpochMs"] = row.deadline_at
            shown["group"], shown["assignee"] = row.group, row.assignee
            if self._payloads:
                shown["requestPayload"] = _raw(row.request)
            return shown
        shown["actor"] = row.actor
        shown["source"] = row.source.name.lower() if row.source else None
        shown["errorCode"], shown["errorMessage"] = row.error_code, row.error_message
        shown["duplicates"], shown["refusals"] = row.duplicates, row.refusals
        if self._payloads:
            shown["responsePayload"] = _raw(row.answer)
            shown["output"] = _raw(row.output)
        return shown


# --- facts of the journal -----------------------------------------------------------------------


def _span(unit: Unit, journal: Sequence[JournalFact]) -> _Span:
    told = [fact for fact in journal if fact.unit == unit.number]
    opened = told[0] if told else None
    ended = next((fact for fact in told if fact.kind in _ENDS), None)
    return _Span(
        opened.version if opened else _NEVER,
        opened is not None and opened.kind is JournalKind.PARKED,
        ended.version if ended else _NEVER,
    )


def _place(event: _Event, span: _Span) -> _Place:
    if not event.is_end:
        return _Place(event.at, span.opened, -1 if span.parked_at_once else 1)
    return _Place(event.at, span.ended, 1 if event.closed_behind else -1)


def _unit_facts(fact: JournalFact, unit: Unit, closed: set[int]) -> Iterator[str]:
    """What a fact of the journal tells of its unit."""
    if fact.kind is JournalKind.UNIT_OPENED:
        yield "unit-opened"
    elif fact.kind is JournalKind.PARKED:
        if not unit.per_item:
            yield "unit-opened"
        closed.add(unit.number)
        yield "dispatch-complete"
    elif fact.kind is JournalKind.RESUMED:
        if unit.number not in closed:  # nothing was open when its source had been read
            yield "dispatch-complete"
        yield "unit-completed"
    elif fact.kind in _ENDS:
        yield f"unit-{unit.status.name.lower().replace('_', '-')}"


def _unit_fact(fact: JournalFact, unit: Unit, what: str) -> Json:
    shown: Json = {
        "atEpochMs": fact.at,
        "layer": "unit",
        "what": what,
        "version": fact.version,
        "unitId": format_unit(unit.id),
        "stepId": unit.step_id,
    }
    if what == "dispatch-complete":
        shown["total"] = unit.total
    return shown


def _execution_facts(fact: JournalFact) -> Iterator[str]:
    """What a fact of the journal tells of its execution; a hand-over is a claim as well."""
    if fact.kind is JournalKind.UNIT_OPENED:
        return
    yield _WHAT.get(fact.kind, fact.kind.name.lower().replace("_", "-"))
    if fact.kind in _HANDED_OVER and fact.detail is not None:
        yield "claimed"


def _execution_fact(fact: JournalFact, what: str) -> Json:
    told = fact.detail if what == "claimed" or fact.kind not in _HANDED_OVER else None
    return {
        "atEpochMs": fact.at,
        "layer": "execution",
        "what": what,
        "version": fact.version,
        "unitId": format_unit(UnitId(fact.execution, fact.unit)) if fact.unit else None,
        "detail": told,
    }


# --- the plan -----------------------------------------------------------------------------------


def _topology(plan: Plan) -> Json:
    return {
        "pipeline": plan.pipeline,
        "title": plan.title,
        "fingerprint": plan.fingerprint,
        "input": plan.input.name,
        "output": plan.output.name,
        "positions": [
            _await_json(part, element) if isinstance(part, PlanAwait) else _step_json(part, element)
            for part, element in zip(plan.positions, plan.element_index, strict=True)
        ],
    }


def _step_json(step: PlanStep, element: int) -> Json:
    return {
        "position": step.position,
        "element": element,
        "kind": "step",
        "id": step.id,
        "name": step.name,
        "shape": CARDINALITIES[step.consumes, step.yields].value,
        "perItem": step.per_item,
        "input": step.input.name,
        "output": step.output.name,
    }


def _await_json(boundary: PlanAwait, element: int) -> Json:
    return {
        "position": boundary.position,
        "element": element,
        "kind": "await",
        "id": boundary.id,
        "name": boundary.name,
        "shape": boundary.cardinality.value,
        "perItem": boundary.per_item,
        "input": boundary.request.name,
        "answer": boundary.answer.name,
        "output": boundary.gives.name,
        "transport": boundary.transport.kind,
        "timeoutMs": boundary.timeout_ms,
        "fingerprint": boundary.fingerprint,
    }


def _dispatch_json(dispatch: Dispatch) -> Json:
    return {
        "attempts": dispatch.attempts,
        "dispatchedAtEpochMs": dispatch.dispatched_at,
        "exhausted": dispatch.exhausted,
        "error": dispatch.error,
    }


def _raw(body: bytes | None) -> Any:
    """Stored JSON, as it is."""
    return None if body is None else orjson.Fragment(body)
