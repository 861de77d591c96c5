"""Spans of time as authors write them, as whole milliseconds.

A wait of months must show its unit, so a definition takes `timedelta`, `"30m"`, `"1h30m"` or ISO
8601 `"PT30M"` and refuses a bare number. Calls (`result(timeout=10)`) take seconds as well.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Final, TypeAlias

from bide.errors import DefinitionError

Duration: TypeAlias = timedelta | str

#: Ten years: longer than any wait that is meant, and far from overflowing a 64-bit time.
DURATION_MS_MAX: Final = 3_650 * 24 * 60 * 60 * 1_000

_UNITS_MS: Final = {
    "w": 7 * 24 * 60 * 60 * 1_000,
    "d": 24 * 60 * 60 * 1_000,
    "h": 60 * 60 * 1_000,
    "m": 60 * 1_000,
    "s": 1_000,
    "ms": 1,
}
_NUMBER: Final = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_SHORT: Final = re.compile(
    "".join(rf"(?:(?P<{unit}>{_NUMBER})\s?{unit}(?![a-z])\s?)?" for unit in _UNITS_MS)
)
#: Years and months are left out: they have no fixed length.
_ISO: Final = re.compile(
    rf"P(?=[0-9T])(?:(?P<w>{_NUMBER})W)?(?:(?P<d>{_NUMBER})D)?"
    rf"(?:T(?=[0-9])(?:(?P<h>{_NUMBER})H)?(?:(?P<m>{_NUMBER})M)?(?:(?P<s>{_NUMBER})S)?)?"
)


def duration_ms(value: object, what: str) -> int:
    """Read a duration of a definition; `what` opens the message when it is none."""
    if isinstance(value, timedelta):
        return _bounded(Decimal(value // timedelta(microseconds=1)) / 1_000, repr(value), what)
    if isinstance(value, int | float):
        raise DefinitionError(
            f"{what} is {value!r}, and a bare number does not say its unit. "
            f'Write "{value}s", "{value}m" or a timedelta.'
        )
    if not isinstance(value, str):
        raise DefinitionError(f"{what} is no duration but {type(value).__name__}. {_HOW}")
    text = value.strip()
    match = (_ISO if text.startswith("P") else _SHORT).fullmatch(text)
    if match is None or not any(match.groups()):
        raise DefinitionError(f"{what} is {value!r}, which is no duration. {_HOW}")
    parts = match.groupdict()
    total = sum(
        (Decimal(number) * _UNITS_MS[unit] for unit, number in parts.items() if number), Decimal(0)
    )
    return _bounded(total, repr(value), what)


_HOW: Final = 'Write "30m", "1h30m", "200ms", "2d", ISO 8601 "PT30M" or a timedelta.'


def _bounded(total_ms: Decimal, written: str, what: str) -> int:
    if total_ms < 1:
        raise DefinitionError(f"{what} is {written}; at least one millisecond is needed.")
    if total_ms > DURATION_MS_MAX:
        raise DefinitionError(f"{what} is {written}; at most ten years (3650d) are allowed.")
    return int(total_ms)


def timeout_seconds(value: Duration | float, what: str = "timeout") -> float:
    """Read the timeout of a call, where a number is seconds and 0 means "do not wait"."""
    if isinstance(value, int | float):
        seconds = float(value)
        if not 0 <= seconds <= DURATION_MS_MAX / 1_000:  # NaN fails both comparisons
            raise ValueError(f"{what} is {value!r}: give seconds from 0 to ten years")
        return seconds
    try:
        return duration_ms(value, what) / 1_000
    except DefinitionError as error:  # nothing is being defined here
        raise ValueError(str(error)) from None
