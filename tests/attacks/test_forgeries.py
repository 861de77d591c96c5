"""No forged token opens anything, nor makes anybody look."""

from pathlib import Path

import pytest

from bide.runtime.views import Completion
from tests.attacks.forgeries import ANSWER, STRANGER, WAYS, attack, opened


@pytest.mark.slow
async def test_forged_tokens_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    """Of 5,000 forgeries, of every way, none is accepted, and the store is not asked once."""
    target = await opened(tmp_path)
    try:
        refused, taken = await attack(target, 5_000, seed=2026)
        calls = dict(target.store.calls)
        genuine = [
            await target.runtime.service.complete(
                "default", Completion(resume_token=token, payload=ANSWER), by=STRANGER
            )
            for token in target.tokens
        ]
    finally:
        await target.runtime.stop()

    assert not taken
    assert not calls
    assert min(refused[way.__name__] for way in WAYS) > 400
    outcomes = [reply.receipt.outcome for reply in genuine]
    assert outcomes == ["applied", "duplicate"] * (len(genuine) // 2)
