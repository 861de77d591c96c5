"""A real server in another process, and either client of it."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from bide import AsyncClient, Client
from tests.processes import IMPATIENT, Service

T = TypeVar("T")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One server for the tests of a module."""
    folder: Path = tmp_path_factory.mktemp("server")
    with Service("tests.client.served:app", folder, env=IMPATIENT) as service:
        yield service


@pytest.fixture(params=[Client, AsyncClient], ids=["blocking", "async"])
async def client(server: Service, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Either client; their verbs are the same, and `done` awaits what has to be awaited."""
    await server.must_be_ready()
    client = request.param(server.url)
    yield client
    await done(client.close())


async def done(value: Awaitable[T] | T) -> T:
    """What a verb of either client came to."""
    return await value if inspect.isawaitable(value) else cast("T", value)
