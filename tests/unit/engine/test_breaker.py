"""The circuit breaker: when it opens, for how long, and what closes it."""

from hypothesis import given
from hypothesis import strategies as st

from bide.engine.breaker import Breaker, BreakerRules, BreakerState

RULES = BreakerRules(failures=3, first_ms=100, longest_ms=1_000)


def failed(times: int, now: int = 0, breaker: Breaker | None = None) -> Breaker:
    """A breaker after so many failures at one moment."""
    breaker = breaker or Breaker()
    for _ in range(times):
        breaker = breaker.after_failure(RULES, now, chance=1.0)
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    """As many failures as the rules say open it, and an answer between them starts over."""
    assert failed(2).state(0) is BreakerState.CLOSED
    assert failed(3).state(0) is BreakerState.OPEN
    assert failed(2, breaker=failed(2).after_answer()).state(0) is BreakerState.CLOSED


def test_it_rests_and_lets_one_through() -> None:
    """Open, it has no room; after its rest it has room for one at a time."""
    opened = failed(3)

    assert opened.room(99, limit=8, in_hand=0) == 0
    assert opened.state(100) is BreakerState.HALF_OPEN
    assert opened.room(100, limit=8, in_hand=0) == 1
    assert opened.room(100, limit=8, in_hand=1) == 0
    assert opened.after_answer() == Breaker()
    assert Breaker().room(0, limit=8, in_hand=3) == 5


def test_its_rest_doubles_up_to_the_longest() -> None:
    """Each failed probe makes the rest twice as long, until the longest."""
    breaker, now, rests = failed(3), 0, []
    for _ in range(6):
        assert breaker.until is not None
        rests.append(breaker.until - now)
        now = breaker.until
        breaker = breaker.after_failure(RULES, now, chance=1.0)

    assert rests == [100, 200, 400, 800, 1_000, 1_000]


def test_what_fails_while_it_is_open_changes_nothing() -> None:
    """The rest of a batch that was under way when it opened does not prolong its rest."""
    opened = failed(3)

    assert failed(5, now=50, breaker=opened) == opened


def test_an_answer_closes_it_whenever_it_comes() -> None:
    """An answer to what was under way closes it before its rest is over."""
    assert failed(3).after_answer().state(0) is BreakerState.CLOSED


def test_it_keeps_the_rest_that_was_asked_for() -> None:
    """It rests as long as the endpoint asks, but no longer than its own longest."""
    almost = failed(2)

    assert almost.after_failure(RULES, 0, 0.0, at_least_ms=700).until == 700
    assert almost.after_failure(RULES, 0, 0.0, at_least_ms=90_000).until == 1_000


@given(chance=st.floats(0, 1), opened=st.integers(0, 100))
def test_chance_spreads_the_rest(chance: float, opened: int) -> None:
    """Whatever chance says, the rest is between half of what is due and all of it."""
    due = min(RULES.longest_ms, RULES.first_ms * 2**opened)
    until = Breaker(2, opened).after_failure(RULES, 0, chance).until

    assert until is not None
    assert due / 2 <= until <= due
