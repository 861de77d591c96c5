"""Secrets and tokens that were planted are found nowhere: not in answers, logs, rows or `repr`."""

import base64
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from bide import App, ExecutionFailed
from bide.security.tokens import Purpose
from bide.settings import Settings
from bide.spi.store import PendingQuery
from bide.web.app import operations
from tests.integration.test_tokens import KEYRING
from tests.planted import shown
from tests.web.flows import Order, decide, orders, refusals
from tests.web.test_credentials import as_, keys_of

KEYS, (ADA, WRONG) = keys_of(
    {"roles": ["submit", "decide", "operate", "administer"]}, {"actor": "eve", "tenant": "other"}
)
WEBHOOK = "whsec_" + base64.b64encode(b"planted-" * 4).decode()


async def test_what_was_planted_appears_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every route is asked, with good and bad credentials, ids that are tokens, and answers that
    are refused; then all that came back, was logged or was stored is searched.
    """
    caplog.set_level(logging.DEBUG, "bide")
    settings = Settings(
        api_keys=SecretStr(KEYS.render().decode()), keyring=SecretStr(KEYRING.render().decode()),
        webhook_secrets=SecretStr(WEBHOOK), callback_base_url="https://api.example",
    )  # fmt: skip
    app = App(orders, refusals, store=f"sqlite:///{tmp_path / 'bide.db'}", settings=settings)
    async with app.running() as bide:
        execution = await bide.submit(orders, Order(item="pizza"), tenant="acme")
        [question] = await execution.parked(decide, timeout="60s")
        [asked] = await bide._open.store.pending(PendingQuery("acme"))
        token = bide._open.tokens.issue(asked.interaction, Purpose.RESUME)
        link = await bide.link(question, actor="ada", tenant="acme")
        failed = await bide.submit(refusals, "no", tenant="acme")
        with pytest.raises(ExecutionFailed):
            await failed.result(timeout="60s")
        said = [repr(bide), repr(settings), repr(bide._open.tokens), str(settings)]
        said += await _asked(bide, token, link, execution.execution_id, question.interaction_id)

    planted = [token, link.rpartition("/")[2], ADA, WRONG, WEBHOOK]
    planted += [each.secret.hex() for each in KEYRING.keys.values()]
    planted += [base64.b64encode(each.secret).decode() for each in KEYRING.keys.values()]
    logged = caplog.text
    stored = b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.is_file())
    assert stored
    for secret in planted:
        assert not [text for text in said if secret in text]
        assert secret not in logged
        assert secret.encode() not in stored


async def _asked(app: App, token: str, link: str, execution: str, interaction: str) -> list[str]:
    """All answers, with their headers."""
    transport = httpx.ASGITransport(app.asgi())  # type: ignore[arg-type]  # its types are looser
    said: list[str] = []
    async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as client:

        async def ask(method: str, path: str, body: Any, **headers: str) -> None:
            sends = {"json": body} if body is not None else {}
            answer = await client.request(method, path, headers=headers, **sends)
            said.append(f"{answer.status_code} {answer.headers} {answer.text}")

        for method, path in {(one.method, one.path) for one in operations()}:
            if path.endswith("/events"):
                continue
            for id in (execution, interaction, token):
                url = path
                for name in (
                    "executionId",
                    "interactionId",
                    "deadLetterId",
                    "rejectId",
                    "pipeline",
                ):
                    url = url.replace("{" + name + "}", id)
                body = {"resumeToken": token, "responsePayload": 7} if method == "POST" else None
                for key in (ADA, WRONG, token):
                    await ask(method, url, body, **as_(key))
        wrong = {"resumeToken": token, "interactionId": "x", "responsePayload": {}}
        await ask("POST", "/pipeline/interactions/complete", wrong)
        await ask("GET", link, None)
        await ask("GET", link[:-3], None)
        for path in ("/metrics", "/readyz", "/healthz", f"/{token}", "/api/v1/audit"):
            await ask("GET", path, None, **as_(ADA))
    return said


@pytest.mark.parametrize(
    "secret",
    [ADA, WEBHOOK, "bide1.k1.resume.YWNtZQ." + "a" * 40, "x=bide1.k1.decide.YQ." + "b" * 90],
    ids=["api key", "webhook secret", "token", "token within"],
)
def test_the_watch_over_the_suite_sees_a_secret(secret: str) -> None:
    """What it looks for is what there is to be found, and it does not repeat it."""
    found = shown(f"some log line {secret} of a test")

    assert found is not None
    assert secret not in found
    assert shown("bide1.(hidden) bidekey_(hidden) whsec_...") is None
