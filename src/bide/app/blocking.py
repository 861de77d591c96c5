"""The same verbs for code that is not async: Django views, Flask, scripts.

One event loop on one thread serves all threads of the process. It is started at the first use, and
again after a fork, since a child does not inherit its parent's threads.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from typing import Any, Generic, Literal, Self, overload

from typing_extensions import TypeVar

from bide.app.app import DEFAULT_TENANT, App
from bide.app.handles import Execution
from bide.authoring.answers import Interaction, Receipt
from bide.authoring.awaits import Await
from bide.authoring.durations import Duration
from bide.authoring.many import Many
from bide.model.status import ExecutionStatus
from bide.planning.pipeline import Pipeline
from bide.runtime.views import ExecutionView, ReceiptCounts

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
Out_co = TypeVar("Out_co", covariant=True)


class _Portal:
    """An event loop on a thread of its own, with the app open in it."""

    def __init__(self, app: App) -> None:
        # A copy: the app may be open on the caller's own loop at the same time.
        self.app = app.using()
        self._workers = True
        self._pid: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine over there and wait for it here."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def open(self, *, workers: bool = True) -> None:
        """Start the loop and the app, unless they run in this very process."""
        with self._lock:
            if self._pid == os.getpid():
                return
            self.app = self.app.using()
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="bide-blocking", daemon=True
            )
            self._thread.start()
            try:
                self.call(self.app.start(workers=workers))
            except BaseException:
                self._end_loop()
                raise
            self._pid = os.getpid()

    def close(self) -> None:
        """Stop the app and the loop."""
        with self._lock:
            if self._pid != os.getpid():
                return
            self.call(self.app.stop())
            self._end_loop()
            self._pid = None

    def _end_loop(self) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class BlockingExecution(Generic[Out_co]):
    """One run of a pipeline; see `Execution`."""

    __slots__ = ("_execution", "_portal")

    def __init__(self, portal: _Portal, execution: Execution[Any]) -> None:
        self._portal = portal
        self._execution = execution

    @property
    def execution_id(self) -> str:
        """Its id."""
        return self._execution.execution_id

    @property
    def duplicate(self) -> bool:
        """True when the submit key named it before."""
        return self._execution.duplicate

    def status(self) -> ExecutionView:
        """Where it stands."""
        return self._portal.call(self._execution.status())

    @overload
    def parked(
        self, boundary: Await[Many[A], Many[B], Any], *, timeout: Duration | float
    ) -> list[Interaction[list[A], list[B]]]: ...
    @overload
    def parked(
        self, boundary: Await[Many[A], B, Any], *, timeout: Duration | float
    ) -> list[Interaction[list[A], B]]: ...
    @overload
    def parked(
        self, boundary: Await[A, Many[B], Any], *, timeout: Duration | float
    ) -> list[Interaction[A, list[B]]]: ...
    @overload
    def parked(
        self, boundary: Await[A, B, Any], *, timeout: Duration | float
    ) -> list[Interaction[A, B]]: ...
    def parked(
        self, boundary: Await[Any, Any, Any], *, timeout: Duration | float
    ) -> list[Interaction[Any, Any]]:
        """Wait until it waits at that boundary; give what is open there."""
        return self._portal.call(self._execution.parked(boundary, timeout=timeout))

    @overload
    def result(
        self: "BlockingExecution[Many[T]]", *, timeout: Duration | float | None = None
    ) -> list[T]: ...
    @overload
    def result(self: "BlockingExecution[T]", *, timeout: Duration | float | None = None) -> T: ...
    def result(self, *, timeout: Duration | float | None = None) -> Any:
        """Wait for the end and give the result."""
        return self._portal.call(self._execution.result(timeout=timeout))

    def results(self: "BlockingExecution[Many[T]]") -> Iterator[T]:
        """The items of a streaming result, in order."""
        return self._pulled(self._execution.results())

    def replay(self, *, payloads: bool = False) -> Iterator[bytes]:
        """Its life as one JSON document, in pieces."""
        return self._pulled(self._execution.replay(payloads=payloads))

    def _pulled(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        missing = object()

        async def pull() -> Any:
            return await anext(items, missing)

        while (item := self._portal.call(pull())) is not missing:
            yield item

    def cancel(self, reason: str = "") -> None:
        """Cancel it with its open unit."""
        self._portal.call(self._execution.cancel(reason))


class BlockingApp:
    """The verbs of `App`, each waiting for its outcome."""

    def __init__(self, app: App) -> None:
        self._portal = _Portal(app)

    def start(self, *, workers: bool = True) -> None:
        """Open it now; otherwise the first call does."""
        self._portal.open(workers=workers)

    def stop(self) -> None:
        """Close it; the next call opens it again."""
        self._portal.close()

    def migrate(self) -> None:
        """Bring the store's tables up to date, before it is opened here; see `App.migrate`."""
        asyncio.run(self._portal.app.migrate())

    def __enter__(self) -> Self:
        """Open it for the body of the `with`."""
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.stop()

    @property
    def _app(self) -> App:
        self._portal.open()
        return self._portal.app

    def receipts(self, *, tenant: str = DEFAULT_TENANT) -> ReceiptCounts:
        """How many completions got which receipt."""
        return self._portal.call(self._app.receipts(tenant=tenant))

    def status(self, *, tenant: str = DEFAULT_TENANT) -> dict[ExecutionStatus, int]:
        """How many executions stand where."""
        return self._portal.call(self._app.status(tenant=tenant))

    @overload
    def submit(
        self,
        pipeline: Pipeline[Many[A], B],
        value: Iterable[A],
        *,
        idempotency_key: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> BlockingExecution[B]: ...
    @overload
    def submit(
        self,
        pipeline: Pipeline[A, B],
        value: A,
        *,
        idempotency_key: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> BlockingExecution[B]: ...
    @overload
    def submit(
        self,
        pipeline: str,
        value: Any,
        *,
        idempotency_key: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> BlockingExecution[Any]: ...
    def submit(
        self,
        pipeline: Pipeline[Any, Any] | str,
        value: Any,
        *,
        idempotency_key: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> BlockingExecution[Any]:
        """Store an execution; it is durable when this returns."""
        execution: Execution[Any] = self._portal_call_submit(
            pipeline, value, idempotency_key, tenant
        )
        return BlockingExecution(self._portal, execution)

    def _portal_call_submit(
        self, pipeline: Any, value: Any, key: str | None, tenant: str
    ) -> Execution[Any]:
        return self._portal.call(
            self._app.submit(pipeline, value, idempotency_key=key, tenant=tenant)
        )

    @overload
    def execution(
        self, pipeline: Pipeline[Any, B], id: str, *, tenant: str = DEFAULT_TENANT
    ) -> BlockingExecution[B]: ...
    @overload
    def execution(
        self, pipeline: str, id: str, *, tenant: str = DEFAULT_TENANT
    ) -> BlockingExecution[Any]: ...
    def execution(
        self, pipeline: Pipeline[Any, Any] | str, id: str, *, tenant: str = DEFAULT_TENANT
    ) -> BlockingExecution[Any]:
        """A handle on an execution that exists."""
        execution: Execution[Any] = self._app.execution(pipeline, id, tenant=tenant)
        return BlockingExecution(self._portal, execution)

    def redrive(
        self,
        id: str,
        *,
        from_: Literal["start", "await"] = "start",
        again: bool = False,
        tenant: str = DEFAULT_TENANT,
    ) -> BlockingExecution[Any]:
        """Do an execution again that did not succeed, or an item that a step left out."""
        execution: Execution[Any] = self._portal.call(
            self._app.redrive(id, from_=from_, again=again, tenant=tenant)
        )
        return BlockingExecution(self._portal, execution)

    def ask_again(
        self, interaction: Interaction[Any, Any] | str, *, tenant: str = DEFAULT_TENANT
    ) -> str:
        """Ask for a failed item once more while its await is still open; gives the new id."""
        return self._portal.call(self._app.ask_again(interaction, tenant=tenant))

    @overload
    def pending(
        self,
        boundary: Await[Many[A], Many[B], Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[list[A], list[B]]]: ...
    @overload
    def pending(
        self,
        boundary: Await[Many[A], B, Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[list[A], B]]: ...
    @overload
    def pending(
        self,
        boundary: Await[A, Many[B], Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[A, list[B]]]: ...
    @overload
    def pending(
        self,
        boundary: Await[A, B, Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[A, B]]: ...
    @overload
    def pending(
        self,
        boundary: str | None = None,
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[Any, Any]]: ...
    def pending(
        self,
        boundary: Any = None,
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Interaction[Any, Any]]:
        """Open interactions, oldest deadline first."""
        return self._portal.call(
            self._app.pending(boundary, group=group, assignee=assignee, limit=limit, tenant=tenant)
        )

    @overload
    def complete(
        self,
        interaction: Interaction[Any, B],
        answer: B,
        *,
        resume_token: str | None = None,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Receipt: ...
    @overload
    def complete(
        self,
        interaction: str,
        answer: Any,
        *,
        resume_token: str | None = None,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Receipt: ...
    @overload
    def complete(
        self,
        interaction: Await[Any, B, Any],
        answer: B,
        *,
        correlation_id: str,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Receipt: ...
    def complete(
        self,
        interaction: Any,
        answer: Any,
        *,
        correlation_id: str | None = None,
        resume_token: str | None = None,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Receipt:
        """Answer a question, by correlation id perhaps before it is asked."""
        if correlation_id is None:
            work = self._app.complete(
                interaction, answer, resume_token=resume_token, actor=actor, tenant=tenant
            )
        else:
            work = self._app.complete(
                interaction, answer, correlation_id=correlation_id, actor=actor, tenant=tenant
            )
        return self._portal.call(work)

    def fail(
        self,
        interaction: Interaction[Any, Any] | str,
        code: str,
        message: str = "",
        *,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Receipt:
        """Report a business failure in the place of an answer."""
        return self._portal.call(
            self._app.fail(interaction, code, message, actor=actor, tenant=tenant)
        )

    def complete_many(
        self,
        completions: Iterable[tuple[Interaction[Any, B] | str, B]],
        *,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> list[Receipt]:
        """Answer many questions in shared commits."""
        return self._portal.call(self._app.complete_many(completions, actor=actor, tenant=tenant))

    def link(
        self,
        interaction: Interaction[Any, Any] | str,
        *,
        actor: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> str:
        """The address of a page on which one person decides a question."""
        return self._portal.call(self._app.link(interaction, actor=actor, tenant=tenant))

    def assign(
        self,
        interaction: Interaction[Any, Any] | str,
        assignee: str | None,
        by: str | None = None,
        *,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        """Say whose a question is, None for nobody's, whoever has it now."""
        self._portal.call(self._app.assign(interaction, assignee, by, tenant=tenant))

    def claim(
        self, interaction: Interaction[Any, Any] | str, by: str, *, tenant: str = DEFAULT_TENANT
    ) -> None:
        """Take a question that nobody has."""
        self._portal.call(self._app.claim(interaction, by, tenant=tenant))

    def unclaim(
        self, interaction: Interaction[Any, Any] | str, by: str, *, tenant: str = DEFAULT_TENANT
    ) -> None:
        """Put a question of one's own back."""
        self._portal.call(self._app.unclaim(interaction, by, tenant=tenant))

    def pause(self, pipeline: Pipeline[Any, Any] | str) -> None:
        """Stop the claims of a pipeline in every process, until `resume`."""
        self._portal.call(self._app.pause(pipeline))

    def resume(self, pipeline: Pipeline[Any, Any] | str) -> None:
        """Let a paused pipeline go on."""
        self._portal.call(self._app.resume(pipeline))

    def release(
        self,
        execution: BlockingExecution[Any] | str,
        fingerprint: str,
        *,
        by: str | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> ExecutionView:
        """Let an execution that no worker fits go on as another boundary of this app."""
        id_ = execution if isinstance(execution, str) else execution.execution_id
        return self._portal.call(self._app.release(id_, fingerprint, by=by, tenant=tenant))
