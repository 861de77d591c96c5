"""The deciding verbs: read what is concerned, let the engine decide, write what came out.

All of it happens in one transaction, in which nobody else can write: what was read stays true, and
the guards of what is written repeat it.
"""

# apsw's stubs name a type that pyright cannot find, so all that touches a binding is half unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import apsw

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
from bide.engine.moves import Claimed, Handover, Move, ToSend, Unstorable
from bide.engine.publishing import HandoffOffer
from bide.engine.rows import Needs, Rows, Table
from bide.engine.rules import needs_of
from bide.engine.running import ClaimOffer
from bide.engine.waiting import holds
from bide.model.ids import ExecutionId, UnitId
from bide.model.records import Correlation, Execution, Handoff, SubmitKey
from bide.spi.store import LeaseKey
from bide.stores.isolate import DataError, isolate
from bide.stores.rows import (
    changed_rows,
    dispatch_of,
    execution_of,
    handoff_of,
    interaction_of,
    new_rows,
    unit_of,
)
from bide.stores.sqlite.recent import Recent
from bide.stores.sqlite.statements import change_rows, fetch, for_rows

K = TypeVar("K")
R = TypeVar("R")
Row = tuple[Any, ...]

#: What the database or its driver says of a value that it cannot keep.
_DATA_ERRORS = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.TooBigError,
    OverflowError,
    TypeError,
    UnicodeEncodeError,
)


class Transaction(NamedTuple):
    """The transaction in progress."""

    db: apsw.Connection
    #: The store's time.
    now: int
    #: What need not be read.
    recent: Recent


def transact(
    transaction: Transaction, moves: Sequence[Move], handover: Handover | None
) -> Transacted:
    """Make a batch; if the database refuses a value, start over and find out which move's.

    Savepoints come into it only then: under one, SQLite keeps a copy of each page that it changes,
    which doubles what a write costs. The turnstile keeps other processes out in between. Everything
    is read again then, so that a value is refused by what the file holds and by nothing else.
    """
    try:
        return _make(transaction, moves, handover)
    except _DATA_ERRORS:
        transaction.recent.forget()
        transaction.db.execute("rollback")
        transaction.db.execute("begin immediate")
    return isolate(moves, handover, lambda part, hand: _in_savepoint(transaction, part, hand))


def make_alone(transaction: Transaction, move: Move) -> Transacted:
    """Make one move behind what else the transaction holds; a value that is refused undoes it."""
    try:
        return _in_savepoint(transaction, [move], None)
    except DataError as error:
        return Transacted([Unstorable(str(error))], [], 0, [])


def is_held(transaction: Transaction, lease: LeaseKey) -> bool:
    """Whether the worker with this lease still runs its execution."""
    rows = Rows()
    _load_executions(transaction, rows, [lease.execution])
    return holds(rows.executions.get(lease.execution), lease.fence)


def claim(transaction: Transaction, offer: ClaimOffer) -> list[Claimed]:
    """Claim what is due, oldest first."""
    due: list[Execution] = []
    for fingerprint in offer.fingerprints:
        found = fetch(transaction.db, "due_executions", (fingerprint, transaction.now, offer.limit))
        due += [execution_of(row) for row in found]
    due = sorted(due, key=lambda each: (each.due_at, each.id))[: offer.limit]
    if not due:
        return []
    rows = Rows()
    for execution in due:
        rows.executions.load(execution.id, execution)
    wanted = {UnitId(each.id, number) for each in due for number in (each.resumed, each.units)}
    _load_units(transaction, rows, [unit for unit in wanted if unit.number])
    claimed = fold_claims(offer, due, rows, transaction.now)
    _write(transaction, rows)
    return claims_of(rows, claimed, _bodies(transaction.db, rows, claimed))


def claim_dispatches(transaction: Transaction, offer: DispatchOffer) -> list[ToSend]:
    """Claim what is due to be sent, of each route as much as it has room for."""
    due = [dispatch_of(row) for route in offer.routes for row in _due_of(transaction, route)]
    if not due:
        return []
    rows = Rows()
    _load_units(transaction, rows, {UnitId(each.execution, each.unit) for each in due})
    for row in for_rows(transaction.db, "read_requests", [each.id for each in due]):
        interaction = interaction_of(row)
        rows.interactions.load(interaction.id, interaction)
    for dispatch in due:
        rows.dispatches.load(dispatch.id, dispatch)
    claimed = fold_dispatches(offer, due, rows, transaction.now)
    _write(transaction, rows)
    return claimed


def claim_handoffs(transaction: Transaction, offer: HandoffOffer) -> list[Handoff]:
    """Claim what is due to be offered."""
    due = [
        handoff_of(row)
        for publication, limit in offer.publications
        for row in fetch(transaction.db, "due_handoffs", (publication, transaction.now, limit))
    ]
    if not due:
        return []
    rows = Rows()
    claimed = fold_handoffs(offer, due, rows, transaction.now)
    _write(transaction, rows)
    return claimed


def _in_savepoint(
    transaction: Transaction, moves: Sequence[Move], handover: Handover | None
) -> Transacted:
    """Make a part of a batch; put everything back if the database refuses a value."""
    transaction.db.execute("savepoint part")
    try:
        made = _make(transaction, moves, handover)
    except _DATA_ERRORS as error:
        transaction.db.execute("rollback to part")
        raise DataError(_reason(error)) from error
    finally:
        transaction.db.execute("release part")
    return made


def _make(transaction: Transaction, moves: Sequence[Move], handover: Handover | None) -> Transacted:
    rows = _load(transaction, needs_of(moves))
    made = fold(moves, rows, transaction.now, handover)
    _write(transaction, rows)
    return made


def _reason(error: Exception) -> str:
    """What is wrong, without the value."""
    if isinstance(error, UnicodeEncodeError):
        return "a text holds half a character (a lone surrogate)"
    if isinstance(error, apsw.ConstraintError):
        return f"the database refuses a value: {error}"
    return f"the database cannot keep a value: {type(error).__name__}"


# --- reading ------------------------------------------------------------------------------------


def _load(transaction: Transaction, needs: Needs) -> Rows:
    """Read what the moves concern, in the one lock order."""
    db, rows = transaction.db, Rows()
    for row in _by_key(db, "read_correlations", needs.correlations):
        correlation = Correlation(*row)
        rows.correlations.load(correlation.id, correlation)
        needs.follow(correlation)
    for row in _by_key(db, "read_keys", needs.keys):
        rows.keys.load(row[:3], SubmitKey(*row))
    _load_units(transaction, rows, needs.units)
    for row in _by_key(db, "read_interactions", needs.interactions):
        interaction = interaction_of(row)
        rows.interactions.load(interaction.id, interaction)
    for row in _by_key(db, "read_dispatches", needs.dispatches(rows.units.read())):
        dispatch = dispatch_of(row)
        rows.dispatches.load(dispatch.id, dispatch)
    for unit_id, first, stop in needs.ranges:
        unit = rows.units.get(unit_id)
        if unit is not None and unit.appended > first:
            for row in fetch(db, "read_items", (*unit_id, first, min(stop, unit.appended))):
                interaction = interaction_of(row)
                rows.interactions.load(interaction.id, interaction)
    for row in _by_key(db, "read_handoffs", [(id_,) for id_ in needs.handoffs]):
        handoff = handoff_of(row)
        rows.handoffs.load(handoff.id, handoff)
    _load_executions(transaction, rows, needs.executions)
    current = [
        UnitId(id_, execution.units)
        for id_ in needs.current_unit_of
        if (execution := rows.executions.get(id_)) and execution.units > execution.resumed
    ]
    _load_units(transaction, rows, current)
    return rows


def _load_executions(transaction: Transaction, rows: Rows, ids: Collection[ExecutionId]) -> None:
    unknown = _unless_known(transaction.recent.executions, rows.executions, ids)
    for row in _by_key(transaction.db, "read_executions", [(id_,) for id_ in unknown]):
        rows.executions.load(row[0], execution_of(row))


def _load_units(transaction: Transaction, rows: Rows, ids: Collection[UnitId]) -> None:
    unknown = _unless_known(transaction.recent.units, rows.units, ids)
    for row in _by_key(transaction.db, "read_units", unknown):
        unit = unit_of(row)
        rows.units.load(unit.id, unit)


def _unless_known(known: Mapping[K, R], table: Table[K, R], ids: Iterable[K]) -> list[K]:
    """Load what is known already; gives the ids of what has to be read."""
    unknown: list[K] = []
    for id_ in ids:
        row = known.get(id_)
        if row is None:
            unknown.append(id_)
        else:
            table.load(id_, row)
    return unknown


def _bodies(
    db: apsw.Connection, rows: Rows, claimed: Sequence[Execution]
) -> dict[ExecutionId, bytes]:
    """What the segments start from."""
    starting, resuming = starts_of(rows, claimed)
    found = [
        *for_rows(db, "read_inputs", [(id_,) for id_ in starting]),
        *for_rows(db, "read_answers", resuming),
    ]
    return {ExecutionId(execution): body for execution, body in found}


def _due_of(transaction: Transaction, route: RouteOffer) -> list[Row]:
    db, now, in_flight = transaction.db, transaction.now, 0
    if route.max_in_flight is not None:
        keys = (route.pipeline, route.step_id, now, route.max_in_flight)
        [(in_flight,)] = fetch(db, "count_in_flight", keys)
    return fetch(db, "due_dispatches", (route.route, now, route.room(in_flight)))


def _by_key(db: apsw.Connection, name: str, keys: Collection[Row]) -> list[Row]:
    """Rows by their whole keys, ascending: one for each that is there."""
    rows = list(for_rows(db, name, sorted(keys)))
    assert len(rows) <= len(keys), f"{name}: {len(rows)} rows for {len(keys)} keys"
    return rows


# --- writing ------------------------------------------------------------------------------------


def _write(transaction: Transaction, rows: Rows) -> None:
    """Write what the decisions came to."""
    for name, new in new_rows(rows):
        for_rows(transaction.db, name, new)
    for name, changes in changed_rows(rows):
        written = change_rows(transaction.db, name, changes)
        assert written == len(changes), f"{name}: {len(changes)} rows read, {written} written"
    for each in rows.rerouted:
        fetch(transaction.db, "reroute", (*each.unit, each.route))
    transaction.recent.keep(rows)
