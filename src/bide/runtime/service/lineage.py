"""What an execution was made of, and what it has led to in other pipelines."""

from bide.model.ids import format_execution, parse_execution
from bide.model.records import Handoff, Origin
from bide.model.status import HandoffStatus
from bide.runtime.service.base import Operations
from bide.runtime.views import HandoffView, Lineage, OriginView


class Lineages(Operations):
    """What an execution was made of, and what it has led to in other pipelines."""

    async def lineage(self, tenant: str, execution_id: str) -> Lineage:
        """The publications that an execution was made of, and those that it has made.

        Both in the order in which they were made; empty for an execution that is unknown.
        """
        id_ = parse_execution(execution_id)
        if id_ is None:
            return Lineage(made_of=[], published=[])
        return Lineage(
            made_of=[_origin_view(each) for each in await self._store.origins(tenant, id_)],
            published=[_handoff_view(each) for each in await self._store.handoffs(tenant, id_)],
        )


def _origin_view(origin: Origin) -> OriginView:
    return OriginView(
        execution_id=format_execution(origin.source),
        pipeline=origin.pipeline,
        publication=origin.publication,
        key=origin.key,
        at_ms=origin.at,
    )


_STATUS = {
    HandoffStatus.WAITING: "waiting",
    HandoffStatus.SENDING: "sending",
    HandoffStatus.ADMITTED: "admitted",
    HandoffStatus.REFUSED: "refused",
}


def _handoff_view(handoff: Handoff) -> HandoffView:
    made = handoff.admitted_as
    return HandoffView(
        handoff_id=format_execution(handoff.id),
        publication=handoff.publication,
        key=handoff.key,
        status=_STATUS[handoff.status],
        target=handoff.target or None,
        execution_id=format_execution(made) if made is not None else None,
        duplicate=handoff.duplicate,
        attempts=handoff.attempts,
        next_attempt_ms=None if handoff.owner else handoff.due_at,
        error=handoff.error,
        created_at_ms=handoff.created_at,
        updated_at_ms=handoff.updated_at,
    )
