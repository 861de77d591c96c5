"""`App`: pipelines, a store and resources, put together; and the verbs of a program that runs it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from msgspec.structs import replace
from typing_extensions import TypeVar

from bide.app.handles import Execution, interaction_of
from bide.authoring.answers import Interaction, Receipt
from bide.authoring.awaits import Await
from bide.authoring.context import Context
from bide.authoring.many import Many
from bide.authoring.principal import Principal
from bide.authoring.publications import Destination
from bide.authoring.transports import Transport as Via
from bide.errors import (
    CompletionConflict,
    CompletionLate,
    CompletionRejected,
    DefinitionError,
    NotAllowed,
    NotRunning,
    StoreUnavailable,
    UnknownExecution,
    UnknownInteraction,
)
from bide.model.status import ExecutionStatus
from bide.planning.compile import check_complete
from bide.planning.hints import resource_of
from bide.planning.pipeline import Pipeline, plan_of
from bide.planning.plan import Plan, PlanAwait
from bide.planning.publications import check_handoffs
from bide.runtime.admission import Typed
from bide.runtime.pending import pending
from bide.runtime.plans import Plans
from bide.runtime.runtime import DEFAULT_CONCURRENCY, Runtime
from bide.runtime.service import Service
from bide.runtime.views import ExecutionView, ReceiptCounts, Reply, Submission
from bide.security.tokens import is_token
from bide.settings import Settings
from bide.spi.handoff import Carrier
from bide.spi.store import Asked, PendingQuery
from bide.spi.transport import Transport
from bide.stores.address import shown
from bide.wiring import authentication_of, carriers_of, open_runtime, store_of, transports_of

if TYPE_CHECKING:
    from bide.app.blocking import BlockingApp

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
AnyApp = TypeVar("AnyApp", bound="App")

DEFAULT_TENANT = "default"

#: Refusals that concern the sender and not the answer.
_NOT_ALLOWED = {"not-allowed", "invalid-token", "expired-token", "wrong-token", "token-required"}
Resource = Callable[[], AbstractAsyncContextManager[Any]]


class App:
    """Pipelines and where they live. Cheap: nothing is opened before `running` or `start`.

    Args:
        pipelines: the first is the one that `POST /pipeline/run-async` submits to.
        store: a URL, `sqlite:///bide.db` or `postgresql://user:password@host/database`, else the
            setting `BIDE_STORE`, else `sqlite:///bide.db`.
        retired: pipelines that take no submissions any more and finish what is parked.
        resources: async context managers, opened once a process; steps ask for what they yield by
            its type.
        settings: else read from the environment (`BIDE_...`).
        transports: what carries the requests of awaits, by the class of their `via=`, in the place
            of Bide's own or beside it.
        carriers: what offers publications to other deployments, by the class of their `to=`,
            likewise.

    Raises:
        DefinitionError: names meet, a step asks for what no resource opens, or an await needs what
            this release does not have.
    """

    def __init__(
        self,
        *pipelines: Pipeline[Any, Any],
        store: str | None = None,
        retired: Sequence[Pipeline[Any, Any]] = (),
        resources: Sequence[Resource] = (),
        settings: Settings | None = None,
        transports: Mapping[type[Via], Transport] | None = None,
        carriers: Mapping[type[Destination], Carrier] | None = None,
    ) -> None:
        self.pipelines = pipelines
        self.retired = tuple(retired)
        self.resources = tuple(resources)
        self.transports = dict(transports or {})
        self.carriers = dict(carriers or {})
        self.settings = settings or Settings()
        self.store = store or self.settings.store
        self._given: Mapping[Any, object] = {}
        self._runtime: Runtime | None = None
        self._blocking: BlockingApp | None = None
        store_of(self.store)
        for pipeline in (*pipelines, *retired):
            check_complete(plan_of(pipeline))
        _check_names([plan_of(each) for each in pipelines])
        check_handoffs([plan_of(each) for each in pipelines])
        self._plans = Plans(
            [plan_of(each) for each in pipelines], [plan_of(each) for each in retired]
        )
        _check_resources(self._plans.versions, {resource_of(each) for each in resources})
        transports_of(self._plans, self.settings, self.transports)
        carriers_of(self._plans, self.settings, self.carriers)

    def __repr__(self) -> str:
        names = ", ".join(each.id for each in self.pipelines)
        return f"<App of {names} on {shown(self.store)}>"

    # --- life ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, *, workers: bool = True) -> AsyncGenerator[Self]:
        """Open it for the body of the `with`; with `workers=False` it runs no steps."""
        await self.start(workers=workers)
        try:
            yield self
        finally:
            await self.stop()

    async def start(
        self,
        *,
        workers: bool = True,
        concurrency: int = DEFAULT_CONCURRENCY,
        pipelines: Sequence[str] = (),
    ) -> None:
        """Open store and resources, and begin to work.

        Args:
            workers: run steps here.
            concurrency: executions that this process holds at most.
            pipelines: run only these; all, if none is named.

        Raises:
            StoreUnavailable: the store cannot be opened.
        """
        if self._runtime is not None:
            return
        runtime = open_runtime(
            self.store, self._plans, self.settings,
            resources=self.resources, given=self._given, transports=self.transports,
            carriers=self.carriers,
        )  # fmt: skip
        await runtime.start(workers=workers, concurrency=concurrency, pipelines=pipelines)
        self._runtime = runtime

    async def stop(self) -> None:
        """Stop working and close; safe to call twice and before `start`."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            await runtime.stop()

    async def migrate(self) -> None:
        """Bring the store's tables up to date; for an app that is not open here.

        Only a server's tables ask for it: a SQLite file is brought up to date when it is opened.
        Several at once take turns. `bide migrate` does the same.

        Raises:
            StoreUnavailable: it cannot be done, or the tables are of a newer release.
        """
        await store_of(self.store).migrate()

    def using(
        self,
        *,
        store: str | None = None,
        resources: Mapping[type, object] | None = None,
        settings: Settings | None = None,
    ) -> "App":
        """A copy for tests: another store, or objects in the place of resources, by type."""
        return self._copied(App, store, resources, settings, self.transports, self.carriers)

    def _copied(
        self,
        kind: "type[AnyApp]",
        store: str | None,
        resources: Mapping[type, object] | None,
        settings: Settings | None,
        transports: Mapping[type[Via], Transport],
        carriers: Mapping[type[Destination], Carrier],
    ) -> "AnyApp":
        copy = kind(
            *self.pipelines,
            store=store or self.store,
            retired=self.retired,
            resources=self.resources,
            settings=settings or self.settings,
            transports=transports,
            carriers=carriers,
        )
        copy._given = {**self._given, **(resources or {})}
        return copy

    def blocking(self) -> "BlockingApp":
        """The same verbs for code that is not async; opens at first use, safe after a fork."""
        from bide.app.blocking import BlockingApp

        if self._blocking is None:
            self._blocking = BlockingApp(self)
        return self._blocking

    def asgi(
        self, *, identify: Callable[..., Awaitable[Principal]] | None = None
    ) -> Callable[..., Awaitable[None]]:
        """The HTTP API, to serve or to mount.

        Args:
            identify: says who a request comes from; else the credentials do that the settings name
                (`BIDE_API_KEYS_FILE`, `BIDE_JWT_JWKS`). Without both, local callers alone are
                answered.

        Raises:
            DefinitionError: the settings of authentication cannot work.
        """
        from bide.web.app import create_asgi

        authentication = None if identify else authentication_of(self.settings)
        return create_asgi(self, identify=identify, authentication=authentication)

    @property
    def service(self) -> Service:
        """What edges call: every operation in JSON terms.

        Raises:
            NotRunning: the app is not open.
        """
        return self._open.service

    async def receipts(self, *, tenant: str = DEFAULT_TENANT) -> ReceiptCounts:
        """How many completions got which receipt: from this process, and by what is stored."""
        return await self.service.receipts(tenant)

    async def status(self, *, tenant: str = DEFAULT_TENANT) -> dict[ExecutionStatus, int]:
        """How many executions stand where."""
        return await self.service.counts(tenant)

    @property
    def _open(self) -> Runtime:
        if self._runtime is None:
            raise NotRunning("the app is not open; write: async with app.running(): ...")
        return self._runtime

    async def _asked(
        self, work: Callable[[Runtime], Awaitable[T]], *, counts_each: bool = False
    ) -> T:
        """Everything that asks the open app to change something goes through here.

        `counts_each` says that it would be done twice if it were asked for twice.
        """
        return await work(self._open)

    def _handle(
        self, plan: Plan, id: str, *, duplicate: bool = False, tenant: str
    ) -> Execution[Any]:
        return Execution(self._open, plan, id, duplicate=duplicate, tenant=tenant)

    # --- submitting ---------------------------------------------------------------------------

    @overload
    async def submit(
        self,
        pipeline: Pipeline[Many[A], B],
        value: Iterable[A],
        *,
        idempotency_key: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Execution[B]: ...
    @overload
    async def submit(
        self,
        pipeline: Pipeline[A, B],
        value: A,
        *,
        idempotency_key: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Execution[B]: ...
    @overload
    async def submit(
        self,
        pipeline: str,
        value: Any,
        *,
        idempotency_key: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Execution[Any]: ...
    async def submit(
        self,
        pipeline: Pipeline[Any, Any] | str,
        value: Any,
        *,
        idempotency_key: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Execution[Any]:
        """Store an execution; it is durable when this returns.

        Raises:
            InvalidInput: the value does not fit; `.errors` says where.
            SubmitConflict: the key names an execution with another input.
            LimitExceeded: the value is too large.
            StoreUnavailable: it was not stored; try again.
        """
        plan, key = self._plan(pipeline), idempotency_key
        if isinstance(pipeline, str):
            made = await self._submitted(
                lambda runtime: runtime.service.submit(
                    plan.pipeline, value, key=key, tenant=tenant
                ),
                key,
            )
        else:
            made = await self._submitted(
                lambda runtime: runtime.service.submit_value(plan, value, key=key, tenant=tenant),
                key,
            )
        return self._handle(plan, made.execution_id, duplicate=made.duplicate, tenant=tenant)

    @overload
    def execution(
        self, pipeline: Pipeline[Any, B], id: str, *, tenant: str = DEFAULT_TENANT
    ) -> Execution[B]: ...
    @overload
    def execution(
        self, pipeline: str, id: str, *, tenant: str = DEFAULT_TENANT
    ) -> Execution[Any]: ...
    def execution(
        self, pipeline: Pipeline[Any, Any] | str, id: str, *, tenant: str = DEFAULT_TENANT
    ) -> Execution[Any]:
        """A handle on an execution that exists; it is looked up when it is used."""
        plan = self._plan(pipeline, retired=True)
        return self._handle(plan, id, tenant=tenant)

    async def redrive(
        self,
        id: str,
        *,
        from_: Literal["start", "await"] = "start",
        again: bool = False,
        tenant: str = DEFAULT_TENANT,
    ) -> Execution[Any]:
        """Do an execution again that ended FAILED or in the DLQ, as a new one.

        Args:
            id: the execution's or its dead letter's; or a reject's, which starts at the step that
                left the item out, with a stream of that one item.
            from_: "start", with the stored input; or "await": its failed await, else the last one
                passed, taking over the answers that are there and asking only for the rest.
            again: make another one, where it was redriven before; otherwise that one is given,
                `duplicate`.
            tenant: whose it is.

        Raises:
            UnknownExecution: there is none of that id.
            NotRedrivable: it has not failed, or has no await to go on from.
            SubmitConflict: it was redriven before, from elsewhere.
            InvalidInput: what is stored does not fit the pipeline any more.
        """
        if from_ not in {"start", "await"}:
            raise ValueError(f'from_ is "start" or "await", not {from_!r}')
        made = await self._asked(
            lambda runtime: runtime.service.redrive(
                tenant, id, from_await=from_ == "await", again=again
            ),
            counts_each=again,
        )
        view = await self.service.execution(tenant, made.execution_id)
        if view is None:
            raise UnknownExecution(f"execution {made.execution_id} is no longer stored")
        plan = self._plans.get(view.pipeline)
        return self._handle(plan, made.execution_id, duplicate=made.duplicate, tenant=tenant)

    async def ask_again(
        self, interaction: Interaction[Any, Any] | str, *, tenant: str = DEFAULT_TENANT
    ) -> str:
        """Ask for a failed item once more while its await is still open; gives the new id.

        Raises:
            UnknownExecution: there is none of that id.
            NotRedrivable: it has not failed, was asked again already, or its await has ended.
        """
        id_ = interaction if isinstance(interaction, str) else interaction.interaction_id
        asked = await self._asked(lambda runtime: runtime.service.ask_again(tenant, id_))
        return asked.interaction_id

    # --- what waits ---------------------------------------------------------------------------

    @overload
    async def pending(
        self,
        boundary: Await[Many[A], Many[B], Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[list[A], list[B]]]: ...
    @overload
    async def pending(
        self,
        boundary: Await[Many[A], B, Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[list[A], B]]: ...
    @overload
    async def pending(
        self,
        boundary: Await[A, Many[B], Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[A, list[B]]]: ...
    @overload
    async def pending(
        self,
        boundary: Await[A, B, Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[A, B]]: ...
    @overload
    async def pending(
        self,
        boundary: str | None = None,
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[Any, Any]]: ...
    async def pending(
        self,
        boundary: Await[Any, Any, Any] | str | None = None,
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[Any, Any]]:
        """Open interactions, oldest deadline first; an await goes by itself, its name or its id."""
        runtime = self._open
        step_id = self._step_id(boundary)
        query = PendingQuery(tenant, group, assignee, step_id, None, limit)
        return [
            interaction_of(place, asked)
            for asked in await pending(runtime.store, self._plans, query)
            if (place := self._boundary_of(asked)) is not None
        ]

    @overload
    async def complete(
        self,
        interaction: Interaction[Any, B],
        answer: B,
        *,
        resume_token: str | None = None,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Receipt: ...
    @overload
    async def complete(
        self,
        interaction: str,
        answer: Any,
        *,
        resume_token: str | None = None,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Receipt: ...
    @overload
    async def complete(
        self,
        interaction: Await[Any, B, Any],
        answer: B,
        *,
        correlation_id: str,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Receipt: ...
    async def complete(
        self,
        interaction: Interaction[Any, Any] | Await[Any, Any, Any] | str,
        answer: Any,
        *,
        correlation_id: str | None = None,
        resume_token: str | None = None,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Receipt:
        """Answer a question; durable when this returns. Given an id, the answer may be JSON.

        Given an await and a correlation id, the answer may come before its question: it is then
        kept for it. A resume token may stand in the place of an id, or beside what it must then be
        for; it says whose tenant's question it is. Without one, the caller is trusted.

        Returns:
            A receipt that is `applied`, `duplicate` or `buffered`.

        Raises:
            CompletionConflict: another answer was admitted before.
            CompletionLate: the deadline has passed, or it ended otherwise.
            CompletionRejected: the answer does not fit; `.errors` says where.
            NotAllowed: the token is not good, or for another question.
            UnknownInteraction: there is none of that id.
            StoreUnavailable: nothing was acknowledged; try again.
        """
        if not isinstance(interaction, Await):
            return await self._admitted(tenant, _typed(interaction, answer, actor, resume_token))
        self._step_id(interaction)
        return await self._admitted(tenant, _by_key(interaction, correlation_id, answer, actor))

    async def fail(
        self,
        interaction: Interaction[Any, Any] | str,
        code: str,
        message: str = "",
        *,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Receipt:
        """Report a business failure in the place of an answer; raises like `complete`.

        A resume token may stand in the place of the question or its id.
        """
        typed = _typed(interaction, None, actor)
        failed = replace(typed, step_id=None, failure=(code, message or code))
        return await self._admitted(tenant, failed)

    async def complete_many(
        self,
        completions: Iterable[tuple[Interaction[Any, B] | str, B]],
        *,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Receipt]:
        """Answer many questions in shared commits; a receipt each, in order, whatever it says.

        In the place of a question may stand its id or its resume token.

        Raises:
            StoreUnavailable: it failed midway; `.receipts` holds those that were committed.
        """
        typed = [_typed(interaction, answer, actor) for interaction, answer in completions]
        replies = await self._admit(tenant, typed)
        receipts = [reply.receipt for reply in replies if reply is not None]
        if len(receipts) < len(replies):
            raise StoreUnavailable(
                "the store failed midway; send the rest again", receipts=receipts
            )
        return receipts

    async def link(
        self,
        interaction: Interaction[Any, Any] | str,
        *,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> str:
        """The address of a page on which one person decides a question; it needs no login.

        Whoever has the address can decide, so it goes to that person alone: give their name as
        `actor`, and it is recorded whoever uses it. It begins with the setting
        `BIDE_CALLBACK_BASE_URL`.

        Raises:
            UnknownInteraction: there is none of that id.
            DefinitionError: there is no keyring, or that setting is not set.
            InvalidInput: the actor is blank, or has more than 255 bytes.
        """
        return await self.service.link(tenant, _id_of(interaction), actor=actor)

    async def assign(
        self,
        interaction: Interaction[Any, Any] | str,
        assignee: str | None,
        by: str | None = None,
        *,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        """Say whose a question is, None for nobody's, whoever has it now.

        Raises:
            UnknownInteraction: there is none of that id.
            AlreadyEnded: it takes no answer any more.
        """
        id_ = _id_of(interaction)
        await self._asked(lambda runtime: runtime.service.assign(tenant, id_, assignee, by=by))

    async def claim(
        self,
        interaction: Interaction[Any, Any] | str,
        by: str,
        *,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        """Take a question that nobody has; of what is one's own already, nothing changes.

        Raises:
            AlreadyAssigned: somebody else has it.
            UnknownInteraction, AlreadyEnded.
        """
        id_ = _id_of(interaction)
        await self._asked(lambda runtime: runtime.service.claim(tenant, id_, by))

    async def unclaim(
        self,
        interaction: Interaction[Any, Any] | str,
        by: str,
        *,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        """Put a question of one's own back; raises like `claim`."""
        id_ = _id_of(interaction)
        await self._asked(lambda runtime: runtime.service.unclaim(tenant, id_, by))

    # --- deploys ------------------------------------------------------------------------------

    async def pause(self, pipeline: Pipeline[Any, Any] | str) -> None:
        """Stop the claims of a pipeline in every process, until `resume`.

        What runs goes on to its next boundary; submissions and answers are taken in as ever.
        """
        name = self._plan(pipeline, retired=True).pipeline
        await self._asked(lambda runtime: runtime.service.pause(name))

    async def resume(self, pipeline: Pipeline[Any, Any] | str) -> None:
        """Let a paused pipeline go on."""
        name = self._plan(pipeline, retired=True).pipeline
        await self._asked(lambda runtime: runtime.service.pause(name, paused=False))

    async def release(
        self,
        execution: Execution[Any] | str,
        fingerprint: str,
        *,
        by: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> ExecutionView:
        """Let an execution that no worker fits go on as another boundary of this app.

        Raises:
            NotReleasable: what is stored does not validate there, or a worker has it.
            UnknownExecution, AlreadyEnded.
        """
        id_ = execution if isinstance(execution, str) else execution.execution_id
        return await self._asked(
            lambda runtime: runtime.service.release(tenant, id_, fingerprint, by=by)
        )

    # --- helpers ------------------------------------------------------------------------------

    async def _admitted(self, tenant: str, typed: Typed) -> Receipt:
        [reply] = await self._admit(tenant, [typed])
        if reply is None:
            raise StoreUnavailable("the store did not take the completion; send it again")
        return raise_for_refusal(reply)

    async def _submitted(
        self, work: Callable[[Runtime], Awaitable[Submission]], key: str | None
    ) -> Submission:
        """Every submission goes through here."""
        return await self._asked(work, counts_each=key is None)

    async def _admit(self, tenant: str, typed: Sequence[Typed]) -> list[Reply | None]:
        """Every answer goes through here."""
        return await self._asked(lambda runtime: admitted_by(runtime, tenant, typed))

    def _plan(self, pipeline: Pipeline[Any, Any] | str, *, retired: bool = False) -> Plan:
        plan = self._plans.get(pipeline) if isinstance(pipeline, str) else plan_of(pipeline)
        if plan not in self._plans.versions:
            raise DefinitionError(
                f"pipeline {plan.title!r} is none of this app's; add it: App(..., {plan.title})"
            )
        current = self._plans.find(plan.pipeline) is plan
        if not retired and not (current and plan.pipeline in self._plans.submittable):
            raise DefinitionError(f"pipeline {plan.title!r} is retired and takes no submissions")
        return plan

    def _step_id(self, boundary: Await[Any, Any, Any] | str | None) -> str | None:
        if boundary is None:
            return None
        for plan in self._plans.versions:
            place = plan.by_name(boundary) if isinstance(boundary, str) else plan.await_of(boundary)
            if place is not None:
                return place.id
        if isinstance(boundary, str):
            return boundary
        raise DefinitionError(f"await {boundary.name!r} is in no pipeline of this app")

    def _boundary_of(self, asked: Asked) -> PlanAwait | None:
        """The await as the version has it that reads the answer; None if none of here does."""
        return self._plans.boundary_of(asked.pipeline, asked.unit.fingerprint, asked.unit.step_id)


async def admitted_by(runtime: Runtime, tenant: str, typed: Sequence[Typed]) -> list[Reply | None]:
    """Bring answers to a runtime; a reply each, None where its store failed."""
    if len(typed) == 1:
        return [await runtime.admission.admit_one(tenant, typed[0])]
    return await runtime.admission.admit(tenant, typed)


def raise_for_refusal(reply: Reply) -> Receipt:
    """Give the receipt of what was admitted; raise what was not."""
    receipt, message = reply.receipt, reply.detail or reply.code
    match receipt.outcome:
        case "conflict":
            raise CompletionConflict(message, receipt=receipt)
        case "late":
            raise CompletionLate(message, receipt=receipt)
        case "unknown":
            raise UnknownInteraction(message, receipt=receipt)
        case "rejected" if reply.code in _NOT_ALLOWED:
            raise NotAllowed(message, receipt=receipt)
        case "rejected":
            raise CompletionRejected(message, receipt=receipt, errors=reply.errors)
        case _:
            return receipt


def _id_of(interaction: Interaction[Any, Any] | str) -> str:
    return interaction if isinstance(interaction, str) else interaction.interaction_id


def _typed(
    interaction: Interaction[Any, Any] | str,
    answer: Any,
    actor: str | None,
    resume_token: str | None = None,
) -> Typed:
    if not isinstance(interaction, str):
        id_, step_id = interaction.interaction_id, interaction.step_id
        return Typed(id_, answer, actor, step_id, resume_token=resume_token)
    if resume_token is None and is_token(interaction):
        return Typed("", answer, actor, lenient=True, resume_token=interaction)
    return Typed(interaction, answer, actor, lenient=True, resume_token=resume_token)


def _by_key(
    boundary: Await[Any, Any, Any], correlation_id: str | None, answer: Any, actor: str | None
) -> Typed:
    if not boundary.correlate_on:
        raise DefinitionError(
            f"await {boundary.name!r} has no correlation ids. "
            'Add correlate_on="field" to it, or name the interaction.'
        )
    if correlation_id is None:
        raise DefinitionError("an await alone names no interaction; add correlation_id=...")
    return Typed("", answer, actor, correlation_id=correlation_id, boundary=boundary)


def _check_names(plans: Sequence[Plan]) -> None:
    seen: dict[str, Plan] = {}
    for plan in plans:
        if plan.pipeline in seen:
            raise DefinitionError(
                f"two pipelines of the app have the id {plan.pipeline!r}:"
                f" {seen[plan.pipeline].title!r} and {plan.title!r}. Rename one,"
                " or pass the old one as retired=[...]."
            )
        seen[plan.pipeline] = plan


def _check_resources(plans: Sequence[Plan], opened: set[Any]) -> None:
    for plan in plans:
        for step in plan.steps():
            for name, wanted in step.wants:
                if wanted is Context or wanted in opened:
                    continue
                kind = getattr(wanted, "__name__", str(wanted))
                raise DefinitionError(
                    f"step {step.id!r} of pipeline {plan.title!r} asks for '{name}: {kind}',"
                    " which the app does not open.\n"
                    f"  Add a context manager that yields one: App(..., resources=[<opens {kind}>])"
                )
