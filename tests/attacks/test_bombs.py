"""Requests made to exhaust the service: it refuses them early and its memory stays where it was."""

import asyncio
import gzip
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import PATIENCE_S, Service

MIB = 1024 * 1024
#: What a refusal may cost for good, by far less than any of the bombs weighs.
GROWTH_MAX = 64 * MIB
POST = "POST /pipeline/run-async HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("bombs")
    env = {"BIDE_HTTP_RECEIVE_TIMEOUT_MS": "1000"}
    with Service("tests.fuzz.app:app", folder, env=env) as started:
        asyncio.run(started.must_be_ready())
        yield started


@pytest.fixture(autouse=True)
def stays_small(service: Service) -> Iterator[None]:
    """The most memory that the service ever had grows by little, and it still answers."""
    before = _peak(service)
    yield
    assert httpx.get(f"{service.url}/healthz", timeout=PATIENCE_S).status_code == 200
    assert _peak(service) - before < GROWTH_MAX


def _peak(service: Service) -> int:
    status = Path(f"/proc/{service.pid}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _connected(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_S)


def _answer(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    try:
        while data := connection.recv(65_536):
            received += data
    except ConnectionError:
        pass
    return received


def _flood(connection: socket.socket, piece: bytes, bytes_max: int) -> int:
    """Send until the other side has had enough; give how much that was."""
    sent = 0
    try:
        while sent < bytes_max:
            connection.sendall(piece)
            sent += len(piece)
    except ConnectionError:
        pass
    return sent


def test_a_gibibyte_that_is_announced(service: Service) -> None:
    """It is refused before a byte of it is sent."""
    with _connected(service) as connection:
        connection.sendall(f"{POST}content-length: {1024 * MIB}\r\n\r\n".encode())
        answer = _answer(connection)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"urn:bide:problems/too-large" in answer


def test_a_gibibyte_that_is_not_announced(service: Service) -> None:
    """In pieces it is refused at a small part of itself, and the connection closed."""
    piece = b"100000\r\n" + b" " * MIB + b"\r\n"
    with _connected(service) as connection:
        connection.sendall(f"{POST}transfer-encoding: chunked\r\n\r\n".encode())
        sent = _flood(connection, piece, 1024 * MIB)

    assert sent < 256 * MIB


def test_a_body_that_does_not_come(service: Service) -> None:
    """Whoever stops in the middle of a body is told so in time, and cut off."""
    with _connected(service) as connection:
        connection.sendall(f'{POST}content-length: 100\r\n\r\n{{"item":'.encode())
        answer = _answer(connection)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: x\r\nx-a: "]
)
def test_a_head_that_does_not_come(service: Service, sent: bytes) -> None:
    """A connection on which no request is sent, or half of one, is closed."""
    with _connected(service) as connection:
        connection.sendall(sent)

        assert _answer(connection) == b""


def test_a_head_that_drips(service: Service) -> None:
    """Sending a little from time to time does not give more time."""
    with _connected(service) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        ends_at = time.monotonic() + PATIENCE_S
        with pytest.raises(ConnectionError):
            while time.monotonic() < ends_at:
                connection.sendall(b"x-a: b\r\n")
                time.sleep(0.05)


def test_a_second_request_has_its_own_time(service: Service) -> None:
    """On a connection that stays, a later half of a head is closed as the first one is."""
    with _connected(service) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /healthz HT")
        answer = _answer(connection)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("piece", [b"x: y\r\n" * 1_000, b"x" * 10_000])
def test_a_head_without_end(service: Service, piece: bytes) -> None:
    """Headers without end, and one header without end, are cut off soon."""
    with _connected(service) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-start: ")
        sent = _flood(connection, piece, 256 * MIB)

    assert sent < 64 * MIB


def test_a_hundred_thousand_headers(service: Service) -> None:
    """All at once they get no answer but a refusal."""
    head = b"GET /api/v1/pipelines HTTP/1.1\r\nhost: localhost\r\n" + b"a:b\r\n" * 100_000 + b"\r\n"
    with _connected(service) as connection:
        _flood(connection, head, len(head))
        answer = _answer(connection)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


def test_more_headers_than_are_taken(service: Service) -> None:
    """101 small headers are too many, 90 are not."""
    statuses = {
        count: httpx.get(
            f"{service.url}/api/v1/pipelines",
            headers=[(f"x-{number}", "y") for number in range(count)],
            timeout=PATIENCE_S,
        ).status_code
        for count in (90, 101)
    }

    assert statuses == {90: 200, 101: 431}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP"])
def test_nothing_is_unpacked(service: Service, encoding: str) -> None:
    """A bomb in a content encoding is refused by its header; packed, it would fit the bound."""
    bomb = gzip.compress(b" " * 64 * MIB)
    answer = httpx.post(
        f"{service.url}/pipeline/run-async",
        content=bomb,
        headers={"content-type": "application/json", "content-encoding": encoding},
        timeout=PATIENCE_S,
    )

    assert answer.status_code == 415
    assert answer.json()["type"].endswith("unsupported-media-type")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 7 * MIB,
        b'{"a":' * MIB,
        b"[" + b"[]," * 2 * MIB + b"[]]",
        b"[" + b"9" * 7 * MIB + b"]",
        b'"' + b"\\u0061" * MIB + b'"',
        json.dumps(["a" * 250_000] * 20).encode()[:-1],
    ],
    ids=["lists", "objects", "values", "number", "string", "cut off"],
)
def test_json_made_to_be_large_inside(service: Service, body: bytes) -> None:
    """Within the bytes that are allowed, no nesting, number or text gets far."""
    answer = httpx.post(
        f"{service.url}/api/v1/pipelines/echo/executions",
        content=body,
        headers={"content-type": "application/json"},
        timeout=PATIENCE_S,
    )

    assert answer.status_code == 400
    assert answer.json()["type"].endswith("malformed")
    assert len(answer.content) < 1_000
