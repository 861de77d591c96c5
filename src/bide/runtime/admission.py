"""The one door for completions: find the interaction, fit the answer to its type, commit it.

Everything that arrives, typed or as JSON, over whatever transport, comes through `Admission` and
leaves with one receipt. It reads first, to know which type the answer must have, and decides
nothing on what it read: the decision is the engine's, under the row's lock.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Sized
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple, TypeGuard

import msgspec
import orjson

from bide.authoring.answers import Answer, Receipt
from bide.authoring.answers import Outcome as WireOutcome
from bide.authoring.awaits import Await
from bide.authoring.transports import Inbox
from bide.engine.moves import Admit, AdmitByKey, Audit, Failure, Outcome, Received, Unstorable
from bide.errors import FieldError, LimitExceeded, PayloadError, StoreUnavailable
from bide.model.ids import (
    CorrelationKey,
    ExecutionId,
    InteractionId,
    format_execution,
    format_interaction,
    parse_interaction,
)
from bide.model.records import TraceContext, replace
from bide.model.status import ReceiptOutcome
from bide.planning.keys import KEY_CHARACTERS_MAX
from bide.planning.plan import Plan, PlanAwait
from bide.runtime.auditing import RefusalNotes
from bide.runtime.committer import Committer
from bide.runtime.deploys import Deploys
from bide.runtime.lookups import LookUps
from bide.runtime.plans import Plans
from bide.runtime.segment.guards import guard_bytes, guard_items
from bide.runtime.texts import MESSAGE_MAX, NAME_MAX, check_text
from bide.runtime.views import MISSING, Completion, Reply
from bide.security.access import OPERATOR, AccessRefused, Caller, Right, right_of
from bide.security.desk import TokenDesk
from bide.security.tokens import Claims, Purpose, TokenRefused
from bide.settings import Settings
from bide.spi.clock import Clock
from bide.spi.receiving import NO_CARRIER
from bide.spi.store import Asked, Correlated, Store
from bide.spi.telemetry import SILENT, UNTRACED, Telemetry, Traced


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
    #: In place of the id: what the interaction is correlated by, and the await that asks.
    correlation_id: str | None = None
    boundary: Await[Any, Any, Any] | None = None
    #: The token of the request, which may stand in the place of the id.
    resume_token: str | None = None

    def __repr__(self) -> str:
        return f"<Typed completion of {self.interaction_id or self.correlation_id}>"


class _Contents(NamedTuple):
    """What a completion comes to: the fields that every move which admits one has."""

    body: bytes
    digest: bytes
    actor: str | None
    failure: Failure | None = None
    output: bytes | None = None
    fingerprint: str | None = None


class _Match(NamedTuple):
    """The await that a correlation id is for, and what is known under it there."""

    key: CorrelationKey
    pipeline: str
    step_id: str
    #: None when this process does not know the await.
    boundary: PlanAwait | None
    holder: Asked | None = None


class _Prepared(NamedTuple):
    """A completion that is ready for its commit."""

    #: Its place in the batch that it came with.
    position: int
    tenant: str
    move: Admit | AdmitByKey
    #: The interaction that it is for; None where nothing has asked under its key yet.
    place: InteractionId | None
    #: The trace that it came in, where it came with others.
    carrier: Mapping[bytes, bytes] = NO_CARRIER


class _Refusal(Exception):
    def __init__(
        self,
        code: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        *,
        asked: Asked | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.errors = tuple(errors)
        #: What it was found to be for, where the sender may know that.
        self.asked = asked


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
        new_id: Callable[[], ExecutionId],
        tokens: TokenDesk,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._store = store
        self._committer = committer
        self._plans = plans
        self._settings = settings
        self._clock = clock
        self._deploys = deploys
        self._new_id = new_id
        self._tokens = tokens
        self._meter, self._tracing = telemetry
        #: Where refusals of known callers are noted, by this door and others.
        self.notes = RefusalNotes(committer, clock, new_id)
        self._trace_look_ups = LookUps(store.traces, most=settings.batch_rows)
        self._look_ups = LookUps(self._fetch, most=settings.batch_rows)
        self._correlations = LookUps(self._fetch_correlated, most=settings.batch_rows)
        self._given: Counter[tuple[str, str]] = Counter()

    def _tally(self, tenant: str, reply: Reply | None) -> None:
        if _is_receipt(reply):
            outcome = reply.receipt.outcome
            self._given[tenant, outcome] += 1
            reason = reply.code if outcome == "rejected" else ""
            names = self._plans.names_of(reply.fingerprint or "")
            self._meter.receipted(names, outcome, reason)

    def given(self, tenant: str) -> dict[str, int]:
        """How many completions got which receipt from this process."""
        return {outcome.value: self._given[tenant, outcome.value] for outcome in ReceiptOutcome}

    async def admit_one(
        self, tenant: str, completion: Completion | Typed, by: Caller | None = None
    ) -> Reply | None:
        """Take in one completion; its commit is shared with other callers', as is its look-up.

        Args:
            tenant: whose rows; of a token that may say so itself, the token's.
            completion: what came.
            by: who sent it; None for the store's operator, who may answer everything.

        Returns:
            Its one receipt; None where the store failed, and nothing was acknowledged.
        """
        try:
            right = self._right(tenant, completion, by)
        except _Refusal as refusal:
            reply: Reply | None = _rejected(completion, None, refusal)
        else:
            tenant = right.tenant
            reply = await self._admit_one(completion, right)
        self._tally(tenant, reply)
        self._meter.received(_is_receipt(reply))
        return reply

    async def _admit_one(self, completion: Completion | Typed, right: Right) -> Reply | None:
        place = right.interaction or self._place(completion)
        if place is None:
            return await self._admit_by_key(completion, right)
        boundary, asked = self._known(completion, right), None
        if boundary is None:
            asked = await self._look_ups.get((right.tenant, place))
            if asked is None:
                return _unknown(completion, place)
            boundary = await self._boundary_of(asked)
        try:
            _check_right(right, boundary, asked)
            contents = self._contents(completion, right, boundary, asked)
            audit = self._audit(right, contents.actor, asked)
            move = Admit(place, right.tenant, *contents, audit=audit)
            [outcome] = await self._committed([_Prepared(0, right.tenant, move, place)])
        except _Refusal as refusal:
            return self._refused(completion, right, place, refusal, boundary)
        except StoreUnavailable:
            return None
        return _reply(completion, place, outcome)

    async def admit(
        self, tenant: str, completions: Sequence[Completion | Typed], by: Caller | None = None
    ) -> list[Reply | None]:
        """Take in completions; a reply each, in order. Arguments as of `admit_one`.

        None stands for what the store failed on: nothing of it was acknowledged.
        """
        replies: list[Reply | None] = [None] * len(completions)
        rights = [OPERATOR] * len(completions)
        of_tenant: dict[str, list[int]] = {}
        for index, completion in enumerate(completions):
            try:
                rights[index] = self._right(tenant, completion, by)
            except _Refusal as refusal:
                replies[index] = _rejected(completion, None, refusal)
                self._tally(tenant, replies[index])
            else:
                of_tenant.setdefault(rights[index].tenant, []).append(index)
        try:
            for owner, indexes in of_tenant.items():
                part = await self._admit_of(
                    owner,
                    [completions[index] for index in indexes],
                    [rights[index] for index in indexes],
                )
                for index, reply in zip(indexes, part, strict=True):
                    replies[index] = reply
                    self._tally(owner, reply)
        finally:
            self._meter.received(sum(map(_is_receipt, replies)))
        return replies

    async def _admit_of(
        self, tenant: str, completions: Sequence[Completion | Typed], rights: Sequence[Right]
    ) -> list[Reply | None]:
        """Take in the completions of one tenant."""
        replies: list[Reply | None] = [None] * len(completions)
        prepared: list[_Prepared] = []
        places = [
            right.interaction or self._place(completion)
            for completion, right in zip(completions, rights, strict=True)
        ]
        boundaries = await self._boundaries(tenant, completions, rights, places)
        matches = await self._matches(tenant, completions, places)
        for index, (completion, right, place) in enumerate(
            zip(completions, rights, places, strict=True)
        ):
            try:
                if place is None:
                    match = self._match(right, completion, matches)
                    if match is None:
                        replies[index] = _unknown(completion, None)
                    else:
                        move = await self._prepare(completion, match, right)
                        holder = match.holder.interaction.id if match.holder else None
                        carrier = _carrier_of(completion)
                        prepared.append(_Prepared(index, tenant, move, holder, carrier))
                    continue
                if (found := boundaries[place]) is None:
                    replies[index] = _unknown(completion, place)
                    continue
                _check_right(right, *found)
                contents = self._contents(completion, right, *found)
                audit = self._audit(right, contents.actor, found[1])
                admit = Admit(place, tenant, *contents, audit=audit)
                carrier = _carrier_of(completion)
                prepared.append(_Prepared(index, tenant, admit, place, carrier))
            except _Refusal as refusal:
                found = boundaries.get(place) if place else None
                boundary = found[0] if found else None
                replies[index] = self._refused(completion, right, place, refusal, boundary)
        await self._commit(prepared, completions, replies)
        return replies

    async def _commit(
        self,
        prepared: Sequence[_Prepared],
        completions: Sequence[Completion | Typed],
        replies: list[Reply | None],
    ) -> None:
        size = self._settings.batch_rows
        for start in range(0, len(prepared), size):
            part = prepared[start : start + size]
            try:
                outcomes = await self._committed(part)
            except StoreUnavailable:
                return
            for each, outcome in zip(part, outcomes, strict=True):
                place = each.place if isinstance(each.move, Admit) else None
                replies[each.position] = _reply(completions[each.position], place, outcome)

    async def _committed(self, part: Sequence[_Prepared]) -> list[Outcome]:
        """Commit completions together, each in the trace of its execution if that has one."""
        moves = [each.move for each in part]
        if not self._tracing.is_on:
            return await self._committer.commit_many(moves)
        traces = await self._traced(part)
        try:
            moves = [
                move if trace is UNTRACED else replace(move, trace=trace.context)
                for move, trace in zip(moves, traces, strict=True)
            ]
            outcomes = await self._committer.commit_many(moves)
            for trace, outcome in zip(traces, outcomes, strict=True):
                said = outcome.outcome.value if isinstance(outcome, Received) else "rejected"
                trace.note(said)
            return outcomes
        except StoreUnavailable as error:
            for trace in traces:
                trace.failed(error.code)
            raise
        finally:
            for trace in traces:
                trace.end()

    async def _traced(self, part: Sequence[_Prepared]) -> list[Traced]:
        places = [each.place for each in part if each.place is not None]
        tenants = [each.tenant for each in part if each.place is not None]
        wanted = list(zip(tenants, [place.execution for place in places], strict=True))
        found = (
            [await self._trace_look_ups.get(wanted[0])]
            if len(wanted) == 1
            else await self._store.traces(wanted)
        )
        within = dict(zip(places, found, strict=True))
        return [
            UNTRACED if each.place is None else self._completing(each, each.place, within)
            for each in part
        ]

    def _completing(
        self,
        each: _Prepared,
        place: InteractionId,
        within: Mapping[InteractionId, TraceContext | None],
    ) -> Traced:
        with self._tracing.arriving(each.carrier):
            names = self._plans.names_of(each.move.fingerprint or "")
            return self._tracing.completing(names, place, within[place])

    # --- by what right ------------------------------------------------------------------------

    def claims_of(self, token: str, purpose: Purpose) -> Claims:
        """What a token says; raises `TokenRefused` where it gives no right here and now."""
        return self._tokens.check(token, purpose, self._clock())

    def _right(self, tenant: str, completion: Completion | Typed, by: Caller | None) -> Right:
        """What a completion may answer; looks at nothing but itself."""
        token = completion.resume_token
        if token is None and by is None:
            return OPERATOR if tenant == OPERATOR.tenant else Right(tenant)
        claims: Claims | None = None
        try:
            purpose = by.takes if by else Purpose.RESUME
            claims = self.claims_of(token, purpose) if token else None
            return right_of(
                tenant,
                by,
                claims,
                interaction_id=completion.interaction_id or None,
                correlation_id=completion.correlation_id,
                step_id=completion.step_id,
            )
        except (TokenRefused, AccessRefused) as error:
            owner = claims.tenant if claims and (by is None or by.principal is None) else tenant
            self._note(Right(owner, by, claims), completion, None, error.code)
            raise _Refusal(error.code, str(error)) from None

    def _audit(self, right: Right, actor: str | None, asked: Asked | None) -> Audit | None:
        """Who decides, and on what; None for nobody in particular."""
        credential = right.credential
        if credential is None:
            return None
        request = asked.interaction.request if asked else None
        shown = None if request is None else sha256(request).digest()
        return Audit(self._new_id(), credential, actor, shown)

    def _refused(
        self,
        completion: Completion | Typed,
        right: Right,
        place: InteractionId | None,
        refusal: "_Refusal",
        boundary: PlanAwait | None = None,
    ) -> Reply:
        """Tell of a refusal, and note it where it was somebody's in particular."""
        found = refusal.asked.interaction.id if refusal.asked else place
        self._note(right, completion, found, refusal.code)
        return _rejected(completion, place, refusal, boundary)

    def _note(
        self, right: Right, completion: Completion | Typed, place: InteractionId | None, code: str
    ) -> None:
        credential = right.credential
        if credential is not None and code != "malformed":
            actor = right.actor(completion.actor)
            actor = actor if actor is None or check_text(actor, NAME_MAX) is None else None
            self.notes.note(
                right.tenant, credential, "complete", code,
                actor=actor, place=right.interaction or place,
            )  # fmt: skip

    # --- which interaction --------------------------------------------------------------------

    def _place(self, completion: Completion | Typed) -> InteractionId | None:
        if isinstance(completion, Typed):
            return parse_interaction(completion.interaction_id)
        if completion.interaction_id is None and self._is_key(completion.correlation_id):
            return None
        text = completion.interaction_id or completion.correlation_id
        return parse_interaction(text) if text else None

    async def _boundaries(
        self,
        tenant: str,
        completions: Sequence[Completion | Typed],
        rights: Sequence[Right],
        places: Sequence[InteractionId | None],
    ) -> dict[InteractionId, tuple[PlanAwait | None, Asked | None] | None]:
        """The await of each interaction; read from the store unless the caller knows it.

        A typed completion knows its step, and if only one pipeline has an await of that id there is
        nothing to look up: whether the interaction exists is found out when it is committed.
        """
        found: dict[InteractionId, tuple[PlanAwait | None, Asked | None] | None] = {}
        unknown: dict[InteractionId, None] = {}
        for completion, right, place in zip(completions, rights, places, strict=True):
            if place is None or (place in found and right.claims is None):
                continue
            boundary = self._known(completion, right)
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

    def _known(self, completion: Completion | Typed, right: Right) -> PlanAwait | None:
        if not isinstance(completion, Typed) or completion.step_id is None:
            return None
        if right is not OPERATOR and (right.caller or right.claims):
            return None  # what it may answer stands in the row
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

    # --- which await, where a correlation id is named -----------------------------------------

    def _is_key(self, text: str | None) -> bool:
        """Whether a correlation id is a key of an author's choice; else it is an interaction's."""
        return text is not None and parse_interaction(text) is None

    async def _admit_by_key(self, completion: Completion | Typed, right: Right) -> Reply | None:
        key = _key_of(completion)
        try:
            found = await self._look_up_key(right.tenant, key)
            match = self._match(right, completion, {key: found} if key else {})
            if match is None:
                return _unknown(completion, None)
            move = await self._prepare(completion, match, right)
            holder = match.holder.interaction.id if match.holder else None
            [outcome] = await self._committed([_Prepared(0, right.tenant, move, holder)])
        except _Refusal as refusal:
            return self._refused(completion, right, None, refusal)
        except StoreUnavailable:
            return None
        return _reply(completion, None, outcome)

    async def _look_up_key(self, tenant: str, key: str | None) -> Sequence[Correlated]:
        if key is None:
            return []
        return await self._correlations.get((tenant, key))

    async def _fetch_correlated(
        self, wanted: Sequence[tuple[str, str]]
    ) -> Sequence[list[Correlated]]:
        of_tenant: dict[str, list[str]] = {}
        for tenant, key in wanted:
            of_tenant.setdefault(tenant, []).append(key)
        found: dict[tuple[str, str], list[Correlated]] = {}
        for tenant, keys in of_tenant.items():
            rows = await self._store.correlated(tenant, keys)
            found.update(zip([(tenant, key) for key in keys], rows, strict=True))
        return [found[each] for each in wanted]

    async def _matches(
        self,
        tenant: str,
        completions: Sequence[Completion | Typed],
        places: Sequence[InteractionId | None],
    ) -> dict[str, Sequence[Correlated]]:
        """What is known under the keys that a batch names."""
        keys = list(
            dict.fromkeys(
                key
                for completion, place in zip(completions, places, strict=True)
                if place is None and (key := _key_of(completion)) is not None
            )
        )
        size = self._settings.batch_rows
        found: dict[str, Sequence[Correlated]] = {}
        for start in range(0, len(keys), size):
            page = keys[start : start + size]
            found.update(zip(page, await self._store.correlated(tenant, page), strict=True))
        return found

    def _match(
        self,
        right: Right,
        completion: Completion | Typed,
        known: dict[str, Sequence[Correlated]],
    ) -> _Match | None:
        """The await that a key is for: who asks under it now, else who asked or has an answer
        kept, else who could ask.

        Raises:
            _Refusal: it could be for several, or the key is no text that could be kept.
        """
        key = _checked("correlationId", _key_of(completion), KEY_CHARACTERS_MAX)
        if key is None:
            return None
        asking, other = list[_Match](), dict[tuple[str, str], _Match]()
        for row, holder in known.get(key, ()):
            if holder is not None:
                match = self._narrowed(right, completion, row.id, holder.pipeline,
                                       holder.interaction.step_id, holder)  # fmt: skip
                if match is not None and _is_open(holder):
                    asking.append(match)
                elif match is not None:
                    other[match.pipeline, match.step_id] = match
            if row.early is not None:
                match = self._narrowed(
                    right, completion, row.id, row.pipeline or "", row.step_id or ""
                )
                if match is not None:
                    other.setdefault((match.pipeline, match.step_id), match)
        found = asking or list(other.values()) or self._could_ask(right, completion, key)
        if len(found) > 1:
            awaits = ", ".join(f"{each.pipeline}/{each.step_id}" for each in found)
            raise _Refusal(
                "ambiguous-correlation",
                f"the correlation id {key!r} fits several awaits ({awaits}); name the stepId",
            )
        return found[0] if found else None

    def _narrowed(
        self,
        right: Right,
        completion: Completion | Typed,
        key: CorrelationKey,
        pipeline: str,
        step_id: str,
        holder: Asked | None = None,
    ) -> _Match | None:
        """The await of a row, if the completion can mean it."""
        plan = self._plans.find(pipeline)
        boundary = plan.await_by_id(step_id) if plan else None
        if plan is not None and boundary is not None:
            means = _means(right, completion, plan, boundary)
        else:
            means = isinstance(completion, Completion) and completion.step_id in (None, step_id)
        return _Match(key, pipeline, step_id, boundary, holder) if means else None

    def _could_ask(self, right: Right, completion: Completion | Typed, key: str) -> list[_Match]:
        return [
            _Match(
                CorrelationKey(right.tenant, key, boundary.scope),
                plan.pipeline,
                boundary.id,
                boundary,
            )
            for plan, boundary in self._plans.correlated
            if boundary.scope is not None and _means(right, completion, plan, boundary)
        ]

    async def _prepare(
        self, completion: Completion | Typed, match: _Match, right: Right
    ) -> AdmitByKey:
        boundary = await self._boundary_of(match.holder) if match.holder else match.boundary
        _check_right(right, boundary, match.holder)
        contents = self._contents(completion, right, boundary, None)
        body, digest, actor, failure, _, fingerprint = contents
        if failure is not None:
            body = _failure_body(failure)
        return AdmitByKey(
            match.key, match.pipeline, match.step_id, body, digest, self._new_id(),
            self._settings.buffer_ttl_ms, actor, failure, fingerprint,
            audit=self._audit(right, actor, match.holder),
        )  # fmt: skip

    # --- what answer --------------------------------------------------------------------------

    def _contents(
        self,
        completion: Completion | Typed,
        right: Right,
        boundary: PlanAwait | None,
        asked: Asked | None,
    ) -> _Contents:
        if isinstance(completion, Completion):
            _check_step(completion, asked)
        actor = _checked("actor", right.actor(completion.actor), NAME_MAX)
        if completion.failure is not None:
            failure = Failure(
                _checked("failure/code", completion.failure[0], NAME_MAX) or "failed",
                _checked("failure/message", completion.failure[1] or None, MESSAGE_MAX) or "",
            )
            return _Contents(b"", sha256(_failure_body(failure)).digest(), actor, failure)
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
        return _Contents(body, digest, actor, None, output, boundary.fingerprint)

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


def _failure_body(failure: Failure) -> bytes:
    said = {"failure": {"code": failure.code, "message": failure.message}}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def _carrier_of(completion: Completion | Typed) -> Mapping[bytes, bytes]:
    return completion.carrier if isinstance(completion, Completion) else NO_CARRIER


def _key_of(completion: Completion | Typed) -> str | None:
    """The correlation id that a completion goes by; blanks around it do not count."""
    if isinstance(completion, Completion) and completion.interaction_id is not None:
        return None
    return completion.correlation_id.strip() if completion.correlation_id else None


def _means(right: Right, completion: Completion | Typed, plan: Plan, boundary: PlanAwait) -> bool:
    """Whether a completion by key can be for that await."""
    answers = right.caller.answers if right.caller else None
    if answers is not None and boundary.transport not in answers:
        return False
    if isinstance(completion, Typed):
        return completion.boundary is boundary.boundary
    step = completion.step_id
    return step is None or step == boundary.name or plan.await_by_id(step) is boundary


def _is_open(asked: Asked) -> bool:
    return not asked.interaction.status.is_terminal and not asked.unit.status.is_terminal


def _check_right(right: Right, boundary: PlanAwait | None, asked: Asked | None) -> None:
    """Refuse a completion that may not answer what was found: `asked`, or who could yet ask."""
    if right.caller is None and right.claims is None:
        return
    inbox = boundary.transport if boundary else None
    of_await = (inbox.group, inbox.assignee) if isinstance(inbox, Inbox) else (None, None)
    row = asked.interaction if asked else None
    group, assignee = (row.group, row.assignee) if row else of_await
    try:
        right.check(
            step_id=row.step_id if row else boundary.id if boundary else "",
            correlation_id=(row.correlation or format_interaction(row.id)) if row else None,
            via=boundary.transport if boundary else None,
            group=group,
            assignee=assignee,
        )
    except AccessRefused as error:
        raise _Refusal(error.code, str(error), asked=asked) from None


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


def _is_receipt(reply: Reply | None) -> TypeGuard[Reply]:
    """Whether it counts as received: what is malformed, or met no store, was answered and no more."""
    return reply is not None and reply.code != "malformed"


def _named(completion: Completion | Typed) -> str:
    return completion.interaction_id or completion.correlation_id or ""


def _name(completion: Completion | Typed, place: InteractionId | None) -> str:
    """As the sender named the interaction; of one that only brought a token, as it is found."""
    return _named(completion) or (format_interaction(place) if place else "")


def _unknown(completion: Completion | Typed, place: InteractionId | None) -> Reply:
    receipt = Receipt(interaction_id=_name(completion, place), outcome="unknown")
    return Reply(receipt=receipt, code="not-found", detail=_DETAILS[ReceiptOutcome.UNKNOWN])


def _rejected(
    completion: Completion | Typed,
    place: InteractionId | None,
    refusal: _Refusal,
    boundary: PlanAwait | None = None,
) -> Reply:
    asked = refusal.asked.interaction if refusal.asked else None
    of_row = refusal.asked.unit.fingerprint if refusal.asked else None
    place = asked.id if asked else place
    receipt = Receipt(
        interaction_id=format_interaction(asked.id) if asked else _name(completion, place),
        outcome="rejected",
        execution_id=format_execution(place.execution) if place else None,
        step_id=asked.step_id if asked else None,
        status=asked.status.name if asked else None,
    )
    return Reply(
        receipt=receipt,
        code=refusal.code,
        detail=str(refusal),
        errors=refusal.errors,
        fingerprint=boundary.fingerprint if boundary else of_row,
    )


def _reply(completion: Completion | Typed, place: InteractionId | None, outcome: Outcome) -> Reply:
    if isinstance(outcome, Unstorable):
        return _rejected(completion, place, _Refusal("invalid-answer", outcome.message))
    assert isinstance(outcome, Received)
    if outcome.outcome is ReceiptOutcome.UNKNOWN:
        return _unknown(completion, place)
    found = outcome.interaction
    place = place or found
    receipt = Receipt(
        interaction_id=format_interaction(found) if found else _name(completion, place),
        outcome=_OUTCOMES[outcome.outcome],
        execution_id=format_execution(place.execution) if place else None,
        step_id=outcome.step_id,
        status=outcome.status.name if outcome.status else None,
    )
    detail = outcome.reason or _DETAILS.get(outcome.outcome, "")
    return Reply(
        receipt=receipt,
        code=_OUTCOMES[outcome.outcome],
        detail=detail,
        fingerprint=outcome.fingerprint,
    )
