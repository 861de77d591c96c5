"""The contract of transactions over the stores that have SQL."""

from pathlib import Path

import pytest

from bide.testing.store_contract import (  # noqa: F401 - the suite is written to be imported so
    StoreFactory,
    driver,
    pytestmark,
)
from bide.testing.store_contract.transactions import *  # noqa: F403 - as the suite is
from tests.contract.conftest import postgres, sqlite


@pytest.fixture(params=["sqlite", "postgres"])
def store_factory(request: pytest.FixtureRequest, tmp_path: Path) -> StoreFactory:
    if request.param == "sqlite":
        return sqlite(tmp_path)
    return postgres(request.getfixturevalue("postgres_tables"))
