"""Where receivers hand in what a broker brought: admit it, and keep a letter of what is refused.

A record's verdict is given only when it is durable: its completion by the commit that admits it, a
refusal by the letter that tells of it. What happens when it crashes in between: the broker brings
the record again, its completion is then a duplicate, and its letter is known by its id.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeGuard, cast

from bide.authoring.transports import Transport as Via
from bide.engine.moves import KeepLetter, Unstorable
from bide.errors import QuotaExceeded, StoreUnavailable
from bide.model.ids import format_execution, parse_execution
from bide.model.records import DeadLetter
from bide.model.status import DeadLetterKind
from bide.planning import canonical
from bide.planning.json_limits import MalformedJson, strict_loads
from bide.runtime.admission import Admission
from bide.runtime.committer import Committer
from bide.runtime.plans import Plans
from bide.runtime.publishing import NotTaken
from bide.runtime.texts import NAME_MAX, storable
from bide.runtime.views import Completion, Published, Reply, Submission
from bide.security.access import Caller
from bide.security.desk import TokenDesk
from bide.security.redaction import redact
from bide.security.tokens import Purpose, TokenRefused
from bide.settings import Settings
from bide.spi.handoff import Taken
from bide.spi.receiving import Arrival, Offered, Verdict
from bide.spi.telemetry import AwaitNames

log = logging.getLogger(__name__)

_ADMITTED: Final = frozenset({"applied", "duplicate", "buffered"})
#: Of a record that is no JSON, so much is kept as text.
_TEXT_CHARACTERS_MAX: Final = 4_096

#: Completions that are judged alike: one tenant's, for the same awaits.
_Group = tuple[str, frozenset[Via]]
#: Admits publications of one tenant, an answer each.
Take = Callable[
    [str, Sequence[Published]], Awaitable[Sequence[Submission | NotTaken | QuotaExceeded]]
]
#: What became of a completion, and the fingerprint of the boundary that it was for.
_Judged = tuple[Verdict | None, str | None]


class Door:
    """The door of one process; for use on the event loop only."""

    def __init__(
        self,
        admission: Admission,
        take: Take,
        committer: Committer,
        plans: Plans,
        tokens: TokenDesk,
        settings: Settings,
    ) -> None:
        self._admission = admission
        self._take = take
        self._committer = committer
        self._plans = plans
        self._tokens = tokens
        self._settings = settings

    async def take(self, arrivals: Sequence[Arrival]) -> list[Verdict | None]:
        """Admit what can be read, in commits of whole batches; keep a letter of the rest."""
        verdicts: list[Verdict | None] = [_unread(each) for each in arrivals]
        names: list[AwaitNames | None] = [None] * len(arrivals)
        groups: dict[_Group, list[int]] = {}
        for index, each in enumerate(arrivals):
            if isinstance(each.said, Completion) and each.tenant is not None:
                groups.setdefault((each.tenant, each.answers), []).append(index)
        await self._take_offers(arrivals, verdicts)
        found = await asyncio.gather(
            *(self._admit(group, arrivals, indexes) for group, indexes in groups.items())
        )
        for indexes, judged in zip(groups.values(), found, strict=True):
            for index, (verdict, fingerprint) in zip(indexes, judged, strict=True):
                verdicts[index] = verdict
                if fingerprint is not None:
                    names[index] = self._plans.names_of(fingerprint)
        refused = [
            index
            for index, each in enumerate(verdicts)
            if _is_refusal(each) and not isinstance(arrivals[index].said, Offered)
        ]
        size = self._settings.batch_rows
        for start in range(0, len(refused), size):
            part = refused[start : start + size]
            if not await self._keep(arrivals, verdicts, names, part):
                for index in part:
                    verdicts[index] = None
        return verdicts

    async def _admit(
        self, group: _Group, arrivals: Sequence[Arrival], indexes: Sequence[int]
    ) -> list[_Judged]:
        """Admit the completions of a group; one that no code was ready for stands alone."""
        tenant, answers = group
        said = [each for index in indexes if isinstance(each := arrivals[index].said, Completion)]
        try:
            replies = await self._admission.admit(tenant, said, Caller(tenant, answers=answers))
        except StoreUnavailable:
            return [(None, None)] * len(said)
        except Exception as error:
            if len(indexes) > 1:
                return [(await self._admit(group, arrivals, [each]))[0] for each in indexes]
            log.exception(
                "an answer of %s was refused as none should be", arrivals[indexes[0]].place
            )
            why = f"taking it in failed: {type(error).__name__}"
            return [(Verdict(is_admitted=False, code="defect", detail=why), None)]
        return [(_verdict(reply), reply.fingerprint if reply else None) for reply in replies]

    # --- publications -------------------------------------------------------------------------

    async def _take_offers(
        self, arrivals: Sequence[Arrival], verdicts: list[Verdict | None]
    ) -> None:
        """Take what other deployments publish, a tenant's together; writes down each verdict."""
        offers: dict[str, list[int]] = {}
        for index, each in enumerate(arrivals):
            if isinstance(each.said, Offered) and each.tenant and verdicts[index] is None:
                offers.setdefault(each.tenant, []).append(index)
        for tenant, indexes in offers.items():
            said = [arrivals[index].said for index in indexes]
            published = [each.published for each in said if isinstance(each, Offered)]
            found = await self._taken(tenant, published)
            for index, verdict in zip(indexes, found, strict=True):
                verdicts[index] = verdict

    async def _taken(self, tenant: str, published: Sequence[Published]) -> list[Verdict | None]:
        """Take publications of a tenant; one that no code was ready for stands alone."""
        try:
            return [_of_offer(each) for each in await self._take(tenant, published)]
        except StoreUnavailable:
            return [None] * len(published)
        except Exception as error:
            if len(published) > 1:
                return [(await self._taken(tenant, [each]))[0] for each in published]
            log.exception("a publication was turned away as none should be")
            why = f"taking it in failed: {type(error).__name__}"
            return [Verdict(is_admitted=False, code="defect", detail=why)]

    # --- what is refused ----------------------------------------------------------------------

    async def _keep(
        self,
        arrivals: Sequence[Arrival],
        verdicts: Sequence[Verdict | None],
        names: Sequence[AwaitNames | None],
        part: Sequence[int],
    ) -> bool:
        """Store the letters of a part; False where the store failed."""
        moves: list[KeepLetter] = []
        for index in part:
            verdict, arrival = verdicts[index], arrivals[index]
            assert verdict is not None
            of_await = names[index] or self._only_await(arrival.answers)
            moves.append(KeepLetter(self._letter(arrival, verdict, of_await)))
        try:
            outcomes = await self._committer.commit_many(moves)
        except StoreUnavailable:
            return False
        for move, outcome in zip(moves, outcomes, strict=True):
            if isinstance(outcome, Unstorable):
                id_ = format_execution(move.letter.id)
                log.error("the dead letter %s cannot be stored: %s", id_, outcome.message)
        return True

    def _letter(self, arrival: Arrival, verdict: Verdict, names: AwaitNames) -> DeadLetter:
        said = arrival.said
        named = actor = None
        if isinstance(said, Completion):
            named, actor = said.correlation_id or said.interaction_id, said.actor
        return DeadLetter(
            arrival.id,
            self._owner(arrival),
            names.pipeline,
            DeadLetterKind.ARRIVAL,
            None,
            None,
            verdict.code,
            storable(redact(f"{verdict.detail} ({arrival.place})")),
            names.step or None,
            1,
            0,
            None if named is None else storable(redact(named))[:NAME_MAX],
            self._kept(arrival.body),
            None if actor is None else storable(redact(actor))[:NAME_MAX],
        )

    def _owner(self, arrival: Arrival) -> str:
        """For whom a letter is kept: who is named counts only where a token bears it out.

        Otherwise whoever may write to the topic could fill the list of a tenant of their choice.
        """
        token = arrival.said.resume_token if isinstance(arrival.said, Completion) else None
        if token is not None:
            try:
                return self._tokens.check(token, Purpose.RESUME, 0).tenant
            except TokenRefused:
                pass
        return arrival.keeper

    def _only_await(self, answers: frozenset[Via]) -> AwaitNames:
        """The await that a record must have been for, where its topic is of only one."""
        found = {
            (plan.pipeline, boundary.id, boundary.transport.kind)
            for plan in self._plans.versions
            for boundary in plan.awaits()
            if boundary.transport in answers
        }
        return AwaitNames(*found.pop()) if len(found) == 1 else AwaitNames()

    def _kept(self, body: bytes) -> bytes | None:
        """What is kept of a record: the JSON that it is, without its token; else a piece of text."""
        if len(body) > self._settings.payload_max_bytes:
            return None
        try:
            value = strict_loads(body)
        except MalformedJson:
            text = redact(body.decode("utf-8", "replace").replace("\0", "\ufffd"))
            return canonical.dumps(text[:_TEXT_CHARACTERS_MAX])
        if isinstance(value, dict):
            fields = cast("dict[str, object]", value)
            value = {name: each for name, each in fields.items() if name != "resumeToken"}
        return redact(canonical.dumps(value).decode()).encode()


def _unread(arrival: Arrival) -> Verdict | None:
    """The verdict on what cannot be read; None for what is still to be judged."""
    match arrival.said:
        case Completion() | Offered(barred=None):
            return None
        case Offered(barred=why) | why:
            assert why is not None
            return Verdict(is_admitted=False, code=why.code, detail=why.message)


def _of_offer(answer: Submission | NotTaken | QuotaExceeded) -> Verdict:
    match answer:
        case Submission():
            execution = parse_execution(answer.execution_id)
            assert execution is not None, "it was just made"
            taken = Taken(execution, answer.duplicate)
            code = "duplicate" if answer.duplicate else "applied"
            return Verdict(is_admitted=True, code=code, detail="", taken=taken)
        case NotTaken():
            why = answer.failure
            return Verdict(is_admitted=False, code=why.code, detail=why.message)
        case _:
            return Verdict(is_admitted=False, code="quota-exceeded", detail=str(answer))


def _verdict(reply: Reply | None) -> Verdict | None:
    if reply is None:
        return None
    admitted = reply.receipt.outcome in _ADMITTED
    return Verdict(admitted, reply.code, reply.detail or reply.code)


def _is_refusal(verdict: Verdict | None) -> TypeGuard[Verdict]:
    return verdict is not None and not verdict.is_admitted
