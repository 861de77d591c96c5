"""The keyring: what is taken, what rotates, and what is never shown."""

import hmac
import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from bide.errors import DefinitionError
from bide.security.keyring import Key, Keyring, new_key

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SECRET = bytes(range(32))
WRITTEN = urlsafe_b64encode(SECRET).rstrip(b"=").decode()


def entry(**more: Any) -> dict[str, Any]:
    return {"id": "k1", "secret": WRITTEN, "created": "2026-11-22T00:00:00Z", "use": "sign", **more}


def document(*keys: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"version": 1, "keys": list(keys), **more}).encode()


def test_what_is_written_is_read() -> None:
    """A keyring survives its file, in the order of its keys."""
    keyring = Keyring.of(new_key(NOW)).rotated(new_key(NOW)).rotated(new_key(NOW))
    read = Keyring.parse(keyring.render(), "the file")

    assert read == keyring
    assert list(read.keys) == list(keyring.keys)


def test_keys_are_made_new() -> None:
    """No two keys that are made are alike."""
    made = [new_key(NOW) for _ in range(100)]

    assert len({key.id for key in made}) == len({key.secret for key in made}) == 100


def test_the_derivation_is_the_documented_one() -> None:
    """HKDF (RFC 5869), one block: an extract with our salt, an expand with purpose and tenant."""
    root = hmac.digest(b"bide keyring 1", SECRET, "sha256")
    derived = Key.of("k1", SECRET, NOW).derive("resume", "YWNtZQ")

    assert derived == hmac.digest(root, b"token\0resume\0YWNtZQ\1", "sha256")


def test_every_tenant_and_purpose_has_its_own_key() -> None:
    """A key that leaks from one place opens no other."""
    key = Key.of("k1", SECRET, NOW)
    places = [("resume", "a"), ("resume", "b"), ("decide", "a"), ("resume", ""), ("resumea", "")]

    assert len({key.derive(*place) for place in places}) == len(places)


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (b"", "too weak"),
        (SECRET[:31], "too weak"),
        (b"\0" * 32, "too weak"),
        (b"password" * 8, "too weak"),
        (b"0123456789" * 5, "too weak"),
    ],
)
def test_weak_secrets_are_refused(secret: bytes, why: str) -> None:
    """Too short, or too little in it."""
    with pytest.raises(DefinitionError, match=why):
        Key.of("k1", secret, NOW)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not JSON"),
        (b"[]", r"look at \$|not JSON"),
        (b'{"version": 1}', "not JSON|look at"),
        (document(), "0 keys say"),
        (document(entry(), entry(id="k2")), "2 keys say"),
        (document(entry(use="verify")), "0 keys say"),
        (document(entry(), entry(use="verify")), "same id"),
        (document(entry(id="k.1")), "key id 'k.1'"),
        (document(entry(id="")), "key id ''"),
        (document(entry(id="k" * 17)), "1 to 16"),
        (document(entry(secret="ü")), "no base64url"),
        (document(entry(secret="A" * 43)), "too weak"),
        (document(entry(secret=7)), r"look at \$.keys\[0\].secret"),
        (document(entry(use=WRITTEN)), r"look at \$.keys\[0\].use"),
        (document(entry(secrets=WRITTEN)), r"look at \$.keys\[0\]"),
        (document(entry(), version=2), r"look at \$.version"),
        (document(entry(), *[entry(id=f"k{n}x", use="verify") for n in range(64)]), "at most 64"),
    ],
)
def test_what_is_no_keyring_is_refused(text: bytes, why: str) -> None:
    """The message names the file and the place, and repeats nothing that could be a secret."""
    with pytest.raises(DefinitionError, match=why) as refused:
        Keyring.parse(text, "/etc/bide/keys.json")

    assert "/etc/bide/keys.json" in str(refused.value)
    assert WRITTEN not in str(refused.value)


def test_the_key_that_signs_is_not_taken_away() -> None:
    """There is always one that signs; it is replaced first."""
    keyring = Keyring.of(Key.of("k1", SECRET, NOW))

    with pytest.raises(DefinitionError, match="rotate first"):
        keyring.without("k1")
    with pytest.raises(DefinitionError, match="no key 'k2'"):
        keyring.without("k2")


def test_secrets_are_not_shown() -> None:
    """Neither `repr` nor `str` of a key or a keyring holds its secret, in any form."""
    key = Key.of("k1", SECRET, NOW)
    shown = f"{key!r} {key} {Keyring.of(key)!r} {[key]} {Keyring.of(key)}"

    for secret in (key.secret, key.root):
        assert repr(secret) not in shown
        assert secret.hex() not in shown
    assert "k1" in shown
