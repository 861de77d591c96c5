"""What a step's statement may touch: SQLite asks, whenever it prepares one.

Steps share the writer's connection with Bide's own statements. While one of theirs is prepared, the
guard lets it read anything and write whatever is not Bide's; transactions are not theirs to end.
SQLite does not ask about statements that are prepared already, so theirs are prepared each time.
"""

# apsw's stubs name a type that pyright cannot find, so all that touches a binding is half unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import re
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

import apsw

from bide.stores.sqlite.connection import migrations

#: What a statement may never do, and what to say of it.
_NEVER = {
    apsw.SQLITE_TRANSACTION: "a step's transaction ends by itself; leave out begin, commit, rollback",
    apsw.SQLITE_SAVEPOINT: "a step's transaction has no savepoints; leave them out",
    apsw.SQLITE_ATTACH: "a step writes to the store's own file; it cannot attach another",
    apsw.SQLITE_DETACH: "a step writes to the store's own file; it cannot detach another",
    apsw.SQLITE_PRAGMA: "pragmas are Bide's own",
}
#: Where what would change a table says which.
_WRITES = {
    apsw.SQLITE_INSERT: 0,
    apsw.SQLITE_UPDATE: 0,
    apsw.SQLITE_DELETE: 0,
    apsw.SQLITE_DROP_TABLE: 0,
    apsw.SQLITE_ALTER_TABLE: 1,
    apsw.SQLITE_CREATE_INDEX: 1,
    apsw.SQLITE_DROP_INDEX: 1,
    apsw.SQLITE_CREATE_TRIGGER: 1,
    apsw.SQLITE_DROP_TRIGGER: 1,
}
_CREATED = re.compile(r"^create table (\w+)", re.MULTILINE)


@cache
def own_tables() -> frozenset[str]:
    """The names of Bide's tables."""
    return frozenset(name for _, text in migrations() for name in _CREATED.findall(text))


class Guard:
    """The authorizer of the writer's connection."""

    def __init__(self) -> None:
        self._of_step = False
        #: Why it refused the last statement; None where it did not.
        self.reason: str | None = None

    @contextmanager
    def watching(self) -> Generator[None]:
        """The statements of the body are a step's."""
        self._of_step, self.reason = True, None
        try:
            yield
        finally:
            self._of_step = False

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        """Answer SQLite; `first` and `second` mean what they mean for the action."""
        if not self._of_step:
            return apsw.SQLITE_OK
        reason = _NEVER.get(action)
        if reason is None and action in _WRITES:
            table = (first, second)[_WRITES[action]]
            if table in own_tables():
                reason = f"table {table} is Bide's own, and may only be read"
        if reason is None:
            return apsw.SQLITE_OK
        self.reason = reason
        return apsw.SQLITE_DENY
