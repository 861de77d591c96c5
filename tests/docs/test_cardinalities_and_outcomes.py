"""The page on cardinalities and outcomes: its programs run, its diagrams are the tables."""

import importlib.util
import inspect
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytest_asyncio

from bide import App, Pipeline
from bide.engine.transitions import INTERACTION, UNIT
from bide.runtime.clock import system_clock

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "cardinalities-and-outcomes.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCENES = ["review_a_batch", "check_the_documents"]


def blocks(kind: str) -> list[str]:
    """The page's blocks of one language."""
    text = PAGE.read_text(encoding="utf-8")
    return [block for language, block in FENCE.findall(text) if language == kind]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """All of the page's Python as one module, as a reader would type it in."""
    path = tmp_path_factory.mktemp("page") / "page_on_outcomes.py"
    path.write_text("\n\n".join(blocks("python")), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[path.stem]


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How far the stores' clock is ahead, in milliseconds."""
    by = [0]
    monkeypatch.setattr("bide.wiring.system_clock", lambda: system_clock() + by[0])
    return by


@pytest_asyncio.fixture
async def app(program: ModuleType, ahead: list[int]) -> AsyncIterator[App]:
    """The page's pipelines, on a store whose clock the test sets forward."""
    pipelines = [each for each in vars(program).values() if isinstance(each, Pipeline)]
    async with App(*pipelines, store="memory://").running() as running:
        yield running


async def test_every_scene_is_played(program: ModuleType) -> None:
    """No function of the page that takes the app is left out."""
    shown = [name for name, each in vars(program).items() if inspect.iscoroutinefunction(each)]

    assert shown == SCENES


@pytest.mark.parametrize("scene", SCENES)
async def test_scenes(program: ModuleType, app: App, scene: str) -> None:
    """What the page claims of its programs is so."""
    await getattr(program, scene)(app)


async def test_the_unit_deadline(program: ModuleType, app: App, ahead: list[int]) -> None:
    """What the page says of the unit's deadline is so, once the clock has gone on."""
    execution = await app.submit(program.checks_by_tonight, "first\nsecond\nthird")
    _, second, _ = await execution.parked(program.by_tonight, timeout=30)
    await app.complete(second, program.Verdict(ok=True))
    ahead[0] += 8 * 3_600_000 + 1

    expected = "0: timed-out, 1: passed, 2: timed-out"
    assert await execution.result(timeout=30) == expected
    assert expected in PAGE.read_text(encoding="utf-8")


def drawn(table: Mapping[Any, Mapping[Any, Enum]]) -> str:
    """A transition table as the page draws it."""
    arrows = [
        f"    {status.name} --> {follows.name}: {event}"
        for status, events in table.items()
        for event, follows in events.items()
    ]
    return "\n".join(["stateDiagram-v2", *arrows, ""])


def test_diagrams_are_drawn_from_the_tables() -> None:
    """The diagrams of the page show each move of the tables, and no other."""
    assert blocks("mermaid") == [drawn(UNIT), drawn(INTERACTION)]
