"""The reference pages say what the code says."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from bide.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The script that makes the pages."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_what_the_code_says(reference: ModuleType) -> None:
    """`python scripts/reference.py --check` passes."""
    assert reference.main(["--check"]) == 0


def test_every_command_and_setting_has_its_place(reference: ModuleType) -> None:
    """No command and no setting is left out."""
    page = reference.cli_page()

    for command in (
        "serve", "worker", "submit", "executions", "show", "replay", "pending", "complete", "cancel",
        "assign", "link", "audit", "release", "pipelines", "pause", "resume", "dlq ls", "dlq show", "dlq redrive", "keys generate", "keys rotate", "keys revoke", "keys list", "migrate",
        "doctor", "bench", "crashtest",
    ):  # fmt: skip
        assert f"## `bide {command}`" in page
    for name in Settings.model_fields:
        assert f"`BIDE_{name.upper()}`" in reference.settings_page()


def test_a_page_that_is_behind_fails_the_check(
    reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing or an old page is found, and writing it again repairs it."""
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "reference")

    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "reference" / "cli.md").write_text("old")
    assert reference.main(["--check"]) == 1
