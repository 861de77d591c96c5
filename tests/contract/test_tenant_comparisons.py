"""Every statement of the SQL stores compares the tenant, and the suite would see it missing.

Each comparison is taken out in turn, and the scenes of the wall between tenants are played on a
store that runs what is left: one of them has to fail.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import apsw.ext
import pytest

from bide.stores.sqlite import statements as sqlite_statements
from bide.stores.sqlite.connection import open_writer
from bide.testing.clock import FakeClock
from bide.testing.store_contract import StoreFactory, tenants
from bide.testing.store_contract.harness import Driver
from tests.contract.conftest import sqlite

#: `tenant = ` with what it is compared with: a parameter or a column.
_COMPARISON = re.compile(r"\+?(?:\w+\.)?tenant = (\?\d*|\$\d+|\w+\.\w+)")
_SCENES = [name for name in vars(tenants.TestTenantWall) if name.startswith("test_")]

_BY_PATH = "by a path that the engine has named; it compares the tenant of the move with the row's"
_OF_NOBODY = "its table holds nothing of a user"
_WHOLE_ROWS = "it inserts rows, and the tenant is one of their columns"
_UPKEEP = "workers and sweeps serve all tenants"

#: Statements that compare no tenant, and why not.
EXEMPT: Mapping[str, str] = {
    "high_water": _OF_NOBODY,
    "mark_commit": _OF_NOBODY,
    "last_commit": _OF_NOBODY,
    "forget_writers": _OF_NOBODY,
    "read_units": _BY_PATH,
    "read_interactions": _BY_PATH,
    "read_items": _BY_PATH,
    "read_executions": _BY_PATH,
    "read_inputs": _BY_PATH,
    "read_answers": _BY_PATH,
    "change_executions": _BY_PATH,
    "change_units": _BY_PATH,
    "change_interactions": _BY_PATH,
    "new_keys": _WHOLE_ROWS,
    "new_inputs": _WHOLE_ROWS,
    "new_executions": _WHOLE_ROWS,
    "new_units": _WHOLE_ROWS,
    "new_interactions": _WHOLE_ROWS,
    "new_facts": _WHOLE_ROWS,
    "new_correlations": _WHOLE_ROWS,
    "new_dead_letters": _WHOLE_ROWS,
    "new_refusals": _WHOLE_ROWS,
    "put_rejects": _WHOLE_ROWS,
    "put_results": _WHOLE_ROWS,
    "due_executions": _UPKEEP,
    "renew": _UPKEEP,
    "expired_early": _UPKEEP,
    "new_boundary": _OF_NOBODY,
    "put_worker": _OF_NOBODY,
    "forget_worker": _OF_NOBODY,
    "forget_lost_workers": _OF_NOBODY,
    "pause": _OF_NOBODY,
    "resume": _OF_NOBODY,
    "all_boundaries": _OF_NOBODY,
    "all_workers": _OF_NOBODY,
    "all_paused": _OF_NOBODY,
    "standing_due": _UPKEEP,
    "standing_parked": _UPKEEP,
    "first_tenant": _UPKEEP,
    "next_tenant": _UPKEEP,
    "units_left_open": _UPKEEP,
    "open_items": _UPKEEP,
    "units_expired": _UPKEEP,
    "retirable": _UPKEEP,
    "keys_page": _UPKEEP,
    "retire_unowned_letters": _UPKEEP,
    "retire_unowned_refusals": _UPKEEP,
    "retire_correlations": _UPKEEP,
    "unhold_correlations": _UPKEEP,
    "retire_results": _UPKEEP,
    "retire_rejects": _UPKEEP,
    "retire_refusals": _UPKEEP,
    "retire_interactions": _UPKEEP,
    "retire_units": _UPKEEP,
    "retire_journal": _UPKEEP,
    "retire_dead_letters": _UPKEEP,
    "retire_inputs": _UPKEEP,
    "retire_executions": _UPKEEP,
}


def _sqlite_texts() -> dict[str, str]:
    names = re.findall(r"^-- name: (\w+)", sqlite_statements.source(), re.MULTILINE)
    return {name: sqlite_statements.statement(name).text for name in names}


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
    typed = f"{match[1]}::text" if match[1].startswith("$") else match[1]
    return f"{text[: match.start()]}({typed} is not null or true){text[match.end() :]}"


async def _first_to_fail(factory: StoreFactory) -> str | None:
    """The scene of the wall that fails, if one does."""
    for scene in _SCENES:
        clock = FakeClock()
        try:
            async with factory.fresh(clock) as store:
                await getattr(tenants.TestTenantWall(), scene)(Driver(store, clock, factory))
        except Exception:
            return scene
    return None


def test_what_compares_no_tenant_has_a_reason() -> None:
    """A statement compares the tenant or is named above with the reason, and none is both."""
    compared = {name for name, _ in _comparisons(_sqlite_texts())}

    assert compared | EXEMPT.keys() == _sqlite_texts().keys()
    assert compared & EXEMPT.keys() == set()


@pytest.mark.parametrize(("name", "place"), _comparisons(_sqlite_texts()))
async def test_of_sqlite(
    name: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its comparison the statement is still a statement, and a scene of the wall fails."""
    text = sqlite_statements.statement(name).text
    changed = _without(text, place)
    whole = sqlite_statements.source()
    assert whole.count(text) == 1
    monkeypatch.setattr(sqlite_statements, "source", lambda: whole.replace(text, changed))
    sqlite_statements.statement.cache_clear()

    try:
        apsw.ext.query_info(
            open_writer(str(tmp_path / "tables.db")), sqlite_statements.statement(name).over(1)
        )
        failed = await _first_to_fail(sqlite(tmp_path))
    finally:
        sqlite_statements.statement.cache_clear()

    assert failed is not None
