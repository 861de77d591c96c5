"""The webhook adapter: posts each request to its await's URL and reads the answer's status.

It speaks through httpcore, the part of httpx that holds connections, because that has none of what
would have to be switched off here: no redirects, no cookies, no proxies from the environment, no
unpacking of answers.

What happens when it crashes, or the network does: nothing is kept here, so a request whose answer
was not read comes again with the same `webhook-id`. What a partner has answered counts from its
status line on; that its text then never ends changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpcore
from pydantic import SecretStr

from bide.authoring.secrets import Secret
from bide.authoring.transports import Transport as Via
from bide.authoring.transports import Webhook, check_header_value
from bide.authoring.urls import Url, parse_url
from bide.errors import DefinitionError
from bide.settings import KIB, Settings
from bide.spi.clock import Clock
from bide.spi.transport import Delivery, Outgoing, Problem, Route, Unclear
from bide.transports.webhook.answers import delivery_of
from bide.transports.webhook.connections import Connections
from bide.transports.webhook.envelope import envelope
from bide.transports.webhook.guard import AddressRefused, Egress, Resolve, resolve_by_system
from bide.transports.webhook.secrets import read_app_secrets, read_secret
from bide.transports.webhook.signing import Signer, parse_keys

log = logging.getLogger(__name__)

#: Where an app takes answers, below its base URL.
COMPLETION_PATH: Final = "/pipeline/interactions/complete"

#: An answer's text is read only so that its connection can be used again.
_ANSWER_BYTES_MAX: Final = 64 * KIB
_ANSWER_TEXT_S: Final = 1.0
#: What `send` takes beyond its requests' own time: closing connections.
_CLOSING_MS: Final = 1_000
_MESSAGE_CHARACTERS_MAX: Final = 300
_TRACE_HEADERS: Final = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class _Partner:
    """One await's webhook, ready to be sent to."""

    url: Url
    completion_url: str
    signer: Signer = field(repr=False)
    headers: tuple[tuple[str, Callable[[], str]], ...] = field(repr=False)


class WebhookTransport:
    """Carries the interactions of awaits with `via=Webhook(...)`.

    Args:
        awaits: every webhook of the app, by what messages call its await.
        settings: where this process may send to, and how long it waits.
        clock: dates the signatures.
        resolve: from host names to addresses.
    """

    def __init__(
        self,
        awaits: Mapping[str, Webhook],
        settings: Settings,
        clock: Clock,
        resolve: Resolve = resolve_by_system,
    ) -> None:
        self._awaits = awaits
        self._settings = settings
        self._clock = clock
        self._egress = egress_of(settings)
        self._connections = Connections(settings, self._egress, resolve)
        self._partners: dict[Webhook, _Partner] = {}

    async def open(self) -> None:
        """Read secrets and make the pools; connects to nobody.

        Raises:
            DefinitionError: an address that may not be sent to, a missing secret, no callback.
        """
        for name, via in self._awaits.items():
            self._partners[via] = self._prepared(name, via)
        self._connections.open()

    async def close(self) -> None:
        """Close every connection; safe to call twice and before `open`."""
        self._partners.clear()
        await self._connections.close()

    def route(self, via: Via) -> Route:
        """Requests to one origin share a circuit breaker and a batch."""
        webhook = _webhook(via)
        return Route(
            endpoint=parse_url("Webhook: url", webhook.url).origin,
            retry=webhook.retry,
            timeout_ms=self._settings.webhook_timeout_ms + _CLOSING_MS,
            max_in_flight=webhook.max_in_flight,
        )

    async def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
        """Post a batch, as many at once as there may be connections to its origin."""
        until = asyncio.get_running_loop().time() + self._settings.webhook_timeout_ms / 1_000
        return await asyncio.gather(*(self._sent(outgoing, until) for outgoing in batch))

    async def problems(self) -> list[Problem]:
        """What is set up wrongly, and every switch that opens more than the public internet."""
        found = [
            Problem(name, str(error), is_fatal=True)
            for name, via in self._awaits.items()
            for error in [self._complaint(name, via)]
            if error is not None
        ]
        return [*found, *_opened(self._settings)] if self._awaits else []

    # --- one request --------------------------------------------------------------------------

    async def _sent(self, outgoing: Outgoing, until: float) -> Delivery:
        """Post one request and say what became of it, whatever happens."""
        answered: Delivery | None = None
        try:
            partner = self._partner(outgoing)
            headers, body = self._request(partner, outgoing)
            async with asyncio.timeout_at(until):
                async with self._connections.post(partner.url, headers, body) as response:
                    answered = delivery_of(response.status, response.headers, self._clock())
                    await _read_to_end(response)
        except Exception as error:  # noqa: BLE001 - a defect here must not stop the batch
            if answered is None:
                return Unclear(self._why(error))
        assert answered is not None
        return answered

    def _request(
        self, partner: _Partner, outgoing: Outgoing
    ) -> tuple[list[tuple[str, str]], bytes]:
        body = envelope(outgoing, partner.completion_url)
        traced = [(name, outgoing.trace[name]) for name in _TRACE_HEADERS if name in outgoing.trace]
        signed = partner.signer.headers(outgoing.interaction_id, self._clock(), body)
        authored = [(name, value()) for name, value in partner.headers]
        return [*signed, *traced, *authored], body

    def _partner(self, outgoing: Outgoing) -> _Partner:
        via = _webhook(outgoing.via)
        if via not in self._partners:
            self._partners[via] = self._prepared(f"await {outgoing.step_id!r}", via)
        return self._partners[via]

    def _why(self, error: Exception) -> str:
        """Say in one line what kept an answer from coming.

        Only texts that this side wrote: what a partner sent might repeat the request's token.
        """
        match error:
            case TimeoutError():
                text = (
                    f"no answer within webhook_timeout_ms ({self._settings.webhook_timeout_ms:,})"
                )
            case AddressRefused() | DefinitionError() | httpcore.ConnectError():
                text = f"not sent: {error}"
            case httpcore.ConnectTimeout():
                text = f"not sent: no connection within {self._settings.webhook_connect_timeout_ms:,} ms"
            case httpcore.ProxyError():
                text = "not sent: the proxy of BIDE_WEBHOOK_PROXY did not let it through"
            case httpcore.NetworkError() | httpcore.ProtocolError():
                text = "the connection broke, or brought no HTTP, before an answer was read"
            case _:
                log.error("a webhook failed in a way that it should not: %s", type(error).__name__)
                text = f"not sent: {type(error).__name__}"
        return " ".join(text.split())[:_MESSAGE_CHARACTERS_MAX]

    # --- what is authored and set -------------------------------------------------------------

    def _prepared(self, name: str, via: Webhook) -> _Partner:
        url = parse_url("Webhook: url", via.url)
        why = self._egress.why_not(url)
        if why is not None:
            raise DefinitionError(f"{name}: nothing can be sent to {url.origin}: {why}")
        headers = tuple((key, _header(key, value)) for key, value in via.headers.items())
        callback = completion_url(name, via, self._settings)
        return _Partner(url, callback, self._signer(name, via), headers)

    def _signer(self, name: str, via: Webhook) -> Signer:
        own = [read_secret(each, parse_keys) for each in via.secrets]
        shared = None if own else read_app_secrets(self._settings, parse_keys)
        if not own and shared is None:
            raise DefinitionError(
                f"{name}: there is no secret to sign its requests with; "
                "set BIDE_WEBHOOK_SECRETS, or write Webhook(..., secret=Secret(env=...))"
            )
        return Signer(own if shared is None else [shared])

    def _complaint(self, name: str, via: Webhook) -> DefinitionError | None:
        try:
            self._prepared(name, via)
        except DefinitionError as error:
            return error
        return None


def completion_url(name: str, via: Webhook, settings: Settings) -> str:
    """Where a partner is told to post its answer; `name` is what messages call the await.

    Raises:
        DefinitionError: neither the await nor the settings say so, or not as an address.
    """
    if via.callback is not None:
        return via.callback
    base = settings.callback_base_url
    if not base:
        raise DefinitionError(
            f"{name}: partners are not told where to answer; "
            "set BIDE_CALLBACK_BASE_URL, or write Webhook(..., callback=...)"
        )
    parse_url("BIDE_CALLBACK_BASE_URL", base)
    return base.rstrip("/") + COMPLETION_PATH


def egress_of(settings: Settings) -> Egress:
    """Where a process with these settings may send to."""
    return Egress(
        hosts=tuple(host.lower() for host in settings.webhook_hosts),
        networks=settings.webhook_networks,
        allow_loopback=settings.webhook_allow_loopback,
        proxied=settings.webhook_proxy is not None,
    )


async def _read_to_end(response: httpcore.Response) -> None:
    """Read an answer's text away, within bounds; beyond them the connection is given up."""
    size = 0
    async with asyncio.timeout(_ANSWER_TEXT_S):
        async for part in response.aiter_stream():
            size += len(part)
            if size > _ANSWER_BYTES_MAX:
                return


def _opened(settings: Settings) -> list[Problem]:
    """A warning for each setting that lets webhooks go where strangers cannot."""
    found: list[Problem] = []
    if settings.webhook_allow_loopback:
        text = "webhooks may go to this machine, without TLS; leave it off outside development"
        found.append(Problem("BIDE_WEBHOOK_ALLOW_LOOPBACK", text, is_fatal=False))
    if settings.webhook_networks:
        listed = ", ".join(map(str, settings.webhook_networks))
        text = f"webhooks may go to {listed}, also without TLS"
        found.append(Problem("BIDE_WEBHOOK_NETWORKS", text, is_fatal=False))
    return found


def _header(name: str, value: str | Secret) -> Callable[[], str]:
    if isinstance(value, str):
        return lambda: value

    def parse(text: SecretStr, where: str) -> str:
        return check_header_value(f"header {name!r} from {where}", text.get_secret_value())

    return read_secret(value, parse)


def _webhook(via: Via) -> Webhook:
    assert isinstance(via, Webhook), f"{type(via).__name__} is not the webhook adapter's"
    return via
