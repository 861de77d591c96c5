"""`bide doctor` says what is wrong with the settings, in the words of whoever set them."""

import pytest

from tests.cli.driver import Cli

pytestmark = pytest.mark.usefixtures("shop")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BIDE_LEASE_MS", "soon", "BIDE_LEASE_MS: Input should be a valid integer"),
        ("BIDE_LEASE_RENEW_MS", "20000", "every lease runs out before it is renewed"),
        (
            "BIDE_CALLBACK_BASE_URL",
            "ftp://x",
            "BIDE_CALLBACK_BASE_URL is 'ftp://x'; write an absolute",
        ),
        ("BIDE_API_KEYS_FILE", "/nowhere.json", "authentication: cannot read /nowhere.json"),
        ("BIDE_JWT_JWKS", "/nowhere.json", "authentication: cannot read /nowhere.json"),
        ("BIDE_KEYRING_FILE", "/nowhere.json", "cannot read /nowhere.json"),
        ("BIDE_STORE", "mysql://host/shop", "there is no store for 'mysql://host/shop'"),
        ("BIDE_STORE", "sqlite://bide.db", "names no file; write one of: sqlite:///relative.db"),
    ],
)
def test_a_setting_that_cannot_work_fails(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    """The line names the variable or what it leads to, and the exit code says that it is bad."""
    monkeypatch.setenv(name, value)

    found = cli("doctor")

    assert found.code == 1
    [line] = [line for line in found.out.splitlines() if says in line]
    assert line.startswith("FAIL")


def test_a_name_that_is_no_setting_is_pointed_out(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip of the pen does nothing, which nobody would notice."""
    monkeypatch.setenv("BIDE_LEASE_MSS", "5000")

    found = cli("doctor")

    assert found.code == 0
    assert "BIDE_LEASE_MSS is no setting and does nothing" in found.out
    assert "do you mean BIDE_LEASE_MS?" in found.out
