"""What connections that read are set to."""

from typing import Any

from bide.stores.postgres.connection import PLANS, Connection, Pool, connect

_SHOWN = [setting.split(" = ") for setting in PLANS]


async def settings_of(db: Connection) -> list[list[str]]:
    return [[name, await db.fetchval(f"show {name}")] for name, _ in _SHOWN]


class ThroughPooler:
    """A connection as a pooler shows it: it tells a process that is not the server's."""

    def __init__(self, db: Connection) -> None:
        self.db = db

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)

    def get_server_pid(self) -> int:
        return 0


async def test_a_session_of_ones_own_is_set_once(postgres_store: str) -> None:
    """Without a pooler a read takes no more than its one round trip, and has its plans."""
    pool = Pool(lambda: connect(postgres_store), 1)

    async with pool.connection() as db:
        shown = await settings_of(db)
        in_transaction = db.is_in_transaction()
    await pool.close()

    assert shown == _SHOWN
    assert not in_transaction


async def test_a_session_of_a_pooler_is_left_as_it_was(postgres_store: str) -> None:
    """Behind a pooler the settings end with the read, since the session is somebody else's next."""
    session = await connect(postgres_store)
    before = await settings_of(session)

    async def through_pooler() -> Any:
        return ThroughPooler(session)

    pool = Pool(through_pooler, 1)
    async with pool.connection() as db:
        during = await settings_of(db)
    after = await settings_of(session)
    await pool.close()

    assert during == _SHOWN
    assert after == before != during


async def test_a_read_that_fails_behind_a_pooler_leaves_no_transaction(postgres_store: str) -> None:
    """A connection in a transaction that failed is not used again."""
    opened: list[Connection] = []

    async def through_pooler() -> Any:
        opened.append(await connect(postgres_store))
        return ThroughPooler(opened[-1])

    pool = Pool(through_pooler, 1)
    try:
        async with pool.connection() as db:
            await db.fetch("select 1 / 0")
    except Exception as error:
        failed = type(error).__name__
    async with pool.connection() as db:
        answer = await db.fetchval("select 1")
    await pool.close()

    assert failed == "DivisionByZeroError"
    assert answer == 1
    assert [db.is_closed() for db in opened] == [True, True]
    assert len(opened) == 2
