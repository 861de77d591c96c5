"""The page on testing: its flow, and every test that it shows."""

import asyncio
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from bide.cli.root import run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "testing.md"
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
SHELL = re.compile(r"```sh\nbide (.*?)\n```\n\n```text\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the page's snippets define, one after another."""
    found: dict[str, Any] = {"__name__": "shop"}
    for snippet in SNIPPET.findall(PAGE.read_text(encoding="utf-8")):
        exec(compile(snippet, str(PAGE), "exec", dont_inherit=True), found)
    return found


def test_the_tests_of_the_page_pass(names: dict[str, Any]) -> None:
    """Each of them runs, on an event loop of its own if it is async."""
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 4

    for test in tests:
        if inspect.iscoroutinefunction(test):
            asyncio.run(test())
        else:
            test()


def test_the_command_says_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`bide crashtest` prints that table for the page's own flow."""
    page = PAGE.read_text(encoding="utf-8")
    (tmp_path / "kitchen.py").write_text(SNIPPET.findall(page)[0])
    (tmp_path / "order.json").write_text('{"id": "42", "cents": 2150}')
    (tmp_path / "yes.json").write_text('{"accepted": true}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("BIDE_APP", "kitchen:app")
    [(command, printed)] = SHELL.findall(page)

    assert run(command.split()) == 0
    assert capsys.readouterr().out == printed
