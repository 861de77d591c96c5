"""No hot statement scans a table, whatever is in it and whatever the planner knows of it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from bide.stores.postgres.connection import PLANS
from bide.stores.postgres.statements import Batches, load
from tests.servers.postgres import PostgresServer

Plan = dict[str, Any]

#: Tables that grow with what waits, runs or has ended.
HOT = frozenset(
    [
        "executions",
        "inputs",
        "submit_keys",
        "units",
        "interactions",
        "results",
        "journal",
        "correlations",
        "refusals",
    ]
)
_WHOLE = "people ask for it now and then, and it counts or lists everything"
_PAGES = "upkeep goes through the whole table, a page of its primary key a call"

#: Statements that may scan, and why.
COLD: Mapping[str, str] = {
    "held_page": _WHOLE,
    "count_receipts": _WHOLE,
    "count_by_status": _WHOLE,
    "standing": _WHOLE,
    "dead_letters_page": _WHOLE,
    "rejects_page": _WHOLE,
    "retirable": _PAGES,
    "keys_page": _PAGES,
}
_ROWS = 20_000
_KEYS = 20
_FILL = """
insert into bide.executions (
    id, tenant, pipeline, status, version, fingerprint, step_index, attempt, takeovers, fence,
    due_at, units, resumed, created_at, updated_at)
select id, 'default', 'orders', case when due then 1 else 3 end, 2, 'start', 1, 0, 0, 1,
    case when due then n end, 1, 0, n, n
from made;
"""


def fill(rows: int) -> str:
    """Executions that wait at their await, one in a hundred due instead, and all that is theirs."""
    return f"""
    create temporary table made as
    select ('01970000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid as id,
        n, n % 100 = 0 as due
    from generate_series(1, {rows}) n;
    {_FILL}
    insert into bide.inputs select id, '\\x7b7d' from made;
    insert into bide.submit_keys (execution, created_at, tenant, pipeline, key, digest)
    select id, n, 'default', 'orders', 'key-' || n, '\\x00' from made;
    insert into bide.units (
        execution, number, tenant, step_id, step_index, status, per_item, appended, total, settled,
        created_at, updated_at, fingerprint, has_fallback, missing)
    select id, 1, 'default', 'decide', 1, 1, false, 1, 1, 0, n, n, 'after', false, 0 from made;
    insert into bide.interactions (
        execution, unit, item, generation, tenant, step_id, status, deadline_at, created_at,
        updated_at, request, duplicates, refusals, correlation)
    select id, 1, 0, 0, 'default', 'decide', 3, n, n, n, '\\x7b7d', 0, 0, 'key-' || n from made;
    insert into bide.journal (execution, version, kind, at) select id, 1, 1, n from made;
    insert into bide.correlations (
        tenant, key, scope, version, execution, unit, item, generation, duplicates, refusals)
    select 'default', 'key-' || n, 'orders/decide', 1, id, 1, 0, 0, 0, 0 from made;
    drop table made
    """


_GROW = f"truncate {', '.join(f'bide.{table}' for table in sorted(HOT))}; {fill(_ROWS)}"

#: What the tables hold, and what the planner was told of them.
STATES: Mapping[str, tuple[str, ...]] = {
    "empty": (),
    "tiny": (fill(1), "vacuum analyze"),
    "fresh": (fill(_ROWS),),
    "outgrown": (fill(1), "vacuum analyze", _GROW),
    "large": (fill(_ROWS), "vacuum analyze"),
}


#: What would have it start processes for tables as small as these.
_TEMPTING = """
set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
set min_parallel_table_scan_size = 0; set min_parallel_index_scan_size = 0
"""


class Statement(NamedTuple):
    """A statement of the store, and where it stands."""

    name: str
    text: str


def _statements() -> list[Statement]:
    batches = Batches("writes.sql")
    texts = [*(load(file) for file in ("reads.sql", "locks.sql", "upkeep.sql"))]
    texts.append({name: batches.combined((name,)) for name in batches.names})
    return [Statement(*pair) for each in texts for pair in each.items()]


def statement(name: str) -> Statement:
    """The statement of that name."""
    return next(each for each in _statements() if each.name == name)


class Planner:
    """A session as the store's are, in a database whose tables are in one of the states."""

    def __init__(self, db: psycopg.Connection[Any]) -> None:
        self._db = db
        self._made = 0

    def plan(self, text: str, *values: object) -> Plan:
        """The plan that the store runs; with values it is run, and what was touched is counted."""
        self._made += 1
        name = sql.Identifier(f"p{self._made}")
        self._db.execute(sql.SQL("prepare {} as ").format(name) + sql.SQL(text))  # type: ignore[arg-type]  # a text of the store's own
        found = self._db.execute(
            "select cardinality(parameter_types) from pg_prepared_statements where name = %s",
            [f"p{self._made}"],
        ).fetchone()
        assert found is not None
        given = [sql.Literal(value) for value in values] or [sql.NULL] * found[0]
        called = sql.SQL("({})").format(sql.SQL(", ").join(given)) if given else sql.SQL("")
        how = sql.SQL("explain (format json, analyze {}) execute ")
        words = how.format(sql.Literal(bool(values))) + name + called
        [[[explained]]] = self._db.execute(words).fetchall()
        plan: Plan = explained["Plan"]
        return plan


def nodes(plan: Plan) -> Iterator[tuple[Plan, Plan | None]]:
    """Every node of a plan, with the one above it."""
    pending: list[tuple[Plan, Plan | None]] = [(plan, None)]
    while pending:
        node, above = pending.pop()
        yield node, above
        pending += [(below, node) for below in node.get("Plans", ())]


def scans(plan: Plan) -> list[str]:
    """Where a plan goes through a hot table, or a whole index of it, instead of looking keys up, or
    starts other processes.
    """
    found: list[str] = []
    for node, above in nodes(plan):
        if node["Node Type"].startswith("Gather"):
            found.append(node["Node Type"])
        if node.get("Relation Name") not in HOT or not node["Node Type"].endswith("Scan"):
            continue
        # The first entry of an index is a look-up as well.
        first = above is not None and above["Node Type"] == "Limit" and above["Plan Rows"] == 1
        by_key = any(key in node for key in ("Index Cond", "TID Cond", "Recheck Cond")) or first
        if node["Node Type"] == "Seq Scan" or not by_key:
            found.append(f"{node['Node Type']} on {node['Relation Name']}")
    return found


def touched(plan: Plan) -> int:
    """How many rows a plan that was run has read from tables."""
    return sum(
        node["Actual Loops"]
        * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
           + node.get("Rows Removed by Index Recheck", 0))
        for node, _ in nodes(plan)
        if "Relation Name" in node and node["Node Type"].endswith("Scan")
    )  # fmt: skip


@pytest.fixture(scope="module", params=STATES)
def planner(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, postgres_template: str
) -> Iterator[Planner]:
    """Tables in one of the states, and the server's own `random_page_cost`."""
    with (
        postgres_server.database(template=postgres_template) as url,
        psycopg.connect(url, autocommit=True) as db,
    ):
        for table in HOT:  # or the server would look at the tables in the middle of the test
            db.execute(f"alter table bide.{table} set (autovacuum_enabled = off)".encode())
        for statement in STATES[request.param]:
            db.execute(statement.encode())
        assert db.execute("show random_page_cost").fetchone() == ("4",)
        db.execute(_TEMPTING.encode())
        db.execute(f"set {'; set '.join(PLANS)}".encode())
        yield Planner(db)


@pytest.mark.parametrize("hot", _statements(), ids=lambda statement: statement.name)
def test_no_hot_statement_scans(planner: Planner, hot: Statement) -> None:
    """Every row of a hot table is found by an index, with empty, new, outgrown and large tables."""
    if hot.name in COLD:
        return

    assert scans(planner.plan(hot.text)) == []


@pytest.mark.parametrize(
    "planted",
    [
        "select * from bide.executions e where e.owner = $1",
        "select * from bide.units u where u.step_id = $1 order by u.execution, u.number",
        "select e.* from unnest($1::text[]) w (id) join bide.executions e on e.id::text = w.id",
        "update bide.interactions i set actor = $1 where i.actor = $2",
    ],
)
def test_a_statement_that_scans_is_seen(planner: Planner, planted: str) -> None:
    """What this module looks for is found where it is, even where scans are switched off."""
    assert scans(planner.plan(planted)) != []


_IDS = [UUID(f"01970000-0000-7000-8000-{n:012x}") for n in range(1_001, 1_001 + _KEYS)]
_ONES, _ZEROS = [1] * _KEYS, [0] * _KEYS
_NAMES = [f"key-{n}" for n in range(_KEYS)]
_MANY: Mapping[str, tuple[object, ...]] = {
    "executions_by_id": ("default", _IDS),
    "executions_page": ("default", None, None, None, _KEYS),
    "interactions_by_id": ("default", _IDS, _ONES, _ZEROS, _ZEROS),
    "correlated": ("default", _NAMES),
    "pending": ("default", None, None, None, _KEYS),
    "pending_of_execution": ("default", None, None, None, _KEYS, _IDS[0]),
    "answers_page": ("default", _IDS[0], 1, 0, _KEYS),
    "items_page": ("default", _IDS[0], 1, -1, 0, _KEYS),
    "journal_of": ("default", _IDS[0], 0),
    "lock_correlations": ([("default", name, "orders/decide") for name in _NAMES],),
    "read_keys": ([("default", "orders", name) for name in _NAMES],),
    "current_units": (_IDS,),
    "lock_units": ([(id_, 1) for id_ in _IDS],),
    "read_interactions": ([(id_, 1, 0, 0) for id_ in _IDS],),
    "read_items": ([(id_, 1, 0, 10) for id_ in _IDS],),
    "lock_executions": (_IDS, None),
    "read_inputs": (_IDS,),
    "read_answers": ([(id_, 1) for id_ in _IDS],),
    "claim_due": (["start", "after"], _ROWS, _KEYS),
    "expired": (_ROWS, _KEYS),
}


@pytest.mark.parametrize("name", _MANY)
def test_what_is_read_is_what_was_asked_for(planner: Planner, name: str) -> None:
    """Twenty keys, or a page of twenty, cost a few rows each, however many rows there are."""
    assert touched(planner.plan(statement(name).text, *_MANY[name])) <= 5 * _KEYS


def test_what_is_cold_is_there() -> None:
    """Only statements that are there are excused."""
    assert {statement.name for statement in _statements()} >= COLD.keys()
