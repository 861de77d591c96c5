"""Dead letters and rejects, and driving again what they tell of."""

from collections.abc import Mapping
from typing import Literal

from bide.authoring.transports import Inbox
from bide.engine.moves import (
    AskAgain,
    AskedAgain,
    Handed,
    KeyTaken,
    OfferAgain,
    Redrive,
    Refused,
)
from bide.engine.redriving import check_redrivable, unit_to_take_over
from bide.errors import (
    InvalidInput,
    NotRedrivable,
    PayloadError,
    SubmitConflict,
    UnknownExecution,
)
from bide.model.ids import (
    CorrelationKey,
    format_execution,
    format_reject,
    parse_execution,
    parse_interaction,
    parse_reject,
)
from bide.model.records import DeadLetter, Reject, Unit, replace
from bide.model.status import DeadLetterKind, HandoffStatus
from bide.planning import canonical
from bide.planning.plan import Plan
from bide.runtime.publishing import NotTaken
from bide.runtime.service.base import Operations, submission_of
from bide.runtime.views import (
    DeadLetterView,
    InteractionView,
    RejectView,
    Submission,
)
from bide.security.access import Caller


class Redriving(Operations):
    """Dead letters and rejects, and driving again what they tell of."""

    async def dead_letters(
        self,
        tenant: str,
        *,
        pipeline: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[DeadLetterView]:
        """A page of dead letters, newest first."""
        cursor = parse_execution(before) if before is not None else None
        if before is not None and cursor is None:
            return []
        found = await self._store.dead_letters(
            tenant, pipeline=pipeline, before=cursor, limit=limit
        )
        return [_dead_letter_view(each) for each in found]

    async def dead_letter(self, tenant: str, dead_letter_id: str) -> DeadLetterView | None:
        """One dead letter; an execution's has its id."""
        id_ = parse_execution(dead_letter_id)
        letter = await self._store.dead_letter(tenant, id_) if id_ else None
        return _dead_letter_view(letter) if letter else None

    async def rejects(
        self,
        tenant: str,
        *,
        pipeline: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[RejectView]:
        """A page of items that steps left out, the newest execution first, without the items."""
        cursor = parse_reject(after) if after is not None else None
        if after is not None and cursor is None:
            return []
        found = await self._store.rejects(tenant, pipeline=pipeline, after=cursor, limit=limit)
        return [_reject_view(each) for each in found]

    async def reject(self, tenant: str, reject_id: str) -> RejectView | None:
        """One item that a step left out, with the item."""
        found = await self._find_reject(tenant, reject_id)
        return _reject_view(found) if found else None

    async def redrive(
        self,
        tenant: str,
        id: str,
        *,
        from_await: bool = False,
        again: bool = False,
        caller: Caller | None = None,
    ) -> Submission:
        """Do an execution again that did not succeed, or one item that a step left out.

        Args:
            tenant: whose it is.
            id: of the execution (its dead letter has the same), of the reject, or of a publication
                that its target has refused, which is then offered once more; what is given is the
                target's execution, or where that is another deployment's, the one that published.
            from_await: from its failed await, else the last one passed, with the answers that are
                there; otherwise from the start, with the stored input.
            again: make another one where it was redriven before; otherwise that one is given.
            caller: who asks for it, for the audit.

        Raises:
            UnknownExecution, UnknownPipeline, NotRedrivable, InvalidInput (what is stored does not
            fit the pipeline any more), SubmitConflict (it was redriven from elsewhere).
        """
        if parse_reject(id) is not None:
            return await self._redrive_reject(tenant, id, caller, again=again)
        source = await self._find(tenant, id)
        if source is None:
            return await self._offer_again(tenant, id, caller)
        refused = check_redrivable(source)
        unit: Unit | Refused | None = None
        if from_await:
            unit = unit_to_take_over(await self._store.units(tenant, source.id))
            refused = refused or (unit if isinstance(unit, Refused) else None)
        if isinstance(unit, Unit):
            boundary = self._plans.boundary_of(source.pipeline, unit.fingerprint, unit.step_id)
            # It asks as its await does now, which may have got another transport since.
            if boundary is not None:
                unit = replace(unit, sends=not isinstance(boundary.transport, Inbox))
        body = await self._store.input_of(tenant, source.id)
        if refused is not None or body is None or isinstance(unit, Refused):
            raise NotRedrivable(f"execution {id}: {refused.reason if refused else 'it is gone'}")
        plan = self._plans.get(source.pipeline)
        entry = None if unit else source.entry
        fingerprint = unit.fingerprint if unit else self._fitting(plan, entry, body)
        return await self._redriven(
            Redrive(
                self._new_id(), tenant, source.pipeline, fingerprint, body, source.id,
                None if again else format_execution(source.id),
                b"await" if unit else b"start",
                entry,
                unit,
                audit=self._signed(caller),
            ),
            id,
        )  # fmt: skip

    async def ask_again(
        self, tenant: str, interaction_id: str, *, caller: Caller | None = None
    ) -> InteractionView:
        """Ask for a failed item of an open await once more, in place.

        Raises:
            UnknownExecution, UnknownPipeline, NotRedrivable.
        """
        id_ = parse_interaction(interaction_id)
        [asked] = await self._store.interactions_by_id(tenant, [id_]) if id_ else [None]
        if id_ is None or asked is None:
            raise UnknownExecution(f"there is no interaction {interaction_id!r}")
        boundary = self._plans.get(asked.pipeline).await_by_id(asked.interaction.step_id)
        if boundary is None:
            raise NotRedrivable(f"this app has no await {asked.interaction.step_id!r} any more")
        correlation = asked.interaction.correlation
        outcome = await self._committer.commit(
            AskAgain(
                id_,
                tenant,
                asked.interaction.request or b"null",
                CorrelationKey(tenant, correlation, boundary.scope)
                if correlation is not None and boundary.scope is not None
                else None,
                self._signed(caller),
            )
        )
        if not isinstance(outcome, AskedAgain):
            why = getattr(outcome, "reason", None) or str(outcome)
            raise NotRedrivable(f"interaction {interaction_id}: {why}")
        [again] = await self._store.interactions_by_id(tenant, [outcome.interaction])
        assert again is not None
        [view] = await self._interaction_views([again])
        return view

    async def _offer_again(self, tenant: str, id: str, caller: Caller | None) -> Submission:
        """Offer a publication once more that its target has refused."""
        id_ = parse_execution(id)
        handoff = await self._store.handoff(tenant, id_) if id_ else None
        if id_ is None or handoff is None:
            raise UnknownExecution(f"there is no execution {id!r}")
        try:
            refused = handoff.status is HandoffStatus.REFUSED
            admission = self._publisher.again(handoff) if handoff.target and refused else None
        except NotTaken as error:
            raise NotRedrivable(f"publication {id}: {error.code}: {error}") from error
        outcome = await self._committer.commit(
            OfferAgain(id_, tenant, admission, audit=self._signed(caller))
        )
        if not isinstance(outcome, Handed):
            why = getattr(outcome, "reason", None) or str(outcome)
            raise NotRedrivable(f"publication {id}: {why}")
        now = outcome.handoff
        if now.status is HandoffStatus.REFUSED:
            raise NotRedrivable(f"publication {id}: {now.error_code}: {now.error}")
        return Submission(
            execution_id=format_execution(now.admitted_as or now.execution),
            duplicate=now.duplicate,
            submitted_at_ms=now.updated_at,
        )

    async def _redrive_reject(
        self, tenant: str, id: str, caller: Caller | None, *, again: bool
    ) -> Submission:
        reject = await self._find_reject(tenant, id)
        if reject is None:
            raise UnknownExecution(f"there is no reject {id!r}")
        plan = self._plans.get(reject.pipeline)
        fingerprint = self._fitting(plan, reject.step_id, reject.body)
        return await self._redriven(
            Redrive(
                self._new_id(), tenant, reject.pipeline, fingerprint, reject.body,
                reject.execution, None if again else id, reject.fingerprint, reject.step_id,
                audit=self._signed(caller),
            ),
            id,
        )  # fmt: skip

    def _fitting(self, plan: Plan, entry: str | None, body: bytes) -> str:
        """The fingerprint to start under, once what is stored was found to fit."""
        codec, fingerprint = plan.input, plan.fingerprint
        if entry is not None:
            place = self._plans.entry(plan, entry)
            if place is None:
                raise NotRedrivable(f"pipeline {plan.pipeline} has no step {entry!r} any more")
            codec, fingerprint = place[0].input, place[1]
        try:
            codec.decode(body)
        except PayloadError as error:
            raise InvalidInput(str(error), errors=error.errors) from error
        return fingerprint

    async def _redriven(self, move: Redrive, id: str) -> Submission:
        outcome = await self._created(move)
        if isinstance(outcome, KeyTaken):
            raise SubmitConflict(
                f"{id} was redriven from elsewhere, as execution"
                f" {format_execution(outcome.execution)}; ask for another one (again) if you want it"
            )
        return submission_of(outcome, None)

    async def _find_reject(self, tenant: str, reject_id: str) -> Reject | None:
        id_ = parse_reject(reject_id)
        return await self._store.reject(tenant, id_) if id_ else None


_KINDS: Mapping[DeadLetterKind, Literal["execution", "completion", "handoff"]] = {
    DeadLetterKind.EXECUTION: "execution",
    DeadLetterKind.COMPLETION: "completion",
    DeadLetterKind.ARRIVAL: "completion",
    DeadLetterKind.HANDOFF: "handoff",
}


def _dead_letter_view(letter: DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        dead_letter_id=format_execution(letter.id),
        kind=_KINDS[letter.kind],
        execution_id=format_execution(letter.execution) if letter.execution else None,
        pipeline=letter.pipeline,
        status=letter.status,
        code=letter.code,
        message=letter.message,
        step_id=letter.step_id,
        attempts=letter.attempts,
        created_at_ms=letter.created_at,
        correlation_id=letter.correlation,
        payload=None if letter.payload is None else canonical.loads(letter.payload),
        actor=letter.actor,
    )


def _reject_view(reject: Reject) -> RejectView:
    return RejectView(
        reject_id=format_reject(reject.id),
        execution_id=format_execution(reject.execution),
        pipeline=reject.pipeline,
        step_id=reject.step_id,
        item_index=reject.item,
        fingerprint=reject.fingerprint.hex(),
        reason=reject.reason,
        created_at_ms=reject.created_at,
        item=canonical.loads(reject.body) if reject.body else None,
    )
