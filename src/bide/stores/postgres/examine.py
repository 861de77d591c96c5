"""What `bide doctor` looks for on a server: questions to the catalogue, and what answers mean.

Nothing is changed and nothing is locked. Each finding says what it does to pipelines and what to do
about it, since whoever reads it may not be whoever runs the database.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from bide.spi.store import Check
from bide.stores.postgres.connection import Connection, migrations
from bide.stores.postgres.statements import load

#: The oldest release that the suite was run on.
_OLDEST = 150_000
#: A snapshot older than this keeps many dead rows of every hot table from being removed.
_OLD_S = 300
#: Dead rows that are worth a word, and the share of all rows that they have to be as well.
_DEAD_ROWS = 100_000
_DEAD_SHARE = 0.5

_TABLE = re.compile(r"create table bide\.(\w+) \((.*?)\n\)", re.DOTALL)
_INDEX = re.compile(r"create (?:unique )?index (\w+) on .*?;", re.DOTALL)
_DROPPED = re.compile(r"drop (?:table|index) bide\.(\w+)")


class Server(NamedTuple):
    """What the statement `server` gives."""

    number: int
    version: str
    is_read_only: bool
    is_durable: bool
    commits_wait: bool
    vacuums: bool
    #: Connections that ordinary users may have, and how many there are.
    connections_max: int
    connections: int


class Table(NamedTuple):
    """What the statement `tables` gives."""

    name: str
    live: int
    dead: int
    is_left_out: bool


async def examine(db: Connection, connections: int) -> list[Check]:
    """Look at the server and at the store's tables.

    Args:
        db: a connection outside any transaction.
        connections: how many one process of ours opens.
    """
    asks = load("examine.sql")
    row = await db.fetchrow(asks["server"])
    assert row is not None
    server = Server(*row)
    tables = [Table(*row) for row in await db.fetch(asks["tables"])]
    old = [(row[0], row[1]) for row in await db.fetch(asks["old_transactions"]) if row[1] > _OLD_S]
    indexes = expected_indexes(text for _, text in migrations())
    return [
        *_of_server(server),
        _of_connections(server, connections),
        _of_rights(await _column(db, asks["lacking_rights"])),
        _of_indexes(indexes, await _column(db, asks["valid_indexes"])),
        _of_vacuum(server.vacuums, tables),
        _of_snapshots(
            old, await _column(db, asks["idle_slots"]), await db.fetchval(asks["hidden_sessions"])
        ),
    ]


async def _column(db: Connection, query: str) -> list[str]:
    return [row[0] for row in await db.fetch(query)]


def expected_indexes(texts: Iterable[str]) -> dict[str, str]:
    """The indexes that migrations leave behind, each with the statement that makes it again.

    A primary key has none: a table that lost it holds rows twice, and nobody may guess which to keep.
    """
    indexes: dict[str, str] = {}
    for text in texts:
        for table, columns in _TABLE.findall(text):
            if "primary key" in columns:
                indexes[f"{table}_pkey"] = ""
        indexes |= {match[1]: " ".join(match[0].split()) for match in _INDEX.finditer(text)}
        for name in _DROPPED.findall(text):
            indexes.pop(name, None)
            indexes.pop(f"{name}_pkey", None)
    return indexes


# --- what answers mean --------------------------------------------------------------------------


def _of_server(server: Server) -> list[Check]:
    version = Check("server", ok=True, message=f"PostgreSQL {server.version}")
    if server.number < _OLDEST:
        version = Check(
            "server", ok=False, message=f"PostgreSQL {server.version} was never tried",
            hint=f"upgrade it to {_OLDEST // 10_000} or newer",
        )  # fmt: skip
    if server.is_read_only:
        version = Check(
            "server", ok=False, message="the server takes no writes: it is a standby, or set so",
            hint="name the primary; several hosts: ?target_session_attrs=read-write",
        )  # fmt: skip
    if not server.is_durable:
        durable = Check(
            "durability", ok=False, warning=True,
            message="fsync or full_page_writes is off: a power cut may cost the whole database",
            hint="switch both on; shared commits make them cheap",
        )  # fmt: skip
    elif not server.commits_wait:
        durable = Check(
            "durability", ok=False, warning=True,
            message="synchronous_commit is off: a crash of the server forgets what was acknowledged",
            hint="alter role ... set synchronous_commit = on; shared commits make it cheap",
        )  # fmt: skip
    else:
        durable = Check("durability", ok=True, message="what is acknowledged is on disk")
    return [version, durable]


def _of_connections(server: Server, ours: int) -> Check:
    free = server.connections_max - server.connections
    counted = f"{server.connections} of {server.connections_max} connections are taken"
    if free >= ours:
        return Check("connections", ok=True, message=f"{counted}; a process of ours takes {ours}")
    return Check(
        "connections", ok=False, warning=True,
        message=f"{counted}, and one more process of ours would take {ours}",
        hint="raise max_connections, or put PgBouncer in between (transaction mode will do)",
    )  # fmt: skip


def _of_rights(lacking: Sequence[str]) -> Check:
    if not lacking:
        return Check("rights", ok=True, message="this user may read and write every table")
    return Check(
        "rights", ok=False, message=f"this user lacks rights: {'; '.join(lacking)}",
        hint="grant select, insert, update, delete on all tables in schema bide to USER, and"
        " select, update on all sequences",
    )  # fmt: skip


def _of_indexes(expected: Mapping[str, str], valid: Collection[str]) -> Check:
    missing = [name for name in expected if name not in valid]
    if not missing:
        return Check("indexes", ok=True, message=f"all {len(expected)} are there and valid")
    again = " ".join(expected[name] or f"restore {name} from a backup;" for name in missing)
    return Check(
        "indexes", ok=False, message=f"missing or invalid, so that reads scan: {', '.join(missing)}",
        hint=f"drop what is left of them, then: {again}",
    )  # fmt: skip


def _of_vacuum(vacuums: bool, tables: Sequence[Table]) -> Check:
    left_out = [table.name for table in tables if table.is_left_out]
    if not vacuums or left_out:
        what = "autovacuum or track_counts is off"
        if vacuums:
            what = f"autovacuum is switched off for {', '.join(left_out)}"
        return Check(
            "vacuum", ok=False, warning=True, message=f"{what}: dead rows slow every claim down",
            hint="switch it on; each commit leaves rows to be removed",
        )  # fmt: skip
    heavy = [
        f"{table.name} {table.dead:,}"
        for table in tables
        if table.dead >= _DEAD_ROWS and table.dead >= _DEAD_SHARE * (table.live + table.dead)
    ]
    if not heavy:
        return Check("vacuum", ok=True, message="autovacuum keeps up")
    return Check(
        "vacuum", ok=False, warning=True, message=f"dead rows pile up: {', '.join(heavy)}",
        hint="look for an old snapshot first; else give autovacuum more: autovacuum_max_workers,"
        " autovacuum_vacuum_cost_limit",
    )  # fmt: skip


def _of_snapshots(old: Sequence[tuple[str, int]], slots: Sequence[str], hidden: int) -> Check:
    unseen = f"; {hidden} sessions of other users show it to pg_monitor alone" if hidden else ""
    if not old and not slots:
        message = f"no transaction is older than {_OLD_S // 60} minutes{unseen}"
        return Check("snapshots", ok=True, message=message)
    held = [f"{who} is in a transaction for {age:,} s" for who, age in old[:3]]
    held += [f"replication slot {slot} is read by nobody" for slot in slots[:3]]
    return Check(
        "snapshots", ok=False, warning=True,
        message=f"dead rows cannot be removed: {'; '.join(held)}{unseen}",
        hint="end them (pg_terminate_backend, rollback prepared, pg_drop_replication_slot), and"
        " think of idle_in_transaction_session_timeout",
    )  # fmt: skip
