"""The pages on webhooks say what the code does."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, SecretStr

from bide import Settings, Webhook
from bide.runtime import dispatcher
from bide.transports.webhook.answers import delivery_of
from bide.transports.webhook.envelope import Envelope
from bide.transports.webhook.signing import Signer, parse_keys
from tests.processes import ROOT

HOW_TO = ROOT / "docs" / "how-to" / "webhooks.md"
EGRESS = ROOT / "docs" / "explanation" / "webhook-egress.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def blocks(page: Path, language: str) -> list[str]:
    """What a page shows in a language."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return fence.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [HOW_TO, EGRESS])
def test_every_setting_that_is_named_exists(page: Path) -> None:
    """A page names no setting that the code does not read."""
    named = set(re.findall(r"\bBIDE_([A-Z_]+)\b", page.read_text(encoding="utf-8")))

    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_the_request_that_is_shown_is_the_envelope() -> None:
    """The example has exactly the fields that are sent, in their order."""
    shown = json.loads(blocks(HOW_TO, "json")[0])
    sent = [field.encode_name for field in msgspec.structs.fields(Envelope)]

    assert list(shown) == sent


def test_the_await_that_is_shown_can_be_defined() -> None:
    """The first snippet is a program, given the two types that it is about."""

    class Charge(BaseModel):
        order_id: str

    class Verdict(BaseModel):
        order_id: str
        risk: Literal["low", "high", "unknown"]

    names: dict[str, Any] = {"Charge": Charge, "Verdict": Verdict}
    exec(blocks(HOW_TO, "python")[0], names)

    assert isinstance(names["fraud_check"].via, Webhook)


def test_the_partner_that_is_shown_takes_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second snippet verifies a signed request, refuses another, and knows a repeat."""
    monkeypatch.setenv("FRAUD_SECRET", SECRET)
    names: dict[str, Any] = {"seen": set(), "todo": []}
    exec(blocks(HOW_TO, "python")[1], names)
    check: Callable[[bytes, dict[str, str]], int] = names["check"]
    keys = parse_keys(SecretStr(SECRET), "here")
    now_ms = int(datetime.now(UTC).timestamp() * 1_000)
    body = b'{"interactionId":"e_1_0"}'
    headers = dict(Signer([lambda: keys]).headers("e_1_0", now_ms, body))

    assert [check(body, headers), check(body, headers), check(b"{}", headers)] == [202, 202, 401]
    assert names["todo"] == [{"interactionId": "e_1_0"}]


def test_the_statuses_that_are_listed_are_the_definite_ones() -> None:
    """The table of answers names the statuses that fail an interaction, and the longest rest."""
    [row] = [
        line for line in HOW_TO.read_text(encoding="utf-8").splitlines() if "never take it" in line
    ]
    listed = {int(number) for number in re.findall(r"\b\d{3}\b", row)}
    definite = {
        status for status in range(100, 1_000) if "code" in delivery_of(status, [], 0).__slots__
    }

    assert listed == definite
    assert dispatcher._RETRY_AFTER_MAX_MS == 3_600_000
