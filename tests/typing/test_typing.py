"""What the type checkers say about programs as users write them, both of them strict."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PROGRAMS = sorted([*HERE.glob("accepted/*.py"), *HERE.glob("refused/*.py")])
CHECKERS = ("mypy", "pyright")

#: `# refused` marks a line that both refuse, `# refused: mypy` one that only mypy does.
MARK = re.compile(r"#\s*refused(?::\s*(?P<checker>\w+))?\s*$")
MYPY_ERROR = re.compile(r"(?P<path>[^:\n]+\.py):(?P<line>\d+): error: (?P<message>.*)")

Findings = Mapping[Path, Mapping[int, str]]


def run(*command: str, cwd: Path = HERE) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Errors by file and line, from one run over all programs."""
    cache = tmp_path_factory.mktemp("mypy")
    config = cache / "mypy.ini"
    config.write_text("[mypy]\nstrict = true\nplugins = pydantic.mypy\n")
    options = ["--config-file", str(config), "--cache-dir", str(cache), "--no-error-summary"]
    output = run(sys.executable, "-m", "mypy", *options, *map(str, PROGRAMS))
    found: dict[Path, dict[int, str]] = {path: {} for path in PROGRAMS}
    for hit in MYPY_ERROR.finditer(output):
        found[(HERE / hit["path"]).resolve()].setdefault(int(hit["line"]), hit["message"])
    return found


@pytest.fixture(scope="module")
def pyright() -> Findings:
    """Errors by file and line, from one run over all programs (pyrightconfig.json)."""
    options = ["--outputjson", "--pythonpath", sys.executable, "--project", str(HERE)]
    report = json.loads(run(sys.executable, "-m", "pyright", *options))
    found: dict[Path, dict[int, str]] = {path: {} for path in PROGRAMS}
    for finding in report["generalDiagnostics"]:
        if finding["severity"] == "error":
            line = finding["range"]["start"]["line"] + 1
            found[Path(finding["file"]).resolve()].setdefault(line, finding["message"])
    assert report["summary"]["filesAnalyzed"] >= len(PROGRAMS)
    return found


def marked(path: Path, checker: str) -> set[int]:
    """The lines of a program that a checker must refuse."""
    hits = [
        (number, MARK.search(line))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
    ]
    return {number for number, hit in hits if hit and hit["checker"] in {None, checker}}


@pytest.mark.slow
@pytest.mark.typing
@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_exactly_the_marked_lines_are_refused(
    program: Path, checker: str, request: pytest.FixtureRequest
) -> None:
    """Programs check without a finding, and each planted mistake is found on its own line."""
    findings: Findings = request.getfixturevalue(checker)

    found = findings[program]

    assert marked(program, checker) == found.keys(), found


def test_mistakes_are_planted() -> None:
    """The marks are read: a change of their form must not let everything pass."""
    assert 9 <= sum(len(marked(path, "pyright")) for path in PROGRAMS)
    assert all(not marked(path, "mypy") for path in HERE.glob("accepted/*.py"))
