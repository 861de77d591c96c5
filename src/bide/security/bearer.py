"""JWT bearer tokens: verified with PyJWT, and mapped to a principal.

Issuer, audience, expiry and subject are required, algorithms come from a list that holds none with a
shared secret, and the key's own kind must be the algorithm's. What a token says of tenant, groups
and roles is read from the claims that the settings name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

from bide.authoring.principal import ROLES, Principal
from bide.errors import DefinitionError
from bide.security.jwks import INSTALL, FileKeys, KeySource, RemoteKeys
from bide.settings import Settings

_ALGORITHMS: Final = frozenset(
    {f"{kind}{size}" for kind in ("RS", "PS", "ES") for size in (256, 384, 512)} | {"EdDSA"}
)
_TOKEN_MAX: Final = 8_192
_NAME_MAX: Final = 255
_GROUPS_MAX: Final = 1_000


class JwtBearer:
    """Knows whose a JWT is."""

    def __init__(self, settings: Settings, source: KeySource) -> None:
        """Take keys from `source`, and all else from the settings.

        Raises:
            DefinitionError: a setting is missing or unfit, or PyJWT is not installed.
        """
        for name in ("jwt_issuer", "jwt_audience"):
            if not getattr(settings, name):
                raise DefinitionError(
                    f"BIDE_{name.upper()} is not set; a JWT is checked against it"
                )
        self._algorithms = [each.strip() for each in settings.jwt_algorithms.split(",")]
        if unknown := sorted(set(self._algorithms) - _ALGORITHMS):
            known = ", ".join(sorted(_ALGORITHMS))
            raise DefinitionError(f"BIDE_JWT_ALGORITHMS: {unknown[0]!r} is none of {known}")
        if not settings.jwt_tenant and not settings.jwt_tenant_claim:
            raise DefinitionError("set BIDE_JWT_TENANT_CLAIM, or BIDE_JWT_TENANT for all")
        if find_spec("jwt") is None:
            raise DefinitionError(INSTALL)
        self._settings = settings
        self._source = source

    @classmethod
    def of(cls, settings: Settings) -> JwtBearer | None:
        """What the settings say; None where they name no keys.

        Raises:
            DefinitionError: what they say cannot work.
        """
        where = settings.jwt_jwks
        if not where:
            return None
        source = RemoteKeys(where) if "://" in where else FileKeys(Path(where))
        return cls(settings, source)

    async def identify(self, token: str) -> Principal | None:
        """Whose token it is; None for one that is not good here and now."""
        import jwt

        if len(token) > _TOKEN_MAX:
            return None
        settings = self._settings
        try:
            header = jwt.get_unverified_header(token)
            key_id = str(header.get("kid", ""))
            key = (await self._source.keys(key_id)).get(key_id)
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                leeway=settings.jwt_leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError:
            return None
        return self._principal(claims, key_id)

    def _principal(self, claims: Mapping[str, Any], key_id: str) -> Principal | None:
        settings = self._settings
        tenant = settings.jwt_tenant or _found(claims, settings.jwt_tenant_claim)
        subject = claims["sub"]
        if not _is_name(tenant) or not _is_name(subject):
            return None
        groups = _listed(_found(claims, settings.jwt_groups_claim))
        roles = ROLES.intersection(_listed(_found(claims, settings.jwt_roles_claim)))
        return Principal(
            subject,
            groups=groups,
            roles=roles,
            tenant=tenant,
            credential=f"jwt:{key_id}"[:_NAME_MAX],
        )


def _found(claims: Mapping[str, Any], name: str) -> Any:
    """A claim of that very name, else the one to which its dots lead; None where there is none."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = cast("Mapping[str, Any]", value).get(part) if isinstance(value, Mapping) else None
    return value


def _is_name(value: object) -> bool:
    """Whether it can be an actor or a tenant: something to show, to keep and to compare."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _NAME_MAX
        and value.isprintable()
        and bool(value.strip())
    )


def _listed(value: object) -> list[str]:
    """A list of names, or one text with spaces between them."""
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list):
        return []
    names = cast("Iterable[object]", value[:_GROUPS_MAX])
    return [name for name in names if isinstance(name, str) and _is_name(name)]
