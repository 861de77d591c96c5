"""A clock that moves when a test says so."""


class FakeClock:
    """A `bide.spi.clock.Clock`: Unix milliseconds, turned by hand in either direction."""

    def __init__(self, now: int = 1_750_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds pass; fewer than none for a clock that is set back."""
        self.now += ms
