"""The page on deploys: its snippets run, and what it says of them holds."""

import re
from pathlib import Path
from typing import Any

import pydantic
import pytest

import bide
from bide import App, Settings
from bide.planning.fitting import boundaries_of
from bide.planning.pipeline import plan_of
from bide.runtime.plans import Plans

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "deploys.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the snippets define, in the order of the page."""
    # pydantic loads its names when they are asked for.
    of_pydantic = {name: getattr(pydantic, name) for name in ("BaseModel", "model_validator")}
    names: dict[str, Any] = {**vars(bide), **of_pydantic, "Any": Any}
    for snippet in SNIPPET.findall(PAGE.read_text(encoding="utf-8")):
        exec(compile(snippet, PAGE.name, "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize(
    ("version", "fits"), [("v2", True), ("v3", True), ("v4", False), ("renamed", True)]
)
def test_what_is_said_to_fit_fits(page: dict[str, Any], version: str, *, fits: bool) -> None:
    """Each version takes what `v1` has stored, or does not, as the page says."""
    plans = Plans([plan_of(page[version])])
    old = list(boundaries_of(plan_of(page["v1"])))

    plans.adopt(old)

    assert all((each.fingerprint in plans.fingerprints) == fits for each in old if each.step_id)
    app = Plans([plan_of(each) for each in page["app"].pipelines],
                [plan_of(each) for each in page["app"].retired])  # fmt: skip
    app.adopt(old)
    assert {each.fingerprint for each in old} <= app.fingerprints


async def test_the_work_is_divided(page: dict[str, Any]) -> None:
    """The snippet on whose a question is does what it says."""
    v1 = page["v1"]
    async with App(v1, store="memory://", settings=Settings()).running() as app:
        for text in ("one", "two"):
            await (await app.submit(v1, text)).parked(page["decide"], timeout=30)

        await page["divide_the_work"](app)

        assert len(await app.pending(assignee="bo")) == 1
        assert len(await app.pending(assignee="ada")) == 0
