"""The HTTP API answers as its own description says, whatever it is asked."""

from pathlib import Path

import pytest

from tests.fuzz.search import search


@pytest.mark.slow
@pytest.mark.process
async def test_every_answer_is_a_described_one(tmp_path: Path) -> None:
    """No 5xx, no status or body that is not documented, nothing without a credential: each phase
    of the search on each operation, in a short form of `make fuzz` that is the same every time.
    """
    found = await search(tmp_path, examples=1, seed=1)

    assert found.passed, found.told
    assert found.cases > 1_000
