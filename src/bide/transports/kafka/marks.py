"""How far each partition is done with: the offset that may be committed; pure.

An offset says that everything before it is done with, so it is the lowest record that is not: what
is done behind that one waits. Partitions come and go, perhaps while their records are under way. A
record carries the term of the assignment that it was read in, and one of an earlier term changes
nothing any more: whoever has the partition now reads that record again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class Mark(NamedTuple):
    """One record under way: where it lies, and in which term of the partition it was read."""

    partition: Partition
    offset: int
    term: int


@dataclass(slots=True)
class _Standing:
    """How far one partition is, in one term."""

    term: int
    #: Records under way.
    open: set[int] = field(default_factory=set[int])
    #: Behind the last record that was read.
    next: int = -1
    #: What was committed last.
    committed: int = -1


class Marks:
    """The partitions that this process has, and how far each is."""

    def __init__(self) -> None:
        self._standings: dict[Partition, _Standing] = {}
        self._terms = 0

    @property
    def partitions(self) -> frozenset[Partition]:
        """Those that it has."""
        return frozenset(self._standings)

    def assign(self, partitions: Iterable[Partition]) -> None:
        """It has these from now on; what it had of them before is over."""
        for partition in partitions:
            self._terms += 1
            self._standings[partition] = _Standing(self._terms)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """It has these no longer."""
        for partition in partitions:
            self._standings.pop(partition, None)

    def begin(self, partition: Partition, offset: int) -> Mark | None:
        """A record was read; None if its partition is somebody else's by now."""
        standing = self._standings.get(partition)
        if standing is None:
            return None
        standing.open.add(offset)
        standing.next = max(standing.next, offset + 1)
        return Mark(partition, offset, standing.term)

    def is_current(self, mark: Mark) -> bool:
        """Whether the record is still this process's to report."""
        standing = self._standings.get(mark.partition)
        return standing is not None and standing.term == mark.term

    def finish(self, mark: Mark) -> None:
        """A record is done with; of an earlier term, that changes nothing."""
        if self.is_current(mark):
            self._standings[mark.partition].open.discard(mark.offset)

    def due(self) -> dict[Partition, int]:
        """What can be committed and was not: the lowest record that is not done with, of each."""
        found: dict[Partition, int] = {}
        for partition, standing in self._standings.items():
            low = min(standing.open, default=standing.next)
            if low > standing.committed:
                found[partition] = low
        return found

    def committed(self, offsets: dict[Partition, int]) -> None:
        """The broker has these."""
        for partition, offset in offsets.items():
            standing = self._standings.get(partition)
            if standing is not None:
                standing.committed = max(standing.committed, offset)
