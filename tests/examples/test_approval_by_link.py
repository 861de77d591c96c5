"""The approval by link, as the two people use it: over HTTP, with nothing but the address."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from tests.processes import BIDE, PATIENCE_S, ROOT, Service

EXPENSE = {"employee": "Ada", "approver": "grace@example.com", "what": "Train", "amount": 89.9}


class Forms(HTMLParser):
    """Reads the forms of a page: the fields that each sends as they stand, by its button."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.by_button: dict[str, dict[str, str]] = {}
        self._fields: dict[str, str] = {}
        self._in_button = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._fields = {}
        if tag in {"input", "textarea", "select"}:
            self._fields[named["name"]] = named.get("value", "")
        self._in_button = tag == "button"

    def handle_data(self, data: str) -> None:
        if self._in_button:
            self.by_button[data] = self._fields
        self._in_button = False


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    keys = tmp_path / "keys.json"
    monkeypatch.setenv("BIDE_KEYRING_FILE", str(keys))
    subprocess.run([BIDE, "keys", "generate"], check=True, cwd=ROOT)
    service = Service("examples.approval_by_link:app", tmp_path)
    service.env["BIDE_CALLBACK_BASE_URL"] = service.url
    service.env["BIDE_STORE"] = service.store
    with service:
        asyncio.run(service.must_be_ready())
        yield service


def _mailed(service: Service) -> tuple[str, str]:
    """What `python -m examples.approval_by_link.mail` prints: the only address, and its link."""
    printed = subprocess.run(
        [sys.executable, "-m", "examples.approval_by_link.mail"],
        check=True, cwd=ROOT, env=service.env, capture_output=True, text=True,
    ).stdout  # fmt: skip
    to, subject, _, link, *_ = printed.splitlines()
    assert subject == "Subject: Ada asks for 89.9: Train"
    return to.removeprefix("To: "), link


@pytest.mark.process
@pytest.mark.parametrize(
    ("button", "said", "result"),
    [
        ("approve", {"answer.note": "Enjoy"}, "Approved. Enjoy"),
        ("decline", {"answer.reason": "Walk"}, "Declined: Walk"),
    ],
)
def test_an_approver_decides_with_the_address_alone(
    service: Service, button: str, said: dict[str, str], result: str
) -> None:
    """The mail's link shows the expense however often; the form decides once, as the approver."""
    with httpx.Client(base_url=service.url, timeout=PATIENCE_S) as client:
        started = client.post("/pipeline/run", json=EXPENSE)
        execution = f"/pipeline/executions/{started.json()['executionId']}"
        to, link = _mailed(service)
        pages = [client.get(link) for _ in range(2)]
        still = client.get(execution).json()["status"]
        forms = Forms(pages[1].text).by_button
        thanks = client.post(link, data={**forms[button], **said})
        again = client.post(link, data={**forms["decline"], "answer.reason": "No"})
        client.get(f"/api/v1{execution.removeprefix('/pipeline')}/events").raise_for_status()
        told = client.get(f"{execution}/result").json()
        replay = client.get(f"/api/v1{execution.removeprefix('/pipeline')}/replay").text

    assert started.status_code == 202
    assert to == "grace@example.com"
    assert [page.status_code for page in pages] == [200, 200]
    assert all(text in pages[0].text for text in ("Ada", "Train", "89.9"))
    assert still == "WAITING_EXTERNAL"
    assert set(forms) == {"approve", "decline"}
    assert (thanks.status_code, again.status_code) == (200, 409)
    assert told == result
    assert "grace@example.com" in json.loads(replay).__repr__()
    assert link.rpartition("/")[2] not in service.log.read_text(encoding="utf-8")
