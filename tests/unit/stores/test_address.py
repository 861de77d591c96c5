"""Addresses as people see them."""

import pytest

from bide.stores.address import shown


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("sqlite:///bide.db", "sqlite:///bide.db"),
        ("memory://", "memory://"),
        ("postgresql://host:5432/shop", "postgresql://host:5432/shop"),
        ("postgresql://ada@host/shop", "postgresql://ada@host/shop"),
        ("postgresql://ada:se/cr?e:t@@host:5432/shop", "postgresql://ada:***@host:5432/shop"),
        ("postgresql://ada:se%2Fcr%3Fe%3At@h1,h2/shop", "postgresql://ada:***@h1,h2/shop"),
        ("postgresql://:secret@host/shop", "postgresql://:***@host/shop"),
        (
            "postgresql:///shop?user=ada&password=secret&sslpassword=secret&host=/run",
            "postgresql:///shop?user=ada&password=***&sslpassword=***&host=/run",
        ),
    ],
)
def test_a_password_is_never_shown(url: str, seen: str) -> None:
    """All of an address is shown but its password, however that is spelt."""
    assert shown(url) == seen
