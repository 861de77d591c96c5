"""Tables cut into partitions by time: the statements need not be told.

An id begins with its time, and every table of an execution is keyed by the id first; so a partition
by ranges of ids is one by time. `docs/explanation/scaling.md` says when that is worth it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
import pytest

from bide.model.ids import compose_execution_id
from bide.spi.clock import Clock
from bide.spi.store import Store
from bide.stores.postgres.store import PostgresStore
from bide.testing.clock import FakeClock
from bide.testing.store_contract import (
    StoreFactory,
    TestAdmit,
    TestClaim,
    TestDispatch,
    TestPark,
    TestPending,
    TestStream,
    TestTenantWall,
    TestUpkeep,
    driver,
)
from tests.contract.conftest import opened
from tests.postgres.test_plans import PLANS, Planner, fill, nodes, statement
from tests.servers.postgres import PostgresServer

__all__ = [
    "TestAdmit", "TestClaim", "TestDispatch", "TestPark", "TestPending", "TestStream", "TestTenantWall",
    "TestUpkeep", "driver",
]  # fmt: skip

pytestmark = pytest.mark.slow

#: What is an execution's, by the column that holds its id; a publication has an id of that kind itself.
_TABLES = {
    "executions": "id",
    "inputs": "execution",
    "units": "execution",
    "interactions": "execution",
    "dispatches": "execution",
    "results": "execution",
    "journal": "execution",
    "rejects": "execution",
    "refusals": "execution",
    "traces": "execution",
    "handoffs": "id",
    "origins": "execution",
}
#: In the middle of the ids of a test, so that most tests have rows on both sides.
_BETWEEN = UUID(bytes=compose_execution_id(FakeClock()(), 3, 0))
_CUT = """
create table bide.cut (like bide.{table} including all) partition by range ({key});
drop table bide.{table};
alter table bide.cut rename to {table};
create table bide.{table}_old partition of bide.{table} for values from (minvalue) to ('{between}');
create table bide.{table}_new partition of bide.{table} for values from ('{between}') to (maxvalue)
"""


@pytest.fixture(scope="module")
def partitioned(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The name of a database whose tables are cut in two, to be copied."""
    with postgres_server.database(template=postgres_template) as url:
        with psycopg.connect(url, autocommit=True) as db:
            for table, key in _TABLES.items():
                db.execute(_CUT.format(table=table, key=key, between=_BETWEEN).encode())
        yield url.rpartition("/")[2]


@pytest.fixture
def store_factory(postgres_server: PostgresServer, partitioned: str) -> StoreFactory:
    """Each test on a copy of it."""

    @asynccontextmanager
    async def fresh(clock: Clock) -> AsyncIterator[Store]:
        with postgres_server.database(template=partitioned) as url:
            async with opened(PostgresStore(url, clock)) as store:
                yield store

    return StoreFactory(
        name="postgres, partitioned",
        fresh=fresh,
        another=lambda store, clock: opened(PostgresStore(store._url, clock)),  # type: ignore[attr-defined]  # the factory gets back what it made
    )


@pytest.mark.parametrize("name", ["lock_executions", "executions_by_id"])
def test_a_key_is_looked_for_where_it_is(
    postgres_server: PostgresServer, partitioned: str, name: str
) -> None:
    """Of the partitions only the key's own is looked into."""
    with (
        postgres_server.database(template=partitioned) as url,
        psycopg.connect(url, autocommit=True) as db,
    ):
        db.execute(fill(100).encode())  # all of it before the cut
        db.execute(f"set {'; set '.join(PLANS)}".encode())
        ids = [id_ for (id_,) in db.execute("select id from bide.executions limit 10")]
        values = (ids, None) if name == "lock_executions" else ("default", ids)
        plan = Planner(db).plan(statement(name).text, *values)

    looks = {
        node["Relation Name"]: node["Actual Loops"]
        for node, _ in nodes(plan)
        if node.get("Relation Name", "").startswith("executions_")
    }
    assert looks == {"executions_old": 10, "executions_new": 0}


def test_the_tables_are_all_that_an_execution_has(
    postgres_server: PostgresServer, postgres_template: str
) -> None:
    """What is keyed by an execution first is cut, and nothing of it was forgotten."""
    keyed = """
    select c.relname, a.attname from pg_index i
    join pg_class c on c.oid = i.indrelid and c.relnamespace = 'bide'::regnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
    where i.indisprimary and a.atttypid = 'uuid'::regtype
    """
    # Narrow tables that are empty but for what a sweep has yet to look at, letters, of which some
    # are of no execution, and the audit, which outlives them all.
    small = {"units_left_open", "dead_letters", "audit"}

    found = dict(postgres_server.execute(keyed, url=postgres_server.url(postgres_template)))

    assert {table: key for table, key in found.items() if table not in small} == _TABLES
