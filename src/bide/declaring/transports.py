"""An await's transport, from its words."""

from __future__ import annotations

from typing import Any, Final

from bide.authoring.retry import Retry
from bide.authoring.secrets import Secret
from bide.authoring.transports import Inbox, Kafka, Transport, Webhook
from bide.declaring.document import Path
from bide.declaring.source import Source
from bide.declaring.vocabulary import (
    AwaitBlock,
    InboxTransport,
    KafkaTransport,
    RetryRule,
    SecretAt,
    WebhookTransport,
)

#: Where an answer is posted to, behind the address of an app.
COMPLETION_PATH: Final = "/pipeline/interactions/complete"


def transport_of(block: AwaitBlock, path: Path, source: Source) -> Transport:
    """Make the transport of an `await:` block at `path`.

    Raises:
        DeclarationError: its words contradict each other, or could never work.
    """
    words = block.transport
    here = (*path, "transport")
    trusted = _trusted(block, path, source)
    with source.at(here):
        match words:
            case InboxTransport():
                return Inbox(words.group, assignee=words.assignee)
            case KafkaTransport():
                return Kafka(
                    request=words.request.topic,
                    response=words.response.topic,
                    trusted_network=trusted,
                    **_said(
                        key=words.request.key,
                        group=words.consumer and words.consumer.group,
                        dead_letters=words.dead_letters,
                        tenants=words.tenants,
                        headers=words.headers,
                        max_in_flight=words.max_in_flight,
                        retry=words.retry and _retry(words.retry),
                    ),
                )
            case WebhookTransport():
                _check_parts(words, here, source)
                return Webhook(
                    words.request.url,
                    trusted_network=trusted,
                    **_said(
                        callback=_callback(words, here, source),
                        headers={name: _value(one) for name, one in (words.headers or {}).items()},
                        secret=_secrets(words),
                        max_in_flight=words.max_in_flight,
                        retry=words.retry and _retry(words.retry),
                    ),
                )


def _trusted(block: AwaitBlock, path: Path, source: Source) -> bool:
    """Say whether answers may come without a token, and refuse what contradicts itself."""
    strategy = block.correlation.strategy if block.correlation else None
    where = (*path, "correlation", "strategy")
    if isinstance(block.transport, InboxTransport):
        if strategy == "signedResumeToken":
            raise source.error(
                where,
                "interaction-api is answered by people who are known, or by a link;"
                " write strategy: interactionId",
            )
        return False
    trusted = bool(block.transport.trusted_network)
    if strategy == "interactionId" and not trusted:
        raise source.error(
            where,
            f"{block.transport.type} with interactionId lets whoever knows an id answer; write"
            " strategy: signedResumeToken, or trustedNetwork: true in transport if only friends"
            " can reach it",
        )
    if strategy == "signedResumeToken" and trusted:
        raise source.error(
            (*path, "transport", "trustedNetwork"),
            "trustedNetwork lets answers come without the token that strategy: signedResumeToken"
            " asks for; keep one of the two",
        )
    return trusted


def _check_parts(words: WebhookTransport, path: Path, source: Source) -> None:
    """Try the parts one by one, so that each is refused in its own place."""
    url = words.request.url
    with source.at((*path, "request", "url")):
        Webhook(url)
    for name, value in (words.headers or {}).items():
        with source.at((*path, "headers", name)):
            Webhook(url, headers={name: _value(value)})


def _callback(words: WebhookTransport, path: Path, source: Source) -> str | None:
    callback = words.callback
    if callback is None:
        return None
    if callback.completion_url is not None:
        if callback.base_url is not None or callback.completion_path is not None:
            raise source.error(
                (*path, "callback", "completionUrl"),
                "completionUrl is the whole address; leave baseUrl and completionPath out",
            )
        return callback.completion_url
    if callback.base_url is None:
        raise source.error(
            (*path, "callback"),
            "write completionUrl, or baseUrl with or without completionPath",
        )
    behind = callback.completion_path or COMPLETION_PATH
    return f"{callback.base_url.rstrip('/')}/{behind.lstrip('/')}"


def _secrets(words: WebhookTransport) -> list[Secret] | None:
    if words.secret is None:
        return None
    found = [words.secret] if isinstance(words.secret, SecretAt) else words.secret
    return [Secret(env=one.env, file=one.file) for one in found]


def _value(given: str | SecretAt) -> str | Secret:
    return given if isinstance(given, str) else Secret(env=given.env, file=given.file)


def _retry(words: RetryRule) -> Retry:
    return Retry(**_said(attempts=words.attempts, first=words.first, longest=words.longest))


def _said(**options: Any) -> dict[str, Any]:
    """Leave out what was not written, so that it means what it means in code."""
    return {name: value for name, value in options.items() if value is not None}
