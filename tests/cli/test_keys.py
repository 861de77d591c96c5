"""`bide keys` and `bide link`: keys are made, rotated and listed, and shown by none of it."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bide.security.apikeys import ApiKeys
from bide.security.keyring import Keyring
from bide.security.tokens import VERSION
from tests.cli.driver import Cli, Result


@pytest.fixture
def ring(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the keyring lies, as the setting says."""
    path = folder / "keys.json"
    monkeypatch.setenv("BIDE_KEYRING_FILE", str(path))
    return path


def keyring_of(path: Path) -> Keyring:
    return Keyring.parse(path.read_bytes(), str(path))


def assert_silent(path: Path, *results: Result) -> None:
    """No secret of the file is in what was printed."""
    secrets = [entry["secret"] for entry in json.loads(path.read_bytes())["keys"]]
    for result in results:
        assert result.code == 0, result.err
        assert not [secret for secret in secrets if secret in result.out + result.err]


def test_a_keyring_from_birth_to_revocation(cli: Cli, ring: Path) -> None:
    """Generate, rotate, list and revoke say what happened, and never a secret."""
    made = cli("keys", "generate")
    [first] = keyring_of(ring).keys
    rotated = cli("keys", "rotate")
    listed = cli("keys", "list", "--json")
    shown = cli("keys", "list")
    assert_silent(ring, made, rotated, listed, shown)
    second = keyring_of(ring).signing.id
    revoked = cli("keys", "revoke", first)

    assert ring.stat().st_mode & 0o777 == 0o600
    assert first in made.out
    assert {line["id"]: line["use"] for line in listed.lines} == {second: "sign", first: "verify"}
    assert second in shown.out
    assert revoked.code == 0
    assert list(keyring_of(ring).keys) == [second]


def test_a_keyring_is_not_overwritten(cli: Cli, ring: Path) -> None:
    """The keys of tokens that are out are not lost by a command typed twice."""
    cli("keys", "generate")
    before = ring.read_bytes()

    assert "is there already" in cli("keys", "generate").complaint()
    assert ring.read_bytes() == before


def test_the_file_may_be_named(cli: Cli, folder: Path) -> None:
    """Without the setting the option says which file; without both it is an error."""
    assert "BIDE_KEYRING_FILE" in cli("keys", "generate").complaint()
    assert cli("keys", "generate", "--file", "other.json").code == 0
    assert len(keyring_of(folder / "other.json").keys) == 1
    assert "cannot read nowhere.json" in cli("keys", "list", "--file", "nowhere.json").complaint()


def test_the_key_that_signs_cannot_be_revoked(cli: Cli, ring: Path) -> None:
    """Rotate first."""
    cli("keys", "generate")

    assert "rotate first" in cli("keys", "revoke", keyring_of(ring).signing.id).complaint()


def test_a_link_is_made(cli: Cli, shop: Path, ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address begins where the API is reached, and holds a token."""
    monkeypatch.setenv("BIDE_CALLBACK_BASE_URL", "https://shop.example/bide/")
    cli("keys", "generate")
    question = cli.parked()
    made = cli("link", question, "--actor", "ada")
    again = cli("link", question, "--actor", "ada", "--json")

    assert re.fullmatch(rf"https://shop\.example/bide/decide/{VERSION}\.[\w.-]+\n", made.out)
    assert again.json == {"interactionId": question, "url": made.out.strip()}
    assert "no interaction" in cli("link", "nothing").complaint()


@pytest.mark.parametrize(
    ("address", "why"),
    [("", "set BIDE_CALLBACK_BASE_URL"), ("https://x.example", "needs a keyring")],
)
def test_a_link_needs_an_address_and_keys(
    cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch, address: str, why: str
) -> None:
    """What is missing is named, with what to do."""
    monkeypatch.setenv("BIDE_CALLBACK_BASE_URL", address)

    assert why in cli("link", cli.parked()).complaint()


def test_doctor_tells_of_keys(cli: Cli, shop: Path, ring: Path) -> None:
    """Which key signs, and whether strangers may read the file."""
    cli("keys", "generate")
    signs = keyring_of(ring).signing.id
    good = cli("doctor", "--json").json
    ring.chmod(0o644)
    open_ = cli("doctor", "--json").json

    [check] = [one for one in good["checks"] if one["name"] == "keys"]
    [warning] = [one for one in open_["checks"] if one["name"] == "keys"]
    assert check["ok"]
    assert signs in check["message"]
    assert (warning["ok"], warning["warning"], open_["ok"]) == (False, True, True)
    assert "chmod 600" in warning["hint"]


# --- API keys ---------------------------------------------------------------------------------------


@pytest.fixture
def keys(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the API keys lie, as the setting says."""
    path = folder / "api.json"
    monkeypatch.setenv("BIDE_API_KEYS_FILE", str(path))
    return path


def owner_of(path: Path, text: str) -> Any:
    return ApiKeys.parse(path.read_bytes(), str(path)).identify(text.strip(), datetime.now(UTC))


def test_an_api_key_from_birth_to_revocation(cli: Cli, keys: Path) -> None:
    """It is printed once, when it is made; lists and the file do not hold it."""
    made = cli("keys", "generate", "--api", "--actor", "ada", "--group", "kitchen", "--role",
               "decide", "--tenant", "acme", "--expires", "90d")  # fmt: skip
    who = owner_of(keys, made.out)
    listed = cli("keys", "list", "--api", "--json")
    shown = cli("keys", "list", "--api")
    [row] = listed.lines
    rotated = cli("keys", "rotate", "--api", row["id"], "--overlap", "1h", "--json").json
    both = [owner_of(keys, text) for text in (made.out, rotated["key"])]
    revoked = cli("keys", "revoke", row["id"], "--api")

    assert keys.stat().st_mode & 0o777 == 0o600
    assert (who.id, who.tenant, who.groups, who.roles) == ("ada", "acme", {"kitchen"}, {"decide"})
    assert (row["actor"], row["groups"], row["roles"]) == ("ada", ["kitchen"], ["decide"])
    secret = made.out.strip().rpartition("_")[2]
    assert secret not in keys.read_text() + listed.out + shown.out + made.err
    assert [each.id for each in both] == ["ada", "ada"]
    assert revoked.code == 0
    assert owner_of(keys, made.out) is None
    assert owner_of(keys, rotated["key"]).tenant == "acme"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("generate", "--api"), "--actor NAME"),
        (("generate", "--actor", "ada"), "with --api"),
        (("generate", "--api", "--actor", "ada", "--role", "admin"), "no role 'admin'"),
        (("generate", "--api", "--actor", " "), "blank"),
        (("generate", "--api", "--actor", "ada", "--expires", "soon"), "--expires"),
        (("rotate", "--api", "a1"), "cannot read"),
        (("list", "--api", "--file", "nowhere.json"), "cannot read nowhere.json"),
    ],
)
def test_mistakes_with_api_keys_are_one_line(
    cli: Cli, keys: Path, arguments: tuple[str, ...], why: str
) -> None:
    """Each says what to write, and makes no file."""
    assert why in cli("keys", *arguments).complaint()
    assert not keys.exists()
