"""The webhook transport over real HTTP: what is sent, and what each answer comes to."""

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import standardwebhooks

from bide import DefinitionError, Secret, Webhook
from bide.model.ids import InteractionId
from bide.spi.transport import Delivered, Outgoing, Refused, Unclear
from bide.transports.webhook import connections
from bide.transports.webhook import transport as transport_module
from bide.transports.webhook.envelope import envelope
from bide.transports.webhook.transport import WebhookTransport
from tests.transports.partner import (
    Internet,
    Partner,
    Request,
    answer,
    certified,
    closed,
    listening,
)
from tests.transports.sending import (
    EXECUTION,
    NOW,
    OLDER_SECRET,
    SECRET,
    TOKEN,
    opened,
    outgoing,
    sent,
    settings,
)


async def test_a_partner_gets_the_signed_envelope() -> None:
    """One POST to the URL with its query, JSON, signed by id, time and body."""
    async with listening(Partner()) as partner:
        via = Webhook(f"{partner.url}?team=a", headers={"X-Region": "eu"})
        delivery = await sent(via)

    [request] = partner.requests
    assert delivery == Delivered()
    assert request.target == "/checks?team=a"
    assert request.headers["host"] == f"127.0.0.1:{partner.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-region"] == "eu"
    assert request.headers["webhook-id"] == "018f2a7e-4c00-7000-8000-000000000001_2_0"
    assert request.headers["webhook-timestamp"] == str(NOW // 1_000)
    body = json.loads(request.body)
    assert body["callback"] == {
        "completionUrl": "https://bide.example/pipeline/interactions/complete"
    }
    assert body["resumeToken"] == TOKEN


async def test_every_secret_in_use_signs() -> None:
    """While a secret is replaced, a partner that knows the old or the new one accepts."""
    async with listening(Partner()) as partner:
        await sent(Webhook(partner.url), webhook_secrets=f"{SECRET} {OLDER_SECRET}")

    [request] = partner.requests
    for secret in (SECRET, OLDER_SECRET):
        verifier = standardwebhooks.Webhook(secret)
        expected = verifier.sign(
            request.headers["webhook-id"], _utc(NOW // 1_000), request.body.decode()
        )
        assert expected in request.headers["webhook-signature"].split(" ")
    assert len(request.headers["webhook-signature"].split(" ")) == 2


async def test_an_await_may_have_secrets_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Secrets named by the await are read from variable and file, and sign in the app's place."""
    (tmp_path / "older").write_text(f"{OLDER_SECRET}\n")
    monkeypatch.setenv("FRAUD_KEY", "Bearer planted")
    async with listening(Partner()) as partner:
        via = Webhook(
            partner.url,
            secret=Secret(file=str(tmp_path / "older")),
            headers={"Authorization": Secret(env="FRAUD_KEY")},
        )
        await sent(via)

    [request] = partner.requests
    expected = standardwebhooks.Webhook(OLDER_SECRET).sign(
        request.headers["webhook-id"], _utc(NOW // 1_000), request.body.decode()
    )
    assert request.headers["webhook-signature"] == expected
    assert request.headers["authorization"] == "Bearer planted"


async def test_attempts_keep_the_id_and_a_second_asking_changes_it() -> None:
    """A partner tells repeats by webhook-id: equal on each attempt, another one per generation."""
    async with listening(Partner()) as partner:
        via = Webhook(partner.url)
        async with opened(via) as transport:
            again = InteractionId(EXECUTION, 2, 0, 1)
            await transport.send([outgoing(via)])
            await transport.send([outgoing(via, attempt=2)])
            await transport.send([outgoing(via, interaction=again)])

    first, second, third = partner.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert third.headers["webhook-id"] == f"{first.headers['webhook-id']}_1"


async def test_a_trace_goes_with_the_request() -> None:
    """W3C trace headers are passed on, and nothing else that stands beside them."""
    async with listening(Partner()) as partner:
        via = Webhook(partner.url)
        trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x": "y"}
        async with opened(via) as transport:
            await transport.send([outgoing(via, trace=trace)])

    [request] = partner.requests
    assert request.headers["traceparent"] == trace["traceparent"]
    assert "x" not in request.headers


async def test_connections_are_used_again() -> None:
    """A hundred requests one after another go over one connection."""
    async with listening(Partner(lambda _: answer(200, body=b"thanks"))) as partner:
        via = Webhook(partner.url)
        async with opened(via) as transport:
            for _ in range(100):
                assert await transport.send([outgoing(via)]) == [Delivered()]

    assert len(partner.requests) == 100
    assert partner.connections == 1


async def test_idle_connections_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A partner that is not asked any more keeps no connection, and is connected to again later."""
    monkeypatch.setattr(connections, "_IDLE_S", 0.05)
    async with listening(Partner()) as partner:
        via = Webhook(partner.url)
        async with opened(via) as transport:
            await transport.send([outgoing(via)])
            async with asyncio.timeout(30):
                while partner.ended == 0:
                    await asyncio.sleep(0.01)
            await transport.send([outgoing(via)])

    assert partner.connections == 2


async def test_a_batch_stays_within_its_connections() -> None:
    """A batch is answered in its order, over no more connections than are allowed at once."""
    asked: list[int] = []

    def choose(request: Request) -> bytes:
        item = int(request.headers["webhook-id"].split("_")[2])
        asked.append(item)
        return answer(404 if item % 2 else 200)

    async with listening(Partner(choose)) as partner:
        via = Webhook(partner.url)
        batch = [outgoing(via, interaction=InteractionId(EXECUTION, 1, i)) for i in range(60)]
        async with opened(via, dispatch_rows=3) as transport:
            deliveries = await transport.send(batch)

    assert [isinstance(each, Refused) for each in deliveries] == [bool(i % 2) for i in range(60)]
    assert sorted(asked) == list(range(60))
    assert partner.connections <= 3


async def test_an_endless_answer_is_a_delivery_all_the_same() -> None:
    """The status line decides; text beyond 64 KiB is not read, and its connection given up."""
    flood = b"HTTP/1.1 202 X\r\ntransfer-encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65536
    async with listening(Partner(lambda _: flood + b"\r\n10000\r\n" + b"x" * 65536)) as partner:
        via = Webhook(partner.url)
        async with opened(via) as transport:
            first = await transport.send([outgoing(via)])
            second = await transport.send([outgoing(via)])

    assert first == second == [Delivered()]
    assert partner.connections == 2


async def test_a_slow_partner_does_not_hold_a_batch() -> None:
    """Who does not answer in time leaves it unclear; neighbours in the batch are answered."""
    hanging = asyncio.Event()

    async def choose(request: Request) -> bytes:
        if request.headers["webhook-id"].endswith("_1"):
            await hanging.wait()
        return answer(200)

    async with listening(Partner(choose)) as partner:
        via = Webhook(partner.url)
        batch = [outgoing(via, interaction=InteractionId(EXECUTION, 1, i)) for i in range(3)]
        async with opened(via, webhook_timeout_ms=2_000) as transport:
            deliveries = await transport.send(batch)

    assert deliveries == [
        Delivered(),
        Unclear("no answer within webhook_timeout_ms (2,000)"),
        Delivered(),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 X\r\nbad header\r\n\r\n",
        b"HTTP/1.1 bt1.planted-token X\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_unclear_and_not_repeated_in_a_message(broken: bytes) -> None:
    """A broken answer says nothing about the request, and none of its text is kept."""
    async with listening(Partner(lambda _: broken, hangs_up=True)) as partner:
        delivery = await sent(Webhook(partner.url))

    assert isinstance(delivery, Unclear)
    assert "planted" not in delivery.message
    assert "broke, or brought no HTTP" in delivery.message


async def test_nobody_there_is_unclear() -> None:
    """A refused connection is tried again later."""
    async with listening(Partner()) as partner:
        pass
    delivery = await sent(Webhook(partner.url))

    assert isinstance(delivery, Unclear)
    assert delivery.message.startswith("not sent: ")


async def test_a_cancelled_batch_sends_nothing_more() -> None:
    """What was still waiting for a connection when the caller left is never sent."""
    arrived = asyncio.Event()

    async def hang(_: Request) -> bytes:
        arrived.set()
        await asyncio.Event().wait()
        return b""

    async with listening(Partner(hang)) as partner:
        via = Webhook(partner.url)
        batch = [outgoing(via, interaction=InteractionId(EXECUTION, 1, i)) for i in range(5)]
        async with opened(via, dispatch_rows=1) as transport:
            sending = asyncio.create_task(transport.send(batch))
            await arrived.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await asyncio.sleep(0)

    assert len(partner.requests) == 1


async def test_tls_verifies_the_name_and_connects_to_the_checked_address(tmp_path: Path) -> None:
    """The name stays in TLS and Host while the connection goes to an address by number."""
    authority, tls = certified(tmp_path, "partner.example")

    async def resolve(host: str, port: int) -> list[str]:
        return {"partner.example": ["93.184.216.34"], "other.example": ["93.184.216.34"]}[host]

    async with listening(Partner(), tls) as partner:
        internet = Internet()
        internet.routes["93.184.216.34", 443] = partner.port
        with internet.watching():
            good = await sent(
                Webhook("https://partner.example/x"), resolve, webhook_ca_file=str(authority)
            )
            bad = await sent(
                Webhook("https://other.example/x"), resolve, webhook_ca_file=str(authority)
            )

    assert good == Delivered()
    assert isinstance(bad, Unclear)
    assert "certificate" in bad.message
    [request] = partner.requests
    assert request.headers["host"] == "partner.example"
    assert request.server_name == "partner.example"
    assert internet.connected == [("93.184.216.34", 443)] * 2


async def test_a_proxy_is_used_only_when_it_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Variables of the environment lead nowhere; the setting leads every request to the proxy."""
    authority, tls = certified(tmp_path, "partner.example")
    tunnels: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34"]

    async with listening(Partner(), tls) as partner:

        async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tunnels.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            inner, outer = await asyncio.open_connection("127.0.0.1", partner.port)
            try:
                await asyncio.gather(_pumped(reader, outer), _pumped(inner, writer))
            finally:
                await closed(outer)
                await closed(writer)

        proxy = Partner()
        proxy.serve = tunnel  # type: ignore[method-assign]  # a proxy and no partner
        async with listening(proxy):
            address = f"http://user:planted@127.0.0.1:{proxy.port}"
            for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, address)
            internet = Internet()
            internet.routes["93.184.216.34", 443] = partner.port
            via = Webhook("https://partner.example/x")
            with internet.watching():
                straight = await sent(via, resolve, webhook_ca_file=str(authority))
            through = await sent(
                via, resolve, webhook_ca_file=str(authority), webhook_proxy=address
            )

    assert straight == through == Delivered()
    assert internet.connected == [("93.184.216.34", 443)]
    [connect] = tunnels
    assert connect.startswith("CONNECT partner.example:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic " in connect
    assert len(partner.requests) == 2


async def test_a_proxy_that_refuses_is_unclear() -> None:
    """Nothing went out; the proxy's own words are not repeated."""
    refusing = b"HTTP/1.1 403 planted\r\ncontent-length: 0\r\n\r\n"
    async with listening(Partner(lambda _: refusing)) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        delivery = await sent(Webhook("https://partner.example/x"), webhook_proxy=address)

    assert delivery == Unclear("not sent: the proxy of BIDE_WEBHOOK_PROXY did not let it through")


async def test_an_await_that_was_not_there_at_the_start_is_made_ready_when_it_is_sent() -> None:
    """A request of a webhook that `open` did not see is sent, or says what is wrong with it."""
    async with listening(Partner()) as partner:
        fine, bad = Webhook(partner.url), Webhook("https://10.0.0.7/x")
        async with opened() as transport:
            [delivered] = await transport.send([outgoing(fine)])
            [refused] = await transport.send([outgoing(bad)])

    assert delivered == Delivered()
    assert isinstance(refused, Unclear)
    assert "10.0.0.7 is not on the public internet" in refused.message


async def test_a_defect_is_the_delivery_of_one_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong in here is told by its kind alone and does not stop the batch."""

    def broken(outgoing: Outgoing, completion_url: str) -> bytes:
        if outgoing.interaction.item == 1:
            raise ZeroDivisionError(TOKEN)
        return envelope(outgoing, completion_url)

    monkeypatch.setattr(transport_module, "envelope", broken)
    async with listening(Partner()) as partner:
        via = Webhook(partner.url)
        batch = [outgoing(via, interaction=InteractionId(EXECUTION, 1, i)) for i in range(3)]
        async with opened(via) as transport:
            deliveries = await transport.send(batch)

    assert deliveries == [Delivered(), Unclear("not sent: ZeroDivisionError"), Delivered()]
    assert "ZeroDivisionError" in caplog.text
    assert TOKEN not in caplog.text


async def test_the_apps_secrets_may_lie_in_a_file(tmp_path: Path) -> None:
    """One a line, each of which signs."""
    (tmp_path / "secrets").write_text(f"{SECRET}\n{OLDER_SECRET}\n")
    async with listening(Partner()) as partner:
        await sent(
            Webhook(partner.url), webhook_secrets=None, webhook_secrets_file=tmp_path / "secrets"
        )

    [request] = partner.requests
    assert len(request.headers["webhook-signature"].split(" ")) == 2


async def test_without_the_extra_the_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line names the extra."""
    monkeypatch.setitem(sys.modules, "standardwebhooks", None)

    with pytest.raises(DefinitionError, match=r'pip install "bide\[webhook\]"'):
        async with opened(Webhook("https://partner.example/x")):
            pass


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("via", "given", "message"),
    [
        (Webhook("https://a.example/x"), {"webhook_secrets": None}, "no secret to sign"),
        (Webhook("https://a.example/x"), {"webhook_secrets": "planted"}, "holds no secret to sign"),
        (Webhook("https://a.example/x"), {"webhook_secrets": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        (Webhook("https://a.example/x"), {"webhook_secrets": f"{SECRET} " * 5}, "up to 4"),
        (Webhook("https://a.example/x"), {"callback_base_url": ""}, "BIDE_CALLBACK_BASE_URL"),
        (Webhook("https://a.example/x"), {"callback_base_url": "bide"}, "write an absolute"),
        (Webhook("http://a.example/x"), {"webhook_allow_loopback": False}, "without TLS"),
        (Webhook("https://10.0.0.7/x"), {}, "BIDE_WEBHOOK_NETWORKS"),
        (Webhook("https://a.example:25/x"), {}, "port 25"),
        (Webhook("https://a.example/x"), {"webhook_hosts": "b.example"}, "BIDE_WEBHOOK_HOSTS"),
        (Webhook("https://a.example/x"), {"webhook_ca_file": "/nowhere"}, "BIDE_WEBHOOK_CA_FILE"),
        (Webhook("https://a.example/x"), {"webhook_proxy": "socks5://u:planted@p:1"}, "PROXY"),
        (Webhook("https://a.example/x"), {"webhook_secrets_file": "/nowhere"}, "both set"),
        (
            Webhook("https://a.example/x", secret=Secret(env="NOT_SET_ANYWHERE")),
            {},
            r"\$NOT_SET_ANYWHERE is missing",
        ),
        (
            Webhook("https://a.example/x", headers={"X-Key": Secret(file="/nowhere")}),
            {},
            "cannot read /nowhere",
        ),
    ],
)
async def test_what_could_never_be_sent_is_an_error_at_the_start(
    via: Webhook, given: dict[str, object], message: str
) -> None:
    """A missing secret, callback or permission stops the start, in one line without the secret."""
    with pytest.raises(DefinitionError, match=message) as caught:
        async with opened(via, **given):
            pass

    assert "\n" not in str(caught.value)
    assert "planted" not in str(caught.value)


async def test_problems_tell_what_is_open_and_what_is_missing() -> None:
    """`doctor` shows the development switch and own networks as warnings, a mistake as fatal."""
    via = Webhook("https://a.example/x")
    fine = WebhookTransport({"fraud": via}, settings(webhook_allow_loopback=False), lambda: NOW)
    loose = WebhookTransport({"fraud": via}, settings(webhook_networks="10.1.0.0/16"), lambda: NOW)
    broken = WebhookTransport({"fraud": via}, settings(callback_base_url=""), lambda: NOW)

    assert await fine.problems() == []
    assert [(each.subject, each.is_fatal) for each in await loose.problems()] == [
        ("BIDE_WEBHOOK_ALLOW_LOOPBACK", False),
        ("BIDE_WEBHOOK_NETWORKS", False),
    ]
    assert [(each.subject, each.is_fatal) for each in await broken.problems()] == [
        ("fraud", True),
        ("BIDE_WEBHOOK_ALLOW_LOOPBACK", False),
    ]


async def test_the_route_is_the_origin() -> None:
    """Requests to one origin share a batch; the await's own numbers go with it."""
    via = Webhook("https://A.example:443/x?y", max_in_flight=7)
    transport = WebhookTransport({"fraud": via}, settings(), lambda: NOW)
    route = transport.route(via)

    assert route.endpoint == "https://a.example"
    assert (route.retry, route.max_in_flight) == (via.retry, 7)
    assert route.timeout_ms > settings().webhook_timeout_ms


async def test_no_secret_shows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither logs at their loudest nor any repr holds a secret, a token or a request."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("FRAUD_KEY", "Bearer planted")
    async with listening(Partner(lambda _: answer(503))) as partner:
        via = Webhook(partner.url, headers={"Authorization": Secret(env="FRAUD_KEY")})
        async with opened(via) as transport:
            request = outgoing(via)
            [delivery] = await transport.send([request])
            shown = [repr(vars(transport)), repr(request), repr(via), repr(delivery)]

    told = "\n".join([caplog.text, *shown])
    assert caplog.records
    for hidden in ("planted", SECRET, SECRET.removeprefix("whsec_"), "order_id"):
        assert hidden not in told


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
