"""Every operation that an edge offers, in JSON terms: names and JSON values in, views out.

HTTP and the CLI translate to and from this class and hold no rule of their own. Payloads are JSON
values as `strict_loads` gives them. Ids are text; one that does not parse is an unknown one. A
tenant sees only its own rows: another tenant's look exactly like absent ones.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from bide.authoring.answers import Receipt
from bide.authoring.transports import Inbox
from bide.engine.ending import status_behind
from bide.engine.moves import (
    AskAgain,
    AskedAgain,
    Assign,
    Cancel,
    KeyTaken,
    Moved,
    Outcome,
    Redrive,
    Refused,
    Release,
    Submit,
    Submitted,
    TakenBy,
    Unstorable,
)
from bide.engine.redriving import check_redrivable, is_taking_over, unit_to_take_over
from bide.engine.settling import taken
from bide.errors import (
    AlreadyAssigned,
    AlreadyEnded,
    FieldError,
    InvalidInput,
    NotFinished,
    NotRedrivable,
    NotReleasable,
    PayloadError,
    ResultTooLarge,
    StoreUnavailable,
    SubmitConflict,
    UnknownExecution,
    UnknownInteraction,
)
from bide.model.ids import (
    CorrelationKey,
    ExecutionId,
    UnitId,
    format_execution,
    format_interaction,
    format_reject,
    format_unit,
    parse_execution,
    parse_interaction,
    parse_reject,
)
from bide.model.records import DeadLetter, Execution, JournalFact, Reject, Unit
from bide.model.status import DeadLetterKind, ExecutionStatus, JournalKind
from bide.planning import canonical
from bide.planning.plan import Plan
from bide.runtime.admission import Admission
from bide.runtime.committer import Committer
from bide.runtime.deploys import Deploys
from bide.runtime.pending import pending
from bide.runtime.plans import Plans
from bide.runtime.replay import Replay
from bide.runtime.segment.guards import guard_bytes
from bide.runtime.texts import check_text
from bide.runtime.views import (
    Addressee,
    Check,
    Completion,
    DeadLetterView,
    ExecutionView,
    InteractionView,
    PipelineView,
    ReceiptCounts,
    RejectView,
    Reply,
    Submission,
    TimelineEntry,
    UnitView,
)
from bide.runtime.watch import Watch
from bide.settings import Settings
from bide.spi.store import Asked, Deployed, ExecutionQuery, PendingQuery, Standing, Store

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
    JournalKind.RELEASED: "released",
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
        deploys: Deploys,
    ) -> None:
        self.settings = settings
        self._store = store
        self._committer = committer
        self._watch = watch
        self._plans = plans
        self._admission = admission
        self._new_id = new_id
        self._runtime_checks = runtime_checks
        self._deploys = deploys

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
            execution = await self._watch.until(now.id, reached, timeout_s)
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
            return await self._view(outcome.execution)
        now = await self._existing(tenant, execution_id)
        status = now.status.name
        why = outcome.reason if isinstance(outcome, Refused) else str(outcome)
        raise AlreadyEnded(f"execution {execution_id} is {status}: {why}", status=status)

    # --- redriving ----------------------------------------------------------------------------

    async def redrive(
        self, tenant: str, id: str, *, from_await: bool = False, again: bool = False
    ) -> Submission:
        """Do an execution again that did not succeed, or one item that a step left out.

        Args:
            tenant: whose it is.
            id: of the execution (its dead letter has the same) or of the reject.
            from_await: from its failed await, else the last one passed, with the answers that are
                there; otherwise from the start, with the stored input.
            again: make another one where it was redriven before; otherwise that one is given.

        Raises:
            UnknownExecution, UnknownPipeline, NotRedrivable, InvalidInput (what is stored does not
            fit the pipeline any more), SubmitConflict (it was redriven from elsewhere).
        """
        if parse_reject(id) is not None:
            return await self._redrive_reject(tenant, id, again=again)
        source = await self._existing(tenant, id)
        refused = check_redrivable(source)
        unit: Unit | Refused | None = None
        if from_await:
            unit = unit_to_take_over(await self._store.units(tenant, source.id))
            refused = refused or (unit if isinstance(unit, Refused) else None)
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
            ),
            id,
        )  # fmt: skip

    async def _redrive_reject(self, tenant: str, id: str, *, again: bool) -> Submission:
        reject = await self._find_reject(tenant, id)
        if reject is None:
            raise UnknownExecution(f"there is no reject {id!r}")
        plan = self._plans.get(reject.pipeline)
        fingerprint = self._fitting(plan, reject.step_id, reject.body)
        return await self._redriven(
            Redrive(
                self._new_id(), tenant, reject.pipeline, fingerprint, reject.body,
                reject.execution, None if again else id, reject.fingerprint, reject.step_id,
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
        outcome = await self._committer.commit(move)
        if isinstance(outcome, KeyTaken):
            raise SubmitConflict(
                f"{id} was redriven from elsewhere, as execution"
                f" {format_execution(outcome.execution)}; ask for another one (again) if you want it"
            )
        return _submission(outcome, None)

    async def ask_again(self, tenant: str, interaction_id: str) -> InteractionView:
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
                isinstance(boundary.transport, Inbox),
                CorrelationKey(tenant, correlation, boundary.scope)
                if correlation is not None and boundary.scope is not None
                else None,
            )
        )
        if not isinstance(outcome, AskedAgain):
            why = getattr(outcome, "reason", None) or str(outcome)
            raise NotRedrivable(f"interaction {interaction_id}: {why}")
        [again] = await self._store.interactions_by_id(tenant, [outcome.interaction])
        assert again is not None
        return self._interaction_view(again)

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

    async def _find_reject(self, tenant: str, reject_id: str) -> Reject | None:
        id_ = parse_reject(reject_id)
        return await self._store.reject(tenant, id_) if id_ else None

    async def release(
        self, tenant: str, execution_id: str, fingerprint: str, *, by: str | None = None
    ) -> ExecutionView:
        """Let a held or parked execution go on as one of this app's boundaries.

        What it goes on from is read as that boundary's type before anything is written.

        Raises:
            UnknownExecution, NotReleasable, AlreadyEnded.
        """
        execution = await self._existing(tenant, execution_id)
        if execution.status.is_terminal:
            status = execution.status.name
            raise AlreadyEnded(f"execution {execution_id} is {status}", status=status)
        problem = await self._misfit_as(execution, fingerprint)
        problem = problem or (check_text(by) if by is not None else None)
        if problem is not None:
            raise NotReleasable(f"execution {execution_id}: {problem}")
        outcome = await self._committer.commit(Release(execution.id, tenant, fingerprint, by))
        if not isinstance(outcome, Moved):
            why = outcome.reason if isinstance(outcome, Refused) else str(outcome)
            raise NotReleasable(f"execution {execution_id}: {why}")
        return await self._view(outcome.execution)

    async def _misfit_as(self, execution: Execution, fingerprint: str) -> str | None:
        """Why an execution cannot go on under a fingerprint; None if it can."""
        picture = await self._deploys.refresh()
        if fingerprint not in self._plans.fingerprints:
            return f"this app has no boundary with the fingerprint {fingerprint!r}"
        stretch = self._plans.stretch(fingerprint)
        if stretch.plan.pipeline != execution.pipeline:
            return f"{fingerprint} belongs to pipeline {stretch.plan.pipeline!r}"
        units = await self._store.units(execution.tenant, execution.id)
        waits = execution.status is ExecutionStatus.WAITING_EXTERNAL
        of_unit = waits or is_taking_over(execution, units[-1] if units else None)
        number = execution.units if of_unit else execution.resumed
        codec = stretch.base.output if stretch.base else stretch.plan.input
        if number == 0 and execution.entry is not None:
            entry = self._plans.entry(stretch.plan, execution.entry)
            if entry is None or entry[1] != stretch.fingerprint:
                return f"step {execution.entry!r}, at which it starts, does not follow there"
            codec = entry[0].input
        elif (number == 0) != (stretch.base is None):
            return "an input is not an answer: name a fingerprint of the same kind of boundary"
        try:
            if number == 0:
                codec.decode(await self._store.input_of(execution.tenant, execution.id) or b"")
                return None
            [unit] = [each for each in units if each.number == number]
            stored = picture.boundaries.get(unit.fingerprint)
            asks = stretch.base
            same = asks is not None and (stored is None or stored.shape == asks.shape)
            if asks is None or unit.per_item != asks.per_item or not same:
                return "the boundary asks in another shape"
            first = 0
            while page := await self._store.answers(execution.id, number, first, _PAGE):
                for body in filter(None, map(taken, page)):
                    codec.decode(body)
                first = page[-1].item + 1
        except PayloadError as error:
            return str(error)
        return None

    # --- pipelines ----------------------------------------------------------------------------

    async def pause(self, pipeline: str, *, paused: bool = True) -> PipelineView:
        """Stop the claims and hand-overs of a pipeline in every process, or let them go on.

        What runs goes on to its next boundary; submissions and completions are admitted as ever.

        Raises:
            UnknownPipeline.
        """
        plan = self._plans.get(pipeline)
        await self._deploys.pause(plan.pipeline, paused=paused)
        return self._pipeline_view(plan, paused=paused)

    async def pipeline_views(self) -> list[PipelineView]:
        """The app's pipelines, with whether they are paused."""
        paused = (await self._deploys.picture()).paused
        return [
            self._pipeline_view(plan, paused=plan.pipeline in paused) for plan in self._plans.all()
        ]

    def _pipeline_view(self, plan: Plan, *, paused: bool) -> PipelineView:
        return PipelineView(
            pipeline=plan.pipeline,
            title=plan.title,
            paused=paused,
            retired=plan.pipeline not in self._plans.submittable,
            fingerprints=self._plans.fingerprints_of(plan),
        )

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
        return [
            self._interaction_view(each) for each in await pending(self._store, self._plans, query)
        ]

    async def interaction(self, tenant: str, interaction_id: str) -> InteractionView | None:
        """One interaction."""
        id_ = parse_interaction(interaction_id)
        if id_ is None:
            return None
        [asked] = await self._store.interactions_by_id(tenant, [id_])
        return self._interaction_view(asked) if asked else None

    async def assign(
        self,
        tenant: str,
        interaction_id: str,
        assignee: str | None,
        *,
        by: str | None = None,
        only_from: frozenset[str | None] | None = None,
    ) -> InteractionView:
        """Say whose an open interaction is, None for nobody's.

        Args:
            tenant: whose rows.
            interaction_id: which.
            assignee: whose it is from now on.
            by: who says so.
            only_from: whose it must be for that, None standing for nobody's; else anybody's.

        Raises:
            UnknownInteraction, AlreadyAssigned, AlreadyEnded, InvalidInput.
        """
        for name, text in (("assignee", assignee), ("actor", by)):
            problem = check_text(text) if text is not None else None
            if problem is not None:
                raise InvalidInput(f"the {name} {problem}")
        view = await self.interaction(tenant, interaction_id)
        id_ = parse_interaction(interaction_id)
        if view is None or id_ is None:
            receipt = Receipt(interaction_id=interaction_id, outcome="unknown")
            raise UnknownInteraction(f"there is no interaction {interaction_id}", receipt=receipt)
        outcome = await self._committer.commit(Assign(id_, tenant, assignee, only_from))
        if isinstance(outcome, TakenBy):
            raise AlreadyAssigned(
                f"interaction {interaction_id} is {outcome.assignee or 'nobody'}'s",
                assignee=outcome.assignee,
            )
        now = await self.interaction(tenant, interaction_id)
        assert now is not None
        if isinstance(outcome, Refused):
            status = now.status.name
            raise AlreadyEnded(f"interaction {interaction_id}: {outcome.reason}", status=status)
        return now

    async def claim(self, tenant: str, interaction_id: str, by: str) -> InteractionView:
        """Take an open interaction that nobody has; raises like `assign`."""
        return await self.assign(tenant, interaction_id, by, by=by, only_from=frozenset({None, by}))

    async def unclaim(self, tenant: str, interaction_id: str, by: str) -> InteractionView:
        """Put an interaction of one's own back; raises like `assign`."""
        return await self.assign(
            tenant, interaction_id, None, by=by, only_from=frozenset({None, by})
        )

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

    async def addressee(self, tenant: str, completion: Completion) -> Addressee | Reply:
        """Whom a completion is for; the receipt of one that is for nobody, or for several."""
        return await self._admission.addressee(tenant, completion)

    def tally(self, tenant: str, reply: Reply) -> None:
        """Count the receipt of a completion that an edge refused by itself."""
        self._admission.tally(tenant, reply)

    async def receipts(self, tenant: str) -> ReceiptCounts:
        """How many completions got which receipt."""
        stored = await self._store.count_receipts(tenant)
        return ReceiptCounts(
            process=self._admission.given(tenant),
            stored={outcome.value: count for outcome, count in stored.items()},
        )

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
        """One dead letter; an execution's has its id."""
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

    async def examine(self) -> list[Check]:
        """What `checks` says, and who would be held by this deploy (`bide doctor`)."""
        checks = await self.checks()
        if not all(check.ok or check.warning for check in checks):
            return checks
        picture = await self._deploys.refresh()
        for pipeline in sorted(picture.paused):
            message = f"pipeline {pipeline!r} is paused: nothing of it is claimed"
            hint = f"go on: bide resume {pipeline}"
            paused = Check(name="paused", ok=False, warning=True, message=message, hint=hint)
            checks.append(paused)
        return checks + await self._who_would_be_held(picture)

    async def _who_would_be_held(self, picture: Deployed) -> list[Check]:
        found: list[Check] = []
        runnable = self._plans.fingerprints
        for standing in sorted(await self._store.standing(), key=_in_order):
            if standing.fingerprint in runnable:
                continue
            known = picture.boundaries.get(standing.fingerprint)
            step = standing.step_id or (known.step_id if known else "")
            after = f" after {step!r}" if step else " at its start"
            where = f" at {standing.step_id!r}" if standing.step_id else after
            doing = "parked" if standing.step_id else "queued or running"
            why = self._plans.misfit(standing.fingerprint)
            why = why or f"nobody has said what {standing.fingerprint} stands for"
            message = (
                f"pipeline {standing.pipeline!r}: {standing.count:,} {doing}{where}"
                f" would be held: {why}"
            )
            hint = (
                "keep what fits them (retired=[...], renamed={...}), or release them:"
                " bide release EXECUTION --as FINGERPRINT"
            )
            found.append(Check(name="deploy", ok=False, warning=True, message=message, hint=hint))
        if not found:
            message = "this app can go on with everything that is queued or parked"
            found.append(Check(name="deploy", ok=True, message=message))
        return found

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

    def _interaction_view(self, asked: Asked) -> InteractionView:
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


def _in_order(standing: Standing) -> tuple[str, str, str]:
    return standing.pipeline, standing.step_id or "", standing.fingerprint


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
    return DeadLetterView(
        dead_letter_id=format_execution(letter.id),
        kind="execution" if letter.kind is DeadLetterKind.EXECUTION else "completion",
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
