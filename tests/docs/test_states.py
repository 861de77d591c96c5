"""The state diagrams are what the transition tables say."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from bide.engine.transitions import EXECUTION, INTERACTION, UNIT

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def diagrams() -> ModuleType:
    """The script that draws them."""
    spec = importlib.util.spec_from_file_location("diagrams", ROOT / "scripts" / "diagrams.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_tables_say(diagrams: ModuleType) -> None:
    """`python scripts/diagrams.py --check` passes."""
    assert diagrams.main(["--check"]) == 0


def test_every_transition_is_drawn(diagrams: ModuleType) -> None:
    """No row of a table is left out, and nothing is drawn that is in none."""
    drawn = {
        (before, event, after)
        for before, after, events in re.findall(r"(\w+) --> (\w+): (.*)", diagrams.page())
        for event in events.split(", ")
    }

    assert drawn == {
        (status.name, event.value, after.name)
        for table in (EXECUTION, UNIT, INTERACTION)
        for status, events in table.items()
        for event, after in events.items()
    }


def test_a_page_that_is_behind_fails_the_check(
    diagrams: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing or an old page is found, and writing it again repairs it."""
    monkeypatch.setattr(diagrams, "PAGE", tmp_path / "reference" / "states.md")

    assert diagrams.main(["--check"]) == 1
    assert diagrams.main([]) == 0
    assert diagrams.main(["--check"]) == 0
