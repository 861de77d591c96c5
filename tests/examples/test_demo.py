"""`make demo`, run as a person runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = [pytest.mark.process, pytest.mark.slow]


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end."""
    return subprocess.run(
        [sys.executable, "-m", "examples.csv_payments.demo", "--folder", folder, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "COLUMNS": "100"},
    )


def test_the_demo_finishes_every_payment_once(tmp_path: Path) -> None:
    """A thousand payments through a kill: 907 and 93, nothing twice, and no process left."""
    ran = demo(tmp_path / "demo", "--seconds", "4")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "907 approved, 93 unapproved" in ran.stdout
    assert "killed the service" in ran.stdout
    assert re.search(r"rows in +1000\n", ran.stdout)
    assert re.search(r"rows out +1000\n", ran.stdout)
    assert re.search(r"duplicates +0\n", ran.stdout)
    assert _processes_of(tmp_path) == []


def test_the_demo_takes_an_input_of_ones_own(tmp_path: Path) -> None:
    """With --input, the payments are those of the file, which itself is left alone."""
    own = tmp_path / "mine.csv"
    own.write_text("ID,Recipient,Amount,Currency\n7,Ada,1.50,EUR\n8,Grace,2.00,USD\n")

    ran = demo(tmp_path / "demo", "--input", str(own), "--seconds", "1")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"rows out +2\n", ran.stdout)
    assert (tmp_path / "demo" / "mine.out.csv").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "mine.csv"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("name,price\nx,1\n", "does not start with the header"),
        ("ID,Recipient,Amount,Currency\n", "has no payments"),
    ],
)
def test_the_demo_says_what_is_wrong_with_an_input(
    tmp_path: Path, content: str | None, words: str
) -> None:
    """An input that cannot be used ends the demo with a clear line, before anything starts."""
    own = tmp_path / "mine.csv"
    if content is not None:
        own.write_text(content)

    ran = demo(tmp_path / "demo", "--input", str(own))

    assert ran.returncode == 1
    assert words in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr


def test_the_demo_removes_only_what_it_made(tmp_path: Path) -> None:
    """A folder that holds other things is refused and left as it is."""
    (tmp_path / "precious.txt").write_text("mine")

    ran = demo(tmp_path)

    assert ran.returncode == 1
    assert (tmp_path / "precious.txt").read_text() == "mine"


def _processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that name a folder."""
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in found.stdout.splitlines() if str(folder) in line]
