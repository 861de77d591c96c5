"""The page on awaits and handoffs: every row of its table, as its blocks show it."""

import re
from pathlib import Path
from textwrap import indent
from typing import Any

from bide import App

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "await-or-handoff.md"
FENCE = re.compile(r"^```python( run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_row_is_shown() -> None:
    """Each row of the table but the last is a link to a section of the page."""
    text = PAGE.read_text(encoding="utf-8")

    linked = re.findall(r"^\| \[[^\]]+\]\(#([\w-]+)\) \|", text, re.MULTILINE)
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)

    anchors = [heading.lower().replace(" ", "-") for heading in headings]
    assert linked == anchors[: len(linked)]


async def test_it_does_what_it_says(tmp_path: Path) -> None:
    """Every block of the page runs, in its order, on one store."""
    names: dict[str, Any] = {}
    blocks = FENCE.findall(PAGE.read_text(encoding="utf-8"))
    assert sum(bool(run) for run, _ in blocks) == 5

    for run, code in blocks:
        if not run:
            exec(code, names)
            app = names["app"]
            assert isinstance(app, App)
            names["app"] = app.using(store=f"sqlite:///{tmp_path}/bide.db")
            continue
        async with names["app"].running():
            exec(f"async def block():\n{indent(code, '    ')}", names)
            await names["block"]()
