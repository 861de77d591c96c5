"""The rows that one commit concerns: as they were read, and as its moves have changed them.

A store loads what `Needs` names, in the one lock order (correlation keys, submit keys, units,
interactions with their dispatches, executions, each ascending), lets `bide.engine.fold` decide, and
writes what came out: new rows, changed rows, and rows that are only ever appended. It holds no
policy of its own.
"""

from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from bide.engine.decision import Decision, Rerouted
from bide.model.ids import CorrelationKey, ExecutionId, InteractionId, UnitId
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
    Refusal,
    Reject,
    Result,
    SubmitKey,
    Trace,
    Unit,
)

K = TypeVar("K")
R = TypeVar("R")

#: (tenant, pipeline, key)
Key = tuple[str, str, str]


def redrive_scope(pipeline: str) -> str:
    """Where the names of redrives stand among the submit keys; no pipeline has such an id."""
    return f"{pipeline}/redriven"


def handoff_scope(pipeline: str, publication: str) -> str:
    """Where the keys of a publication stand among the submit keys of who takes it."""
    return f"{pipeline}/handoff/{publication}"


def next_generation(interaction: InteractionId) -> InteractionId:
    """The next asking for the same item."""
    return interaction._replace(generation=interaction.generation + 1)


class ItemRange(NamedTuple):
    """The first-generation interactions of a unit with `first <= item < stop`."""

    unit: UnitId
    first: int
    stop: int


class Needs:
    """Which rows a batch of moves concerns; `bide.engine.rules` says which."""

    __slots__ = (
        "correlations", "current_unit_of", "executions", "handoffs", "interactions", "keys",
        "ranges", "units",
    )  # fmt: skip

    def __init__(self) -> None:
        self.correlations: set[CorrelationKey] = set()
        self.keys: set[Key] = set()
        self.units: set[UnitId] = set()
        self.interactions: set[InteractionId] = set()
        self.executions: set[ExecutionId] = set()
        self.handoffs: set[ExecutionId] = set()
        #: Executions whose last unit is concerned too; its number stands in their row.
        self.current_unit_of: set[ExecutionId] = set()
        #: Items that a replayed source may have stored; their requests are needed as well.
        self.ranges: list[ItemRange] = []

    def add_interaction(self, interaction: InteractionId) -> None:
        """Add an interaction, its unit and its execution."""
        self.interactions.add(interaction)
        self.units.add(UnitId(interaction.execution, interaction.unit))
        self.executions.add(interaction.execution)

    def dispatches(self, units: Iterable[Unit]) -> list[InteractionId]:
        """Of which interactions the dispatch is concerned too, in their order.

        Known once the units are read: those of an inbox have none, and cost nothing here.
        """
        sending = {unit.id for unit in units if unit.sends}
        if not sending:
            return []
        return sorted(each for each in self.interactions if UnitId(each[0], each[1]) in sending)

    def follow(self, correlation: Correlation) -> None:
        """Add what a correlation row names; a store calls this for each that it has read."""
        if correlation.holder is not None:
            self.add_interaction(correlation.holder)


class Table(Generic[K, R]):
    """The rows of one table that a commit has read or made."""

    __slots__ = ("_changed", "_new", "_read", "_rows")

    def __init__(self) -> None:
        self._rows: dict[K, R] = {}
        self._read: dict[K, R] = {}
        self._new: dict[K, None] = {}
        self._changed: dict[K, None] = {}

    def load(self, key: K, row: R) -> None:
        """Take in a row as the store holds it."""
        self._rows[key] = self._read[key] = row

    def get(self, key: K) -> R | None:
        """The row as it is now, or None when there is none."""
        return self._rows.get(key)

    def was(self, key: K) -> R | None:
        """The row as the store holds it, or None when there is none."""
        return self._read.get(key)

    def put(self, key: K, row: R) -> None:
        """Make or change a row."""
        self._rows[key] = row
        if key in self._read:
            self._changed[key] = None
        else:
            self._new[key] = None

    def new(self) -> Sequence[R]:
        """Rows to insert, in the order they were made."""
        return [self._rows[key] for key in self._new]

    def written(self) -> list[R]:
        """Every row that is new or changed, as it is now."""
        return [self._rows[key] for key in (*self._new, *self._changed)]

    def read(self) -> Iterable[R]:
        """Rows as the store holds them."""
        return self._read.values()

    def changed(self) -> Sequence[tuple[R, R]]:
        """Rows to update: as they were read (the guard), and as they are now."""
        return [(self._read[key], self._rows[key]) for key in self._changed]


class Rows:
    """The working set of one commit."""

    __slots__ = (
        "audit",
        "correlations",
        "dead_letters",
        "dispatches",
        "executions",
        "handoffs",
        "inputs",
        "interactions",
        "journal",
        "keys",
        "origins",
        "refusals",
        "rejects",
        "rerouted",
        "results",
        "traces",
        "units",
    )

    def __init__(self) -> None:
        self.correlations: Table[CorrelationKey, Correlation] = Table()
        self.keys: Table[Key, SubmitKey] = Table()
        self.units: Table[UnitId, Unit] = Table()
        self.interactions: Table[InteractionId, Interaction] = Table()
        self.dispatches: Table[InteractionId, Dispatch] = Table()
        self.executions: Table[ExecutionId, Execution] = Table()
        self.handoffs: Table[ExecutionId, Handoff] = Table()
        self.journal: list[JournalFact] = []
        self.inputs: list[Input] = []
        self.results: list[Result] = []
        self.dead_letters: list[DeadLetter] = []
        self.refusals: list[Refusal] = []
        self.rejects: list[Reject] = []
        self.rerouted: list[Rerouted] = []
        self.traces: list[Trace] = []
        self.audit: list[AuditEntry] = []
        self.origins: list[Origin] = []

    def ended(self) -> tuple[Unit, ...]:
        """Units that have come to their end, as they are now."""
        ended = [now for was, now in self.units.changed() if now.status is not was.status]
        return (*ended, *(unit for unit in self.units.new() if unit.status.is_terminal))

    def apply(self, decision: Decision) -> None:
        """Take over what a decision writes; later moves of the batch see it."""
        if decision.execution is not None:
            self.executions.put(decision.execution.id, decision.execution)
        if decision.earlier:
            self.journal.extend(decision.earlier)
        if decision.fact is not None:
            self.journal.append(decision.fact)
        if decision.unit is not None:
            self.units.put(decision.unit.id, decision.unit)
        for interaction in decision.interactions:
            self.interactions.put(interaction.id, interaction)
        for row in decision.written:
            match row:
                case Input():
                    self.inputs.append(row)
                case SubmitKey():
                    self.keys.put((row.tenant, row.pipeline, row.key), row)
                case Result():
                    self.results.append(row)
                case DeadLetter():
                    self.dead_letters.append(row)
                case Refusal():
                    self.refusals.append(row)
                case Reject():
                    self.rejects.append(row)
                case Correlation():
                    self.correlations.put(row.id, row)
                case AuditEntry():
                    self.audit.append(row)
                case Dispatch():
                    self.dispatches.put(row.id, row)
                case Rerouted():
                    self.rerouted.append(row)
                case Handoff():
                    self.handoffs.put(row.id, row)
                case Origin():
                    self.origins.append(row)
