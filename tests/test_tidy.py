"""What no linter checks: rules of the source tree that hold from the first day."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CODE = sorted(
    path
    for folder in ("src", "tests", "examples", "benchmarks", "scripts")
    for path in (ROOT / folder).rglob("*.py")
    if path.relative_to(ROOT).parts[:2] != ("tests", "typing")
)
WORDS = r"(?:\S+\s+){2}\S+"  # a reason has at least three words

# Where SQL may stand: the stores, and the benchmark that measures the driver without a store.
SQL_FOLDERS = ("stores", "bench")
SQL = re.compile(
    r"\s*(?:SELECT\s|INSERT\s+(?:OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s"
    r"|CREATE\s+(?:TABLE|INDEX|UNIQUE)\b|PRAGMA\s)"
)


def comments(path: Path, pattern: str) -> Iterator[str]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if path != Path(__file__) and re.search(pattern, line):
            yield f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def strings(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX"])
def test_open_ends_say_why(word: str) -> None:
    """An open end in the code says what is missing and why it may wait."""
    bare = [hit for path in CODE for hit in comments(path, rf"#\s*{word}\b(?!: {WORDS})")]

    assert bare == []


def test_switched_off_checks_say_why() -> None:
    """Every noqa, type: ignore, pyright: ignore and pragma names its rule and its reason."""
    marks = {
        "noqa": r"#\s*noqa\b(?!: [A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*\s+\S*\s*" + WORDS + ")",
        "ignore": r"#\s*(?:type|pyright): ignore\b(?!\[[\w, -]+\]\s+#\s*" + WORDS + ")",
        "pragma": r"#\s*pragma: no (?:cover|branch)\b(?!\W+" + WORDS + ")",
    }
    bare = [hit for path in CODE for mark in marks.values() for hit in comments(path, mark)]

    assert bare == []


def test_sql_stands_in_the_stores() -> None:
    """No statement of SQL is written outside the stores: nobody else knows the tables."""
    strays = [
        f"{path.relative_to(ROOT)}:{line}: {text.strip()[:60]}"
        for path in SOURCES
        if path.relative_to(ROOT / "src" / "bide").parts[0].removesuffix(".py") not in SQL_FOLDERS
        for line, text in strings(path)
        if SQL.match(text)
    ]

    assert strays == []


LOCKS = sorted(
    path
    for folder in ("requirements", "benchmarks/peers/requirements")
    for path in (ROOT / folder).glob("*.txt")
)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_locks_are_hashed_and_name_no_address(lock: Path) -> None:
    """Everything installed is pinned by hash; where it comes from is the installer's choice."""
    text = lock.read_text(encoding="utf-8")
    pins = re.findall(r"^(?![#\s-])\S.*?(?=^(?![#\s])|\Z)", text, flags=re.MULTILINE | re.DOTALL)

    assert pins
    assert [pin.splitlines()[0] for pin in pins if "--hash=sha256:" not in pin] == []
    assert (
        re.findall(r"^.*(?:://|--(?:extra-)?index-url|--find-links).*$", text, re.MULTILINE) == []
    )
    assert not (ROOT / "uv.lock").exists()


def test_locks_hold_what_the_project_asks_for() -> None:
    """A dependency that was added to pyproject.toml is in the lock (`make lock`)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = {
        "base.txt": project["project"]["dependencies"],
        "dev.txt": project["project"]["dependencies"] + project["dependency-groups"]["dev"],
    }

    for name, requirements in asked.items():
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        locked = set(re.findall(r"^([a-z0-9.-]+)==", text, flags=re.MULTILINE))
        names = {re.split(r"[^\w.-]", one)[0].lower().replace("_", "-") for one in requirements}

        assert names - locked == set()
