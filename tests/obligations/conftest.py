"""Which tests cover which obligations, as collected; and the stores that they run on."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from bide.testing.store_contract import StoreFactory
from tests.contract.conftest import memory, postgres, sqlite
from tests.obligations.registry import STORES, Mode, Shape
from tests.obligations.world import Rows

#: (obligation, function, shape, mode, store)
Cover = tuple[str, str, Shape, Mode, str]
COVERS = pytest.StashKey[set[Cover]]()
FILES = pytest.StashKey[set[str]]()

_FOLDER = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember what was collected, before anything is deselected."""
    ours = [item for item in items if item.path.parent == _FOLDER]
    config.stash[FILES] = {item.path.name for item in ours}
    config.stash[COVERS] = set(_covers(ours))


def _covers(items: Iterable[pytest.Item]) -> Iterable[Cover]:
    for item in items:
        for marker in item.iter_markers("covers"):
            assert isinstance(item, pytest.Function)
            test = f"{item.path.name}::{item.originalname}"
            given = item.callspec.params
            yield marker.args[0], test, given["shape"], given["mode"], given["store"]


@pytest.fixture
def rows(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> Rows:
    if store == "postgres":
        return Rows(store, request.getfixturevalue("postgres_tables"))
    return Rows(store, str(tmp_path / "bide.db"))


@pytest.fixture
def store_factory(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> StoreFactory:
    if store == "postgres":
        return postgres(request.getfixturevalue("postgres_tables"))
    return memory() if store == "memory" else sqlite(tmp_path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that covers an obligation runs in all of its shapes and modes, on every store."""
    from tests.obligations.registry import OBLIGATIONS

    by_name = {each.name: each for each in OBLIGATIONS}
    for marker in metafunc.definition.iter_markers("covers"):
        declared = by_name.get(marker.args[0])
        shapes = sorted(declared.shapes if declared else Shape)
        modes = sorted(declared.modes if declared else Mode)
        metafunc.parametrize("shape", shapes)
        metafunc.parametrize("mode", modes)
        metafunc.parametrize("store", STORES)
