"""The context of a running step."""

import logging
from datetime import UTC, datetime

import pytest

from bide import Context, NotRunning
from bide.authoring.context import entered

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def context(attempt: int = 1) -> Context:
    return Context(
        execution_id="e",
        step_id="s",
        item_index=None,
        attempt=attempt,
        tenant="default",
        idempotency_key="e/s",
        log=logging.LoggerAdapter(logging.getLogger("bide"), {}),
        clock=lambda: NOON,
    )


def test_time_comes_from_the_runtime() -> None:
    """A step's clock is whatever the runtime says, so that tests can turn it."""
    assert context().now() == NOON


def test_the_current_context_is_that_of_the_innermost_step() -> None:
    """Code deeper down finds the step that called it, and nothing after it."""
    inner = context(attempt=2)
    with entered(context()), entered(inner):
        assert Context.current() is inner

    with pytest.raises(NotRunning, match="outside a running step"):
        Context.current()
