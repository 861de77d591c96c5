"""The page on testing: its flow, and every test that it shows."""

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "testing.md"
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)


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
