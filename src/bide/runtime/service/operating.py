"""Running an app: what it would hold, what is paused, what keeps it from working."""

from bide.authoring.transports import Inbox
from bide.engine.moves import (
    Moved,
    Refused,
    Release,
)
from bide.engine.redriving import is_taking_over
from bide.engine.settling import taken
from bide.errors import (
    AlreadyEnded,
    NotReleasable,
    PayloadError,
)
from bide.model.records import Execution
from bide.model.status import ExecutionStatus
from bide.planning.plan import Plan
from bide.runtime.service.base import PAGE, Operations
from bide.runtime.texts import check_text
from bide.runtime.views import (
    Check,
    ExecutionView,
    PipelineView,
)
from bide.security.access import Caller
from bide.spi.store import Deployed, Standing


class Operating(Operations):
    """Running an app: what it would hold, what is paused, what keeps it from working."""

    async def release(
        self,
        tenant: str,
        execution_id: str,
        fingerprint: str,
        *,
        by: str | None = None,
        caller: Caller | None = None,
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
        outcome = await self._committer.commit(
            Release(execution.id, tenant, fingerprint, by, self._signed(caller))
        )
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
            while page := await self._store.answers(execution.tenant, unit.id, first, PAGE):
                for body in filter(None, map(taken, page)):
                    codec.decode(body)
                first = page[-1].item + 1
        except PayloadError as error:
            return str(error)
        return None

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

    async def checks(self, *, for_workers: bool = False) -> list[Check]:
        """Everything that would keep an await from working (`bide doctor`, readiness).

        A process that serves the API alone is ready without what only workers need, such as the
        secrets of webhooks; `for_workers` judges it as one that runs them.
        """
        return await self._checks(for_workers)

    async def metrics(self) -> tuple[bytes, str] | None:
        """This process's metrics in the text form of Prometheus, with its media type; None when
        they are switched off.
        """
        return await self._metrics()

    async def examine(self) -> list[Check]:
        """What `checks` says, what the store finds, and who would be held by this deploy.

        For `bide doctor`.
        """
        checks = await self.checks(for_workers=True)
        if not all(check.ok or check.warning for check in checks):
            return checks
        checks += await self._store.examine()
        checks += self._token_checks()
        picture = await self._deploys.refresh()
        for pipeline in sorted(picture.paused):
            message = f"pipeline {pipeline!r} is paused: nothing of it is claimed"
            hint = f"go on: bide resume {pipeline}"
            paused = Check(name="paused", ok=False, warning=True, message=message, hint=hint)
            checks.append(paused)
        return checks + await self._who_would_be_held(picture)

    def _token_checks(self) -> list[Check]:
        """What is there of keys, and which awaits take answers without a token."""
        desk, found = self._tokens, list[Check]()
        if desk.is_open and not desk.is_private():
            message = f"others than its owner may read the keyring {desk.path}"
            hint = f"chmod 600 {desk.path}"
            found.append(Check(name="keys", ok=False, warning=True, message=message, hint=hint))
        elif desk.is_open:
            signs, *others = desk.key_ids()
            message = f"key {signs} signs; {', '.join(others) or 'none else'} verify"
            found.append(Check(name="keys", ok=True, message=message))
        for plan in self._plans.versions:
            for boundary in plan.awaits():
                transport = boundary.transport
                if isinstance(transport, Inbox) or transport.needs_token:
                    continue
                message = (
                    f"await {boundary.name!r} of pipeline {plan.title!r} trusts its network:"
                    " whoever knows an id can answer"
                )
                hint = "leave out trusted_network=True, unless nobody else can reach this API"
                found.append(
                    Check(name="trust", ok=False, warning=True, message=message, hint=hint)
                )
        return found

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


def _in_order(standing: Standing) -> tuple[str, str, str]:
    return standing.pipeline, standing.step_id or "", standing.fingerprint
