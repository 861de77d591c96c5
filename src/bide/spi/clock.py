"""The clock contract."""

from collections.abc import Callable

#: Gives Unix milliseconds. A store asks it once per commit; what the store then calls now never
#: runs backwards (`Store`).
Clock = Callable[[], int]
