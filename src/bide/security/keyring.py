"""The secrets that tokens are signed with: one signs, the others only verify.

A keyring is a JSON document:

    {"version": 1, "keys": [{"id": "k3f9a2c1", "secret": "...", "created": "2026-11-22T00:00:00Z",
                             "use": "sign"}]}

The secret of an entry signs nothing itself. From it a key is derived for each tenant and purpose,
with HKDF (RFC 5869) over SHA-256, so that a key that leaks from one place opens no other:

    PRK = HMAC(salt = "bide keyring 1", secret)
    key = HMAC(PRK, "token" 0x00 purpose 0x00 tenant 0x01)

where the tenant is written as it stands in the token. No secret leaves this module but through
`render`, and none is in a `repr` or in an error.
"""

from __future__ import annotations

import binascii
import hmac
import re
import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Literal, Self

import msgspec

from bide.errors import DefinitionError

#: Bytes of a secret, at least; as many as SHA-256 gives.
SECRET_BYTES: Final = 32
#: Random bytes repeat; a phrase, a counter or one letter typed often do so much more.
_DISTINCT_BYTES_MIN: Final = 16
_KEYS_MAX: Final = 64

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,16}")
_SALT: Final = b"bide keyring 1"


@dataclass(frozen=True, slots=True)
class Key:
    """One secret and its name; the name is no secret."""

    id: str
    #: The HKDF pseudo-random key; the secret itself is needed only to be written down again.
    root: bytes = field(repr=False)
    secret: bytes = field(repr=False)
    created: datetime

    @classmethod
    def of(cls, id: str, secret: bytes, created: datetime) -> Self:
        """Make a key of a secret.

        Raises:
            DefinitionError: the id or the secret is unfit.
        """
        if not _ID.fullmatch(id):
            raise DefinitionError(f"key id {id[:32]!r}: 1 to 16 letters, digits, '-' and '_'")
        if len(secret) < SECRET_BYTES or len(set(secret)) < _DISTINCT_BYTES_MIN:
            raise DefinitionError(
                f"key {id!r} is too weak: {SECRET_BYTES} random bytes are needed at least;"
                " `bide keys generate` makes them"
            )
        return cls(id, hmac.digest(_SALT, secret, "sha256"), secret, created)

    def derive(self, purpose: str, tenant: str) -> bytes:
        """The key of one purpose and one tenant, as the tenant stands in the token; 32 bytes."""
        info = b"\0".join((b"token", purpose.encode(), tenant.encode())) + b"\1"
        return hmac.digest(self.root, info, "sha256")


def new_key(now: datetime) -> Key:
    """Make a key of the machine's own randomness."""
    id = f"k{secrets.token_hex(4)}"
    return Key.of(id, secrets.token_bytes(SECRET_BYTES), now)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The key that signs, and all that verify, it among them, by id; never empty."""

    signing: Key
    keys: Mapping[str, Key]

    @classmethod
    def of(cls, signing: Key, *verifying: Key) -> Self:
        """Put keys together.

        Raises:
            DefinitionError: two have one id, or there are more than 64.
        """
        keys = {key.id: key for key in (signing, *verifying)}
        if len(keys) != len(verifying) + 1:
            raise DefinitionError("two keys have the same id; each token names one")
        if len(keys) > _KEYS_MAX:
            raise DefinitionError(f"there are {len(keys)} keys; at most {_KEYS_MAX} are taken")
        return cls(signing, MappingProxyType(keys))

    def __repr__(self) -> str:
        others = [id for id in self.keys if id != self.signing.id]
        return f"<Keyring: {self.signing.id} signs, {', '.join(others) or 'none else'} verify>"

    def rotated(self, key: Key) -> Self:
        """Let a new key sign, and the one that did only verify."""
        return self.of(key, *self.keys.values())

    def without(self, id: str) -> Self:
        """Take a key away; what it signed is refused from then on.

        Raises:
            DefinitionError: there is no such key, or it signs.
        """
        if id not in self.keys:
            raise DefinitionError(f"there is no key {id!r}; there are: {', '.join(self.keys)}")
        if id == self.signing.id:
            raise DefinitionError(f"key {id!r} signs; rotate first, then revoke it")
        return self.of(
            self.signing, *(k for k in self.keys.values() if k.id not in {id, self.signing.id})
        )

    @classmethod
    def parse(cls, text: bytes, source: str) -> Self:
        """Read a keyring; `source` opens the message of an error.

        Raises:
            DefinitionError: it is none; the message holds nothing of it but ids.
        """
        try:
            document = msgspec.json.decode(text, type=_Document)
            signing = [each.key() for each in document.keys if each.use == "sign"]
            if len(signing) != 1:
                raise DefinitionError(f"{len(signing)} keys say use = sign; exactly one must")
            return cls.of(signing[0], *(each.key() for each in document.keys if each.use != "sign"))
        except msgspec.MsgspecError as error:
            raise DefinitionError(f"{source} is no keyring: {_without_values(error)}") from None
        except DefinitionError as error:
            raise DefinitionError(f"{source}: {error}") from None

    def render(self) -> bytes:
        """Write it down, secrets included."""
        entries = [_Entry.of(key, signs=key is self.signing) for key in self.keys.values()]
        return msgspec.json.format(msgspec.json.encode(_Document(1, entries)), indent=2) + b"\n"


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    secret: str
    created: datetime
    use: Literal["sign", "verify"]

    def key(self) -> Key:
        try:
            padded = self.secret + "=" * (-len(self.secret) % 4)
            secret = b64decode(padded, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise DefinitionError(f"the secret of key {self.id[:32]!r} is no base64url") from None
        return Key.of(self.id, secret, self.created)

    @classmethod
    def of(cls, key: Key, *, signs: bool) -> Self:
        secret = urlsafe_b64encode(key.secret).rstrip(b"=").decode()
        created = key.created.astimezone(UTC).replace(microsecond=0)
        return cls(key.id, secret, created, "sign" if signs else "verify")


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    version: Literal[1]
    keys: list[_Entry]


def _without_values(error: msgspec.MsgspecError) -> str:
    """The place of a mistake, without what stands there: it may be a secret in a wrong field."""
    place = re.search(r"at `(\$[\w.\[\]]*)`", str(error))
    return f"look at {place[1]}" if place else "it is not JSON of that form"
