"""The two envelopes of the wire contract: what is sent, and what answers are read from; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, cast

import msgspec

from bide.authoring.transports import Kafka
from bide.planning.json_limits import MalformedJson, strict_loads
from bide.spi.receiving import MISSING, Completion, Unreadable
from bide.spi.transport import Outgoing

#: Characters of an id or a token, of a name, and of what a failure says.
_ID_MAX: Final = 1_024
_NAME_MAX: Final = 255
_MESSAGE_MAX: Final = 2_000
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: The same for texts in which a line may break.
_CONTROL_IN_PROSE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TRACE_HEADERS: Final = ("traceparent", "tracestate")
_TRACE_BYTES_MAX: Final = 512

Headers = list[tuple[str, bytes]]


# --- what is sent ---------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """What a partner gets: who asks, what for, until when, and how to answer."""

    tenant_id: str
    execution_id: str
    interaction_id: str
    correlation_id: str
    idempotency_key: str
    step_id: str
    #: Unix milliseconds.
    deadline_epoch_ms: int
    input_type: str
    output_type: str
    #: Null where the network is trusted instead.
    resume_token: str | None
    #: The stored bytes as they are: what was asked stays what was asked, to the digit.
    request_payload: msgspec.Raw
    transport_metadata: Mapping[str, str]


def request_of(outgoing: Outgoing) -> bytes:
    """The JSON that is sent, UTF-8; equal for every attempt of one interaction."""
    return msgspec.json.encode(
        Request(
            tenant_id=outgoing.tenant,
            execution_id=outgoing.execution_id,
            interaction_id=outgoing.interaction_id,
            correlation_id=outgoing.correlation_id,
            idempotency_key=outgoing.idempotency_key,
            step_id=outgoing.step_id,
            deadline_epoch_ms=outgoing.deadline_at,
            input_type=outgoing.input_type,
            output_type=outgoing.output_type,
            resume_token=outgoing.resume_token,
            request_payload=msgspec.Raw(outgoing.request),
            transport_metadata=outgoing.metadata,
        )
    )


def key_of(via: Kafka, outgoing: Outgoing) -> bytes:
    """What the record is keyed by: it places the record, and gives no right to anything."""
    by_correlation = via.key == "correlationId"
    return (outgoing.correlation_id if by_correlation else outgoing.interaction_id).encode()


def headers_of(via: Kafka, outgoing: Outgoing) -> Headers:
    """The author's headers, and the trace that the request is in."""
    traced = [(name, outgoing.trace[name]) for name in _TRACE_HEADERS if name in outgoing.trace]
    return [(name, value.encode()) for name, value in (*via.headers.items(), *traced)]


# --- what comes in --------------------------------------------------------------------------------


class Claimed(NamedTuple):
    """What a record says, and in whose name."""

    #: None where that cannot be read.
    tenant: str | None
    said: Completion | Unreadable


class Unfit(Exception):
    """A record is not what it should be; its words quote nothing of it."""


def read_completion(value: bytes | None, headers: Headers | None = None) -> Claimed:
    """Read a completion envelope; strings are trimmed, blanks are absent, more fields ignored."""
    tenant: str | None = None
    try:
        fields = json_object("it", json_of(value))
        tenant = _required(fields, "tenantId", _NAME_MAX)
        return Claimed(tenant, _completion(fields, headers))
    except MalformedJson as error:
        return Claimed(tenant, Unreadable("malformed", str(error)))
    except Unfit as error:
        return Claimed(tenant, Unreadable("malformed", str(error)))


def _completion(fields: Mapping[str, object], headers: Headers | None) -> Completion:
    interaction_id = _text(fields, "interactionId", _ID_MAX)
    correlation_id = _text(fields, "correlationId", _ID_MAX)
    if interaction_id is None and correlation_id is None:
        raise Unfit("there is neither interactionId nor correlationId")
    failure = _failure(fields)
    payload = fields.get("responsePayload", MISSING)
    if failure is None and payload is MISSING:
        raise Unfit("there is neither responsePayload nor failure")
    # Clients that write every field of a class send null beside a failure.
    if failure is not None and payload is not MISSING and payload is not None:
        raise Unfit("there are both responsePayload and failure")
    return Completion(
        interaction_id=interaction_id,
        correlation_id=correlation_id,
        resume_token=_text(fields, "resumeToken", _ID_MAX),
        idempotency_key=_text(fields, "idempotencyKey", _NAME_MAX),
        payload=MISSING if failure is not None else payload,
        failure=failure,
        actor=_text(fields, "actor", _NAME_MAX),
        carrier=_carrier(headers),
    )


def _failure(fields: Mapping[str, object]) -> tuple[str, str] | None:
    given = fields.get("failure")
    if given is None:
        return None
    failure = json_object("failure", given)
    code = _required(failure, "code", _NAME_MAX)
    # A code alone says enough; it then stands for the message as well.
    return code, _text(failure, "message", _MESSAGE_MAX, _CONTROL_IN_PROSE) or code


def json_of(value: bytes | None) -> object:
    """The JSON that a record is.

    Raises:
        Unfit: it has no value.
        MalformedJson: it is none, or past the bounds of JSON.
    """
    if value is None:
        raise Unfit("the record has no value")
    return strict_loads(value)


def json_object(what: str, value: object) -> Mapping[str, object]:
    """An object by its fields.

    Raises:
        Unfit: it is none.
    """
    if not isinstance(value, dict):
        raise Unfit(f"{what} is no JSON object")
    return cast("dict[str, object]", value)


def _required(fields: Mapping[str, object], name: str, longest: int) -> str:
    text = _text(fields, name, longest)
    if text is None:
        raise Unfit(f"there is no {name}")
    return text


def _text(
    fields: Mapping[str, object],
    name: str,
    longest: int,
    forbidden: re.Pattern[str] = _CONTROL,
) -> str | None:
    given = fields.get(name)
    if given is None:
        return None
    if not isinstance(given, str):
        raise Unfit(f"{name} is no string")
    text = given.strip()
    if len(text) > longest:
        raise Unfit(f"{name} has more than {longest:,} characters")
    if forbidden.search(text):
        raise Unfit(f"{name} holds control characters")
    return text or None


def _carrier(headers: Headers | None) -> Mapping[bytes, bytes]:
    """The trace that the sender was in; whatever else a header says counts for nothing."""
    return MappingProxyType(
        {
            name.encode(): value
            for name, value in headers or ()
            if name in _TRACE_HEADERS and value and len(value) <= _TRACE_BYTES_MAX
        }
    )
