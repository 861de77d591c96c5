"""The webhook adapter's decisions on plain values: envelope, signature, answers, egress."""

import base64
import json
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import pytest
import standardwebhooks
from pydantic import SecretStr

from bide import DefinitionError, Webhook
from bide.authoring.urls import parse_url
from bide.model.ids import ExecutionId, InteractionId
from bide.spi.transport import Delivered, Delivery, Outgoing, Refused, Unclear
from bide.transports.webhook.addresses import is_global
from bide.transports.webhook.answers import delivery_of
from bide.transports.webhook.envelope import envelope
from bide.transports.webhook.guard import Egress
from bide.transports.webhook.signing import Signer, parse_keys

NOW = 1_795_305_600_000  # 2026-11-22T00:00:00Z

GOLDEN = """\
{"tenantId":"acme","interactionId":"018f2a7e-4c00-7000-8000-000000000001_2_417_1",\
"correlationId":"018f2a7e-4c00-7000-8000-000000000001_2_417_1","idempotencyKey":"[\\"42\\",21.5]",\
"resumeToken":"bt1.abc","executionId":"018f2a7e-4c00-7000-8000-000000000001",\
"stepId":"fraud-check","outputType":"Verdict","deadlineEpochMs":1795306200000,\
"requestPayload":{"b": 0.10, "a":12345678901234567890123},\
"callback":{"completionUrl":"https://bide.example/pipeline/interactions/complete"}}"""


def _outgoing(token: str | None = "bt1.abc") -> Outgoing:
    execution = ExecutionId(bytes.fromhex("018f2a7e4c0070008000000000000001"))
    return Outgoing(
        via=Webhook("https://partner.example/x"),
        tenant="acme",
        interaction=InteractionId(execution, 2, 417, 1),
        item_index=417,
        pipeline="charges",
        step_id="fraud-check",
        correlation_id="018f2a7e-4c00-7000-8000-000000000001_2_417_1",
        idempotency_key='["42",21.5]',
        resume_token=token,
        input_type="Charge",
        output_type="Verdict",
        deadline_at=NOW + 600_000,
        request=b'{"b": 0.10, "a":12345678901234567890123}',
        attempt=1,
    )


def test_the_envelope_is_what_partners_were_promised() -> None:
    """Names, order and bytes of the body; the stored request goes out to the digit."""
    body = envelope(_outgoing(), "https://bide.example/pipeline/interactions/complete")

    assert body.decode() == GOLDEN
    assert json.loads(body)["requestPayload"]["b"] == 0.1


def test_an_envelope_without_a_token_says_so() -> None:
    """In a trusted network the field is there and null."""
    body = json.loads(envelope(_outgoing(None), "https://bide.example/x/y"))

    assert body["resumeToken"] is None
    assert list(body) == list(json.loads(GOLDEN))


def test_signing_gives_the_reference_vector() -> None:
    """The specification's own example: secret, id, time and body give its signature."""
    keys = parse_keys(SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "here")
    signer = Signer([lambda: keys])

    headers = dict(
        signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_999, b'{"test": 2432232314}')
    )

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_reference_library_verifies_what_is_signed() -> None:
    """Under each secret in use, and not when a byte of id, time or body differs."""
    secrets = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in range(4)]
    older, newer = (
        parse_keys(SecretStr("\n".join(each)), "x") for each in (secrets[:2], secrets[2:])
    )
    signer = Signer([lambda: newer, lambda: older])
    now_ms = int(datetime.now(UTC).timestamp() * 1_000)
    body = '{"text":"für 10 €"}'.encode()
    headers = dict(signer.headers("e_1_0", now_ms, body))

    for secret in secrets:
        assert standardwebhooks.Webhook(secret).verify(body, headers) == json.loads(body)
    stranger = standardwebhooks.Webhook("whsec_" + base64.b64encode(b"x" * 32).decode())
    tampered = [
        (stranger, body, headers),
        (standardwebhooks.Webhook(secrets[0]), body + b" ", headers),
        (standardwebhooks.Webhook(secrets[0]), body, {**headers, "webhook-id": "e_1_1"}),
    ]
    for verifier, data, sent in tampered:
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            verifier.verify(data, sent)


@pytest.mark.parametrize(
    "secret",
    [
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwü",
    ],
)
def test_a_weak_or_mistyped_secret_is_refused(secret: str) -> None:
    """Nothing is signed with what a partner could guess, or could never verify."""
    with pytest.raises(DefinitionError, match="24 to 64 bytes") as caught:
        parse_keys(SecretStr(secret), "here")

    assert "MfKQ9r8" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, Delivered()) for status in (200, 201, 202, 204, 299)),
        *(
            (status, Refused(f"http-{status}", f"the partner answered {status}"))
            for status in (400, 401, 403, 404, 405, 410, 422)
        ),
        *(
            (status, Unclear(f"the partner answered {status}"))
            for status in (402, 406, 408, 409, 413, 425, 429, 500, 502, 503, 504, 599, 100, 999)
        ),
        (302, Unclear("the partner answered 302; redirects are not followed")),
    ],
)
def test_what_a_status_means(status: int, expected: Delivery) -> None:
    """2xx is delivered, a listed few are refused for ever, everything else is tried again."""
    assert delivery_of(status, [], NOW) == expected


@pytest.mark.parametrize(
    ("value", "rest_ms"),
    [
        (b"0", 0),
        (b"7", 7_000),
        (b" 120 ", 120_000),
        (b"3601", 3_601_000),
        (b"9" * 5_000, 999_999_999_000),
        (b"Sun, 22 Nov 2026 00:00:30 GMT", 30_000),
        (b"Sun, 22 Nov 2026 00:00:30 -0000", 30_000),
        (b"Sat, 21 Nov 2026 00:00:00 GMT", 0),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799_000 - NOW),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"soon", None),
        (b"\xff\xfe", None),
        (b"Sun, 99 Nov 2026 00:00:30 GMT", None),
    ],
)
def test_how_long_a_partner_wants_to_rest(value: bytes, rest_ms: int | None) -> None:
    """Seconds or a date, never negative; nonsense is as good as nothing."""
    delivery = delivery_of(503, [(b"x", b"1"), (b"Retry-After", value)], NOW)

    assert delivery == Unclear("the partner answered 503", rest_ms)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("8.8.8.8", True),
        ("100.63.255.255", True),
        ("172.32.0.1", True),
        ("168.63.129.16", False),
        ("2a00:1450:4001::200e", True),
        ("2606:2800:220:1::1", True),
        ("64:ff9b::8.8.8.8", True),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::127.0.0.1", False),
        ("64:ff9b:1::8.8.8.8", False),
        ("::ffff:8.8.8.8", False),
        ("2002:808:808::1", False),
        ("2001::1", False),
        ("2001:200::1", True),
        ("4000::1", False),
        ("1fff::1", False),
    ],
)
def test_what_is_on_the_public_internet(address: str, *, expected: bool) -> None:
    """The tables' edges, and what is read through and what is not."""
    assert is_global(ip_address(address)) is expected


@pytest.mark.parametrize(
    ("egress", "url", "why"),
    [
        (Egress(), "https://partner.example/", None),
        (Egress(), "https://93.184.216.34/", None),
        (Egress(), "http://partner.example/", "without TLS"),
        (Egress(), "http://93.184.216.34/", "without TLS"),
        (Egress(), "https://127.0.0.1/", "ALLOW_LOOPBACK"),
        (Egress(), "https://localhost/", "ALLOW_LOOPBACK"),
        (Egress(), "https://x.localhost/", "ALLOW_LOOPBACK"),
        (Egress(), "https://10.0.0.1/", "BIDE_WEBHOOK_NETWORKS"),
        (Egress(), "https://partner.example:22/", "port 22"),
        (Egress(), "https://partner.example:80/", None),
        (Egress(), "https://partner.example:1024/", None),
        (Egress(hosts=("a.example", "*.b.example")), "https://a.example/", None),
        (Egress(hosts=("a.example", "*.b.example")), "https://x.y.b.example/", None),
        (Egress(hosts=("a.example", "*.b.example")), "https://b.example/", "BIDE_WEBHOOK_HOSTS"),
        (Egress(hosts=("a.example", "*.b.example")), "https://xb.example/", "BIDE_WEBHOOK_HOSTS"),
        (Egress(hosts=("a.example", "*.b.example")), "https://a.example.x/", "BIDE_WEBHOOK_HOSTS"),
        (Egress(allow_loopback=True), "http://127.0.0.1:8000/", None),
        (Egress(allow_loopback=True), "http://127.9.9.9:8000/", None),
        (Egress(allow_loopback=True), "http://[::1]:8000/", None),
        (Egress(allow_loopback=True), "http://localhost:8000/", None),
        (Egress(allow_loopback=True), "http://0.0.0.0:8000/", "not on the public internet"),
        (Egress(allow_loopback=True), "https://[::ffff:127.0.0.1]/", "not on the public"),
        (Egress(allow_loopback=True), "http://93.184.216.34/", "without TLS"),
        (Egress(allow_loopback=True, proxied=True), "http://127.0.0.1/", "ALLOW_LOOPBACK"),
        (Egress(proxied=True), "http://partner.example/", "without TLS"),
        (Egress(proxied=True), "https://partner.example/", None),
        (Egress(proxied=True), "https://10.0.0.1/", "BIDE_WEBHOOK_NETWORKS"),
    ],
)
def test_where_webhooks_may_go(egress: Egress, url: str, why: str | None) -> None:
    """The rule on addresses as they are authored."""
    found = egress.why_not(parse_url("url", url))

    assert (found is None) if why is None else (why in (found or ""))


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("10.2.0.1", False),
        ("fd12::7", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("0.0.0.1", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("::ffff:10.1.2.3", False),
        ("fd00:ec2::254", False),
        ("224.0.0.1", False),
    ],
)
def test_own_networks_never_open_what_no_partner_lives_at(address: str, *, allowed: bool) -> None:
    """However wide the operator's networks: no loopback, link-local, metadata or multicast."""
    wide = Egress(networks=(ip_network("10.1.0.0/16"), ip_network("fc00::/7")))
    widest = Egress(networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))

    assert (wide.why_not_address(ip_address(address), "http") is None) is allowed
    if not allowed and address != "10.2.0.1":
        assert widest.why_not_address(ip_address(address), "http") is not None
