"""What `bide new` makes: each project has what was chosen, nothing else, and tests that pass.

`make projects` is the long form: an environment for each, made by the project's own Makefile.
"""

import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from bide.errors import DefinitionError
from bide.scaffold.choices import CARRIERS, Choice, check_name
from bide.scaffold.project import files_of, write
from scripts.release import build

CHOICES = [
    Choice(name=f"shop-{via}{'-yaml' if yaml else ''}", via=via, yaml=yaml)
    for via, yaml in product(CARRIERS, (False, True))
]
each_choice = pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)

#: Words that only one choice may write.
WORDS = {
    "inbox": r"\bInbox\b|interaction-api|sales",
    "webhook": r"[Ww]ebhook|WEBHOOK",
    "kafka": r"[Kk]afka|KAFKA|topic",
    "yaml": r"[Yy]aml|\bload\b",
    "code": r"\bAwait\b|\bPipeline\b|\bbranch\(",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, installed into a folder: what a user has, without this checkout."""
    folder = tmp_path_factory.mktemp("new")
    wheel = build(folder / "dist")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder / "site"]
    subprocess.run([*pip, "--disable-pip-version-check", wheel], check=True)
    return folder / "site"


def run(site: Path, where: Path, *command: str) -> str:
    """Run Python as a user does, with the installed wheel in the place of this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, *command], cwd=where, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.process
@each_choice
def test_the_tests_of_a_new_project_pass(installed: Path, tmp_path: Path, choice: Choice) -> None:
    """Made by the installed wheel in an empty folder, its tests pass without a warning."""
    new = "from bide.cli import main; main()"
    flags = ["--via", choice.via, *(["--yaml"] if choice.yaml else [])]
    run(installed, tmp_path, "-c", new, "new", choice.name, *flags)

    output = run(installed, tmp_path / choice.name, "-m", "pytest", "-p", "no:cacheprovider")
    where = run(installed, tmp_path, "-c", "import bide; print(bide.__file__)")

    assert Path(where.strip()).is_relative_to(installed)
    assert re.search(r"=+ [67] passed in ", output), output
    assert "warning" not in output.lower()


@each_choice
def test_only_what_was_chosen_is_written(choice: Choice) -> None:
    """No file says a word of what was not chosen, and each is needed by what was."""
    found = files_of(choice)
    chosen = {choice.via, "yaml" if choice.yaml else "code"}

    for word in WORDS.keys() - chosen:
        strays = [path for path, text in found.items() if re.search(WORDS[word], text)]
        assert strays == [], word
    for word in chosen:
        assert any(re.search(WORDS[word], text) for text in found.values()), word
    assert (f"{choice.package}/orders.yaml" in found) is choice.yaml
    assert all("@{" not in text and text.endswith("\n") for text in found.values())


@pytest.mark.typing
def test_what_is_written_passes_the_checks_of_its_user(tmp_path: Path) -> None:
    """mypy as strict as it gets, the linter and the formatter as they come have no complaint."""
    for choice in CHOICES:
        write(choice, tmp_path)
        folder = tmp_path / choice.name
        ruff = [sys.executable, "-m", "ruff"]
        for command in (["format", "--check"], ["check", "--select", "E,F,I,B,UP,ANN,PT"]):
            subprocess.run([*ruff, *command, "--isolated", "-q", "."], cwd=folder, check=True)
        mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "mypy", "."]
        done = subprocess.run(mypy, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_name_with_hyphens_is_a_package_with_underlines() -> None:
    """The folder has the name as it was given, the package as Python can import it."""
    assert check_name("my-shop") == "my-shop"
    assert "my_shop/orders.py" in files_of(Choice(name="my-shop"))
    with pytest.raises(DefinitionError):
        check_name("my--shop")
