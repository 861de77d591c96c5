"""What `bide doctor` finds on a server: nothing on a sound one, and each fault that is planted."""

import pytest

from bide.spi.store import Check
from bide.stores.postgres import examine
from bide.stores.postgres.connection import Connection, connect, migrate
from tests.servers.postgres import PostgresServer


async def found(db: Connection, connections: int = 4) -> dict[str, Check]:
    checks = await examine.examine(db, connections)
    for check in checks:
        assert check.message
        assert "\n" not in check.message + (check.hint or "")
        assert check.ok or check.hint
    return {check.name: check for check in checks}


async def test_a_sound_server(db: Connection) -> None:
    """Nothing is amiss but that the tests' server does not sync, which is a warning."""
    checks = await found(db)

    assert [name for name, check in checks.items() if not check.ok] == ["durability"]
    assert checks["durability"].warning
    assert set(checks) == {
        "server", "durability", "connections", "rights", "indexes", "vacuum", "snapshots"
    }  # fmt: skip


@pytest.mark.process
async def test_a_server_that_syncs() -> None:
    """Durable settings pass; commits that do not wait for the disk are warned of."""
    with PostgresServer(durable=True) as server, server.database() as url:
        db = await connect(url)
        await migrate(db)
        sound = await found(db)
        await db.execute("set synchronous_commit = off")
        hasty = await found(db)
        await db.execute("set default_transaction_read_only = on")
        standby = await found(db)
        await db.close()

    assert sound["durability"].ok
    assert hasty["durability"].warning
    assert "synchronous_commit" in hasty["durability"].message
    assert "standby" in standby["server"].message
    assert not standby["server"].warning


async def test_an_index_that_is_gone(db: Connection) -> None:
    """A missing index fails, with the statement that makes it again; and that one does."""
    await db.execute("drop index bide.interactions_open")
    check = (await found(db))["indexes"]
    assert (check.ok, check.warning) == (False, False)
    assert "interactions_open" in check.message

    await db.execute((check.hint or "").partition("then: ")[2])

    assert (await found(db))["indexes"].ok


async def test_a_primary_key_that_is_gone(db: Connection) -> None:
    """A missing primary key fails, and nobody is told to make it over rows that may be double."""
    await db.execute("alter table bide.units drop constraint units_pkey")

    check = (await found(db))["indexes"]

    assert "units_pkey" in check.message
    assert "create" not in (check.hint or "")


async def test_every_index_is_known(db: Connection) -> None:
    """What migrations say is what the catalogue has: no index is made that nobody would miss."""
    texts = [text for _, text in examine.migrations()]
    there = await db.fetch("select indexname from pg_indexes where schemaname = 'bide'")

    assert {row[0] for row in there} - {"migrations_pkey"} == set(examine.expected_indexes(texts))


async def test_too_few_connections(db: Connection) -> None:
    """A server without room for one more process is warned of."""
    check = (await found(db, connections=1_000))["connections"]

    assert (check.ok, check.warning) == (False, True)


async def test_a_user_without_rights(
    db: Connection, postgres_store: str, postgres_server: PostgresServer
) -> None:
    """Tables that the user may not write are named with what is lacking."""
    user = "reader_" + postgres_store.rpartition("_")[2]
    postgres_server.execute(f"create role {user} login password '{postgres_server.password}'")
    await db.execute(f"grant usage on schema bide to {user}")
    await db.execute(f"grant select on all tables in schema bide to {user}")
    await db.execute(f"grant insert, update, delete on bide.units to {user}")
    reader = await connect(postgres_server.url(postgres_store.rpartition("/")[2], user=user))

    check = (await found(reader))["rights"]
    await reader.close()

    assert (check.ok, check.warning) == (False, False)
    assert "journal: delete, insert, update" in check.message
    assert "clock: select, update" in check.message
    assert "units:" not in check.message
    assert "migrations:" not in check.message


async def test_vacuum_that_is_switched_off(db: Connection) -> None:
    """A table that autovacuum leaves out is named."""
    await db.execute("alter table bide.units set (autovacuum_enabled = false)")

    check = (await found(db))["vacuum"]

    assert check.warning
    assert "units" in check.message


async def test_dead_rows_that_pile_up(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of which most rows are dead is named with their number."""
    monkeypatch.setattr(examine, "_DEAD_ROWS", 500)
    insert = "insert into bide.paused (pipeline, since) select n::text, 0 from generate_series(1, 1000) n"
    await db.execute(insert)
    assert (await found(db))["vacuum"].ok

    await db.execute("delete from bide.paused; select pg_stat_force_next_flush()")

    assert "paused 1,000" in (await found(db))["vacuum"].message


async def test_an_old_snapshot(
    db: Connection,
    postgres_store: str,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session that stays in a transaction is named; another user's is counted at least."""
    monkeypatch.setattr(examine, "_OLD_S", -1)
    own = await connect(postgres_store)
    await own.execute("set application_name = 'a report'; begin; select 1")
    foreign = await connect(postgres_server.url(postgres_store.rpartition("/")[2], user="postgres"))

    check = (await found(db))["snapshots"]
    await own.execute("rollback")
    after = (await found(db))["snapshots"]
    await own.close()
    await foreign.close()

    assert check.warning
    assert "a report" in check.message
    assert after.ok
    assert "pg_monitor" in after.message
