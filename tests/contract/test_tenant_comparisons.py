"""Every statement of the SQL stores compares the tenant, and the suite would see it missing.

Each comparison is taken out in turn, and the scenes of the wall between tenants are played on a
store that runs what is left: one of them has to fail.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import apsw.ext
import pytest

from bide.spi.clock import Clock
from bide.spi.store import Store
from bide.stores.postgres import reads, store, writer
from bide.stores.sqlite import statements as sqlite_statements
from bide.stores.sqlite.connection import open_writer
from bide.testing.clock import FakeClock
from bide.testing.store_contract import StoreFactory, tenants
from bide.testing.store_contract.harness import Driver
from tests.contract.conftest import opened, sqlite
from tests.servers.postgres import PostgresServer

#: `tenant = ` with what it is compared with: a parameter or a column.
_COMPARISON = re.compile(
    r"\+?(?:\w+\.)?tenant = (?:any \(array\[(\w+\.\w+)\]\)|(\?\d*|\$\d+|\w+\.\w+))"
)
_SCENES = [name for name in vars(tenants.TestTenantWall) if name.startswith("test_")]

_REASONS: Mapping[str, str] = {
    "by a path that the engine has named; it compares the tenant of the move with the row's": """
        current_units lock_units lock_executions read_units read_interactions read_items
        read_executions read_inputs read_answers change_executions change_units change_interactions
        new_deadlines drop_deadlines new_left_open drop_left_open read_dispatches change_dispatches
        reroute read_handoffs lock_handoffs change_handoffs
    """,
    "it inserts rows, and the tenant is one of their columns": """
        new_keys new_inputs new_executions new_units new_interactions new_facts new_correlations
        new_dead_letters new_refusals new_dispatches put_audit put_rejects put_results put_traces new_handoffs put_origins
    """,
    "workers, sweeps and retention serve all tenants": """
        due_executions renew ready_by_fingerprint to_send_by_route due_dispatches count_in_flight read_requests retire_dispatches retire_traces first_tenant next_tenant expired_early units_expired units_left_open
        open_items standing standing_due standing_parked retirable keys_page retire
        retire_executions retire_units retire_interactions retire_inputs retire_results
        retire_journal retire_rejects retire_refusals retire_dead_letters retire_correlations
        unhold_correlations retire_unowned_letters retire_unowned_refusals forget_audit
        due_handoffs to_hand_by_publication untaken_by_publication retire_handoffs retire_letters_of_handoffs
        retire_origins forget_origins
    """,
    "its table holds nothing of a user": """
        now high_water mark mark_commit last_commit forget_writers new_boundary all_boundaries
        put_worker forget_worker forget_lost_workers all_workers pause resume all_paused
    """,
}
#: Statements that compare no tenant, and why not.
EXEMPT = {name: reason for reason, names in _REASONS.items() for name in names.split()}


def _sqlite_texts() -> dict[str, str]:
    names = re.findall(r"^-- name: (\w+)", sqlite_statements.source(), re.MULTILINE)
    return {name: sqlite_statements.statement(name).text for name in names}


#: Where the PostgreSQL store looks its statements up.
_POSTGRES = (reads.READS, writer.LOCKS, store._UPKEEP, writer._WRITES.texts)


def _postgres_texts() -> dict[str, str]:
    return {name: text for texts in _POSTGRES for name, text in texts.items()}


def _comparisons(texts: Mapping[str, str]) -> list[tuple[str, int]]:
    """Each comparison by its statement's name and its place in it."""
    return [
        (name, place)
        for name, text in texts.items()
        for place in range(len(_COMPARISON.findall(text)))
    ]


def _without(text: str, place: int) -> str:
    """The statement without that comparison; what it compared with stays, so that nothing shifts."""
    match = list(_COMPARISON.finditer(text))[place]
    other = match[1] or match[2]
    typed = f"{other}::text" if other.startswith("$") else other
    return f"{text[: match.start()]}({typed} is not null or true){text[match.end() :]}"


async def _first_to_fail(factory: StoreFactory) -> str | None:
    """The scene of the wall that fails, if one does."""
    for scene in _SCENES:
        clock = FakeClock()
        try:
            async with factory.fresh(clock) as made:
                await getattr(tenants.TestTenantWall(), scene)(Driver(made, clock, factory))
        except Exception:
            return scene
    return None


@pytest.mark.parametrize("texts", [_sqlite_texts(), _postgres_texts()], ids=["sqlite", "postgres"])
def test_what_compares_no_tenant_has_a_reason(texts: Mapping[str, str]) -> None:
    """A statement compares the tenant or is named above with the reason, and none is both."""
    compared = {name for name, _ in _comparisons(texts)}

    assert texts.keys() - compared - EXEMPT.keys() == set()
    assert compared & EXEMPT.keys() == set()


def test_what_is_excused_is_there() -> None:
    """No reason outlives its statement."""
    assert EXEMPT.keys() - _sqlite_texts().keys() - _postgres_texts().keys() == set()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place"), _comparisons(_sqlite_texts()))
async def test_of_sqlite(
    name: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its comparison the statement is still a statement, and a scene of the wall fails."""
    text = sqlite_statements.statement(name).text
    whole = sqlite_statements.source()
    changed = whole.replace(text, _without(text, place))
    assert whole.count(text) == 1
    monkeypatch.setattr(sqlite_statements, "source", lambda: changed)
    sqlite_statements.statement.cache_clear()

    try:
        tables = open_writer(str(tmp_path / "tables.db"))
        apsw.ext.query_info(tables, sqlite_statements.statement(name).over(1))
        failed = await _first_to_fail(sqlite(tmp_path))
    finally:
        sqlite_statements.statement.cache_clear()

    assert failed is not None


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place"), _comparisons(_postgres_texts()))
async def test_of_postgres(
    name: str,
    place: int,
    postgres_server: PostgresServer,
    postgres_template: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without its comparison the statement is still a statement, and a scene of the wall fails."""
    [texts] = [texts for texts in _POSTGRES if name in texts]
    monkeypatch.setitem(texts, name, _without(texts[name], place))  # type: ignore[arg-type]  # a mapping that nobody else changes
    writer._WRITES.combined.cache_clear()

    @asynccontextmanager
    async def fresh(clock: Clock) -> AsyncIterator[Store]:
        with postgres_server.database(template=postgres_template) as url:
            async with opened(store.PostgresStore(url, clock)) as made:
                yield made

    try:
        prepared = writer._WRITES.combined((name,)) if texts is _POSTGRES[-1] else texts[name]
        url = postgres_server.url(postgres_template)
        postgres_server.execute(f"prepare changed as {prepared}", url=url)
        failed = await _first_to_fail(StoreFactory(name="postgres", fresh=fresh))
    finally:
        writer._WRITES.combined.cache_clear()

    assert failed is not None
