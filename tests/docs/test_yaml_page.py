"""The parts of the page on YAML that are no whole file."""

from pathlib import Path

import pytest

from bide import Secret, Webhook, load
from bide.planning.pipeline import plan_of
from tests.docs.test_tutorial import blocks
from tests.processes import ROOT

PAGE = ROOT / "docs" / "how-to" / "yaml.md"


def test_the_await_of_a_webhook_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block that shows a webhook can be put into the page's file as it stands."""
    flow, part = [block.text for block in blocks(PAGE) if block.kind == "yaml"]
    [shop] = [block.text for block in blocks(PAGE) if block.note == "title=shop.py"]
    (tmp_path / "page_shop.py").write_text(shop)
    monkeypatch.syspath_prepend(str(tmp_path))
    head, _, tail = flow.replace("shop.", "page_shop.").partition("    await:\n")
    rest = "".join(tail.splitlines(keepends=True)[1:])
    inner = "".join(f"    {line}" for line in part.splitlines(keepends=True))
    (tmp_path / "flow.yaml").write_text(head + inner + rest)

    [boundary] = plan_of(load(tmp_path / "flow.yaml", packages=["page_shop"])).awaits()

    assert boundary.transport == Webhook(
        "https://partner.example/asked",
        callback="https://bide.example/pipeline/interactions/complete",
        headers={"Authorization": Secret(env="PARTNER_KEY")},
    )
