"""The desk at which a process makes and checks tokens: its keyring, and how long they last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bide.errors import DefinitionError
from bide.model.records import Interaction
from bide.security.files import Watched, is_private
from bide.security.keyring import Keyring
from bide.security.tokens import Claims, Purpose, TokenRefused, claims_of, sign, verify
from bide.settings import Settings

_DAY_MS = 86_400_000
HOW = "make one with `bide keys generate` and set BIDE_KEYRING_FILE to where it lies"


class TokenDesk:
    """Makes tokens for interactions, and says what a token gives a right to."""

    def __init__(
        self, keyring: Callable[[], Keyring] | None, *, retention_ms: int, path: Path | None = None
    ) -> None:
        """Take a keyring that may change from call to call; None makes and takes no tokens."""
        self._keyring = keyring
        self._retention_ms = retention_ms
        #: The keyring's file, where it lies in one.
        self.path = path

    @classmethod
    def of(cls, settings: Settings) -> TokenDesk:
        """Open the desk with the keyring that the settings name, if they name one.

        Raises:
            DefinitionError: it cannot be read, is none, or is named twice.
        """
        retention_ms = int(settings.retention_days * _DAY_MS)
        given, path = settings.keyring, settings.keyring_file
        if given is not None and path is not None:
            raise DefinitionError("BIDE_KEYRING and BIDE_KEYRING_FILE are both set; unset one")
        if path is not None:
            watched = Watched(path, Keyring.parse)
            return cls(watched.current, retention_ms=retention_ms, path=path)
        if given is not None:
            keyring = Keyring.parse(given.get_secret_value().encode(), "BIDE_KEYRING")
            return cls(lambda: keyring, retention_ms=retention_ms)
        return cls(None, retention_ms=retention_ms)

    @property
    def is_open(self) -> bool:
        """Whether there is a keyring."""
        return self._keyring is not None

    def issue(self, row: Interaction, purpose: Purpose, *, actor: str | None = None) -> str:
        """Make a token for an interaction; the same one each time, while the same key signs.

        Args:
            row: the interaction as it is stored.
            purpose: what the token opens.
            actor: who answers with it; None: whoever it is given to says who they are.

        Raises:
            DefinitionError: there is no keyring.
            ValueError: the tenant or the actor is too long for a token.
        """
        if self._keyring is None:
            raise DefinitionError(f"a token needs a keyring: {HOW}")
        claims = claims_of(row, purpose, retention_ms=self._retention_ms, actor=actor)
        return sign(claims, self._keyring())

    def check(self, token: str, purpose: Purpose, now: int) -> Claims:
        """Give what a token says.

        Raises:
            TokenRefused: it gives no right to that here and now.
        """
        if self._keyring is None:
            raise TokenRefused("invalid-token", "no tokens are taken here: there is no keyring")
        return verify(token, purpose, self._keyring(), now)

    def key_ids(self) -> list[str]:
        """The ids of its keys, the one that signs first."""
        if self._keyring is None:
            return []
        keyring = self._keyring()
        return [keyring.signing.id, *(id for id in keyring.keys if id != keyring.signing.id)]

    def is_private(self) -> bool:
        """Whether nobody but its owner may read the keyring's file."""
        return self.path is None or is_private(self.path)


#: Makes no tokens and takes none.
CLOSED = TokenDesk(None, retention_ms=0)
