"""What a segment publishes: for each target, either its admission or the offer that will be made.

A target reads what was published from its bytes, by its own types, whether it lives in the same
store or elsewhere: so both ways of being admitted are one, and a mapper cannot change what its
source still works with.
"""

from collections.abc import Callable, Sequence
from typing import Any

from bide.engine.moves import Failure, NewHandoff, Submit
from bide.errors import LimitExceeded, NonRetryable, PayloadError
from bide.model.ids import ExecutionId
from bide.model.records import Execution, Handoff, Origin, TraceContext, replace
from bide.planning.plan import Plan
from bide.planning.publications import PlanPublication, PlanSubscription
from bide.runtime.plans import Plans
from bide.runtime.segment.guards import guard_bytes
from bide.runtime.texts import storable
from bide.settings import Settings

#: The target of what another deployment takes.
ELSEWHERE = ""
#: The codes of publications that their targets cannot take.
INVALID = "handoff-invalid"
UNMAPPED = "mapper-failed"


class NotTaken(Exception):
    """The target cannot take a publication, now or ever: it does not fit, or its mapper failed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def failure(self) -> Failure:
        """The same, as it is stored."""
        return Failure(self.code, storable(str(self)))


class Publisher:
    """Makes of published values what the commit of their segment writes; safe on any thread."""

    def __init__(self, plans: Plans, settings: Settings, new_id: Callable[[], ExecutionId]) -> None:
        self._plans = plans
        self._settings = settings
        self._new_id = new_id

    def handoffs(
        self, source: Execution, publications: Sequence[PlanPublication], value: Any
    ) -> list[NewHandoff]:
        """What is to be written of a value at a point, for each of its targets.

        Raises:
            NonRetryable: it cannot be published: it does not fit its type, is too large, or has no
                key.
        """
        found: list[NewHandoff] = []
        for publication in publications:
            key, body = self._published(publication, value)
            for plan, subscription in self._plans.subscribers(publication.id):
                origin = Origin(
                    source.id, source.id, source.tenant, source.pipeline, publication.id, key, 0
                )
                new = NewHandoff(self._new_id(), publication.id, plan.pipeline, key, body)
                try:
                    admission = self.admission(plan, subscription, origin, body)
                    found.append(replace(new, admission=admission))
                except NotTaken as error:
                    found.append(replace(new, refused=error.failure))
            if publication.to is not None:
                found.append(NewHandoff(self._new_id(), publication.id, ELSEWHERE, key, body))
        return found

    def _published(self, publication: PlanPublication, value: Any) -> tuple[str, bytes]:
        try:
            body = publication.codec.encode(value)
            guard_bytes(body, self._settings)
            key = publication.key_of(value)
            if key is None:
                raise PayloadError("idempotent_on gave nothing")
        except Exception as error:
            raise NonRetryable(f"publication {publication.id!r} cannot be made: {error}") from error
        return key, body

    def admission(
        self,
        plan: Plan,
        subscription: PlanSubscription,
        origin: Origin,
        body: bytes,
        trace: TraceContext | None = None,
    ) -> Submit:
        """The submission that a publication is for one of its subscribers.

        Raises:
            NotTaken: it cannot be taken.
        """
        try:
            payload = subscription.payload.decode(body)
            digest = subscription.payload.digest(payload, body)
        except PayloadError as error:
            raise NotTaken(INVALID, str(error)) from error
        value = payload
        if subscription.mapper is not None:
            try:
                value = subscription.mapper(payload)
            except Exception as error:
                raise NotTaken(UNMAPPED, f"{type(error).__name__}: {error}") from error
        try:
            made = plan.input.encode(value)
            guard_bytes(made, self._settings)
        except (PayloadError, LimitExceeded) as error:
            raise NotTaken(INVALID, str(error)) from error
        return Submit(
            self._new_id(), origin.tenant, plan.pipeline, plan.fingerprint, made, digest,
            origin.key, trace, origin,
        )  # fmt: skip

    def again(self, handoff: Handoff) -> Submit:
        """The submission that a refused publication would be now.

        Raises:
            NotTaken: it cannot be taken now either.
        """
        for plan, subscription in self._plans.subscribers(handoff.publication):
            if plan.pipeline == handoff.target and handoff.body is not None:
                origin = Origin(
                    handoff.execution, handoff.execution, handoff.tenant, handoff.pipeline,
                    handoff.publication, handoff.key, 0,
                )  # fmt: skip
                return self.admission(plan, subscription, origin, handoff.body)
        raise NotTaken(
            INVALID, f"pipeline {handoff.target!r} does not take {handoff.publication!r} any more"
        )
