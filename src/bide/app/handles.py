"""Handles: an execution that can be waited for, and typed views of what waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime
from typing import Any, Generic, overload

from typing_extensions import TypeVar

from bide.authoring.answers import Interaction
from bide.authoring.awaits import Await
from bide.authoring.durations import Duration, timeout_seconds
from bide.authoring.many import Many
from bide.errors import (
    DefinitionError,
    ExecutionCancelled,
    ExecutionFailed,
    NotFinished,
    UnknownExecution,
)
from bide.model.ids import (
    ExecutionId,
    InteractionId,
    format_execution,
    format_interaction,
    parse_execution,
)
from bide.model.records import Execution as Row
from bide.model.status import ExecutionStatus
from bide.planning.plan import Plan, PlanAwait
from bide.runtime.runtime import Runtime
from bide.runtime.views import ExecutionView
from bide.runtime.watch import Condition, Seen
from bide.spi.store import Asked, PendingQuery

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
Out_co = TypeVar("Out_co", covariant=True)

_PARKED_MAX = 1_000


class Execution(Generic[Out_co]):
    """One run of a pipeline, by its id; any process over the same store can hold one."""

    __slots__ = ("_id", "_plan", "_runtime", "_tenant", "duplicate", "execution_id")

    def __init__(
        self, runtime: Runtime, plan: Plan, execution_id: str, *, duplicate: bool, tenant: str
    ) -> None:
        self._runtime = runtime
        self._plan = plan
        self._tenant = tenant
        self._id = parse_execution(execution_id)
        self.execution_id = execution_id
        #: True when the submit key named this execution before.
        self.duplicate = duplicate

    def __repr__(self) -> str:
        return f"<Execution {self.execution_id} of {self._plan.pipeline}>"

    async def status(self) -> ExecutionView:
        """Where it stands.

        Raises:
            UnknownExecution: there is none of that id in this tenant.
        """
        view = await self._runtime.service.execution(self._tenant, self.execution_id)
        if view is None:
            raise self._unknown()
        return view

    @overload
    async def parked(
        self, boundary: Await[Many[A], Many[B], Any], *, timeout: Duration | float
    ) -> list[Interaction[list[A], list[B]]]: ...
    @overload
    async def parked(
        self, boundary: Await[Many[A], B, Any], *, timeout: Duration | float
    ) -> list[Interaction[list[A], B]]: ...
    @overload
    async def parked(
        self, boundary: Await[A, Many[B], Any], *, timeout: Duration | float
    ) -> list[Interaction[A, list[B]]]: ...
    @overload
    async def parked(
        self, boundary: Await[A, B, Any], *, timeout: Duration | float
    ) -> list[Interaction[A, B]]: ...
    async def parked(
        self, boundary: Await[Any, Any, Any], *, timeout: Duration | float
    ) -> list[Interaction[Any, Any]]:
        """Wait until it waits at that boundary, a stream's unit closed; give what is open there.

        In item order, at most 1,000; `App.pending` lists the rest. An empty list when the boundary
        is passed already.

        Raises:
            ExecutionFailed, ExecutionCancelled: it ended first.
            TimeoutError: it did not get there in time.
        """
        place = self._plan.await_of(boundary)
        if place is None:
            raise DefinitionError(
                f"await {boundary.name!r} is no part of pipeline {self._plan.title!r}"
            )

        loop = asyncio.get_running_loop()
        ends_at, version = loop.time() + timeout_seconds(timeout), 0

        def reached(row: Row) -> bool:
            waits = row.status is ExecutionStatus.WAITING_EXTERNAL and row.version > version
            return waits or row.step_index > place.position or row.status.is_terminal

        while True:
            seen = await self._until(reached, max(0.0, ends_at - loop.time()))
            row, asked = seen.execution, await self._open_at(place, seen)
            # It may wait elsewhere, and one that another version parked has positions of its own.
            if asked or row.status.is_terminal or row.step_index > place.position:
                break
            version = row.version
        if not asked:  # passed, or ended; perhaps elsewhere, after this process saw it park
            await self._raise_if_ended_badly()
        return [
            interaction_of(place, each) for each in sorted(asked, key=lambda a: a.interaction.item)
        ]

    @overload
    async def result(
        self: "Execution[Many[T]]", *, timeout: Duration | float | None = None
    ) -> list[T]: ...
    @overload
    async def result(self: "Execution[T]", *, timeout: Duration | float | None = None) -> T: ...
    async def result(self, *, timeout: Duration | float | None = None) -> Any:
        """Wait for the end and give the result; a list for a stream.

        Raises:
            ExecutionFailed: it ended FAILED or in the DLQ.
            ExecutionCancelled: somebody cancelled it.
            TimeoutError: it has not ended in time; it goes on.
            ResultTooLarge: read `results()`.
        """
        timeout_s = None if timeout is None else timeout_seconds(timeout)
        row = (await self._until(_is_terminal, timeout_s)).execution
        if row.status is not ExecutionStatus.SUCCEEDED:
            raise await self._ended_error(row)
        if row.result_count is None:
            return self._plan.output.decode(row.result or b"null")
        await self._runtime.service.guard_result(row)
        return [item async for item in self._items(row)]

    async def results(self: "Execution[Many[T]]") -> AsyncIterator[T]:
        """The items of a streaming result, in order, once it has succeeded; read in pages.

        Raises:
            NotFinished, ExecutionFailed, ExecutionCancelled.
        """
        row = await self._row()
        if not row.status.is_terminal:
            status = row.status.name
            raise NotFinished(f"execution {self.execution_id} is {status}", status=status)
        if row.status is not ExecutionStatus.SUCCEEDED:
            raise await self._ended_error(row)
        async for item in self._items(row):
            yield item

    async def replay(self, *, payloads: bool = False) -> AsyncIterator[bytes]:
        """Its life as one JSON document, in pieces: topology, lineage, units and every fact.

        Without `payloads` it holds nothing that was submitted, asked or answered.

        Raises:
            UnknownExecution: there is none of that id in this tenant.
        """
        async for piece in await self._runtime.service.replay(
            self._tenant, self.execution_id, payloads=payloads
        ):
            yield piece

    async def cancel(self, reason: str = "") -> None:
        """Cancel it with its open unit, in one commit.

        Raises:
            AlreadyEnded: there is nothing to cancel any more.
        """
        await self._runtime.service.cancel(self._tenant, self.execution_id, reason)

    async def _items(self, row: Row) -> AsyncIterator[Any]:
        decode = self._plan.output.item.decode
        async for body in self._runtime.service.result_bodies(row):
            yield decode(body)

    def _until(self, condition: Condition, timeout_s: float | None) -> Awaitable[Seen]:
        return self._runtime.watch.until(self._tenant, self._existing_id(), condition, timeout_s)

    async def _open_at(self, place: PlanAwait, seen: Seen) -> list[Asked]:
        row, asked = seen
        if row.status is not ExecutionStatus.WAITING_EXTERNAL:
            return []
        if place.per_item:
            query = PendingQuery(self._tenant, execution=row.id, limit=_PARKED_MAX)
            found = await self._runtime.store.pending(query)
            return [asked for asked in found if self._asks(place, asked)]
        if asked is None:
            # A unit of one interaction: its id is known, and one read serves many callers.
            only = InteractionId(row.id, row.units)
            [asked] = await self._runtime.admission.look_up(self._tenant, [only])
        if asked is None or asked.unit.status.is_terminal or asked.interaction.status.is_terminal:
            return []
        return [asked] if self._asks(place, asked) else []

    def _asks(self, place: PlanAwait, asked: Asked) -> bool:
        """Whether that is asked here, and may be answered by this deployment."""
        unit = asked.unit
        here = self._plan.await_by_id(unit.step_id) is place
        plans = self._runtime.plans
        return here and bool(plans.boundary_of(asked.pipeline, unit.fingerprint, unit.step_id))

    async def _raise_if_ended_badly(self) -> None:
        row = await self._row()
        if row.status.is_terminal and row.status is not ExecutionStatus.SUCCEEDED:
            raise await self._ended_error(row)

    async def _row(self) -> Row:
        [row] = await self._runtime.store.executions_by_id(self._tenant, [self._existing_id()])
        if row is None:
            raise self._unknown()
        return row

    def _existing_id(self) -> ExecutionId:
        if self._id is None:
            raise self._unknown()
        return self._id

    def _unknown(self) -> UnknownExecution:
        return UnknownExecution(f"there is no execution {self.execution_id!r}")

    async def _ended_error(self, row: Row) -> ExecutionFailed | ExecutionCancelled:
        reason = row.error_message or ""
        if row.status is ExecutionStatus.CANCELLED:
            return ExecutionCancelled(
                f"execution {self.execution_id} was cancelled: {reason}", reason=reason
            )
        letter = await self._runtime.store.dead_letter(self._tenant, row.id)
        return ExecutionFailed(
            f"execution {self.execution_id} ended {row.status.name}: {row.error_code}: {reason}",
            code=row.error_code or "failed",
            step_id=letter.step_id if letter else None,
            attempts=letter.attempts if letter else row.attempt,
            dead_letter_id=format_execution(row.id) if letter else None,
        )


def _is_terminal(row: Row) -> bool:
    return row.status.is_terminal


def interaction_of(boundary: PlanAwait, asked: Asked) -> Interaction[Any, Any]:
    """What is asked, with the request as its type; a whole stream as a list."""
    row = asked.interaction
    request = boundary.request.decode(row.request or b"null")
    id_ = format_interaction(row.id)
    return Interaction(
        interaction_id=id_,
        execution_id=format_execution(row.execution),
        step_id=row.step_id,
        request=list(request) if boundary.request.many else request,
        deadline=datetime.fromtimestamp(row.deadline_at / 1000, UTC),
        correlation_id=row.correlation or id_,
        group=row.group,
        assignee=row.assignee,
        item_index=row.item if asked.unit.per_item else None,
    )
