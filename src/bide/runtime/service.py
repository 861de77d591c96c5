"""Every operation that an edge offers, in JSON terms: names and JSON values in, views out.

HTTP and the CLI translate to and from this class and hold no rule of their own. Payloads are JSON
values as `strict_loads` gives them. Ids are text; one that does not parse is an unknown one. A
tenant sees only its own rows: another tenant's look exactly like absent ones.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from bide.authoring.transports import Inbox
from bide.engine.ending import status_behind
from bide.engine.moves import (
    Cancel,
    KeyTaken,
    Moved,
    Outcome,
    Refused,
    Submit,
    Submitted,
    Unstorable,
)
from bide.errors import (
    AlreadyEnded,
    FieldError,
    InvalidInput,
    NotFinished,
    PayloadError,
    ResultTooLarge,
    StoreUnavailable,
    SubmitConflict,
    UnknownExecution,
)
from bide.model.ids import (
    ExecutionId,
    UnitId,
    format_execution,
    format_interaction,
    format_unit,
    parse_execution,
    parse_interaction,
)
from bide.model.records import DeadLetter, Execution, JournalFact
from bide.model.status import ExecutionStatus, JournalKind
from bide.planning import canonical
from bide.planning.plan import Plan
from bide.runtime.admission import Admission
from bide.runtime.committer import Committer
from bide.runtime.plans import Plans
from bide.runtime.replay import Replay
from bide.runtime.segment import guard_bytes
from bide.runtime.texts import check_text
from bide.runtime.views import (
    Check,
    Completion,
    DeadLetterView,
    ExecutionView,
    InteractionView,
    Reply,
    Submission,
    TimelineEntry,
    UnitView,
)
from bide.runtime.watch import Watch
from bide.settings import Settings
from bide.spi.store import Asked, ExecutionQuery, PendingQuery, Store

_PAGE = 500
_WHAT = {
    JournalKind.SUBMITTED: "submitted",
    JournalKind.CLAIMED: "claimed",
    JournalKind.TAKEN_OVER: "taken over after a lost lease",
    JournalKind.UNIT_OPENED: "await unit opened",
    JournalKind.PARKED: "parked",
    JournalKind.RESUMED: "resumed",
    JournalKind.RETRY_SCHEDULED: "retry scheduled",
    JournalKind.GIVEN_BACK: "given back",
    JournalKind.SUCCEEDED: "succeeded",
    JournalKind.FAILED: "failed",
    JournalKind.DEAD_LETTERED: "dead-lettered",
    JournalKind.CANCELLED: "cancelled",
}


class Service:
    """The operations of one running app."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        watch: Watch,
        plans: Plans,
        admission: Admission,
        settings: Settings,
        new_id: Callable[[], ExecutionId],
        runtime_checks: Callable[[], list[Check]],
    ) -> None:
        self.settings = settings
        self._store = store
        self._committer = committer
        self._watch = watch
        self._plans = plans
        self._admission = admission
        self._new_id = new_id
        self._runtime_checks = runtime_checks

    @property
    def pipelines(self) -> Sequence[str]:
        """Names of the app's pipelines, in the order of the app; the first is the default."""
        return self._plans.submittable

    # --- executions ---------------------------------------------------------------------------

    async def submit(
        self, pipeline: str, value: Any, *, key: str | None = None, tenant: str = "default"
    ) -> Submission:
        """Store an execution, or find the one its key names.

        Raises:
            UnknownPipeline, InvalidInput (.errors), SubmitConflict, LimitExceeded,
            StoreUnavailable.
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
        # The digest tells a repeat from a conflict, which only a key can meet.
        digest = plan.input.digest(value, body) if key is not None else b""
        id_ = self._new_id()
        outcome = await self._committer.commit(
            Submit(id_, tenant, plan.pipeline, plan.fingerprint, body, digest, key)
        )
        return _submission(outcome, key)

    async def execution(self, tenant: str, execution_id: str) -> ExecutionView | None:
        """Where an execution stands."""
        execution = await self._find(tenant, execution_id)
        return self._view(execution) if execution else None

    async def executions(
        self,
        tenant: str,
        *,
        pipeline: str | None = None,
        status: ExecutionStatus | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[ExecutionView]:
        """A page of executions, newest first; `before` is the last id of the page before."""
        cursor = parse_execution(before) if before is not None else None
        if before is not None and cursor is None:
            return []
        query = ExecutionQuery(tenant, pipeline, status, cursor, limit)
        return [self._view(each) for each in await self._store.executions(query)]

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
            execution = await self._watch.until(now.id, reached, timeout_s)
        except TimeoutError:
            execution = await self._find(tenant, execution_id)
        return self._view(execution) if execution else None

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
            page = await self._store.results(execution.tenant, execution.id, first, _PAGE)
            for body in page:
                yield body
            first += len(page)
            if len(page) < _PAGE:
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

    async def cancel(self, tenant: str, execution_id: str, reason: str = "") -> ExecutionView:
        """Cancel an execution and its open unit in one commit.

        Raises:
            UnknownExecution, AlreadyEnded.
        """
        execution = await self._existing(tenant, execution_id)
        problem = check_text(reason, 2_000) if reason else None
        if problem is not None:
            raise InvalidInput(f"the reason {problem}")
        outcome = await self._committer.commit(Cancel(execution.id, tenant, reason))
        if isinstance(outcome, Moved):
            return self._view(outcome.execution)
        now = await self._existing(tenant, execution_id)
        status = now.status.name
        why = outcome.reason if isinstance(outcome, Refused) else str(outcome)
        raise AlreadyEnded(f"execution {execution_id} is {status}: {why}", status=status)

    async def timeline(self, tenant: str, execution_id: str) -> list[TimelineEntry]:
        """The facts of an execution's life, in order."""
        id_ = parse_execution(execution_id)
        facts = await self._store.journal(tenant, id_) if id_ else []
        return [_timeline_entry(fact) for fact in facts]

    async def replay(
        self, tenant: str, execution_id: str, *, payloads: bool = False
    ) -> AsyncIterator[bytes]:
        """An execution's life as one JSON document (`docs/reference/replay.md`), in pieces.

        Raises:
            UnknownExecution.
        """
        execution = await self._existing(tenant, execution_id)
        plan = self._plans.find(execution.pipeline)
        return Replay(self._store, plan, execution, payloads=payloads).pieces()

    async def follow(
        self, tenant: str, execution_id: str, after: int = 0, *, pause_s: float = 1.0
    ) -> AsyncIterator[list[TimelineEntry]]:
        """The facts after version `after` as they come, up to the terminal one.

        Gives an empty list for each pause in which nothing came, so that whoever follows may tell
        that the line is alive.

        Raises:
            UnknownExecution.
        """
        execution = await self._existing(tenant, execution_id)
        return self._following(execution, after, pause_s)

    async def _following(
        self, execution: Execution, after: int, pause_s: float
    ) -> AsyncIterator[list[TimelineEntry]]:
        while True:
            facts = await self._store.journal(execution.tenant, execution.id, after)
            if facts:
                after = facts[-1].version
                yield [_timeline_entry(fact) for fact in facts]
            [now] = await self._store.executions_by_id(execution.tenant, [execution.id])
            if now is None or (now.status.is_terminal and now.version <= after):
                return
            if now.version > after:
                continue
            try:
                await self._watch.until(now.id, partial(_is_past, after), pause_s)
            except TimeoutError:
                yield []

    async def units(self, tenant: str, execution_id: str) -> list[UnitView]:
        """The await units of an execution, in the order of their opening."""
        id_ = parse_execution(execution_id)
        return [
            UnitView(
                unit_id=format_unit(unit.id),
                step_id=unit.step_id,
                status=unit.status,
                per_item=unit.per_item,
                appended=unit.appended,
                total=unit.total,
                settled=unit.settled,
                missing=unit.missing,
                deadline_ms=unit.deadline_at,
                created_at_ms=unit.created_at,
                updated_at_ms=unit.updated_at,
            )
            for unit in (await self._store.units(tenant, id_) if id_ else [])
        ]

    async def counts(self, tenant: str, pipeline: str | None = None) -> dict[ExecutionStatus, int]:
        """How many executions stand where."""
        return await self._store.count_by_status(tenant, pipeline)

    # --- interactions -------------------------------------------------------------------------

    async def pending(
        self,
        tenant: str,
        *,
        group: str | None = None,
        assignee: str | None = None,
        step: str | None = None,
        execution_id: str | None = None,
        limit: int = 100,
    ) -> list[InteractionView]:
        """Open interactions, oldest deadline first; `step` is a step's id or name."""
        execution = parse_execution(execution_id) if execution_id is not None else None
        if execution_id is not None and execution is None:
            return []
        step_id = self._step_id(step) if step is not None else None
        query = PendingQuery(tenant, group, assignee, step_id, execution, limit)
        return [self._interaction_view(each) for each in await self._store.pending(query)]

    async def interaction(self, tenant: str, interaction_id: str) -> InteractionView | None:
        """One interaction."""
        id_ = parse_interaction(interaction_id)
        if id_ is None:
            return None
        [asked] = await self._store.interactions_by_id(tenant, [id_])
        return self._interaction_view(asked) if asked else None

    async def complete(self, tenant: str, completion: Completion) -> Reply:
        """Take in a completion and give its one receipt, whatever it is.

        Raises only StoreUnavailable: nothing was acknowledged.
        """
        reply = await self._admission.admit_one(tenant, completion)
        if reply is None:
            raise StoreUnavailable("the store did not take the completion; send it again")
        return reply

    async def complete_many(
        self, tenant: str, completions: Sequence[Completion]
    ) -> list[Reply | None]:
        """Take in many, in shared commits; a receipt each, in order. None for each that the
        store failed on: nothing of it was acknowledged.
        """
        return await self._admission.admit(tenant, completions)

    # --- dead letters and checks --------------------------------------------------------------

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
        """One dead letter; its id is its execution's."""
        id_ = parse_execution(dead_letter_id)
        letter = await self._store.dead_letter(tenant, id_) if id_ else None
        return _dead_letter_view(letter) if letter else None

    async def checks(self) -> list[Check]:
        """Everything that would keep an await from working (`bide doctor`, readiness)."""
        try:
            info = await self._store.info()
            now = await self._store.now()
        except StoreUnavailable as error:
            hint = "see the message; the app accepts no work until the store answers"
            return [Check(name="store", ok=False, message=str(error), hint=hint)]
        version = f"{info.url}: {info.version}, schema {info.schema_version}"
        return [
            Check(name="store", ok=True, message=version),
            Check(name="clock", ok=True, message=f"the store's time is {now} ms"),
            *self._runtime_checks(),
        ]

    # --- helpers ------------------------------------------------------------------------------

    async def _find(self, tenant: str, execution_id: str) -> Execution | None:
        id_ = parse_execution(execution_id)
        if id_ is None:
            return None
        [execution] = await self._store.executions_by_id(tenant, [id_])
        return execution

    async def _existing(self, tenant: str, execution_id: str) -> Execution:
        execution = await self._find(tenant, execution_id)
        if execution is None:
            raise UnknownExecution(f"there is no execution {execution_id!r}")
        return execution

    async def _succeeded(self, tenant: str, execution_id: str) -> Execution:
        execution = await self._existing(tenant, execution_id)
        status = execution.status.name
        if execution.status is not ExecutionStatus.SUCCEEDED:
            raise NotFinished(f"execution {execution_id} is {status}", status=status)
        return execution

    def _step_id(self, step: str) -> str:
        for plan in self._plans.all():
            part = plan.by_name(step)
            if part is not None:
                return part.id
        return step

    def _view(self, execution: Execution) -> ExecutionView:
        plan = self._plans.find(execution.pipeline)
        names = plan.step_names if plan else ()
        position = execution.step_index
        return ExecutionView(
            execution_id=format_execution(execution.id),
            tenant=execution.tenant,
            pipeline=execution.pipeline,
            status=execution.status,
            step_index=position,
            step=names[position] if position < len(names) else None,
            attempt=execution.attempt,
            version=execution.version,
            next_due_at_ms=execution.due_at,
            created_at_ms=execution.created_at,
            updated_at_ms=execution.updated_at,
            error_code=execution.error_code,
            error_message=execution.error_message,
            result_count=execution.result_count,
            held=None,
        )

    def _interaction_view(self, asked: Asked) -> InteractionView:
        interaction, pipeline, unit = asked
        plan = self._plans.find(pipeline)
        boundary = plan.await_by_id(interaction.step_id) if plan else None
        id_ = format_interaction(interaction.id)
        return InteractionView(
            interaction_id=id_,
            correlation_id=id_,
            execution_id=format_execution(interaction.execution),
            unit_id=format_unit(unit.id),
            item_index=interaction.item if unit.per_item else None,
            generation=interaction.generation,
            pipeline=pipeline,
            step_id=interaction.step_id,
            step=boundary.name if boundary else None,
            step_index=unit.step_index,
            status=status_behind(interaction, unit),
            group=interaction.group,
            assignee=interaction.assignee,
            deadline_ms=interaction.deadline_at,
            created_at_ms=interaction.created_at,
            updated_at_ms=interaction.updated_at,
            request=canonical.loads(interaction.request or b"null"),
            output_type=boundary.answer.name if boundary else None,
            output_schema=self._plans.schema_of(boundary) if boundary else None,
            transport_type=boundary.transport.kind if boundary else Inbox.kind,
            transport_metadata={},
        )


def _is_past(version: int, execution: Execution) -> bool:
    return execution.version > version


def _timeline_entry(fact: JournalFact) -> TimelineEntry:
    return TimelineEntry(
        at_ms=fact.at,
        version=fact.version,
        what=_WHAT[fact.kind],
        unit_id=format_unit(UnitId(fact.execution, fact.unit)) if fact.unit else None,
        detail=fact.detail,
    )


def _submission(outcome: Outcome, key: str | None) -> Submission:
    match outcome:
        case Submitted():
            return Submission(
                execution_id=format_execution(outcome.execution),
                duplicate=outcome.duplicate,
                submitted_at_ms=outcome.created_at,
            )
        case KeyTaken(execution):
            raise SubmitConflict(
                f"key {key!r} names execution {format_execution(execution)}, which has another input"
            )
        case Unstorable(message):
            raise InvalidInput(message)
        case _:
            raise AssertionError(f"a submission cannot end in {outcome}")


def _dead_letter_view(letter: DeadLetter) -> DeadLetterView:
    id_ = format_execution(letter.execution)
    return DeadLetterView(
        dead_letter_id=id_,
        execution_id=id_,
        pipeline=letter.pipeline,
        status=letter.status,
        code=letter.code,
        message=letter.message,
        step_id=letter.step_id,
        attempts=letter.attempts,
        created_at_ms=letter.created_at,
    )
