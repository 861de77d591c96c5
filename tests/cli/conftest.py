"""A folder with a shop in it, and the command line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.driver import SHOP, Cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the user stands in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("BIDE_APP", "BIDE_STORE", "BIDE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


@pytest.fixture
def shop(folder: Path) -> Path:
    """A folder with an app in it, which its pyproject.toml names."""
    (folder / "shop.py").write_text(SHOP)
    (folder / "pyproject.toml").write_text('[tool.bide]\napp = "shop:app"\n')
    return folder


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Cli:
    """The command line, in an empty folder unless `shop` is asked for as well."""
    monkeypatch.setenv("COLUMNS", "80")
    return Cli(capsys, monkeypatch)
