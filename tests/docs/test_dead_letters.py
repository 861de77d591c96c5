"""The page on dead letters and redrive: its program, and every block that says what it does."""

import re
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from bide import App

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "dead-letters-and-redrive.md"
FENCE = re.compile(r"^```python( run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{folder}/bide.db"])
async def test_it_does_what_it_says(url: str, tmp_path: Path) -> None:
    """Every block of the page runs, in its order, on both stores."""
    names: dict[str, Any] = {}
    blocks = FENCE.findall(PAGE.read_text(encoding="utf-8"))
    assert sum(bool(run) for run, _ in blocks) == 3

    for run, code in blocks:
        if not run:
            exec(code, names)
            for name, value in list(names.items()):
                if isinstance(value, App) and value.store != url.format(folder=tmp_path):
                    names[name] = value.using(store=url.format(folder=tmp_path))
            continue
        async with names["app"].running():
            if "board_app" in names:
                await names["board_app"].start()
            exec(f"async def block():\n{indent(code, '    ')}", names)
            await names["block"]()
            if "board_app" in names:
                await names["board_app"].stop()
