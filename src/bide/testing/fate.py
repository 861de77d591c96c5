"""At which commit a simulated process comes to grief, and how."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple

from bide.engine.moves import Claimed, Move, Redrive, Submit, ToSend
from bide.model.records import Handoff
from bide.spi.store import Store
from bide.testing.mortal import Died, Fate

When = Literal["before", "after", "late"]

#: How commits are called that make no move.
_CLAIMS: dict[type, str] = {
    Claimed: "claim",
    ToSend: "claim to send",
    Handoff: "claim to hand on",
}


class Commit(NamedTuple):
    """One commit of a simulated run."""

    #: Counted from 1.
    number: int
    #: What it is to make, each kind once: `submit`, `finish`, `claim`, `park and admit`.
    name: str
    #: It holds what only a process with a lease may write, and others may have that by then.
    is_fenced: bool
    #: A process can die before it, with something in its memory that it does not hold yet.
    is_decided: bool


class Mishap(NamedTuple):
    """What happens at a commit: the process dies `before` or `after` it; or, `late`, it stands
    still before it until its leases are lost to others, tries it nevertheless, and dies.
    """

    commit: int
    when: When


class Planned(Fate):
    """Counts the commits of a run, of all its processes, and lets one come to grief."""

    def __init__(
        self,
        mishap: Mishap | None,
        overtake: Callable[[Store], Awaitable[None]],
        keep: Callable[[], None],
    ) -> None:
        """Plan at most one mishap.

        `overtake` lets the leases run out and others have them; `keep` hears of every commit.
        """
        self._mishap = mishap
        self._overtake = overtake
        self._keep = keep
        self._is_overtaken = False
        self._dies_after = False
        self._armed: tuple[str, When] | None = None
        self.commits: list[Commit] = []
        #: What must never be, and was.
        self.wrong: str | None = None
        #: Those for which executions were made.
        self.tenants: set[str] = set()

    @property
    def is_pending(self) -> bool:
        """True while the mishap has not happened."""
        return self._mishap is not None

    def arm(self, name: str, when: When) -> None:
        """Let the next commit that makes such a move be the last of its process."""
        self._armed = name, when

    async def before(self, store: Store, moves: Sequence[Move], *, is_held: bool = False) -> None:
        is_fenced = not is_held and any(hasattr(move, "fence") for move in moves)
        when = self._met([type(move) for move in moves], is_fenced=is_fenced, is_decided=True)
        self.tenants |= {move.tenant for move in moves if isinstance(move, Submit | Redrive)}
        if when == "before":
            raise Died("the process has died before a commit, made so by a simulation")
        if when == "late" and not is_held:
            await self._overtake(store)
            self._is_overtaken = True
        self._dies_after = when is not None

    async def after(self, made: Sequence[type[Move]]) -> None:
        if made:
            self._keep()
        written = [kind for kind in made if hasattr(kind, "fence")]
        if self._is_overtaken and written:
            self.wrong = f"a process that had lost its lease was let write ({name_of(written)})"
        self._is_overtaken = False
        self._die_if_due()

    async def claimed(self, kind: type[Claimed | ToSend | Handoff]) -> None:
        self._dies_after = self._met([kind], is_fenced=False, is_decided=False) == "after"
        self._die_if_due()

    def _die_if_due(self) -> None:
        if self._dies_after:
            self._dies_after = False
            raise Died("the process has died after a commit, made so by a simulation")

    def _met(self, kinds: Sequence[type], *, is_fenced: bool, is_decided: bool) -> When | None:
        commit = Commit(len(self.commits) + 1, name_of(kinds), is_fenced, is_decided)
        self.commits.append(commit)
        when: When | None = None
        if self._mishap is not None and self._mishap.commit == commit.number:
            when, self._mishap = self._mishap.when, None
        elif self._armed is not None and self._armed[0] in commit.name.split(" and "):
            when, self._armed = self._armed[1], None
        return when


def name_of(kinds: Sequence[type]) -> str:
    """What a commit is called: its moves, each kind once."""
    return " and ".join(dict.fromkeys(_spelled(kind) for kind in kinds))


def _spelled(kind: type) -> str:
    return _CLAIMS.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
