"""The stores that every property is tried on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bide import App
from tests.integration.support import Gate, quick


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bide.db"


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A store that several apps share."""
    return f"sqlite:///{tmp_path}/bide.db"


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
