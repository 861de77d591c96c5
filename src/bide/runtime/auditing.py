"""Notes about what was refused at the door, bounded, and apart from what they are about.

A refusal changes nothing, so there is no commit to put its entry into: it is written on its own and
nobody waits for it. Only callers who are known are told of; what a stranger tries would let anybody
fill the table. And each credential is told of so often a minute at most, with a count of the rest.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from bide.engine.moves import Note, Outcome
from bide.errors import StoreUnavailable
from bide.model.ids import ExecutionId, InteractionId
from bide.model.records import AuditEntry
from bide.runtime.committer import Committer
from bide.spi.clock import Clock

PER_MINUTE: Final = 60
_MINUTE_MS: Final = 60_000
_CREDENTIALS_MAX: Final = 10_000


class _Told(NamedTuple):
    """How much was told of one credential in one minute."""

    minute: int
    told: int = 0
    untold: int = 0


class RefusalNotes:
    """Writes down what known callers were refused; for use on the event loop only."""

    def __init__(
        self, committer: Committer, clock: Clock, new_id: Callable[[], ExecutionId]
    ) -> None:
        self._committer = committer
        self._clock = clock
        self._new_id = new_id
        self._told: dict[tuple[str, str], _Told] = {}

    def note(
        self,
        tenant: str,
        credential: str,
        deed: str,
        code: str,
        *,
        actor: str | None = None,
        place: InteractionId | None = None,
        detail: str | None = None,
    ) -> None:
        """Write an entry soon, unless there were too many in this minute.

        Args:
            tenant: whose audit.
            credential: kind and key id of who was refused.
            deed: what they wanted to do.
            code: why they may not.
            actor: who they are.
            place: the interaction that they wanted to do it to, where that is known.
            detail: what else there is to say, in few words.
        """
        untold = self._admit(tenant, credential)
        if untold is None or self._committer.is_full:
            return
        more = f"{untold} earlier ones of this credential are not told" if untold else None
        entry = AuditEntry(
            id=self._new_id(),
            tenant=tenant,
            at=0,
            deed=deed,
            outcome=code,
            actor=actor,
            credential=credential,
            execution=place.execution if place else None,
            unit=place.unit if place else None,
            item=place.item if place else None,
            generation=place.generation if place else None,
            detail="; ".join(filter(None, (detail, more))) or None,
        )
        self._committer.add([Note(entry)], _nobody_waits)

    def _admit(self, tenant: str, credential: str) -> int | None:
        """How many were passed over since the last that was told; None to pass over this one."""
        key, minute = (tenant, credential), self._clock() // _MINUTE_MS
        before = self._told.get(key, _Told(minute))
        now = before if before.minute == minute else _Told(minute, 0, before.untold)
        if now.told >= PER_MINUTE:
            self._told[key] = now._replace(untold=now.untold + 1)
            return None
        if key not in self._told and len(self._told) >= _CREDENTIALS_MAX:
            self._told.clear()
        self._told[key] = _Told(minute, now.told + 1)
        return now.untold


def _nobody_waits(_: list[Outcome] | StoreUnavailable) -> None:
    """A store that is away says so to everybody else."""
