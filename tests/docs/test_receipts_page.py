"""The page on receipts and correlation, run as it stands."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT

PAGE = ROOT / "docs" / "explanation" / "receipts-and-correlation.md"
SNIPPET = re.compile(r"^```python[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("main", ["main", "early"])
def test_the_page_runs(main: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snippet does what it asserts, on a store of its own."""
    monkeypatch.setenv("BIDE_STORE", f"sqlite:///{tmp_path}/bide.db")
    names: dict[str, Any] = {"__name__": "shop"}
    snippets = SNIPPET.findall(PAGE.read_text(encoding="utf-8"))
    assert len(snippets) == 3
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), names)

    asyncio.run(names[main]())
