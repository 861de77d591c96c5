"""No test's output shows a token or a key: a plugin that looks at what every test wrote.

Tokens, API keys and webhook secrets have forms of their own, so each of those that the suite makes
is a planted one. What a test prints, logs or raises is searched for them, and so is every log file
of a process that a test started.
"""

import re
from collections.abc import Generator
from pathlib import Path

import pytest

#: Whole ones: a token with its claims, an API key with its secret, a webhook's secret.
_SECRET = re.compile(
    r"bide1\.[A-Za-z0-9]+\.[a-z]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{20,}"
    r"|bidekey_[a-z0-9]+_[A-Za-z0-9_-]{20,}"
    r"|whsec_[A-Za-z0-9+/]{24,}"
)
#: What a Kafka broker keeps of a topic: no output, but the records themselves, tokens included.
_SEGMENT = re.compile(r"[0-9]{20}\.log")


def shown(text: str) -> str | None:
    """The beginning of the first secret in a text."""
    found = _SECRET.search(text)
    return found.group()[:16] + "..." if found else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose output holds a secret."""
    report = yield
    for name, text in report.sections:
        if secret := shown(text):
            report.outcome = "failed"
            report.longrepr = f"{name} of {item.nodeid} shows a secret: {secret}"
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a process's log holds a secret."""
    if hasattr(session.config, "workerinput"):
        return  # one of several processes: who started them looks at what all of them left
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is None:
        return
    for log in sorted(Path(factory.getbasetemp()).rglob("*.log")):
        if _SEGMENT.fullmatch(log.name):
            continue
        if log.is_file() and (secret := shown(log.read_text("utf-8", errors="replace"))):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            print(f"\nFAILED {log} shows a secret: {secret}")
