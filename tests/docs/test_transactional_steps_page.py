"""The page on transactional steps, typed in by a test: its files, its commands, what they print."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bide import App, Pipeline, Settings, Transaction
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
        if block.note.startswith("title="):
            (tmp_path / block.note.removeprefix("title=")).write_text(block.text, encoding="utf-8")
        elif block.kind == "bash":
            run_block(shell, block, expected)


def test_every_setting_that_is_named_exists() -> None:
    """The page names no setting that the code does not read."""
    named = set(re.findall(r"\bBIDE_([A-Z_]+)\b", PAGE.read_text(encoding="utf-8")))

    assert {"TRANSACTION_MAX_MS", "TRANSACTION_IDLE_MS", "LEASE_MS"} == named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


async def test_the_session_that_is_shown_writes_rows(postgres_store: str) -> None:
    """The snippet on SQLAlchemy books in the commit that ends its execution."""
    [snippet] = [block.text for block in blocks(PAGE) if block.kind == "python" and not block.note]
    names: dict[str, Any] = {"__name__": "shop"}
    exec(snippet, names)
    counting = Pipeline("counting", int).then(count)
    laying = Pipeline("laying", int).then(lay_table)
    app = App(names["bookings"], counting, laying, store=postgres_store)
    async with app.running():
        await (await app.submit(laying, 0)).result(timeout=60)

        assert await (await app.submit("bookings", 1)).result(timeout=60) == 1

        assert await (await app.submit(counting, 0)).result(timeout=60) == 1


async def lay_table(_: int, tx: Transaction) -> None:
    await tx.execute("create table bookings (number integer primary key, cents integer not null)")


async def count(_: int, tx: Transaction) -> int:
    return len(await tx.fetch("select * from bookings where cents = 2500"))
