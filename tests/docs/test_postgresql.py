"""The move to PostgreSQL, typed in by a test: every statement, every command, what they print."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_tutorial import Shell, blocks, run_block
from tests.processes import ROOT, free_port
from tests.servers.postgres import PostgresServer

PAGE = ROOT / "docs" / "how-to" / "postgresql.md"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(tmp_path, free_port())
    yield opened
    opened.close()


@pytest.mark.process
@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path: Path, shell: Shell) -> None:
    """From an empty server, every statement and command works and prints what the page shows."""
    todo = blocks(PAGE)
    assert {block.kind for block in todo} == {"sql", "sh", "python", "bash", "text"}
    with PostgresServer() as server:
        owner = f"postgresql://shop:secret@127.0.0.1:{server.port}/shop"
        for number, block in enumerate(todo):
            follows = todo[number + 1] if number + 1 < len(todo) else None
            expected = follows if follows is not None and follows.kind == "text" else None
            block.text = block.text.replace("db.internal:5432", f"127.0.0.1:{server.port}")
            if block.kind == "python":
                (tmp_path / block.note.removeprefix("title=")).write_text(block.text)
            elif block.kind == "bash":
                run_block(shell, block, expected)
            elif block.kind == "sql":
                for statement in filter(str.strip, block.text.split(";")):
                    server.execute(statement, url=owner if block.note == "owner" else None)

        code, output = shell.run(
            f"export BIDE_STORE={owner.replace('shop:', 'worker:')}; bide doctor && bide migrate"
            " --check && echo '\"v3\"' | bide submit hello --input - --key release-v3"
        )
        assert code == 0, output
        assert "FAIL" not in output
