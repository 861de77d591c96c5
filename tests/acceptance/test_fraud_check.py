"""Partners that misbehave, in a process of their own: every charge is booked once all the same.

The partner knows the wire contract alone. The long form of these tests, a thousand charges, is
`python -m examples.fraud_check.demo`, with `--store` for PostgreSQL and `--kill` for a crash.
"""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from examples.fraud_check.demo import options_of, run
from tests.processes import IMPATIENT

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("store", "options"),
    [("sqlite", []), ("sqlite", ["--kill"]), ("postgres", [])],
    ids=["sqlite", "sqlite, killed", "postgres"],
)
def test_every_charge_is_booked_once(
    store: str,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Requests that fail first, callbacks that come twice or early, and a kill change nothing."""
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    arguments = ["-n", "80", "--folder", str(tmp_path), *options]
    if store == "postgres":
        arguments += ["--store", request.getfixturevalue("postgres_store")]

    with ExitStack() as children:
        proof = asyncio.run(run(options_of(arguments), children))

    assert proof.faults() == []
    assert proof.partner["failed"] > 0
    assert proof.partner["early"] > 0
    assert proof.stored["duplicate"] > 0
