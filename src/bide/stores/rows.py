"""What the SQL stores share: columns in the order of records, rows as records, records as rows.

Nothing here knows a dialect. A store reads rows with the columns named here, in their order, and
runs one named statement for each list that `new_rows` and `changed_rows` give.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import astuple

from bide.engine.rows import Rows
from bide.model.ids import ExecutionId, InteractionId
from bide.model.records import (
    AuditEntry,
    Correlation,
    DeadLetter,
    Dispatch,
    Execution,
    Handoff,
    Input,
    Interaction,
    JournalFact,
    Origin,
    Record,
    Refusal,
    Reject,
    Result,
    StoredBoundary,
    SubmitKey,
    Trace,
    Unit,
)
from bide.model.status import (
    AnswerSource,
    DeadLetterKind,
    ExecutionStatus,
    HandoffStatus,
    InteractionStatus,
    JournalKind,
    UnitStatus,
)
from bide.spi.store import Asked, Correlated

Row = Sequence[Any]

#: `group` is a word of SQL.
_RENAMED = {"group": "group_name"}
_RECORDS: dict[str, type[Record]] = {
    "audit": AuditEntry,
    "boundaries": StoredBoundary,
    "correlations": Correlation,
    "dead_letters": DeadLetter,
    "dispatches": Dispatch,
    "executions": Execution,
    "handoffs": Handoff,
    "inputs": Input,
    "interactions": Interaction,
    "journal": JournalFact,
    "origins": Origin,
    "refusals": Refusal,
    "rejects": Reject,
    "results": Result,
    "submit_keys": SubmitKey,
    "traces": Trace,
    "units": Unit,
}
#: The columns of each table, in the order of its record's fields.
COLUMNS: dict[str, tuple[str, ...]] = {
    table: tuple(_RENAMED.get(field, field) for field in record.__struct_fields__)
    for table, record in _RECORDS.items()
}

# --- rows as records ----------------------------------------------------------------------------
# Statuses become enumerations here; everything else is in the record's order already.

_EXECUTION = (None, *ExecutionStatus)
_UNIT = (None, *UnitStatus)
_INTERACTION = (None, *InteractionStatus)
_INTERACTION_COLUMNS = len(COLUMNS["interactions"])
_UNIT_COLUMNS = len(COLUMNS["units"])

# What the columns are, the schema says; the checkers cannot count them.
_make_execution: Callable[..., Execution] = Execution
_make_unit: Callable[..., Unit] = Unit
_make_interaction: Callable[..., Interaction] = Interaction
_make_dispatch: Callable[..., Dispatch] = Dispatch
_make_dead_letter: Callable[..., DeadLetter] = DeadLetter
_make_fact: Callable[..., JournalFact] = JournalFact
_make_handoff: Callable[..., Handoff] = Handoff


def execution_of(row: Row) -> Execution:
    """An execution, from its columns."""
    return _make_execution(*row[:3], _EXECUTION[row[3]], *row[4:])


def unit_of(row: Row) -> Unit:
    """A unit, from its columns."""
    return _make_unit(
        *row[:5], _UNIT[row[5]], bool(row[6]), *row[7:16], bool(row[16]), row[17], bool(row[18])
    )


def interaction_of(row: Row) -> Interaction:
    """An interaction, from its columns."""
    source = AnswerSource(row[19]) if row[19] else None
    return _make_interaction(*row[:6], _INTERACTION[row[6]], *row[7:19], source, *row[20:])


def dispatch_of(row: Row) -> Dispatch:
    """A dispatch, from its columns."""
    return _make_dispatch(*row[:9], bool(row[9]), *row[10:14], bool(row[14]), row[15])


def handoff_of(row: Row) -> Handoff:
    """A publication, from its columns."""
    status = HandoffStatus(row[7])
    return _make_handoff(*row[:7], status, *row[8:16], bool(row[16]), *row[17:])


def asked_of(row: Row) -> Asked:
    """An interaction with its pipeline and its unit, from the columns of all three."""
    return Asked(
        interaction_of(row[:_INTERACTION_COLUMNS]),
        row[_INTERACTION_COLUMNS],
        unit_of(row[-_UNIT_COLUMNS:]),
    )


def correlated_of(
    keys: Sequence[str], rows: Iterable[Correlation], asked: Mapping[InteractionId, Asked]
) -> list[list[Correlated]]:
    """What is known under each of `keys`, its rows in the order in which they come."""
    found: dict[str, list[Correlated]] = {}
    for row in rows:
        holder = asked.get(row.holder) if row.holder else None
        found.setdefault(row.key, []).append(Correlated(row, holder))
    return [found.get(key, []) for key in keys]


def fact_of(row: Row) -> JournalFact:
    """A fact, from its columns."""
    return _make_fact(ExecutionId(row[0]), row[1], JournalKind(row[2]), *row[3:])


def dead_letter_of(row: Row) -> DeadLetter:
    """A dead letter, from its columns."""
    status = ExecutionStatus(row[5]) if row[5] else None
    return _make_dead_letter(*row[:3], DeadLetterKind(row[3]), row[4], status, *row[6:])


# --- records as rows ----------------------------------------------------------------------------


def new_rows(rows: Rows) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """What a commit inserts: the statement's name, and whole rows in the record's order.

    `put_` rows may be there already and replace what is there.
    """
    new: Sequence[tuple[str, Sequence[Record]]] = (
        ("new_correlations", rows.correlations.new()),
        ("new_keys", rows.keys.new()),
        ("new_units", rows.units.new()),
        ("new_interactions", rows.interactions.new()),
        ("new_dispatches", rows.dispatches.new()),
        ("new_executions", rows.executions.new()),
        ("new_inputs", rows.inputs),
        ("new_facts", rows.journal),
        ("put_results", rows.results),
        ("put_rejects", rows.rejects),
        ("put_traces", rows.traces),
        ("new_dead_letters", rows.dead_letters),
        ("new_refusals", rows.refusals),
        ("put_audit", rows.audit),
        ("new_handoffs", rows.handoffs.new()),
        ("put_origins", rows.origins),
    )
    for name, records in new:
        if records:
            yield name, list(map(astuple, records))


def changed_rows(rows: Rows) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """What a commit changes: the statement's name, and for each row its key, the value that was
    read (the guard), and the new values.
    """
    correlations = rows.correlations.changed()
    changed: Sequence[tuple[str, list[tuple[Any, ...]]]] = (
        (
            "change_correlations",
            [
                (*was.id, was.version, *astuple(now)[3:])
                for was, now in correlations
                if not now.is_empty
            ],
        ),
        (
            "drop_correlations",
            [(*was.id, was.version) for was, now in correlations if now.is_empty],
        ),
        (
            "change_units",
            [
                (*now.id, was.settled, now.status, now.appended, now.total, now.settled,
                 now.updated_at, now.missing, now.fingerprint)
                for was, now in rows.units.changed()
            ],
        ),
        (
            "change_interactions",
            [
                (*now.id, was.status, now.status, now.assignee, now.updated_at, *astuple(now)[15:24])
                for was, now in rows.interactions.changed()
            ],
        ),
        (
            "change_dispatches",
            [(*now.id, was.fence, *astuple(now)[8:]) for was, now in rows.dispatches.changed()],
        ),
        (
            "change_handoffs",
            [
                (now.id, was.fence, was.status, *astuple(now)[7:8], *astuple(now)[9:])
                for was, now in rows.handoffs.changed()
            ],
        ),
        (
            "change_executions",
            [
                (now.id, was.version, *astuple(now)[3:14], *astuple(now)[15:20])
                for was, now in rows.executions.changed()
            ],
        ),
    )  # fmt: skip
    for name, changes in changed:
        if changes:
            yield name, changes
