"""What the tests of the webhook transport send, and with what."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bide import Settings, Webhook
from bide.model.ids import ExecutionId, InteractionId
from bide.spi.transport import Delivery, Outgoing
from bide.transports.webhook.guard import Resolve, resolve_by_system
from bide.transports.webhook.transport import WebhookTransport

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLDER_SECRET = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
CALLBACK = "https://bide.example"
TOKEN = "bt1.planted-token"
#: 2026-11-22T00:00:00Z
NOW = 1_795_305_600_000
EXECUTION = ExecutionId(bytes.fromhex("018f2a7e4c0070008000000000000001"))


def settings(**given: Any) -> Settings:
    """Settings with which a webhook can be sent to this machine."""
    usual: dict[str, Any] = {
        "webhook_secrets": SECRET,
        "callback_base_url": CALLBACK,
        "webhook_allow_loopback": True,
    }
    return Settings(**{**usual, **given})


def outgoing(via: Webhook, **given: Any) -> Outgoing:
    """A request of an await."""
    usual: dict[str, Any] = {
        "via": via,
        "tenant": "default",
        "interaction": InteractionId(EXECUTION, 2),
        "item_index": None,
        "pipeline": "charges",
        "step_id": "fraud-check",
        "correlation_id": "018f2a7e-4c00-7000-8000-000000000001_2_0",
        "idempotency_key": "order-42",
        "resume_token": TOKEN,
        "input_type": "Charge",
        "output_type": "Verdict",
        "deadline_at": NOW + 600_000,
        "request": b'{"order_id":"order-42","cents":1299,"rate":0.10}',
        "attempt": 1,
    }
    return Outgoing(**{**usual, **given})


@asynccontextmanager
async def opened(
    *awaits: Webhook, resolve: Resolve = resolve_by_system, **given: Any
) -> AsyncIterator[WebhookTransport]:
    """An open transport for these awaits."""
    named = {f"await {number}": via for number, via in enumerate(awaits)}
    transport = WebhookTransport(named, settings(**given), lambda: NOW, resolve)
    try:
        await transport.open()
        yield transport
    finally:
        await transport.close()


async def sent(via: Webhook, resolve: Resolve = resolve_by_system, **given: Any) -> Delivery:
    """Send one request through a transport of its own."""
    async with opened(via, resolve=resolve, **given) as transport:
        [delivery] = await transport.send([outgoing(via)])
        return delivery
