"""The deciding verbs: lock and read, let the engine decide, write what came out."""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

from bide.engine.dispatching import DispatchOffer
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
from bide.engine.rows import Needs, Rows, Table
from bide.engine.rules import needs_of
from bide.engine.running import ClaimOffer
from bide.model.ids import ExecutionId, InteractionId, UnitId
from bide.model.records import Correlation, Dispatch, Execution, Handoff, SubmitKey, Unit
from bide.stores.isolate import DataError, isolate_async
from bide.stores.postgres.complaints import refused_value
from bide.stores.postgres.statements import Batch
from bide.stores.postgres.writer import LOCKS, Race, Transaction
from bide.stores.rows import (
    changed_rows,
    dispatch_of,
    execution_of,
    handoff_of,
    interaction_of,
    new_rows,
    unit_of,
)

#: How many times what it takes a claim of dispatches looks at.
_LOOK_AHEAD = 4
#: The key's columns of rows that one commit may put twice; the last of them counts.
_REPLACING = {
    "put_audit": itemgetter(0),
    "put_origins": itemgetter(0, 1),
    "put_results": itemgetter(0, 1),
    "put_rejects": itemgetter(0, 1, 2),
    "put_traces": itemgetter(0),
}
#: Of rows that others may make at the same time: in one order, so that nobody waits for each other.
_CONTENDED = {"new_keys": itemgetter(0, 1, 2), "new_correlations": itemgetter(0, 1, 2)}


async def make(
    transaction: Transaction, moves: Sequence[Move], handover: Handover | None
) -> Transacted:
    """Make a batch of moves.

    Raises:
        Race: another transaction has come between.
    """
    rows, now = await _load(transaction, needs_of(moves))
    made = fold(moves, rows, now, handover)
    await write(transaction, rows, now)
    return made


async def make_apart(
    transaction: Transaction, moves: Sequence[Move], handover: Handover | None
) -> Transacted:
    """Make a batch of which the database refuses a value: all moves but those that it comes with."""

    async def attempt(part: Sequence[Move], offer: Handover | None) -> Transacted:
        await transaction.execute("savepoint part")
        try:
            made = await make(transaction, part, offer)
        except Exception as error:
            problem = refused_value(error)
            if problem is None:
                raise
            await transaction.execute("rollback to part")
            raise DataError(problem) from error
        await transaction.execute("release part")
        return made

    return await isolate_async(moves, handover, attempt)


async def claim(transaction: Transaction, offer: ClaimOffer) -> list[Claimed]:
    """Claim what is due. Nothing waits here: what another holds is passed over."""
    now = await transaction.now()
    found = await transaction.fetch(LOCKS["claim_due"], list(offer.fingerprints), now, offer.limit)
    if not found:
        return []
    due = sorted(map(execution_of, found), key=lambda each: (each.due_at or 0, each.id))
    rows = Rows()
    for execution in due:
        rows.executions.load(execution.id, execution)
    wanted = {UnitId(each.id, number) for each in due for number in (each.resumed, each.units)}
    await _load_units(transaction, rows, "read_units", [unit for unit in wanted if unit.number])
    claimed = fold_claims(offer, due, rows, now)
    await write(transaction, rows, now)
    return claims_of(rows, claimed, await _bodies(transaction, rows, claimed))


async def claim_dispatches(transaction: Transaction, offer: DispatchOffer) -> list[ToSend]:
    """Claim what is due to be sent.

    Who claims at the same time looks at the same rows and waits for their units; so it looks at
    more than it takes, and takes what the other has left.
    """
    now = await transaction.now()
    rooms = await _rooms(transaction, offer, now)
    names, most = list(rooms), [room * _LOOK_AHEAD for room in rooms.values()]
    found = await transaction.fetch(LOCKS["due_dispatches"], names, most, now)
    if not found:
        return []
    ids = sorted(InteractionId(*row) for row in found)
    rows = Rows()
    await _load_units(transaction, rows, "lock_units", {UnitId(id_[0], id_[1]) for id_ in ids})
    now = await transaction.now()  # of this commit: who held the units may have taken its time
    due: list[Dispatch] = []
    order = sorted(map(dispatch_of, await transaction.read("read_dispatches", ids)), key=_when_due)
    for dispatch in order:
        is_due = dispatch.due_at is not None and dispatch.due_at <= now
        if is_due and rooms.get(dispatch.route, 0) > 0:
            rooms[dispatch.route] -= 1
            rows.dispatches.load(dispatch.id, dispatch)
            due.append(dispatch)
    if not due:
        return []
    for row in await transaction.read("read_requests", sorted(each.id for each in due)):
        interaction = interaction_of(row)
        rows.interactions.load(interaction.id, interaction)
    claimed = fold_dispatches(offer, due, rows, now)
    await write(transaction, rows, now)
    return claimed


async def claim_handoffs(transaction: Transaction, offer: HandoffOffer) -> list[Handoff]:
    """Claim what is due to be offered; what another holds is passed over."""
    now = await transaction.now()
    names = [each.publication for each in offer.publications]
    most = [each.limit for each in offer.publications]
    found = await transaction.fetch(LOCKS["due_handoffs"], names, most, now)
    if not found:
        return []
    rows = Rows()
    claimed = fold_handoffs(offer, [handoff_of(row) for row in found], rows, now)
    await write(transaction, rows, now)
    return claimed


async def _rooms(transaction: Transaction, offer: DispatchOffer, now: int) -> dict[str, int]:
    """How many of each route may be claimed."""
    bounded = [route for route in offer.routes if route.max_in_flight is not None]
    in_flight: dict[str, int] = {}
    if bounded:
        keys = [(each.pipeline, each.step_id, each.max_in_flight) for each in bounded]
        counts = await transaction.fetch(LOCKS["count_in_flight"], *zip(*keys, strict=True), now)
        in_flight = {each.route: row[0] for each, row in zip(bounded, counts, strict=True)}
    return {each.route: each.room(in_flight.get(each.route, 0)) for each in offer.routes}


def _when_due(dispatch: Dispatch) -> tuple[int, InteractionId]:
    return dispatch.due_at or 0, dispatch.id


async def write(transaction: Transaction, rows: Rows, now: int) -> None:
    """Write what the decisions came to."""
    batches = [*_new(rows), *(Batch(*each) for each in changed_rows(rows)), *_beside(rows.units)]
    for each in rows.rerouted:
        await transaction.execute(LOCKS["reroute"], *each.unit, each.route)
    if batches:
        await transaction.write(batches, now)


# --- reading ------------------------------------------------------------------------------------


async def _load(transaction: Transaction, needs: Needs) -> tuple[Rows, int]:
    """Lock and read what the moves concern, in the one lock order; and the time once that is done."""
    rows = Rows()
    if needs.correlations:
        for row in await transaction.read("lock_correlations", sorted(needs.correlations)):
            correlation = Correlation(*row)
            rows.correlations.load(correlation.id, correlation)
            needs.follow(correlation)
    if needs.keys:
        for row in await transaction.read("read_keys", sorted(needs.keys)):
            rows.keys.load((row[0], row[1], row[2]), SubmitKey(*row))
    await _load_units(transaction, rows, "lock_units", await _concerned_units(transaction, needs))
    await _load_interactions(transaction, rows, needs)
    if sent := needs.dispatches(rows.units.read()):
        for row in await transaction.read("read_dispatches", sent):
            dispatch = dispatch_of(row)
            rows.dispatches.load(dispatch.id, dispatch)
    if needs.handoffs:
        for row in await transaction.read("lock_handoffs", sorted(needs.handoffs)):
            handoff = handoff_of(row)
            rows.handoffs.load(handoff.id, handoff)
    executions, now = await transaction.lock_executions(sorted(needs.executions))
    for execution in executions:
        rows.executions.load(execution.id, execution)
    _check_units(rows, needs.current_unit_of)
    return rows, now


async def _concerned_units(transaction: Transaction, needs: Needs) -> set[UnitId]:
    """Units that are named, and open units of executions that are: these are looked up before their
    executions are locked, since units come first.
    """
    if not needs.current_unit_of:
        return needs.units
    found = await transaction.read("current_units", sorted(needs.current_unit_of))
    return needs.units | {UnitId(row[0], row[1]) for row in found}


def _check_units(rows: Rows, executions: Iterable[ExecutionId]) -> None:
    """See that the open unit of each is still the one that was locked."""
    for id_ in executions:
        execution = rows.executions.get(id_)
        if execution is not None and execution.units > execution.resumed:
            unit = UnitId(id_, execution.units)
            if rows.units.get(unit) is None:
                raise Race("an execution has opened a unit meanwhile")


async def _load_units(
    transaction: Transaction, rows: Rows, statement: str, units: Iterable[UnitId]
) -> None:
    ids = sorted(units)
    if ids:
        for row in await transaction.read(statement, ids):
            unit = unit_of(row)
            rows.units.load(unit.id, unit)


async def _load_interactions(transaction: Transaction, rows: Rows, needs: Needs) -> None:
    found: list[Sequence[Any]] = []
    if needs.interactions:
        found += await transaction.read("read_interactions", sorted(needs.interactions))
    ranges = [
        (*unit_id, first, min(stop, unit.appended))
        for unit_id, first, stop in needs.ranges
        if (unit := rows.units.get(unit_id)) is not None and unit.appended > first
    ]
    if ranges:
        found += await transaction.fetch(LOCKS["read_items"], ranges)
    for row in found:
        interaction = interaction_of(row)
        rows.interactions.load(interaction.id, interaction)


async def _bodies(
    transaction: Transaction, rows: Rows, claimed: Sequence[Execution]
) -> dict[ExecutionId, bytes]:
    """What the segments start from."""
    starting, resuming = starts_of(rows, claimed)
    found: list[Sequence[Any]] = []
    if starting:
        found += await transaction.read("read_inputs", starting)
    if resuming:
        found += await transaction.read("read_answers", resuming)
    return {ExecutionId(row[0]): row[1] for row in found}


# --- writing ------------------------------------------------------------------------------------


def _new(rows: Rows) -> Iterable[Batch]:
    for name, new in new_rows(rows):
        if name in _REPLACING:
            yield Batch(name, list({_REPLACING[name](row): row for row in new}.values()))
        elif name in _CONTENDED:
            yield Batch(name, sorted(new, key=_CONTENDED[name]))
        else:
            yield Batch(name, new)


#: Tables that hold a row for each unit of which something is true, and that row.
_BESIDE: dict[str, Callable[[Unit], tuple[Any, ...] | None]] = {
    "deadlines": lambda unit: (
        None
        if unit.deadline_at is None or unit.status.is_terminal
        else (unit.deadline_at, *unit.id)
    ),
    "left_open": lambda unit: (
        tuple(unit.id) if unit.status.is_terminal and unit.settled < unit.appended else None
    ),
}


def _beside(units: Table[UnitId, Unit]) -> Iterable[Batch]:
    """What has to be written beside units, for the sweeper to find them by."""
    changed = units.changed()
    for name, entry in _BESIDE.items():
        pairs = [(entry(was), entry(now)) for was, now in changed]
        pairs += [(None, entry(now)) for now in units.new()]
        new = [now for was, now in pairs if now is not None and now != was]
        old = [was for was, now in pairs if was is not None and now != was]
        if new:
            yield Batch(f"new_{name}", new)
        if old:
            yield Batch(f"drop_{name}", old)
