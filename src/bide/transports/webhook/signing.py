"""Signs requests as Standard Webhooks asks: id, time and body, under every secret in use.

While a secret is being replaced, old and new are both listed and both sign: a partner that knows
either accepts the request, whenever it takes the new one over.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from bide.errors import DefinitionError

if TYPE_CHECKING:
    from standardwebhooks import Webhook

_PREFIX: Final = "whsec_"
#: What the specification asks of a key.
_KEY_BYTES_MIN: Final = 24
_KEY_BYTES_MAX: Final = 64
#: While a secret is replaced there are two; more in one place are forgotten ones.
_KEYS_MAX: Final = 4

#: The keys of one place, the newest first.
Keys = tuple["Webhook", ...]


class Signer:
    """What one partner's requests are signed with: keys from one place or several."""

    def __init__(self, places: Sequence[Callable[[], Keys]]) -> None:
        self._places = places

    def headers(self, id: str, at_ms: int, body: bytes) -> list[tuple[str, str]]:
        """The three headers of one attempt.

        Args:
            id: equal on every attempt, so that the partner knows a repeat.
            at_ms: the attempt's own time, Unix milliseconds; a partner refuses old ones.
            body: the bytes that are sent.
        """
        at = datetime.fromtimestamp(at_ms // 1_000, tz=UTC)
        text = body.decode()
        signatures = (key.sign(id, at, text) for keys in self._places for key in keys())
        return [
            ("webhook-id", id),
            ("webhook-timestamp", str(at_ms // 1_000)),
            ("webhook-signature", " ".join(signatures)),
        ]


def parse_keys(text: SecretStr, where: str) -> Keys:
    """Read the secrets of one place, with blanks or line ends between them.

    Strict, since a mistyped secret would sign all the same, and no partner would accept it.

    Raises:
        DefinitionError: there are too many, one is no Standard Webhooks secret of 24 to 64 bytes,
            or the extra is not installed.
    """
    try:
        from standardwebhooks import Webhook
    except ImportError:
        raise DefinitionError('webhooks need: pip install "bide[webhook]"') from None
    secrets = text.get_secret_value().split()
    if len(secrets) > _KEYS_MAX:
        raise DefinitionError(
            f"{where} holds {len(secrets)} secrets to sign with; keep the one in use, or up to "
            f"{_KEYS_MAX} while one is replaced"
        )
    return tuple(Webhook(_key(secret, where)) for secret in secrets)


def _key(secret: str, where: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not _KEY_BYTES_MIN <= len(key) <= _KEY_BYTES_MAX:
        raise DefinitionError(
            f"{where} holds no secret to sign with: that is {_PREFIX} and {_KEY_BYTES_MIN} to "
            f"{_KEY_BYTES_MAX} bytes in base64, as by: echo whsec_$(openssl rand -base64 32)"
        )
    return key
