"""A pipeline whose partner is another process; `bide serve` runs it. The environment configures it."""

import os

from bide import App, Await, Pipeline, Retry, Webhook
from bide.runtime.clock import system_clock
from bide.settings import Settings
from bide.transports.webhook.transport import WebhookTransport


def doubled(number: int) -> int:
    return number * 2


async def said(verdict: str) -> str:
    return f"it is {verdict}"


via = Webhook(
    os.environ.get("PARTNER_URL", "http://127.0.0.1:8099/checks"),
    retry=Retry(50, first="50ms", longest="200ms"),
    trusted_network=True,
)
check = Await("Check", int, str, via=via, timeout="1h")
checks = Pipeline("checks", int).then(doubled).wait(check).then(said)
app = App(checks, transports={Webhook: WebhookTransport({"check": via}, Settings(), system_clock)})
