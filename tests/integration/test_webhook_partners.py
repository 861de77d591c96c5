"""Awaits by webhook from end to end: an app, a partner's real server, and the answer back."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bide import (
    App,
    Await,
    DefinitionError,
    Pipeline,
    Retry,
    Secret,
    Webhook,
)
from bide.security.keyring import Keyring, new_key
from tests.integration.support import eventually, quick
from tests.transports.partner import Partner, Request, answer, listening
from tests.transports.sending import SECRET


@pytest.fixture
async def partner() -> AsyncIterator[Partner]:
    async with listening(Partner()) as listens:
        yield listens


@pytest.fixture
def sending(store: str, tmp_path: Path) -> Callable[..., App]:
    """Make an app that may send to this machine; keywords are settings."""
    keyring = tmp_path / "keyring.json"
    keyring.write_bytes(Keyring.of(new_key(datetime.now(UTC))).render())

    def make(*pipelines: Any, **settings: Any) -> App:
        usual = {
            "keyring_file": keyring,
            "webhook_secrets": SECRET,
            "webhook_allow_loopback": True,
            "callback_base_url": "https://bide.example",
        }
        return App(*pipelines, store=store, settings=quick(**(usual | settings)))

    return make


def flow(url: str) -> Pipeline[int, str]:
    """Ask a partner about a number."""
    via = Webhook(url, retry=Retry(4, first="1ms", longest="5ms"))
    return Pipeline("asks", int).wait(Await("Ask", int, str, via=via, timeout="1d"))


async def test_the_token_that_went_out_brings_the_answer_in(
    sending: Callable[..., App], partner: Partner
) -> None:
    """The envelope's token alone completes its interaction, over the app's own door."""
    asks = flow(partner.url)
    app = sending(asks)
    async with app.running():
        execution = await app.submit(asks, 7)
        [request] = await eventually(lambda: partner.requests)
        asked = json.loads(request.body)
        receipt = await app.complete(asked["resumeToken"], "seven")
        result = await execution.result(timeout=30)

    assert (receipt.outcome, receipt.interaction_id) == ("applied", asked["interactionId"])
    assert asked["requestPayload"] == 7
    assert asked["executionId"] == execution.execution_id
    assert request.headers["webhook-id"] == asked["interactionId"]
    assert result == "seven"


async def test_a_failing_partner_is_asked_again_under_the_same_id(
    sending: Callable[..., App], partner: Partner
) -> None:
    """5xx, a dropped connection and a redirect are tried again; every try is signed anew."""
    answers = iter([answer(503, "retry-after: 0"), b"", answer(307, "location: /x")])

    def choose(_: Request) -> bytes:
        return next(answers, answer(202))

    partner.answering = choose
    asks = flow(partner.url)
    app = sending(asks)
    async with app.running():
        execution = await app.submit(asks, 7)
        await eventually(lambda: len(partner.requests) == 4)
        await app.complete(json.loads(partner.requests[-1].body)["resumeToken"], "seven")
        assert await execution.result(timeout=30) == "seven"

    assert len({request.headers["webhook-id"] for request in partner.requests}) == 1
    assert len({request.body for request in partner.requests}) == 1
    assert {request.target for request in partner.requests} == {"/checks"}


async def test_an_answer_may_overtake_the_request(
    sending: Callable[..., App], partner: Partner
) -> None:
    """A partner that answers before it has said 2xx is admitted, and nothing is sent again."""
    taken: list[str] = []

    async def early(request: Request) -> bytes:
        receipt = await app.complete(json.loads(request.body)["resumeToken"], "seven")
        taken.append(receipt.outcome)
        return answer(202)

    partner.answering = early
    asks = flow(partner.url)
    app = sending(asks)
    async with app.running():
        execution = await app.submit(asks, 7)
        assert await execution.result(timeout=30) == "seven"
        await asyncio.sleep(0)

    assert taken == ["applied"]
    assert len(partner.requests) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"webhook_secrets": None}, "await 'Ask' of pipeline 'asks': there is no secret"),
        ({"callback_base_url": ""}, "BIDE_CALLBACK_BASE_URL"),
        ({"keyring_file": None}, "there is no keyring"),
        ({"webhook_allow_loopback": False}, "BIDE_WEBHOOK_ALLOW_LOOPBACK"),
    ],
)
async def test_what_is_missing_stops_the_start(
    sending: Callable[..., App], partner: Partner, settings: dict[str, Any], message: str
) -> None:
    """Nothing is accepted before everything is there that its awaits need."""
    app = sending(flow(partner.url), **settings)

    with pytest.raises(DefinitionError, match=message):
        await app.start()


async def test_a_missing_secret_of_an_await_stops_the_start(sending: Callable[..., App]) -> None:
    """The message names the variable and never anything else."""
    via = Webhook("https://partner.example/x", secret=Secret(env="NOT_SET_ANYWHERE"))
    asks = Pipeline("asks", int).wait(Await("Ask", int, str, via=via, timeout="1d"))

    with pytest.raises(DefinitionError, match=r"\$NOT_SET_ANYWHERE is missing"):
        await sending(asks).start()


async def test_an_api_without_workers_needs_no_secret(
    sending: Callable[..., App], partner: Partner
) -> None:
    """What only workers need is a remark where none run, and a failure to `doctor`."""
    app = sending(flow(partner.url), webhook_secrets=None)
    async with app.running(workers=False):
        ready, examined = await app.service.checks(), await app.service.examine()

    for checks, is_warning in ((ready, True), (examined, False)):
        [missing] = [each for each in checks if "there is no secret" in each.message]
        assert missing.warning is is_warning


async def test_the_development_switch_is_shown(
    sending: Callable[..., App], partner: Partner
) -> None:
    """Readiness and `doctor` tell that webhooks may go to this machine, and stay ready."""
    app = sending(flow(partner.url))
    async with app.running():
        checks = await app.service.checks()

    [shown] = [check for check in checks if "BIDE_WEBHOOK_ALLOW_LOOPBACK" in check.message]
    assert shown.warning
