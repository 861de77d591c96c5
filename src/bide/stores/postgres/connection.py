"""The driver, and nothing else of the store: connecting, a few connections to share, migrations.

asyncpg is imported in this module alone; the rest of the store knows the `Connection` below.
"""

# asyncpg comes without type hints; `Connection` says what of it is used.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast
from uuid import UUID

from bide.errors import StoreUnavailable
from bide.stores.migrating import migrations_in

#: Any number that no other program is likely to lock by.
_MIGRATION_LOCK = 0x62696465
_CONNECT_TIMEOUT_S = 10

#: Each key is looked up in its index, whatever the planner believes of the tables' sizes; a plan is
#: made once and kept; and nobody starts processes for a page of a list.
PLANS = (
    "enable_seqscan = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off",
    "enable_bitmapscan = off",
    "max_parallel_workers_per_gather = 0",
    "plan_cache_mode = force_generic_plan",
    "jit = off",
)
FOR_SESSION = "".join(f"set {setting};" for setting in PLANS)
FOR_TRANSACTION = "".join(f"set local {setting};" for setting in PLANS)


class Block(Protocol):
    """A transaction of the driver's; one that is begun within another is a savepoint."""

    async def start(self) -> None: ...

    async def commit(self) -> None: ...

    async def rollback(self) -> None: ...


class Connection(Protocol):
    """What is used of a connection. Ids of executions (`uuid`) are 16 bytes here and there."""

    async def execute(self, query: str, *args: Any) -> str: ...

    async def fetch(self, query: str, *args: Any) -> list[Sequence[Any]]: ...

    async def fetchrow(self, query: str, *args: Any) -> Sequence[Any] | None: ...

    async def fetchval(self, query: str, *args: Any) -> Any: ...

    async def prepare(self, query: str) -> object: ...

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...

    def add_termination_listener(self, callback: Callable[[Any], None]) -> None: ...

    def is_closed(self) -> bool: ...

    def is_in_transaction(self) -> bool: ...

    def transaction(self) -> Block: ...

    def get_server_pid(self) -> int: ...

    async def close(self, *, timeout: float | None = None) -> None: ...

    def terminate(self) -> None: ...


def _uuid_bytes(value: bytes | UUID | str) -> bytes:
    match value:
        case bytes():
            return value
        case UUID():
            return value.bytes
        case _:
            return UUID(value).bytes


def _uuid(value: bytes) -> UUID:
    return UUID(bytes=bytes(value))


async def connect(url: str, *, pooled: bool = False, for_steps: bool = False) -> Connection:
    """Open one connection.

    Args:
        url: `postgresql://user:password@host:port/database`.
        pooled: whether a pooler may stand between, which runs each transaction in any session: then
            no statement stays prepared, since it would stay behind in somebody else's.
        for_steps: whether users see it: then a `uuid` comes as a `UUID`, and goes as either.

    Raises:
        StoreUnavailable: the driver is not installed.
        OSError, TimeoutError, asyncpg.PostgresError: the server cannot be reached, or refuses.
    """
    try:
        import asyncpg  # type: ignore[import-untyped]  # it comes without type hints
    except ImportError as error:
        raise StoreUnavailable(
            'PostgreSQL needs its driver: pip install "bide[postgres]"'
        ) from error
    db = await asyncpg.connect(
        url,
        timeout=_CONNECT_TIMEOUT_S,
        statement_cache_size=0 if pooled else 500,
        max_cached_statement_lifetime=0,
    )
    made = cast("Connection", db)
    try:
        async with one_session(made):
            await db.set_type_codec(
                "uuid",
                schema="pg_catalog",
                encoder=_uuid_bytes if for_steps else bytes,
                decoder=_uuid if for_steps else bytes,
                format="binary",
            )
    except BaseException:  # nobody else knows of it yet
        made.terminate()
        raise
    return made


def is_expected(error: BaseException) -> bool:
    """True for what goes wrong with a server or on the way to it, and not in this program."""
    if type(error).__name__ == "InterfaceError":
        return "closed" in str(error)  # others say that the driver was misused
    from_driver = type(error).__module__.partition(".")[0] == "asyncpg"
    return from_driver or isinstance(error, OSError | TimeoutError)


@asynccontextmanager
async def one_session(db: Connection) -> AsyncGenerator[None]:
    """A transaction around the body, so that a pooler gives one session to all of it."""
    await db.execute("begin")
    try:
        yield
    except BaseException:
        if not db.is_closed():
            await db.execute("rollback")
        raise
    await db.execute("commit")


async def is_pooled(db: Connection) -> bool:
    """Whether a pooler stands between, which may run each transaction in another session.

    It tells clients a process of its own.
    """
    async with one_session(db):
        return bool(await db.fetchval("select pg_backend_pid()") != db.get_server_pid())


class Pool:
    """A few connections to read by, that tasks take turns with; one that was lost is replaced.

    Their plans are those of `PLANS`: set once, in a session that is ours; through a pooler, in a
    transaction around each read, so that others who share its sessions meet nothing of it.
    """

    def __init__(self, open_one: Callable[[], Any], size: int) -> None:
        """Share at most `size` of what `open_one` opens."""
        self._open_one = open_one
        self._turns = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._through_pooler = False

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """One connection, outside any transaction."""
        async with self._turns:
            db = self._idle.pop() if self._idle else None
            if db is None or db.is_closed():
                db = await self._opened()
            try:
                if self._through_pooler:
                    await db.execute(f"begin read only; {FOR_TRANSACTION}")
                yield db
                if self._through_pooler:
                    await db.execute("commit")
            finally:
                if db.is_closed() or db.is_in_transaction():
                    db.terminate()
                else:
                    self._idle.append(db)

    async def _opened(self) -> Connection:
        db = cast("Connection", await self._open_one())
        self._through_pooler = await is_pooled(db)
        if not self._through_pooler:
            await db.execute(FOR_SESSION)
        return db

    async def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            await self._idle.pop().close(timeout=_CONNECT_TIMEOUT_S)


# --- the schema ---------------------------------------------------------------------------------


def migrations() -> list[tuple[int, str]]:
    """All migrations of this release, in order."""
    return migrations_in(f"{__package__}.migrations")


async def schema_version(db: Connection) -> int:
    """Number of the last migration made; 0 when there was none."""
    if await db.fetchval("select to_regclass('bide.migrations')") is None:
        return 0
    return int(await db.fetchval("select coalesce(max(number), 0) from bide.migrations"))


async def migrate(db: Connection) -> list[int]:
    """Make the migrations that are missing, all or none; gives their numbers.

    Several processes may do so at once: they take turns.

    Raises:
        StoreUnavailable: a newer release has migrated this database.
    """
    known = migrations()
    made: list[int] = []
    await db.execute(f"begin; select pg_advisory_xact_lock({_MIGRATION_LOCK})")
    try:
        present = await schema_version(db)
        check_not_newer(present)
        if present == 0:
            await db.execute(
                "create schema if not exists bide;"
                "create table bide.migrations ("
                " number integer primary key, made_at timestamptz not null default now())"
            )
        for number, text in known:
            if number > present:
                await db.execute(text)
                await db.execute("insert into bide.migrations (number) values ($1)", number)
                made.append(number)
    except BaseException:
        if not db.is_closed():
            await db.execute("rollback")
        raise
    await db.execute("commit")
    return made


def check_not_newer(present: int) -> None:
    """Refuse a database that a newer release has migrated.

    Raises:
        StoreUnavailable: it says which versions and what to do.
    """
    newest = migrations()[-1][0]
    if present > newest:
        raise StoreUnavailable(
            f"the database was written by a newer release (schema {present}, this one knows"
            f" {newest}); upgrade bide"
        )
