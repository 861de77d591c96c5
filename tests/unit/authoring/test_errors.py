"""The error tree: what each error carries, and that codes do not collide."""

import inspect

from bide import (
    BideError,
    CompletionRejected,
    ExecutionFailed,
    LimitExceeded,
    NonRetryable,
    Receipt,
    ReplayMismatch,
    StoreUnavailable,
    errors,
)

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, BideError) and not found.__name__.startswith("_")
]


def test_every_error_has_a_code_of_its_own() -> None:
    """Logs, metrics and the wire tell errors apart by code; what is unknown is unknown."""
    codes = [found.code for found in CLASSES if found.code != "not-found"]

    assert sorted(set(codes)) == sorted(codes)
    assert all(found.__doc__ for found in CLASSES)


def test_the_module_draws_every_error() -> None:
    """The tree in the module's docstring is the whole tree."""
    drawn = errors.__doc__ or ""

    assert [found.__name__ for found in CLASSES if found.__name__ not in drawn] == []


def test_a_failed_execution_tells_where() -> None:
    """Its code is the failure's own and not the class's."""
    error = ExecutionFailed("gone", code="timed-out", step_id="s", attempts=2, dead_letter_id="d")

    assert (error.code, error.step_id, error.attempts) == ("timed-out", "s", 2)
    assert (error.dead_letter_id, str(error), ExecutionFailed.code) == (
        "d",
        "gone",
        "execution-failed",
    )


def test_a_limit_names_setting_bound_and_unit() -> None:
    """Whoever reads it knows what to raise, and by how much."""
    error = LimitExceeded("payload_max_bytes", bound=1_048_576, unit="bytes", actual=2_000_000)

    assert str(error) == "payload_max_bytes allows 1,048,576 bytes, and this has 2,000,000"


def test_refusals_carry_their_receipts() -> None:
    """An answer that was not admitted is told by error and by receipt."""
    receipt = Receipt(interaction_id="e_1_0", outcome="rejected")
    error = CompletionRejected(
        "no", receipt=receipt, errors=[{"path": "/note", "message": "required"}]
    )

    assert error.receipt is receipt
    assert error.errors == [{"path": "/note", "message": "required"}]
    assert StoreUnavailable("busy", receipts=[receipt]).receipts == [receipt]


def test_a_replay_that_differs_is_not_retried() -> None:
    """Retrying would ask the same source again."""
    assert issubclass(ReplayMismatch, NonRetryable)
