"""Partners that misbehave, in a process of their own: every charge is booked once all the same.

The partner knows the wire contract alone. The long form of these tests, a thousand charges, is
`python -m examples.fraud_check.demo`, with `--store` for PostgreSQL and `--kill` for a crash.
"""

from contextlib import ExitStack
from pathlib import Path

import pytest

from examples.fraud_check.demo import options_of, run
from tests.processes import IMPATIENT

pytestmark = pytest.mark.process


@pytest.mark.parametrize("options", [[], ["--kill"]], ids=["calm", "killed"])
async def test_every_charge_is_booked_once(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that fail first, callbacks that come twice or early, and a kill change nothing."""
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    arguments = ["-n", "80", "--folder", str(tmp_path), *options]

    with ExitStack() as children:
        proof = await run(options_of(arguments), children)

    assert proof.faults() == []
    assert proof.partner["failed"] > 0
    assert proof.partner["early"] > 0
    assert proof.stored["duplicate"] > 0
