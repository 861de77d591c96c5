"""What goes to and comes from the outside at an await, as values.

`Interaction` is a question that is open, `Receipt` what became of an answer to it, `Answer` who
gave it, and `Answered | Missing` what a stream's next step gets where items may stay unanswered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Generic, Literal, TypeAlias

import msgspec
from typing_extensions import TypeVar

from bide.errors import DefinitionError

A = TypeVar("A")
B = TypeVar("B")
T_co = TypeVar("T_co", covariant=True)

Outcome: TypeAlias = Literal[
    "applied", "duplicate", "conflict", "late", "buffered", "rejected", "unknown"
]

#: Up to four decimals, so that every share is a whole number of millionths.
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)\s?%")


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one completion; every completion received gets exactly one."""

    #: As the caller named it, or as it was found; empty where a completion named none.
    interaction_id: str
    outcome: Outcome
    #: Known once the interaction is found.
    execution_id: str | None = None
    step_id: str | None = None
    #: The interaction's status after this completion.
    status: str | None = None

    @property
    def duplicate(self) -> bool:
        """Whether this answer equals the one that was admitted before."""
        return self.outcome == "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction(Generic[A, B]):
    """An open question: `request` (of type A) waits until `deadline` for an answer of type B."""

    interaction_id: str
    execution_id: str
    step_id: str
    request: A
    deadline: datetime
    correlation_id: str
    group: str | None = None
    assignee: str | None = None
    #: The position in the stream; None for a single value and for a whole stream.
    item_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Who answered and when: the third argument of an await's `project`."""

    actor: str
    group: str | None
    answered_at: datetime
    source: Literal["person", "rule", "timeout"]


@dataclass(frozen=True, slots=True)
class Answered(Generic[T_co]):
    """An item of a collected stream that got its answer."""

    value: T_co
    item_index: int


@dataclass(frozen=True, slots=True)
class Missing:
    """An item of a collected stream that got none, and why (`timed-out`, or the failure's code)."""

    item_index: int
    reason: str


@dataclass(frozen=True, slots=True, init=False)
class Collect:
    """Let a stream go on though some of its items failed or were not answered.

    Args:
        tolerate: how many may be missing, as a number or as a share of all (`"5%"`).
    """

    #: A count, where `share` is None.
    count: int
    #: A part of all items, from 0 to 1.
    share: Decimal | None

    def __init__(self, *, tolerate: int | str = 0) -> None:
        count, share = _read_tolerance(tolerate)
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "share", share)

    @property
    def ppm(self) -> int | None:
        """The share in millionths."""
        return None if self.share is None else int(self.share * 1_000_000)

    def allows(self, missing: int, *, of: int) -> bool:
        """Say whether so many missing items of so many are tolerated."""
        return missing <= (self.count if self.share is None else self.share * of)


def _read_tolerance(tolerate: object) -> tuple[int, Decimal | None]:
    if isinstance(tolerate, int) and not isinstance(tolerate, bool) and tolerate >= 0:
        return tolerate, None
    match = _PERCENT.fullmatch(tolerate.strip()) if isinstance(tolerate, str) else None
    if match is not None and (share := Decimal(match[1]) / 100) <= 1:
        return 0, share
    raise DefinitionError(
        f'Collect: tolerate is {tolerate!r}; write a count (3) or a share ("5%", at most "100%").'
    )
