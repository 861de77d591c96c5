"""The circuit breaker of one endpoint, as a value: it knows no clock, it is told the time.

Closed, it lets everything pass and counts failures in a row. Enough of them open it: nothing is
sent, so nothing loses a try to an endpoint that is down. When its rest is over it is half open and
lets one request through: whatever that one meets, an answer closes it, and a failure opens it again
for twice as long.
"""

from enum import StrEnum
from typing import NamedTuple


class BreakerState(StrEnum):
    """Whether requests pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class BreakerRules(NamedTuple):
    """When a breaker opens, and for how long. Times are milliseconds."""

    #: Failures in a row that open it.
    failures: int
    #: The first rest; each that follows without an answer in between is twice as long.
    first_ms: int
    longest_ms: int


class Breaker(NamedTuple):
    """Where one endpoint stands; a new one is closed."""

    failures: int = 0
    #: How often it opened since it was last closed.
    opened: int = 0
    #: Until when it is open; None: it is closed.
    until: int | None = None

    def state(self, now: int) -> BreakerState:
        """Whether requests pass at `now`."""
        if self.until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.until else BreakerState.HALF_OPEN

    def room(self, now: int, limit: int, in_hand: int) -> int:
        """How many more requests may be begun of `limit`, while `in_hand` are under way."""
        match self.state(now):
            case BreakerState.CLOSED:
                return max(0, limit - in_hand)
            case BreakerState.HALF_OPEN:
                return 0 if in_hand else 1
            case BreakerState.OPEN:
                return 0

    def after_answer(self) -> "Breaker":
        """The endpoint answered, be it with a refusal: it is there."""
        return Breaker()

    def after_failure(
        self, rules: BreakerRules, now: int, chance: float, at_least_ms: int = 0
    ) -> "Breaker":
        """The endpoint did not answer as one that works.

        What was under way when it opened may fail as well; that does not prolong its rest.

        Args:
            rules: when it opens.
            now: milliseconds of any clock that runs evenly.
            chance: 0 to 1; spreads the rests of many dispatchers over their second half.
            at_least_ms: the rest that the endpoint asked for; no longer than the longest is kept.
        """
        state, failures = self.state(now), self.failures + 1
        if state is BreakerState.OPEN:
            return self
        if state is BreakerState.CLOSED and failures < rules.failures:
            return self._replace(failures=failures)
        doubled = rules.first_ms * 2 ** min(self.opened, 30)
        rest = round(min(doubled, rules.longest_ms) * (0.5 + chance / 2))
        rest = max(rest, min(at_least_ms, rules.longest_ms))
        return Breaker(failures, self.opened + 1, now + rest)
