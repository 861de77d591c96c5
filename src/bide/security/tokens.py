"""Resume tokens: the right to answer one interaction, signed, as text for a URL or a JSON field.

    bide1.KEY.PURPOSE.TENANT.CLAIMS.MAC

`KEY` names a key of the keyring, `PURPOSE` is a word, `TENANT` and `CLAIMS` are base64url without
padding, and `MAC` is HMAC-SHA-256 over all that stands before its dot, in base64url. The claims are
the bytes of `_CLAIMS`, then the actor for whom the token was made, in UTF-8, if it was made for one.
The step and the correlation id are in them as the first half of their SHA-256: they have no bound
that would keep a token within 1 KiB.

Nothing is decoded before the MAC is compared, and the MAC is compared as the text that it must be:
of one token there is one spelling. What a token says follows from the interaction's row alone, so a
request that is sent twice carries the same one, as long as the same key signs.
"""

from __future__ import annotations

import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from bide.errors import BideError
from bide.model.ids import ExecutionId, InteractionId, format_interaction
from bide.model.records import Interaction
from bide.security.keyring import Keyring

VERSION: Final = "bide1"
#: Characters of a token, at most.
TOKEN_MAX: Final = 1_024
#: Bytes of a tenant and of an actor in UTF-8, at most, so that every token fits.
TEXT_BYTES_MAX: Final = 255

_PARTS: Final = 6
#: Execution, unit, item, generation, issued at, expires at (Unix milliseconds), step, correlation.
_CLAIMS: Final = struct.Struct(">16sIIIQQ16s16s")
_HALF: Final = 16


class Purpose(StrEnum):
    """What a token is for; a token for one thing opens no other."""

    #: A partner's program answers the request that the token came with.
    RESUME = "resume"
    #: A person opens a link, looks and decides.
    DECIDE = "decide"


class TokenRefused(BideError):
    """A token gives no right here; `code` says why, for the wire.

    `invalid-token`: not signed by a key that is known here, for this purpose. `expired-token`: it
    was good once.
    """

    code = "invalid-token"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says. Times are Unix milliseconds of the store's clock."""

    tenant: str
    purpose: Purpose
    interaction: InteractionId
    #: First halves of the SHA-256 of step id and correlation id.
    step: bytes
    correlation: bytes
    issued_at: int
    #: The last instant at which the token is good.
    expires_at: int
    #: For whom it was made: the actor of the answer, whatever else is said; None: for a program.
    actor: str | None = None
    #: The key that signed it, of a token that was verified.
    key_id: str = ""

    def names(self, *, step_id: str | None = None, correlation_id: str | None = None) -> bool:
        """Whether a step and a correlation id, where given, are those of the token."""
        return (step_id is None or _half(step_id) == self.step) and (
            correlation_id is None or _half(correlation_id) == self.correlation
        )


def claims_of(
    row: Interaction, purpose: Purpose, *, retention_ms: int, actor: str | None = None
) -> Claims:
    """What a token for an interaction says.

    It outlives the interaction's deadline by `retention_ms`, in which the row is still there to
    tell a repeat from what is late.
    """
    return Claims(
        tenant=row.tenant,
        purpose=purpose,
        interaction=row.id,
        step=_half(row.step_id),
        correlation=_half(row.correlation or format_interaction(row.id)),
        issued_at=row.created_at,
        expires_at=row.deadline_at + retention_ms,
        actor=actor,
    )


def sign(claims: Claims, keyring: Keyring) -> str:
    """Write claims down as a token of at most 1 KiB.

    Raises:
        ValueError: the tenant or the actor has more than 255 bytes in UTF-8.
    """
    texts = claims.tenant.encode(), (claims.actor or "").encode()
    if max(map(len, texts)) > TEXT_BYTES_MAX:
        raise ValueError(f"a token holds {TEXT_BYTES_MAX} bytes of a tenant and of an actor")
    tenant, actor = texts
    packed = _CLAIMS.pack(
        *claims.interaction, claims.issued_at, claims.expires_at, claims.step, claims.correlation
    )
    key = keyring.signing
    body = ".".join((VERSION, key.id, claims.purpose, _write(tenant), _write(packed + actor)))
    return f"{body}.{_mac(key.derive(claims.purpose, _write(tenant)), body)}"


def is_token(text: str) -> bool:
    """Whether a text means to be a token and not an id; says nothing of its being a good one."""
    return text.startswith(f"{VERSION}.")


def verify(token: str, purpose: Purpose, keyring: Keyring, now: int) -> Claims:
    """Give what a token says, if it was signed for that purpose and is still good.

    Raises:
        TokenRefused: it gives no right; nothing of it was decoded unless it was signed here.
    """
    parts = token.split(".") if token.isascii() and len(token) <= TOKEN_MAX else []
    if len(parts) != _PARTS or parts[0] != VERSION or parts[2] != purpose:
        raise TokenRefused("invalid-token", f"this is no token to {purpose} with")
    _, key_id, _, tenant, packed, mac = parts
    key = keyring.keys.get(key_id)
    body = token.rpartition(".")[0]
    if key is None or not hmac.compare_digest(_mac(key.derive(purpose, tenant), body), mac):
        raise TokenRefused(
            "invalid-token", "the token was not signed with a key that is known here"
        )
    claims = _read(key_id, purpose, tenant, packed)
    if now > claims.expires_at:
        raise TokenRefused("expired-token", "the token has expired")
    return claims


def _read(key_id: str, purpose: Purpose, tenant: str, packed: str) -> Claims:
    """Read what was signed, so what this version or another one wrote."""
    data = _bytes(packed)
    execution, unit, item, generation, issued, expires, step, correlation = _CLAIMS.unpack_from(
        data
    )
    return Claims(
        tenant=_bytes(tenant).decode(),
        purpose=purpose,
        interaction=InteractionId(ExecutionId(execution), unit, item, generation),
        step=step,
        correlation=correlation,
        issued_at=issued,
        expires_at=expires,
        actor=data[_CLAIMS.size :].decode() or None,
        key_id=key_id,
    )


def _half(text: str) -> bytes:
    # What is compared may be anything that a caller made up.
    return sha256(text.encode("utf-8", "surrogatepass")).digest()[:_HALF]


def _mac(key: bytes, body: str) -> str:
    return _write(hmac.digest(key, body.encode(), "sha256"))


def _write(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
