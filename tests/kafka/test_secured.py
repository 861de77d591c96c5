"""A broker that asks for TLS and a password: what goes through, and what is told of it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from bide.spi.transport import Delivered, Unclear
from bide.transports.kafka.transport import KafkaTransport
from tests.integration.support import eventually
from tests.kafka.cluster import RealCluster, Topics, require_broker, topics
from tests.kafka.support import settings, via_of
from tests.servers.kafka import KafkaBroker, free_port
from tests.transports.partner import certified
from tests.unit.transports.test_kafka import outgoing

PASSWORD = "planted-password"


class Secured(NamedTuple):
    """A broker's listener with TLS and SASL, and topics made through the other one."""

    servers: str
    authority: Path
    names: Topics


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    require_broker()
    folder = tmp_path_factory.mktemp("secured")
    authority, _ = certified(folder, "localhost")
    chain = folder / "server.pem"
    chain.write_bytes((folder / "key.pem").read_bytes() + authority.read_bytes())
    port = free_port()
    login = "org.apache.kafka.common.security.plain.PlainLoginModule"
    broker = KafkaBroker(folder / "broker")
    broker.also_listen(
        f"SASL_SSL://localhost:{port}",
        {
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                f'{login} required user_bide="{PASSWORD}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(chain),
        },
    )
    with broker:
        yield Secured(f"localhost:{port}", authority, topics(RealCluster(broker)))


def transport_to(secured: Secured, **more: str) -> KafkaTransport:
    config = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "bide",
        "sasl.password": PASSWORD,
        "ssl.ca.location": str(secured.authority),
        **more,
    }
    via = via_of(secured.names, dead_letters=secured.names.letters)
    given = settings(
        secured.servers, kafka_config=SecretStr(json.dumps(config)), kafka_timeout_ms=5_000
    )
    return KafkaTransport({"await 'x'": via}, given)


@pytest.mark.slow
async def test_tls_and_a_password_go_through(secured: Secured) -> None:
    """With the cluster's authority and the right password requests are taken, and all is well."""
    transport = transport_to(secured)
    await transport.open()
    try:
        deliveries = await transport.send([outgoing(via=via_of(secured.names))])
        problems = await eventually(lambda: quiet(transport))
    finally:
        await transport.close()

    assert deliveries == [Delivered()]
    assert problems


async def quiet(transport: KafkaTransport) -> bool:
    return await transport.problems() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [{"sasl.password": "planted-mistake"}, {"ssl.ca.location": "/etc/ssl/certs"}]
)
async def test_a_wrong_one_is_told_without_being_shown(
    secured: Secured, more: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Requests stay where they are, readiness says that no broker answers, nothing shows a secret."""
    transport = transport_to(secured, **more)
    await transport.open()
    try:
        [delivery] = await transport.send([outgoing(via=via_of(secured.names))])

        async def told() -> bool:
            return any("no broker answers" in each.message for each in await transport.problems())

        assert await eventually(told)
        shown = repr(await transport.problems())
    finally:
        await transport.close()
        await asyncio.sleep(0)

    assert isinstance(delivery, Unclear)
    assert "planted" not in delivery.message + shown + caplog.text
