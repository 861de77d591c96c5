"""What tests of and on Bide are made of: simulated apps, a clock turned by hand, a suite for stores."""

from bide.testing.clock import FakeClock
from bide.testing.exploration import Explored, explore
from bide.testing.simulation import Simulation, simulate

__all__ = ["Explored", "FakeClock", "Simulation", "explore", "simulate"]
