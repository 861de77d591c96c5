"""Whose request it is: the credentials that the settings say are taken.

A credential comes as `Authorization: Bearer ...`, an API key or a JWT.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from bide.authoring.principal import Principal
from bide.errors import DefinitionError
from bide.security.apikeys import PREFIX, ApiKeys
from bide.security.bearer import JwtBearer
from bide.security.files import Watched
from bide.settings import Settings
from bide.spi.clock import Clock

_SCHEME: Final = "bearer"


class Authentication:
    """Knows the callers of an app by their credentials."""

    def __init__(
        self, clock: Clock, *, api_keys: Callable[[], ApiKeys] | None, jwt: JwtBearer | None
    ) -> None:
        """Take the kinds of credentials that are not None."""
        self._clock = clock
        self._api_keys = api_keys
        self._jwt = jwt

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> Authentication | None:
        """What the settings say; None where nobody is asked who they are.

        Raises:
            DefinitionError: what they say cannot work, or names API keys twice.
        """
        api_keys, jwt = _api_keys(settings), JwtBearer.of(settings)
        if api_keys is None and jwt is None:
            return None
        return cls(clock, api_keys=api_keys, jwt=jwt)

    @property
    def kinds(self) -> list[str]:
        """What is taken, in words."""
        taken = {"API keys": self._api_keys, "JWT": self._jwt}
        return [name for name, how in taken.items() if how is not None]

    async def identify(self, authorization: str) -> Principal | None:
        """Whose credential a header `Authorization` holds; None for none that is good."""
        scheme, _, credential = authorization.strip().partition(" ")
        credential = credential.strip()
        if scheme.lower() != _SCHEME or not credential.isascii():
            return None
        if credential.startswith(f"{PREFIX}_"):
            now = datetime.fromtimestamp(self._clock() / 1000, UTC)
            return self._api_keys().identify(credential, now) if self._api_keys else None
        return await self._jwt.identify(credential) if self._jwt else None


def _api_keys(settings: Settings) -> Callable[[], ApiKeys] | None:
    given, path = settings.api_keys, settings.api_keys_file
    if given is not None and path is not None:
        raise DefinitionError("BIDE_API_KEYS and BIDE_API_KEYS_FILE are both set; unset one")
    if path is not None:
        return Watched(path, ApiKeys.parse).current
    if given is None:
        return None
    keys = ApiKeys.parse(given.get_secret_value().encode(), "BIDE_API_KEYS")
    return lambda: keys
