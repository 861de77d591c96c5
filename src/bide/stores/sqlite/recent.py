"""Rows that this process wrote last: what a segment's end needs, its beginning has just written.

A commit leaves its open executions and units here, and the next one takes them from here for as long
as no other connection has committed. SQLite tells (`data_version`), asked inside the transaction,
when nobody else can write any more. A commit that fails, and every statement that changes rows
without having read them, forgets all. And what comes from here is written like anything else,
guarded by what was read: a row that were not the file's would fail the commit and change nothing.
"""

from itertools import islice
from typing import TypeVar

from bide.engine.rows import Rows
from bide.model.ids import ExecutionId, UnitId
from bide.model.records import Execution, Unit

K = TypeVar("K")
R = TypeVar("R")

#: Rows of each table at most; the oldest go first.
_MOST = 10_000


class Recent:
    """Open executions and units as they are in the file; for the writer's thread only."""

    def __init__(self) -> None:
        self.executions: dict[ExecutionId, Execution] = {}
        self.units: dict[UnitId, Unit] = {}
        self._version: int | None = None

    def check(self, data_version: int) -> None:
        """Forget everything if another connection has committed since the last check."""
        if data_version != self._version:
            self.forget()
            self._version = data_version

    def forget(self) -> None:
        """Know nothing any more, until the next commit."""
        self.executions.clear()
        self.units.clear()
        self._version = None

    def keep(self, rows: Rows) -> None:
        """Take in what a commit has written; if it then fails, `forget`."""
        for execution in rows.executions.written():
            if execution.status.is_terminal:
                self.executions.pop(execution.id, None)
            else:
                self.executions[execution.id] = execution
        for unit in rows.units.written():
            if unit.status.is_terminal:
                self.units.pop(unit.id, None)
            else:
                self.units[unit.id] = unit
        if len(self.executions) > _MOST:
            self.executions = _newest(self.executions)
        if len(self.units) > _MOST:
            self.units = _newest(self.units)


def _newest(rows: dict[K, R]) -> dict[K, R]:
    """Half of what is kept at most: whoever deletes a dict's first key looks for it past all that
    were deleted before, so one at a time takes longer and longer.
    """
    return dict(islice(rows.items(), len(rows) - _MOST // 2, None))
