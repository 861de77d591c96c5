"""The client of programs that block: scripts, Django, Flask; it is shared by threads."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, Literal, Self, overload

import httpx
from typing_extensions import TypeVar

from bide.authoring.answers import Interaction, Receipt
from bide.authoring.awaits import Await
from bide.authoring.durations import Duration, timeout_seconds
from bide.authoring.many import Many
from bide.authoring.retry import Retry
from bide.client import flows
from bide.client.carrying import RETRY, Server, answered
from bide.client.exchange import Answered, Exchange, Flow, Lost, Rest
from bide.planning.codec import Codec
from bide.planning.pipeline import Pipeline, plan_of
from bide.runtime.views import DeadLetterView, ExecutionView

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
Out_co = TypeVar("Out_co", covariant=True)


class RemoteExecution(Generic[Out_co]):
    """One run of a pipeline on the server; see `Execution`."""

    __slots__ = ("_client", "_output", "duplicate", "execution_id")

    def __init__(
        self, client: "Client", execution_id: str, output: Codec[Any] | None, *, duplicate: bool
    ) -> None:
        self._client = client
        self._output = output
        self.execution_id = execution_id
        #: True when the submit key named this execution before.
        self.duplicate = duplicate

    def __repr__(self) -> str:
        return f"<RemoteExecution {self.execution_id}>"

    def status(self) -> ExecutionView:
        """Where it stands; its `tenant` is blank, since the credential says it."""
        return self._client.run(flows.view(self.execution_id, self._client.retry))

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
    def parked(self, boundary: Await[Any, Any, Any], *, timeout: Duration | float) -> list[Any]:
        """Wait until it waits at that boundary; raises like `Execution.parked`."""
        seconds = timeout_seconds(timeout)
        flow = flows.parked(self.execution_id, boundary, seconds, self._client.retry)
        return self._client.run(flow)

    @overload
    def result(
        self: "RemoteExecution[Many[T]]", *, timeout: Duration | float | None = None
    ) -> list[T]: ...
    @overload
    def result(self: "RemoteExecution[T]", *, timeout: Duration | float | None = None) -> T: ...
    def result(self, *, timeout: Duration | float | None = None) -> Any:
        """Wait for the end and give the result; a list for a stream.

        Raises:
            ExecutionFailed, ExecutionCancelled: it ended otherwise.
            TimeoutError: it has not ended in time; it goes on.
            ResultTooLarge: read `results()`.
        """
        seconds = None if timeout is None else timeout_seconds(timeout)
        flow = flows.result(self.execution_id, self._output, seconds, self._client.retry)
        return self._client.run(flow)

    def results(self: "RemoteExecution[Many[T]]") -> Iterator[T]:
        """The items of a streaming result, in order, once it has succeeded; read in pages.

        Raises:
            ExecutionFailed, ExecutionCancelled: it ended otherwise.
            TimeoutError: it has not ended yet.
        """
        cursor: str | None = None
        while True:
            flow = flows.page(self.execution_id, self._output, cursor, self._client.retry)
            items, cursor = self._client.run(flow)
            yield from items
            if cursor is None:
                return

    def cancel(self, reason: str = "") -> None:
        """Cancel it with its open unit, in one commit.

        Raises:
            AlreadyEnded: there is nothing to cancel any more.
        """
        self._client.run(flows.cancel(self.execution_id, reason, self._client.retry))


class Client:
    """The verbs of an app that runs elsewhere; safe to share between threads.

    Every request is repeated with rising rests while the server is away, so long as that is safe;
    submissions, completions and redrives are. Connections are kept and shared.

    Args:
        url: the server's, with the path under which the API is mounted, if there is one.
        token: an API key or a JWT, sent as a bearer token; None on the server's own machine.
        tenant: whose work it is, where no credential says that.
        timeout: how long one request may take, beyond what it asks the server to wait.
        retry: how often and how far apart a request is tried.
        http: options for httpx (`verify`, `proxy`, `limits`, `transport`, ...).

    Raises:
        DefinitionError: the address is none.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        tenant: str | None = None,
        timeout: Duration | float = "30s",
        retry: Retry = RETRY,
        http: Mapping[str, Any] | None = None,
    ) -> None:
        self._server = Server.of(url, token, tenant, timeout_seconds(timeout))
        self._http = httpx.Client(**{**self._server.options(), **(http or {})})
        self.retry = retry

    def __repr__(self) -> str:
        return f"<Client of {self._server.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """Carry the exchanges of a flow."""
        try:
            wanted = next(flow)
            while True:
                if isinstance(wanted, Rest):
                    time.sleep(wanted.seconds)
                    wanted = flow.send(None)
                else:
                    wanted = flow.send(self._exchange(wanted))
        except StopIteration as end:
            value: T = end.value
            return value

    def _exchange(self, exchange: Exchange) -> Answered | Lost:
        try:
            return answered(self._http.request(**self._server.request(exchange)))
        except httpx.TransportError as error:
            return self._server.lost(error)

    # --- executions ---------------------------------------------------------------------------

    @overload
    def submit(
        self,
        pipeline: Pipeline[Many[A], B],
        value: Iterable[A],
        *,
        idempotency_key: str | None = None,
    ) -> RemoteExecution[B]: ...
    @overload
    def submit(
        self, pipeline: Pipeline[A, B], value: A, *, idempotency_key: str | None = None
    ) -> RemoteExecution[B]: ...
    @overload
    def submit(
        self, pipeline: str, value: Any, *, idempotency_key: str | None = None
    ) -> RemoteExecution[Any]: ...
    def submit(
        self, pipeline: Pipeline[Any, Any] | str, value: Any, *, idempotency_key: str | None = None
    ) -> RemoteExecution[Any]:
        """Store an execution; it is durable when this returns. Raises like `App.submit`.

        Without a key it gets one of its own, so that a repeat of the request is no second one.
        """
        flow = flows.submit(pipeline, value, idempotency_key, self.retry)
        made = self.run(flow)
        return RemoteExecution(
            self, made.execution_id, _output_of(pipeline), duplicate=made.duplicate
        )

    @overload
    def execution(self, pipeline: Pipeline[Any, B], id: str) -> RemoteExecution[B]: ...
    @overload
    def execution(self, pipeline: str | None, id: str) -> RemoteExecution[Any]: ...
    def execution(self, pipeline: Pipeline[Any, Any] | str | None, id: str) -> RemoteExecution[Any]:
        """A handle on an execution that exists; it is looked up when it is used."""
        return RemoteExecution(self, id, _output_of(pipeline), duplicate=False)

    def redrive(
        self, id: str, *, from_: Literal["start", "await"] = "start", again: bool = False
    ) -> RemoteExecution[Any]:
        """Do an execution again that ended FAILED or in the DLQ; raises like `App.redrive`."""
        made = self.run(flows.redrive(id, from_, again, self.retry))
        return RemoteExecution(self, made.execution_id, None, duplicate=made.duplicate)

    def dead_letters(
        self, *, pipeline: str | None = None, limit: int = 100, after: str | None = None
    ) -> list[DeadLetterView]:
        """What did not succeed, newest first; those behind `after`, the last id of a page."""
        return self.run(flows.dead_letters(pipeline, limit, after, self.retry))

    # --- what waits ---------------------------------------------------------------------------

    @overload
    def pending(
        self,
        boundary: Await[Many[A], Many[B], Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
    ) -> list[Interaction[list[A], list[B]]]: ...
    @overload
    def pending(
        self,
        boundary: Await[Many[A], B, Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
    ) -> list[Interaction[list[A], B]]: ...
    @overload
    def pending(
        self,
        boundary: Await[A, Many[B], Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
    ) -> list[Interaction[A, list[B]]]: ...
    @overload
    def pending(
        self,
        boundary: Await[A, B, Any],
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
    ) -> list[Interaction[A, B]]: ...
    @overload
    def pending(
        self,
        boundary: str | None = None,
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
    ) -> list[Interaction[Any, Any]]: ...
    def pending(
        self,
        boundary: Await[Any, Any, Any] | str | None = None,
        *,
        group: str | None = None,
        assignee: str | None = None,
        limit: int = 100,
    ) -> list[Any]:
        """Open interactions, oldest deadline first; an await goes by itself, its name or its id."""
        flow = flows.pending(boundary, self.retry, group=group, assignee=assignee, limit=limit)
        return self.run(flow)

    @overload
    def complete(
        self,
        interaction: Interaction[Any, B],
        answer: B,
        *,
        resume_token: str | None = None,
        actor: str | None = None,
    ) -> Receipt: ...
    @overload
    def complete(
        self,
        interaction: str | None,
        answer: Any,
        *,
        resume_token: str | None = None,
        actor: str | None = None,
    ) -> Receipt: ...
    @overload
    def complete(
        self,
        interaction: Await[Any, B, Any],
        answer: B,
        *,
        correlation_id: str,
        actor: str | None = None,
    ) -> Receipt: ...
    def complete(
        self,
        interaction: Interaction[Any, Any] | Await[Any, Any, Any] | str | None,
        answer: Any,
        *,
        correlation_id: str | None = None,
        resume_token: str | None = None,
        actor: str | None = None,
    ) -> Receipt:
        """Answer a question; durable when this returns. Raises like `App.complete`.

        None as the interaction, with a token, answers what the token is for. The server puts the
        credential's own actor in the place of `actor`, where there is one. An answer whose first
        try was admitted though its receipt was lost comes back as `duplicate`.
        """
        given = flows.completion(
            interaction, answer,
            correlation_id=correlation_id, resume_token=resume_token, actor=actor,
        )  # fmt: skip
        return self.run(flows.complete(given, self.retry))

    def fail(
        self,
        interaction: Interaction[Any, Any] | str | None,
        code: str,
        message: str = "",
        *,
        resume_token: str | None = None,
        actor: str | None = None,
    ) -> Receipt:
        """Report a business failure in the place of an answer; raises like `complete`."""
        given = flows.failure(interaction, code, message, resume_token=resume_token, actor=actor)
        return self.run(flows.complete(given, self.retry))

    def complete_many(
        self,
        completions: Iterable[tuple[Interaction[Any, B] | str, B]],
        *,
        actor: str | None = None,
    ) -> list[Receipt]:
        """Answer many questions in shared commits; a receipt each, in order, whatever it says.

        Raises:
            PayloadError: an answer has no JSON form; nothing was sent.
            StoreUnavailable: it failed midway; `.receipts` holds those that were committed.
        """
        given = [flows.completion(each, answer, actor=actor) for each, answer in completions]
        return self.run(flows.complete_many(given, self.retry))


def _output_of(pipeline: Pipeline[Any, Any] | str | None) -> Codec[Any] | None:
    return plan_of(pipeline).output if isinstance(pipeline, Pipeline) else None
