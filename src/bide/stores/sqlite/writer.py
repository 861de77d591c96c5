"""The one connection of a process that writes, on a thread of its own.

Theory of operation
-------------------
Work is queued and done in order, each piece in one `BEGIN IMMEDIATE` transaction while it is this
process's turn. The store's time is read once, inside: the wall clock or the highest time that any
process has committed, whichever is later, so that it never runs backwards.

What happens when it crashes here: before the commit, nothing was written; after it, everything.

What happens when the commit fails: its outcome is unknown, and after a failed fsync the pages in
memory cannot be trusted. The connection is thrown away and the file reopened, which recovers it
from what is on disk; the commit's number, written with it, then says whether it took place. Until
the file could be reopened nothing more is acknowledged.
"""

# apsw's stubs name a type that pyright cannot find, so all that touches a binding is half unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import os
import secrets
from collections.abc import Callable
from typing import TypeVar

import apsw

from bide.errors import StoreUnavailable
from bide.spi.clock import Clock
from bide.stores.faults import CommitLost, Faults
from bide.stores.sqlite.connection import explained, open_writer
from bide.stores.sqlite.guard import Guard
from bide.stores.sqlite.lane import Lane
from bide.stores.sqlite.recent import Recent
from bide.stores.sqlite.statements import fetch_one, statement
from bide.stores.sqlite.turnstile import Turnstile

T = TypeVar("T")
Work = Callable[[apsw.Connection, int], T]
_DAY_MS = 86_400_000


class Writer:
    """Runs pieces of work in transactions, one after another."""

    def __init__(self, path: str, clock: Clock, faults: Faults, recent: Recent) -> None:
        self._path = path
        self._clock = clock
        self._faults = faults
        self._recent = recent
        self._name = secrets.token_hex(8)
        self._commits = 0
        #: The store's time as the transaction in progress has read it last.
        self._time = 0
        self.guard = Guard()
        self._db: apsw.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._turnstile: Turnstile | None = None
        self._lane = Lane("bide-sqlite-writer")

    async def start(self) -> None:
        """Open the file."""
        self._lane.start()
        try:
            await self._lane.run(self._open)
        except BaseException:
            await self._lane.stop()
            raise

    async def stop(self) -> None:
        """Do what is queued, then close the file."""
        await self._lane.stop(self._close)

    async def commit(self, work: Work[T], *, keeps: bool = False) -> T:
        """Do `work` with the connection and the store's time, and commit it.

        Args:
            work: what to do.
            keeps: it leaves every execution and unit that it writes in `Recent`.

        Raises:
            StoreUnavailable: nothing of it was written.
        """
        self._check_open()
        return await self._lane.run(lambda: self._transaction(work, keeps=keeps))

    async def hold(self, work: Callable[[apsw.Connection, Callable[[], int]], T]) -> T:
        """As `commit`, for work that takes its time, and asks for the store's time when it decides.

        Raises:
            StoreUnavailable: nothing of it was written.
        """
        self._check_open()

        def at_length(db: apsw.Connection, _: int) -> T:
            return work(db, lambda: self._now(db))

        return await self._lane.run(lambda: self._transaction(at_length, keeps=True))

    async def data_version(self) -> int:
        """A number that changes when another connection commits."""
        self._check_open()
        return await self._lane.run(lambda: int(self._connection().pragma("data_version")))

    def _check_open(self) -> None:
        if not self._lane.is_running:
            raise StoreUnavailable(f"the database {self._path} is not open")

    # --- on the lane's thread ------------------------------------------------------------------

    def _open(self) -> None:
        self._recent.forget()
        self._db = open_writer(self._path)
        self._db.set_authorizer(self.guard)
        self._file = self._file_there()
        if self._turnstile is None:
            try:
                self._turnstile = Turnstile(self._path)
            except OSError as error:
                raise StoreUnavailable(
                    f"the folder of the database {self._path} cannot be written: {error.strerror}"
                ) from error

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._turnstile is not None:
            self._turnstile.close()
            self._turnstile = None

    def _connection(self) -> apsw.Connection:
        if self._db is None:
            self._open()
        assert self._db is not None
        return self._db

    def _file_there(self) -> tuple[int, int] | None:
        """Which file lies at the path."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - once a commit, and the path is plain
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _transaction(self, work: Work[T], *, keeps: bool) -> T:
        db = self._connection()
        if self._file_there() != self._file:
            # SQLite would go on writing to a file that nobody will ever find again.
            raise StoreUnavailable(
                f"the database {self._path} was deleted or replaced while it was open; put it back"
                " and start again"
            )
        assert self._turnstile is not None
        with self._turnstile:
            try:
                db.execute("begin immediate")
            except apsw.Error as error:
                raise explained(error, self._path) from error
            try:
                self._recent.check(int(db.pragma("data_version")))
                before = db.total_changes()
                result = work(db, self._now(db))
                if db.total_changes() == before:
                    db.execute("commit")
                    return result
                self._mark(db)
                if not keeps:
                    self._recent.forget()
            except apsw.Error as error:
                self._roll_back(db)
                raise explained(error, self._path) from error
            except BaseException:
                self._roll_back(db)
                raise
            try:
                self._faults.before_commit()
                db.execute("commit")
                self._faults.after_commit()
            except (apsw.Error, CommitLost) as error:
                if not self._took_place():
                    raise explained(error, self._path) from error
            return result

    def _now(self, db: apsw.Connection) -> int:
        row = fetch_one(db, "high_water")
        self._time = max(self._clock(), row[0] or 0) if row else self._clock()
        return self._time

    def _mark(self, db: apsw.Connection) -> None:
        now = self._time
        if self._commits == 0:
            db.execute(statement("forget_writers").text, (now - _DAY_MS, self._name))
        self._commits += 1
        db.execute(statement("mark_commit").text, (self._name, self._commits, now))

    def _roll_back(self, db: apsw.Connection) -> None:
        self._recent.forget()
        try:
            if db.in_transaction:
                db.execute("rollback")
        except apsw.Error:
            self._db = None
            db.close(force=True)

    def _took_place(self) -> bool:
        """Reopen the file and look whether the last commit is in it."""
        if self._db is not None:
            self._db.close(force=True)
            self._db = None
        db = self._connection()
        row = fetch_one(db, "last_commit", (self._name,))
        return row is not None and row[0] == self._commits
