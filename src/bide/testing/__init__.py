"""What tests of and on Bide are made of: a clock that is turned by hand, a suite for stores."""

from bide.testing.clock import FakeClock

__all__ = ["FakeClock"]
