"""No webhook leads to an address that its caller could not reach: seen at the socket."""

import asyncio
import contextlib
import ipaddress
import socket

import httpcore
import pytest

from bide import DefinitionError, Settings, Webhook
from bide.spi.transport import Delivered, Delivery, Unclear
from bide.transports.webhook.guard import AddressRefused, Egress, GuardedNetwork
from tests.transports.partner import Internet, Partner, Request, answer, listening
from tests.transports.sending import opened, outgoing, sent
from tests.transports.spellings import HOSTS

PUBLIC = "93.184.216.34"


async def as_the_system_reads(host: str, port: int) -> list[str]:
    """Resolve as the C library does whatever it takes for an address; there are no names."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except UnicodeError as error:
        raise OSError("no name") from error
    return [str(where[0]) for _, _, _, _, where in found]


async def through_the_front_door(url: str) -> Delivery | DefinitionError:
    """Author a webhook, start, send: what a user does."""
    try:
        return await sent(Webhook(url), as_the_system_reads, webhook_allow_loopback=False)
    except DefinitionError as error:
        return error


def private(internet: Internet) -> set[str]:
    """Where connections were begun to, less what is public by another table than the guard's."""
    reached = {address for address, _ in internet.connected}
    return {each for each in reached if not ipaddress.ip_address(each).is_global}


def test_there_are_many_spellings() -> None:
    """At least 200 hosts are tried, all of them different."""
    assert len(set(HOSTS)) == len(HOSTS) >= 200


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_no_spelling_is_connected_to(scheme: str) -> None:
    """Each spelling ends in an error before a socket is connected, over TLS or without."""
    internet = Internet()
    outcomes: dict[str, Delivery | DefinitionError] = {}
    with internet.watching():
        for host in HOSTS:
            outcomes[host] = await through_the_front_door(f"{scheme}://{host}/x")

    assert internet.connected == []
    assert [host for host, outcome in outcomes.items() if isinstance(outcome, Delivered)] == []


async def test_no_spelling_is_connected_to_behind_the_grammar() -> None:
    """The connection's own check holds for every host that the system reads, without the parser."""
    internet = Internet()
    network = GuardedNetwork(Egress(), "https", as_the_system_reads)
    refused = 0
    with internet.watching():
        for host in HOSTS:
            try:
                await network.connect_tcp(host.strip("[]"), 443, timeout=10)
            except AddressRefused:
                refused += 1
            except httpcore.ConnectError:
                pass  # nobody reads it as an address, or as a public one: 010.0.0.1 is 8.0.0.1

    assert private(internet) == set()
    assert refused >= 150


async def test_without_the_guard_the_spellings_lead_there() -> None:
    """The hook sees what would be connected to, so that seeing nothing means something."""
    internet = Internet()
    network = httpcore.AnyIOBackend()
    with internet.watching():
        for host in HOSTS:
            with contextlib.suppress(Exception):
                [address, *_] = await as_the_system_reads(host.strip("[]"), 443)
                await network.connect_tcp(address, 443, timeout=10)

    assert len(internet.connected) >= 150
    assert len(private(internet)) >= 30
    assert {"127.0.0.1", "169.254.169.254", "::1", "::ffff:a00:1"} <= private(internet)


async def test_a_name_that_moves_to_this_machine_is_not_followed() -> None:
    """A resolver that answers public first and loopback then is asked for each new connection."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    internet = Internet()
    internet.routes["127.0.0.1", 8443] = 1  # would be reached, if anything went there
    via = Webhook("https://partner.example:8443/x")
    with internet.watching():
        async with opened(via, resolve=rebinding, webhook_allow_loopback=False) as transport:
            deliveries = [(await transport.send([outgoing(via)]))[0] for _ in range(5)]

    assert internet.connected == [(PUBLIC, 8443)]
    assert len(asked) == 5
    assert all(isinstance(each, Unclear) for each in deliveries)
    assert [str(each).count("127.0.0.1 is this machine") for each in deliveries] == [0, 1, 1, 1, 1]


async def test_a_connection_that_is_kept_leads_where_it_was_checked() -> None:
    """While its connection lives, a name that moved is not looked up, let alone followed."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["10.1.0.7"] if len(asked) == 1 else ["127.0.0.1"]

    async with listening(Partner()) as partner:
        internet = Internet()
        internet.routes["10.1.0.7", 8080] = partner.port
        via = Webhook("http://partner.example:8080/x")
        with internet.watching():
            async with opened(
                via,
                resolve=rebinding,
                webhook_allow_loopback=False,
                webhook_networks="10.1.0.0/16",
            ) as transport:
                kept = [(await transport.send([outgoing(via)]))[0] for _ in range(3)]
                partner.hangs_up = True
                kept += await transport.send([outgoing(via)])
                moved = await transport.send([outgoing(via)])

    assert kept == [Delivered()] * 4
    assert isinstance(moved[0], Unclear)
    assert internet.connected == [("10.1.0.7", 8080)]
    assert asked == ["partner.example"] * 2


async def test_one_bad_address_of_many_refuses_the_name() -> None:
    """A name with a public and a private address is somebody's trick, or somebody's mistake."""

    async def both(host: str, port: int) -> list[str]:
        return [PUBLIC, "10.0.0.7"]

    internet = Internet()
    with internet.watching():
        delivery = await sent(Webhook("https://partner.example/x"), both)

    assert internet.connected == []
    assert isinstance(delivery, Unclear)
    assert "10.0.0.7 is not on the public internet" in delivery.message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """A redirect is an answer like another: it is tried again where it was sent, and nowhere else."""
    inside = Partner()

    def elsewhere(_: Request) -> bytes:
        return answer(status, f"location: {inside.url}", "refresh: 0; url=http://127.0.0.1/")

    async with listening(inside), listening(Partner(elsewhere)) as partner:
        internet = Internet()
        internet.routes["127.0.0.1", partner.port] = partner.port
        with internet.watching():
            delivery = await sent(Webhook(partner.url))

    assert delivery == Unclear(f"the partner answered {status}; redirects are not followed")
    assert inside.requests == []
    assert internet.connected == [("127.0.0.1", partner.port)]


async def test_other_addresses_are_tried_when_one_does_not_answer() -> None:
    """All of a name's addresses are checked first, and then tried in their order."""

    async def several(host: str, port: int) -> list[str]:
        return ["10.1.0.1", "10.1.0.2", "10.1.0.2", "10.1.0.3"]

    async with listening(Partner()) as partner:
        internet = Internet()
        internet.routes["10.1.0.3", 8080] = partner.port
        with internet.watching():
            delivery = await sent(
                Webhook("http://partner.example:8080/x"), several, webhook_networks="10.1.0.0/16"
            )

    assert delivery == Delivered()
    assert [address for address, _ in internet.connected] == ["10.1.0.1", "10.1.0.2", "10.1.0.3"]


async def test_a_name_without_address_and_one_that_takes_too_long_are_tried_again() -> None:
    """What the resolver cannot say now it may say later."""

    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def nothing(host: str, port: int) -> list[str]:
        return []

    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    via = Webhook("https://partner.example/x")
    deliveries = [
        await sent(via, unknown),
        await sent(via, nothing),
        await sent(via, never, webhook_connect_timeout_ms=20),
    ]

    assert [str(each).split("not sent: ")[1][:30] for each in deliveries] == [
        "partner.example cannot be reso",
        "partner.example has no address",
        "no connection within 20 ms', r",
    ]


def test_nothing_but_the_public_internet_is_open_by_default() -> None:
    """The settings that open more are off and empty until somebody says otherwise."""
    usual = Settings()

    assert not usual.webhook_allow_loopback
    assert usual.webhook_networks == ()
    assert usual.webhook_proxy is None
