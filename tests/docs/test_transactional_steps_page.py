"""The page on transactional steps, typed in by a test: its files, its commands, what they print."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bide import Settings
from tests.docs.test_tutorial import Shell, blocks, run_block
from tests.processes import ROOT, free_port

PAGE = ROOT / "docs" / "how-to" / "transactional-steps.md"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(tmp_path, free_port())
    yield opened
    opened.close()


@pytest.mark.process
@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path: Path, shell: Shell) -> None:
    """Its program runs, and its commands print what the page shows."""
    todo = blocks(PAGE)
    assert [block.kind for block in todo].count("text") == 1
    for number, block in enumerate(todo):
        follows = todo[number + 1] if number + 1 < len(todo) else None
        expected = follows if follows is not None and follows.kind == "text" else None
        if block.kind in {"python", "sql"}:
            (tmp_path / block.note.removeprefix("title=")).write_text(block.text, encoding="utf-8")
        elif block.kind == "bash":
            run_block(shell, block, expected)


def test_every_setting_that_is_named_exists() -> None:
    """The page names no setting that the code does not read."""
    named = set(re.findall(r"\bBIDE_([A-Z_]+)\b", PAGE.read_text(encoding="utf-8")))

    assert {"TRANSACTION_MAX_MS", "TRANSACTION_IDLE_MS", "LEASE_MS"} == named
    assert {name.lower() for name in named} <= set(Settings.model_fields)
