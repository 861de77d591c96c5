"""The page on the client: its snippets run against a server in another process."""

import re
from pathlib import Path
from typing import Any

from bide import App, Await, Inbox, Pipeline
from tests.processes import Service

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "client.md"
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)

approve = Await("Ship it?", str, bool, via=Inbox(), timeout="1d")
ships = Pipeline("ships", str).wait(approve)
app = App(ships)


async def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    """Every snippet runs, and what it asserts holds."""
    with Service("tests.docs.test_client_page:app", tmp_path) as service:
        await service.must_be_ready()
        names: dict[str, Any] = {"url": service.url, "ships": ships, "approve": approve}
        snippets = SNIPPET.findall(PAGE.read_text(encoding="utf-8"))
        assert len(snippets) == 2
        for snippet in snippets:
            exec(compile(snippet, str(PAGE), "exec", dont_inherit=True), names)
