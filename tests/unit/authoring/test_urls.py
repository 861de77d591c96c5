"""Addresses of webhooks: one narrow grammar, read once."""

import pytest

from bide import DefinitionError, Secret, Webhook
from bide.authoring.urls import URL_CHARACTERS_MAX, Url, parse_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://partner.example", Url("https", "partner.example", 443, "/")),
        ("https://Partner.EXAMPLE/A?b=C", Url("https", "partner.example", 443, "/A?b=C")),
        ("https://partner.example?b", Url("https", "partner.example", 443, "/?b")),
        ("http://partner:8080/x", Url("http", "partner", 8080, "/x")),
        ("https://xn--bcher-kva.example/", Url("https", "xn--bcher-kva.example", 443, "/")),
        ("https://a_b.partner-1.example/", Url("https", "a_b.partner-1.example", 443, "/")),
        ("https://192.0.2.7:8443/", Url("https", "192.0.2.7", 8443, "/")),
        ("https://[2001:DB8:0::7]/", Url("https", "2001:db8::7", 443, "/")),
        ("https://partner.example/a@b:c%20d", Url("https", "partner.example", 443, "/a@b:c%20d")),
        ("https://0x7f.example/", Url("https", "0x7f.example", 443, "/")),
    ],
)
def test_what_an_address_says(text: str, expected: Url) -> None:
    """Scheme, host in its one plain form, port and target."""
    assert parse_url("url", text) == expected


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://a.example:443/x", "https://a.example"),
        ("http://a.example:443/x", "http://a.example:443"),
        ("https://[::1]:8443/x", "https://[::1]:8443"),
        ("https://[0::1]/x", "https://[::1]"),
    ],
)
def test_origins_are_equal_when_connections_are(text: str, origin: str) -> None:
    """Two spellings of one origin are one, and two origins are two."""
    assert parse_url("url", text).origin == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "partner.example",
        "//partner.example",
        "ftp://partner.example",
        "HTTPS://partner.example",
        " https://partner.example",
        "https://partner.example\n",
        "https://partner.example/a b",
        "https://partner.example/ü",
        "https://bücher.example/",
        "https://partner.example/#a",
        "https://partner.example\\@other.example/",
        "https://partner.example./",
        "https://-partner.example/",
        "https://partner..example/",
        "https://partner.example:/",
        "https://partner.example:0443/",
        "https://partner.example:65536/",
        "https://127.1/",
        "https://1.2.3.04/",
        "https://[1.2.3.4]/",
        "https://a.0x7f/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 130}example/",
        f"https://partner.example/{'a' * URL_CHARACTERS_MAX}",
    ],
)
def test_what_is_read_in_two_ways_is_not_read(text: str) -> None:
    """Whatever is no plain address is refused in one line, and never mended."""
    with pytest.raises(DefinitionError, match="url") as caught:
        parse_url("url", text)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["https://user:planted@partner.example/", "https://planted@127.1/", "ftp://u:planted@x"]
)
def test_credentials_are_not_repeated(text: str) -> None:
    """The complaint about credentials in an address does not show them."""
    with pytest.raises(DefinitionError) as caught:
        parse_url("url", text)

    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"callback": "https://bide.example"}, "names no path"),
        ({"secret": "whsec_planted"}, "secrets do not stand in code"),
        ({"secret": ["whsec_planted"]}, "secrets do not stand in code"),
        ({"headers": {"Authorization": "planted"}}, "carries a secret"),
        ({"headers": {"x-api-key": "planted"}}, "carries a secret"),
        ({"headers": {"Webhook-Id": "planted"}}, "Bide's own"),
        ({"headers": {"Host": "planted"}}, "Bide's own"),
        ({"headers": {"X\r\nY": "planted"}}, "no name of a header"),
        ({"headers": {"X": "planted\r\nY: z"}}, "visible ASCII"),
        ({"headers": {"X": ""}}, "visible ASCII"),
        ({"headers": {"X": 1}}, "visible ASCII"),
        ({"headers": {"X": "1", "x": "2"}}, "upper and lower case"),
    ],
)
def test_a_webhook_is_checked_where_it_is_written(given: dict[str, object], message: str) -> None:
    """What could not be sent, or would put a secret into code, is refused without repeating it."""
    with pytest.raises(DefinitionError, match=message) as caught:
        Webhook("https://partner.example/x", **given)  # type: ignore[arg-type]  # the mistake under test

    assert "planted" not in str(caught.value)


def test_webhooks_are_values() -> None:
    """Equal descriptions are equal and can be keys; one secret is a list of one."""
    one, other = Secret(env="ONE"), Secret(file="/run/secrets/two")
    via = Webhook("https://partner.example/x", secret=one, headers={"X": "1"})

    assert via == Webhook("https://partner.example/x", secret=[one], headers={"X": "1"})
    assert {via: 1}[Webhook("https://partner.example/x", secret=one, headers={"X": "1"})] == 1
    assert via != Webhook("https://partner.example/x", secret=one, headers={"X": "2"})
    assert via.secrets == (one,)
    assert Webhook("https://partner.example/x", secret=[one, other]).secrets == (one, other)


@pytest.mark.parametrize(
    "given",
    [{}, {"env": "A", "file": "/b"}, {"env": "whsec_planted+/="}, {"env": ""}, {"file": ""}],
)
def test_a_secret_is_a_place_and_not_a_value(given: dict[str, str]) -> None:
    """Exactly one place is named; what does not look like one is not repeated."""
    with pytest.raises(DefinitionError, match="Secret") as caught:
        Secret(**given)

    assert "planted" not in str(caught.value)
    assert str(Secret(env="NAME")) == "$NAME"
    assert str(Secret(file="/run/x")) == "file /run/x"
