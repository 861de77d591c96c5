"""The checkout over three processes and two databases, killed all the while."""

import asyncio
from pathlib import Path

import pytest

from examples.checkout.demo import run

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_each_order_is_delivered_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whoever is killed, each publication is admitted once, and its lineage is whole."""
    store = f"sqlite:///{tmp_path}/shop.db"
    if kind == "postgres":
        store = str(request.getfixturevalue("postgres_tables"))

    found = asyncio.run(run(150, 6, 2.0, tmp_path, store=store))

    assert found == [
        "150 orders, each delivered once",
        "300 publications, each admitted once",
        "the lineage of all 150 deliveries leads back to their orders",
    ]
