"""The stores that every property is tried on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bide import App
from tests.integration.support import Gate, quick


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else _shared(request, tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that several apps share."""
    return _shared(request, tmp_path)


def _shared(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder}/bide.db"
    return str(request.getfixturevalue("postgres_tables"))


@pytest.fixture
def app_of(store: str) -> Callable[..., App]:
    """Make an app on a store of the test's own; keywords are settings."""

    def make(*pipelines: Any, resources: Any = (), **settings: Any) -> App:
        return App(*pipelines, store=store, resources=resources, settings=quick(**settings))

    return make


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is open at the end, so that no thread is left behind it."""
    made = Gate()
    yield made
    made.open()
