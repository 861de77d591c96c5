"""The site of docs/ builds without a warning, and its Python reference leaves nothing out."""

import re
import subprocess
import sys
from pathlib import Path

import bide

ROOT = Path(__file__).resolve().parents[2]


def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    """A broken link, a page that nothing leads to or a docstring that does not parse fails."""
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert built.returncode == 0, built.stderr
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    for page in pages - {Path("README.md")}:
        assert (tmp_path / page.with_suffix(".html")).exists(), page


def test_every_public_name_is_in_the_reference() -> None:
    """What can be imported from `bide` stands on the page on Python, or is an error on its own."""
    text = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\.\. auto\w+:: bide\.(\w+)$", text, re.MULTILINE))

    errors = {
        name
        for name in bide.__all__
        if isinstance(one := getattr(bide, name), type) and issubclass(one, bide.BideError)
    }
    assert told == set(bide.__all__) - errors
