"""What the operations share: what they reach, and how rows are shown."""

from collections.abc import Awaitable, Callable, Sequence

from bide.authoring.transports import Inbox
from bide.engine.ending import status_behind
from bide.engine.moves import (
    Audit,
    KeyTaken,
    Outcome,
    Redrive,
    Submit,
    Submitted,
    Unstorable,
)
from bide.errors import (
    InvalidInput,
    StoreUnavailable,
    SubmitConflict,
    UnknownExecution,
)
from bide.model.ids import (
    ExecutionId,
    format_execution,
    format_interaction,
    format_unit,
    parse_execution,
    parse_interaction,
)
from bide.model.records import Dispatch, Execution, replace
from bide.planning import canonical
from bide.runtime.admission import Admission
from bide.runtime.committer import Committer
from bide.runtime.deploys import Deploys
from bide.runtime.plans import Plans
from bide.runtime.publishing import Publisher
from bide.runtime.quota import Quota
from bide.runtime.views import (
    Check,
    DispatchView,
    ExecutionView,
    InteractionView,
    Submission,
)
from bide.runtime.watch import Watch
from bide.security.access import Caller
from bide.security.desk import TokenDesk
from bide.settings import Settings
from bide.spi.store import Asked, Store
from bide.spi.telemetry import UNTRACED, Tracing

PAGE = 500


class Operations:
    """What the operations share: what they reach, and how rows are shown."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        watch: Watch,
        plans: Plans,
        admission: Admission,
        settings: Settings,
        new_id: Callable[[], ExecutionId],
        checks: Callable[[bool], Awaitable[list[Check]]],
        deploys: Deploys,
        tokens: TokenDesk,
        metrics: Callable[[], Awaitable[tuple[bytes, str] | None]],
        tracing: Tracing,
        publisher: Publisher,
    ) -> None:
        self.settings = settings
        self._store = store
        self._committer = committer
        self._watch = watch
        self._plans = plans
        self._admission = admission
        self._new_id = new_id
        self._checks = checks
        self._metrics = metrics
        self.tracing = tracing
        self._deploys = deploys
        self._tokens = tokens
        self._publisher = publisher
        self._quota = Quota(store, settings.tenant_open_max)

    @property
    def pipelines(self) -> Sequence[str]:
        """Names of the app's pipelines, in the order of the app; the first is the default."""
        return self._plans.submittable

    async def _created(self, move: Submit | Redrive) -> Outcome:
        """Commit what makes an execution, as the beginning of its trace or a part of the caller's."""
        trace = self.tracing.submitting(move.pipeline, move.execution)
        if trace is UNTRACED:
            return await self._committer.commit(move)
        try:
            outcome = await self._committer.commit(replace(move, trace=trace.context))
            trace.note(type(outcome).__name__.lower())
            return outcome
        except StoreUnavailable as error:
            trace.failed(error.code)
            raise
        finally:
            trace.end()

    def _signed(self, caller: Caller | None) -> Audit | None:
        """Who acts, for the audit; None for nobody in particular."""
        credential = caller.credential if caller else None
        if caller is None or credential is None:
            return None
        return Audit(self._new_id(), credential, caller.actor(None))

    def note_refusal(
        self,
        caller: Caller,
        deed: str,
        code: str,
        *,
        interaction_id: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Note that a caller was refused something, where it is known who that is."""
        if (credential := caller.credential) is not None:
            place = parse_interaction(interaction_id) if interaction_id is not None else None
            self._admission.notes.note(
                caller.tenant, credential, deed, code,
                actor=caller.actor(None), place=place, detail=detail,
            )  # fmt: skip

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

    def _step_id(self, step: str) -> str:
        for plan in self._plans.all():
            part = plan.by_name(step)
            if part is not None:
                return part.id
        return step

    async def _view(self, execution: Execution) -> ExecutionView:
        plan = self._plans.version_of(execution.pipeline, execution.fingerprint)
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
            held=await self._deploys.held(execution),
            fingerprint=execution.fingerprint,
            redriven_from=(
                format_execution(execution.redriven_from) if execution.redriven_from else None
            ),
        )

    async def _interaction_views(self, asked: Sequence[Asked]) -> list[InteractionView]:
        """Interactions of one tenant, with how the sending of those stands that are sent."""
        sent = [each.interaction.id for each in asked if each.unit.sends]
        tenant = asked[0].interaction.tenant if asked else ""
        found = await self._store.dispatches(tenant, sent) if sent else []
        by_id = dict(zip(sent, found, strict=True))
        return [self._interaction_view(each, by_id.get(each.interaction.id)) for each in asked]

    def _interaction_view(self, asked: Asked, dispatch: Dispatch | None) -> InteractionView:
        interaction, pipeline, unit = asked
        boundary = self._plans.boundary_of(pipeline, unit.fingerprint, unit.step_id)
        id_ = format_interaction(interaction.id)
        return InteractionView(
            interaction_id=id_,
            correlation_id=interaction.correlation or id_,
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
            dispatch=dispatch_view(dispatch) if dispatch else None,
        )


def dispatch_view(dispatch: Dispatch) -> DispatchView:
    """How the sending of an interaction stands, for people."""
    return DispatchView(
        attempts=dispatch.attempts,
        next_attempt_ms=None if dispatch.owner else dispatch.due_at,
        dispatched_ms=dispatch.dispatched_at,
        exhausted=dispatch.exhausted,
        error=dispatch.error,
    )


def submission_of(outcome: Outcome, key: str | None) -> Submission:
    """What a submission came to; raises what it was refused for."""
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
