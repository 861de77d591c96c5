"""API keys: long random texts, of which only hashes are kept, with what each may do.

    bidekey_ID_SECRET

The list of them is a JSON document that holds no secret:

    {"version": 1, "api_keys": [{"id": "a1b2c3d4", "hash": "...", "actor": "ada", "tenant": "default",
      "groups": ["kitchen"], "roles": ["decide"], "created": "...", "expires": null}]}

A secret has 256 random bits, so a plain SHA-256 keeps it: there is nothing to guess that a slow hash
would protect.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Literal, Self

import msgspec

from bide.authoring.principal import Principal
from bide.errors import DefinitionError

PREFIX: Final = "bidekey"
_SHAPE: Final = re.compile(rf"{PREFIX}_([a-z0-9]{{1,16}})_([A-Za-z0-9_-]{{43}})")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ID: Final = re.compile(r"[a-z0-9]{1,16}")
_KEYS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key's scope; its secret is known to its owner alone."""

    id: str
    hash: str = field(repr=False)
    principal: Principal
    created: datetime
    #: From then on it is refused; None: never.
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The keys that are taken, by id."""

    keys: Mapping[str, ApiKey]

    @classmethod
    def of(cls, keys: Iterable[ApiKey]) -> Self:
        """Put keys together.

        Raises:
            DefinitionError: two have one id, or there are more than 100,000.
        """
        listed = list(keys)
        found = {key.id: key for key in listed}
        if len(found) != len(listed):
            raise DefinitionError("two API keys have the same id")
        if len(found) > _KEYS_MAX:
            raise DefinitionError(f"there are over {_KEYS_MAX:,} API keys")
        return cls(MappingProxyType(found))

    def __iter__(self) -> Iterator[ApiKey]:
        return iter(self.keys.values())

    def identify(self, text: str, now: datetime) -> Principal | None:
        """Whose key a text is; None for one that is none, is not known, or has expired."""
        match = _SHAPE.fullmatch(text)
        if match is None:
            return None
        key = self.keys.get(match[1])
        # An unknown id takes as long as a wrong secret.
        known = hmac.compare_digest(_hash(text), key.hash if key else "0" * 64)
        if key is None or not known or (key.expires is not None and now >= key.expires):
            return None
        return key.principal

    def issued(
        self,
        now: datetime,
        *,
        actor: str,
        tenant: str,
        groups: Iterable[str],
        roles: Iterable[str],
        expires: datetime | None = None,
    ) -> tuple[Self, ApiKey, str]:
        """Make a key; gives the keys with it, the key, and its text, which nobody can ask for again.

        Raises:
            ValueError: the actor or the tenant is blank.
            DefinitionError: there is no such role.
        """
        id = f"a{secrets.token_hex(4)}"
        text = f"{PREFIX}_{id}_{secrets.token_urlsafe(32)}"
        principal = Principal(
            actor, groups=groups, roles=roles, tenant=tenant, credential=f"api-key:{id}"
        )
        key = ApiKey(id=id, hash=_hash(text), principal=principal, created=now, expires=expires)
        return self.of([*self.keys.values(), key]), key, text

    def rotated(self, id: str, now: datetime, old_until: datetime) -> tuple[Self, ApiKey, str]:
        """Make a key of the same scope in the place of one, which stays good until `old_until`.

        Raises:
            DefinitionError: there is no such key.
        """
        old = self._known(id)
        until = old_until if old.expires is None else min(old.expires, old_until)
        kept = [replace(key, expires=until) if key is old else key for key in self.keys.values()]
        who = old.principal
        return self.of(kept).issued(
            now, actor=who.id, tenant=who.tenant, groups=who.groups, roles=who.roles
        )

    def without(self, id: str) -> Self:
        """Take a key away.

        Raises:
            DefinitionError: there is no such key.
        """
        gone = self._known(id)
        return self.of(key for key in self.keys.values() if key is not gone)

    def _known(self, id: str) -> ApiKey:
        key = self.keys.get(id)
        if key is None:
            raise DefinitionError(f"there is no API key {id!r}")
        return key

    @classmethod
    def parse(cls, text: bytes, source: str) -> Self:
        """Read a list of keys; `source` opens the message of an error.

        Raises:
            DefinitionError: it is none.
        """
        try:
            document = msgspec.json.decode(text, type=_Document)
            return cls.of(entry.key() for entry in document.api_keys)
        except (msgspec.MsgspecError, ValueError) as error:
            raise DefinitionError(f"{source} is no list of API keys: {error}") from None
        except DefinitionError as error:
            raise DefinitionError(f"{source}: {error}") from None

    def render(self) -> bytes:
        """Write it down; it holds no secret."""
        document = _Document(1, [_Entry.of(key) for key in self.keys.values()])
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    hash: str
    actor: str
    tenant: str
    groups: list[str]
    roles: list[str]
    created: datetime
    expires: datetime | None = None

    def key(self) -> ApiKey:
        if not _ID.fullmatch(self.id) or not _HASH.fullmatch(self.hash):
            raise DefinitionError(f"API key {self.id[:32]!r}: its id or its hash is none")
        if self.expires is not None and self.expires.tzinfo is None:
            raise DefinitionError(f"API key {self.id!r}: the time that it expires at has no zone")
        principal = Principal(
            self.actor, groups=self.groups, roles=self.roles, tenant=self.tenant,
            credential=f"api-key:{self.id}",
        )  # fmt: skip
        return ApiKey(
            id=self.id, hash=self.hash, principal=principal, created=self.created,
            expires=self.expires,
        )  # fmt: skip

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        who = key.principal
        groups, roles = sorted(who.groups), sorted(who.roles)
        return cls(key.id, key.hash, who.id, who.tenant, groups, roles, key.created, key.expires)


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    version: Literal[1]
    api_keys: list[_Entry]


NO_KEYS: Final = ApiKeys.of([])


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
