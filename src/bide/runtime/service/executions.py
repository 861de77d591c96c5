"""Submitting executions, waiting for them, reading what they gave, cancelling them."""

from collections.abc import AsyncIterator
from typing import Any

from bide.engine.moves import (
    Cancel,
    Moved,
    Refused,
    Submit,
)
from bide.errors import (
    AlreadyEnded,
    FieldError,
    InvalidInput,
    NotFinished,
    PayloadError,
    ResultTooLarge,
)
from bide.model.ids import (
    parse_execution,
)
from bide.model.records import Execution
from bide.model.status import ExecutionStatus
from bide.planning import canonical
from bide.planning.plan import Plan
from bide.runtime.segment.guards import guard_bytes
from bide.runtime.service.base import PAGE, Operations, submission_of
from bide.runtime.texts import check_text
from bide.runtime.views import (
    ExecutionView,
    Submission,
)
from bide.security.access import Caller
from bide.spi.store import ExecutionQuery


class Executions(Operations):
    """Submitting executions, waiting for them, reading what they gave, cancelling them."""

    async def submit(
        self, pipeline: str, value: Any, *, key: str | None = None, tenant: str = "default"
    ) -> Submission:
        """Store an execution, or find the one its key names.

        Raises:
            UnknownPipeline, InvalidInput (.errors), SubmitConflict, LimitExceeded,
            QuotaExceeded, StoreUnavailable.
        """
        plan = self._plans.get(pipeline)
        try:
            parsed = plan.input.parse(value)
        except PayloadError as error:
            raise InvalidInput(str(error), errors=error.errors) from error
        return await self.submit_value(plan, parsed, key=key, tenant=tenant)

    async def submit_value(
        self, plan: Plan, value: Any, *, key: str | None = None, tenant: str = "default"
    ) -> Submission:
        """Like `submit`, with a value of the pipeline's input type."""
        for name, text in (("idempotency key", key), ("tenant", tenant)):
            problem = check_text(text) if text is not None else None
            if problem is not None:
                raise InvalidInput(
                    f"the {name} {problem}", errors=[FieldError(path="", message=problem)]
                )
        try:
            body = plan.input.encode(value)
        except PayloadError as error:
            raise InvalidInput(str(error), errors=error.errors) from error
        guard_bytes(body, self.settings)
        await self._quota.take(tenant)
        # The digest tells a repeat from a conflict, which only a key can meet.
        digest = plan.input.digest(value, body) if key is not None else b""
        id_ = self._new_id()
        submit = Submit(id_, tenant, plan.pipeline, plan.fingerprint, body, digest, key)
        return submission_of(await self._created(submit), key)

    async def execution(self, tenant: str, execution_id: str) -> ExecutionView | None:
        """Where an execution stands."""
        execution = await self._find(tenant, execution_id)
        return await self._view(execution) if execution else None

    async def executions(
        self,
        tenant: str,
        *,
        pipeline: str | None = None,
        status: ExecutionStatus | None = None,
        before: str | None = None,
        limit: int = 100,
        held: bool = False,
    ) -> list[ExecutionView]:
        """A page of executions, newest first; `before` is the last id of the page before.

        With `held`, only those that are due and that no live worker can claim.
        """
        cursor = parse_execution(before) if before is not None else None
        if before is not None and cursor is None:
            return []
        query = ExecutionQuery(tenant, pipeline, status, cursor, limit)
        if held:
            claimed = await self._deploys.claimed_by_somebody()
            paused = (await self._deploys.picture()).paused
            query = query._replace(due_outside=claimed, paused=paused)
        return [await self._view(each) for each in await self._store.executions(query)]

    async def wait(
        self, tenant: str, execution_id: str, timeout_s: float, *, parked: bool = False
    ) -> ExecutionView | None:
        """Wait until the execution is terminal (or, with `parked`, waits outside); then, or when
        the time is up, say where it stands.
        """
        now = await self._find(tenant, execution_id)
        if now is None:
            return None

        def reached(each: Execution) -> bool:
            waits = parked and each.status is ExecutionStatus.WAITING_EXTERNAL
            # Not where this process saw it before: it may have moved on elsewhere.
            return each.version >= now.version and (waits or each.status.is_terminal)

        execution: Execution | None
        try:
            execution = (await self._watch.until(tenant, now.id, reached, timeout_s)).execution
        except TimeoutError:
            execution = await self._find(tenant, execution_id)
        return await self._view(execution) if execution else None

    async def result(self, tenant: str, execution_id: str) -> Any:
        """The result of a SUCCEEDED execution as a JSON value (a list for a stream).

        Raises:
            UnknownExecution, NotFinished (.status), ResultTooLarge.
        """
        execution = await self._succeeded(tenant, execution_id)
        if execution.result_count is None:
            return canonical.loads(execution.result or b"null")
        await self.guard_result(execution)
        return [canonical.loads(body) async for body in self.result_bodies(execution)]

    async def results(self, tenant: str, execution_id: str) -> AsyncIterator[Any]:
        """A streaming result, item by item, read in pages."""
        execution = await self._succeeded(tenant, execution_id)
        if execution.result_count is None:
            yield canonical.loads(execution.result or b"null")
            return
        async for body in self.result_bodies(execution):
            yield canonical.loads(body)

    async def result_bodies(self, execution: Execution) -> AsyncIterator[bytes]:
        """The stored items of a streaming result, in order."""
        first = 0
        while True:
            page = await self._store.results(execution.tenant, execution.id, first, PAGE)
            for body in page:
                yield body
            first += len(page)
            if len(page) < PAGE:
                return

    async def guard_result(self, execution: Execution) -> None:
        """Refuse to give a result in one piece that is too large for it.

        Raises:
            ResultTooLarge: read it in pages.
        """
        bound, size = self.settings.result_max_bytes, 0
        async for body in self.result_bodies(execution):
            size += len(body)
            if size > bound:
                raise ResultTooLarge("result_max_bytes", bound=bound, unit="bytes")

    async def cancel(
        self, tenant: str, execution_id: str, reason: str = "", *, caller: Caller | None = None
    ) -> ExecutionView:
        """Cancel an execution and its open unit in one commit; `caller` says who, for the audit.

        Raises:
            UnknownExecution, AlreadyEnded.
        """
        execution = await self._existing(tenant, execution_id)
        problem = check_text(reason, 2_000) if reason else None
        if problem is not None:
            raise InvalidInput(f"the reason {problem}")
        outcome = await self._committer.commit(
            Cancel(execution.id, tenant, reason, self._signed(caller))
        )
        if isinstance(outcome, Moved):
            return await self._view(outcome.execution)
        now = await self._existing(tenant, execution_id)
        status = now.status.name
        why = outcome.reason if isinstance(outcome, Refused) else str(outcome)
        raise AlreadyEnded(f"execution {execution_id} is {status}: {why}", status=status)

    async def counts(self, tenant: str, pipeline: str | None = None) -> dict[ExecutionStatus, int]:
        """How many executions stand where."""
        return await self._store.count_by_status(tenant, pipeline)

    async def _succeeded(self, tenant: str, execution_id: str) -> Execution:
        execution = await self._existing(tenant, execution_id)
        status = execution.status.name
        if execution.status is not ExecutionStatus.SUCCEEDED:
            raise NotFinished(f"execution {execution_id} is {status}", status=status)
        return execution
