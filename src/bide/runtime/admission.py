"""The one door for completions: find the interaction, fit the answer to its type, commit it.

Everything that arrives, typed or as JSON, over whatever transport, comes through `Admission` and
leaves with one receipt. It reads first, to know which type the answer must have, and decides
nothing on what it read: the decision is the engine's, under the row's lock.
"""

from collections.abc import Sequence, Sized
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
import orjson

from bide.authoring.answers import Answer, Receipt
from bide.authoring.answers import Outcome as WireOutcome
from bide.engine.moves import Admit, Failure, Outcome, Received, Unstorable
from bide.errors import FieldError, LimitExceeded, PayloadError, StoreUnavailable
from bide.model.ids import InteractionId, format_execution, parse_interaction
from bide.model.status import ReceiptOutcome
from bide.planning.plan import PlanAwait
from bide.runtime.committer import Committer
from bide.runtime.deploys import Deploys
from bide.runtime.lookups import LookUps
from bide.runtime.plans import Plans
from bide.runtime.segment import guard_bytes, guard_items
from bide.runtime.texts import MESSAGE_MAX, NAME_MAX, check_text
from bide.runtime.views import MISSING, Completion, Reply
from bide.settings import Settings
from bide.spi.clock import Clock
from bide.spi.store import Asked, Store


class Typed(msgspec.Struct, frozen=True):
    """An answer that is a Python value already."""

    interaction_id: str
    value: Any
    actor: str | None
    #: The await's step, where the caller knows it.
    step_id: str | None = None
    #: Take a JSON value as well, since the caller has no type at hand.
    lenient: bool = False
    failure: tuple[str, str] | None = None


class _Refusal(Exception):
    def __init__(self, code: str, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.errors = tuple(errors)


_OUTCOMES: dict[ReceiptOutcome, WireOutcome] = {
    ReceiptOutcome.APPLIED: "applied",
    ReceiptOutcome.DUPLICATE: "duplicate",
    ReceiptOutcome.CONFLICT: "conflict",
    ReceiptOutcome.LATE: "late",
    ReceiptOutcome.BUFFERED: "buffered",
}
_DETAILS = {
    ReceiptOutcome.CONFLICT: "another answer was admitted before; it stays",
    ReceiptOutcome.UNKNOWN: "there is no such interaction",
}


class Admission:
    """Admits completions of the pipelines that this process knows."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        plans: Plans,
        settings: Settings,
        clock: Clock,
        deploys: Deploys,
    ) -> None:
        self._store = store
        self._committer = committer
        self._plans = plans
        self._settings = settings
        self._clock = clock
        self._deploys = deploys
        self._look_ups = LookUps(self._fetch, most=settings.batch_rows)

    async def admit_one(self, tenant: str, completion: Completion | Typed) -> Reply | None:
        """Take in one completion; its commit is shared with other callers', as is its look-up."""
        place = self._place(completion)
        if place is None:
            return _unknown(completion)
        boundary, asked = self._known(completion), None
        if boundary is None:
            asked = await self._look_ups.get((tenant, place))
            if asked is None:
                return _unknown(completion)
            boundary = await self._boundary_of(asked)
        try:
            move = self._prepare(tenant, completion, place, boundary, asked)
            outcome = await self._committer.commit(move)
        except _Refusal as refusal:
            return _rejected(completion, place, refusal)
        except StoreUnavailable:
            return None
        return _reply(completion, place, outcome)

    async def admit(
        self, tenant: str, completions: Sequence[Completion | Typed]
    ) -> list[Reply | None]:
        """Take in completions; a reply each, in order.

        None stands for what the store failed on: nothing of it was acknowledged.
        """
        replies: list[Reply | None] = [None] * len(completions)
        prepared: list[tuple[int, Admit]] = []
        places = [self._place(each) for each in completions]
        boundaries = await self._boundaries(tenant, completions, places)
        for index, (completion, place) in enumerate(zip(completions, places, strict=True)):
            try:
                if place is None or (found := boundaries[place]) is None:
                    replies[index] = _unknown(completion)
                    continue
                prepared.append((index, self._prepare(tenant, completion, place, *found)))
            except _Refusal as refusal:
                replies[index] = _rejected(completion, place, refusal)
        await self._commit(prepared, completions, replies)
        return replies

    async def _commit(
        self,
        prepared: Sequence[tuple[int, Admit]],
        completions: Sequence[Completion | Typed],
        replies: list[Reply | None],
    ) -> None:
        size = self._settings.batch_rows
        for start in range(0, len(prepared), size):
            part = prepared[start : start + size]
            try:
                outcomes = await self._committer.commit_many([move for _, move in part])
            except StoreUnavailable:
                return
            for (index, move), outcome in zip(part, outcomes, strict=True):
                replies[index] = _reply(completions[index], move.interaction, outcome)

    # --- which interaction --------------------------------------------------------------------

    def _place(self, completion: Completion | Typed) -> InteractionId | None:
        if isinstance(completion, Typed):
            return parse_interaction(completion.interaction_id)
        text = completion.interaction_id or completion.correlation_id
        return parse_interaction(text) if text else None

    async def _boundaries(
        self,
        tenant: str,
        completions: Sequence[Completion | Typed],
        places: Sequence[InteractionId | None],
    ) -> dict[InteractionId, tuple[PlanAwait | None, Asked | None] | None]:
        """The await of each interaction; read from the store unless the caller knows it.

        A typed completion knows its step, and if only one pipeline has an await of that id there is
        nothing to look up: whether the interaction exists is found out when it is committed.
        """
        found: dict[InteractionId, tuple[PlanAwait | None, Asked | None] | None] = {}
        unknown: dict[InteractionId, None] = {}
        for completion, place in zip(completions, places, strict=True):
            if place is None or place in found:
                continue
            boundary = self._known(completion)
            if boundary is None:
                unknown[place] = None
            else:
                found[place] = (boundary, None)
        for place, asked in zip(unknown, await self.look_up(tenant, list(unknown)), strict=True):
            found[place] = (await self._boundary_of(asked), asked) if asked else None
        return found

    async def look_up(self, tenant: str, places: Sequence[InteractionId]) -> Sequence[Asked | None]:
        """Interactions by id; single ones share their reads with other callers'."""
        if len(places) == 1:
            return [await self._look_ups.get((tenant, places[0]))]
        size = self._settings.batch_rows
        found: list[Asked | None] = []
        for start in range(0, len(places), size):
            found += await self._store.interactions_by_id(tenant, places[start : start + size])
        return found

    async def _fetch(self, wanted: Sequence[tuple[str, InteractionId]]) -> Sequence[Asked | None]:
        of_tenant: dict[str, list[InteractionId]] = {}
        for tenant, place in wanted:
            of_tenant.setdefault(tenant, []).append(place)
        found: dict[tuple[str, InteractionId], Asked | None] = {}
        for tenant, places in of_tenant.items():
            asked = await self._store.interactions_by_id(tenant, places)
            found.update(zip([(tenant, place) for place in places], asked, strict=True))
        return [found[key] for key in wanted]

    def _known(self, completion: Completion | Typed) -> PlanAwait | None:
        if not isinstance(completion, Typed) or completion.step_id is None:
            return None
        candidates = self._plans.awaits_of_step(completion.step_id)
        if len(candidates) != 1 or candidates[0][1].boundary.project is not None:
            return None
        return candidates[0][1]

    async def _boundary_of(self, asked: Asked) -> PlanAwait | None:
        """The await as the version has it that will read the answer; None if none of here does."""
        fingerprint = asked.unit.fingerprint
        if not self._plans.is_known(fingerprint):
            await self._deploys.picture()  # another deployment may have come since
        return self._plans.boundary_of(asked.pipeline, fingerprint, asked.unit.step_id)

    # --- what answer --------------------------------------------------------------------------

    def _prepare(
        self,
        tenant: str,
        completion: Completion | Typed,
        place: InteractionId,
        boundary: PlanAwait | None,
        asked: Asked | None,
    ) -> Admit:
        if isinstance(completion, Completion):
            _check_step(completion, asked)
        actor = _checked("actor", completion.actor, NAME_MAX)
        if completion.failure is not None:
            failure = Failure(
                _checked("failure/code", completion.failure[0], NAME_MAX) or "failed",
                _checked("failure/message", completion.failure[1] or None, MESSAGE_MAX) or "",
            )
            said = {"failure": {"code": failure.code, "message": failure.message}}
            body = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
            return Admit(place, tenant, b"", sha256(body).digest(), actor, failure)
        if boundary is None:
            raise _Refusal(
                "unknown-step", "this deployment does not know the await; use one that does"
            )
        try:
            value, body = self._fit(completion, boundary)
            output = self._project(boundary, asked, value, actor)
            digest = boundary.answer.digest(value, body)
        except PayloadError as error:
            raise _Refusal("invalid-answer", str(error), error.errors) from error
        except LimitExceeded as error:
            raise _Refusal("too-large", str(error)) from error
        return Admit(place, tenant, body, digest, actor, None, output, boundary.fingerprint)

    def _fit(self, completion: Completion | Typed, boundary: PlanAwait) -> tuple[Any, bytes]:
        codec, settings = boundary.answer, self._settings
        if isinstance(completion, Typed):
            value = completion.value
            if completion.lenient:
                value = _lenient(boundary, value)
        else:
            if completion.payload is MISSING:
                raise _Refusal("malformed", "there is neither responsePayload nor failure")
            payload: object = completion.payload
            if codec.many and isinstance(payload, Sized):
                guard_items(len(payload), settings.await_aggregate_max_output_items, "output")
            value = codec.parse(payload)
        if codec.many:
            guard_items(len(value), settings.await_aggregate_max_output_items, "output")
        body = codec.encode(value)
        guard_bytes(body, settings)
        return value, body

    def _project(
        self, boundary: PlanAwait, asked: Asked | None, value: Any, actor: str | None
    ) -> bytes | None:
        """What the next step takes, made of request and answer; a failing projector refuses."""
        project = boundary.boundary.project
        if project is None or asked is None:
            return None
        answer = Answer(
            actor=actor or "",
            group=asked.interaction.group,
            answered_at=datetime.fromtimestamp(self._clock() / 1000, UTC),
            source="person",
        )
        try:
            request = boundary.request.decode(asked.interaction.request or b"")
            output = boundary.output.encode(project(request, value, answer))
            guard_bytes(output, self._settings)
        except Exception as error:
            text = f"the await's project raised {type(error).__name__}: {error}"
            raise _Refusal("projection-failed", text[:MESSAGE_MAX]) from error
        return output


def _lenient(boundary: PlanAwait, value: Any) -> Any:
    """A value of the type, or the JSON of one."""
    try:
        boundary.answer.encode(value)
    except PayloadError:
        return boundary.answer.parse(value)
    return value


def _check_step(completion: Completion, asked: Asked | None) -> None:
    if asked is None:
        return
    if completion.step_id not in (None, asked.interaction.step_id):
        raise _Refusal("wrong-step", "the interaction belongs to another step")


def _checked(what: str, text: str | None, longest: int) -> str | None:
    if text is None:
        return None
    problem = check_text(text, longest)
    if problem is not None:
        raise _Refusal(
            "invalid-answer", f"{what} {problem}", [FieldError(path=f"/{what}", message=problem)]
        )
    return text


# --- replies ------------------------------------------------------------------------------------


def _named(completion: Completion | Typed) -> str:
    if isinstance(completion, Typed):
        return completion.interaction_id
    return completion.interaction_id or completion.correlation_id or ""


def _unknown(completion: Completion | Typed) -> Reply:
    receipt = Receipt(interaction_id=_named(completion), outcome="unknown")
    return Reply(receipt=receipt, code="not-found", detail=_DETAILS[ReceiptOutcome.UNKNOWN])


def _rejected(
    completion: Completion | Typed, place: InteractionId | None, refusal: _Refusal
) -> Reply:
    receipt = Receipt(
        interaction_id=_named(completion),
        outcome="rejected",
        execution_id=format_execution(place.execution) if place else None,
    )
    return Reply(receipt=receipt, code=refusal.code, detail=str(refusal), errors=refusal.errors)


def _reply(completion: Completion | Typed, place: InteractionId, outcome: Outcome) -> Reply:
    if isinstance(outcome, Unstorable):
        return _rejected(completion, place, _Refusal("invalid-answer", outcome.message))
    assert isinstance(outcome, Received)
    if outcome.outcome is ReceiptOutcome.UNKNOWN:
        return _unknown(completion)
    receipt = Receipt(
        interaction_id=_named(completion),
        outcome=_OUTCOMES[outcome.outcome],
        execution_id=format_execution(place.execution),
        step_id=outcome.step_id,
        status=outcome.status.name if outcome.status else None,
    )
    detail = outcome.reason or _DETAILS.get(outcome.outcome, "")
    return Reply(receipt=receipt, code=_OUTCOMES[outcome.outcome], detail=detail)
