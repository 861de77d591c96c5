"""How often a step or a dispatch is tried, and how long it rests in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bide.authoring.durations import Duration, duration_ms
from bide.errors import DefinitionError

#: More attempts than this are no retry but a loop that nobody watches.
ATTEMPTS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """Try up to `attempts` times, resting `first` and then twice as long each time.

    The rest never exceeds `longest`; the runtime adds jitter, so that a thousand steps that failed
    together do not come back together. `Retry(1)` does not try again.
    """

    #: Tries in all, the first one included.
    attempts: int
    #: The rest after the first failed try.
    first_ms: int
    #: What the doubling rest is cut at.
    longest_ms: int

    def __init__(
        self, attempts: int = 5, *, first: Duration = "200ms", longest: Duration = "1m"
    ) -> None:
        if isinstance(attempts, bool) or not isinstance(attempts, int):
            raise DefinitionError(f"Retry: attempts is {attempts!r}; write a whole number.")
        if not 1 <= attempts <= ATTEMPTS_MAX:
            raise DefinitionError(f"Retry: attempts is {attempts}; write 1 to {ATTEMPTS_MAX}.")
        first_ms = duration_ms(first, "Retry: first")
        longest_ms = duration_ms(longest, "Retry: longest")
        if longest_ms < first_ms:
            raise DefinitionError(
                f"Retry: longest ({longest}) is shorter than first ({first}). Swap them."
            )
        object.__setattr__(self, "attempts", attempts)
        object.__setattr__(self, "first_ms", first_ms)
        object.__setattr__(self, "longest_ms", longest_ms)

    def rest_ms(self, attempt: int, chance: float) -> int:
        """The rest after the `attempt`-th failed try: doubling, cut off, with jitter.

        `chance`, from 0 to 1, spreads it over its second half.
        """
        doubled: int = self.first_ms * 2 ** min(attempt - 1, 30)
        return round(min(self.longest_ms, doubled) * (0.5 + chance / 2))
