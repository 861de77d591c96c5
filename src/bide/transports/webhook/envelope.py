"""The body of a dispatched request: names and order of the wire contract, in one place."""

from __future__ import annotations

import msgspec

from bide.spi.transport import Outgoing


class Callback(msgspec.Struct, frozen=True, rename="camel"):
    """Where the answer is to be posted."""

    completion_url: str


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """What a partner gets: who asks, what for, until when, and how to answer."""

    tenant_id: str
    interaction_id: str
    correlation_id: str
    idempotency_key: str
    #: Null where the network is trusted instead.
    resume_token: str | None
    execution_id: str
    step_id: str
    output_type: str
    #: Unix milliseconds.
    deadline_epoch_ms: int
    #: The stored bytes as they are: what was asked stays what was asked, to the digit.
    request_payload: msgspec.Raw
    callback: Callback


def envelope(outgoing: Outgoing, completion_url: str) -> bytes:
    """The JSON that is sent, UTF-8; equal for every attempt of one interaction."""
    return msgspec.json.encode(
        Envelope(
            tenant_id=outgoing.tenant,
            interaction_id=outgoing.interaction_id,
            correlation_id=outgoing.correlation_id,
            idempotency_key=outgoing.idempotency_key,
            resume_token=outgoing.resume_token,
            execution_id=outgoing.execution_id,
            step_id=outgoing.step_id,
            output_type=outgoing.output_type,
            deadline_epoch_ms=outgoing.deadline_at,
            request_payload=msgspec.Raw(outgoing.request),
            callback=Callback(completion_url),
        )
    )
