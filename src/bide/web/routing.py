"""A route as data, and the one way in that all of them share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bide.errors import StoreUnavailable
from bide.runtime.service import Service
from bide.security.access import Caller
from bide.web import guard, problems
from bide.web.guard import Headers, Identify, Role


class Served(Protocol):
    """What the edge needs of an app: its service, while it runs."""

    @property
    def service(self) -> Service:
        """The operations.

        Raises:
            NotRunning: the app is not open.
        """
        ...


class Waiting:
    """How many completions wait for a commit; past the bound a client is sent away.

    A Python caller would wait instead. Over HTTP each waiting one holds a connection and a body.
    """

    def __init__(self) -> None:
        self._rows = 0

    @contextmanager
    def holding(self, rows: int, bound: int) -> Generator[None]:
        """Count `rows` while the body of the `with` runs."""
        if self._rows and self._rows + rows > bound:
            raise StoreUnavailable(f"{self._rows:,} completions wait already; try again soon")
        self._rows += rows
        try:
            yield
        finally:
            self._rows -= rows


class Following:
    """How many clients follow executions; each holds a connection."""

    def __init__(self) -> None:
        self.count = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was let in."""

    request: Request
    headers: Headers
    service: Service
    caller: Caller
    waiting: Waiting
    following: Following

    @property
    def tenant(self) -> str:
        """Whose rows are meant."""
        return self.caller.tenant

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def url(self, path: str) -> str:
        """A path of this API as the client reaches it, wherever the API is mounted."""
        return f"{self.request.scope.get('root_path', '')}{path}"


Handler: TypeAlias = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter or a header, for the documentation."""

    name: str
    description: str
    where: Literal["query", "header"] = "query"
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route: how it is reached, what it does, and what OpenAPI says of it."""

    method: Literal["GET", "POST"]
    path: str
    handle: Handler
    summary: str
    tag: str
    #: What an authenticated caller must hold; None: being known is enough.
    role: Role | None = None
    #: A resume token in the body does as well, and then no role is needed.
    by_token: bool = False
    parameters: tuple[Parameter, ...] = ()
    #: The body's type, `Any` for any JSON value, None for no body; NDJSON holds one a line.
    request: Any = None
    request_is_ndjson: bool = False
    #: Type of the body by status and media type.
    responses: tuple[tuple[int, Any, str], ...] = ()
    #: Codes of the problems that this route has beside those that all have.
    problems: tuple[str, ...] = ()


class Edge:
    """What all routes of one app share."""

    def __init__(self, app: Served, identify: Identify | None) -> None:
        self.app = app
        self.identify = identify
        self.waiting = Waiting()
        self.following = Following()


class Endpoint:
    """A route's way from a request to its answer, as an ASGI application.

    Being one, it is called by the router as it is: a function would cost each request a dependency
    tree, two exit stacks and a second handler of errors, half of all that the edge does.
    """

    def __init__(self, operation: Operation, edge: Edge) -> None:
        self.operation = operation
        self.edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; whatever happens, the client gets something that it can read."""
        request = Request(scope, receive, send)
        try:
            response = await self._handle(request)
        except Exception as error:  # noqa: BLE001 - every error becomes a problem, none leaks
            response = problems.respond(request, error)
        await response(scope, receive, send)

    def _require(self, caller: Caller, operation: Operation) -> None:
        """Refuse a caller that lacks the route's role, and note that where it is known who it is."""
        if operation.role is None:
            return
        try:
            guard.require(caller, operation.role)
        except problems.Refused as refused:
            deed = f"{operation.method} {operation.path}"
            self.edge.app.service.note_refusal(caller, "request", refused.code, detail=deed)
            raise

    async def _handle(self, request: Request) -> Response:
        edge, operation = self.edge, self.operation
        headers = guard.headers_of(request)
        caller = await guard.admit(request, headers, edge.identify, by_token=operation.by_token)
        if not operation.by_token:
            self._require(caller, operation)
        service = edge.app.service
        call = Call(request, headers, service, caller, edge.waiting, edge.following)
        with service.tracing.arriving(headers):
            return await operation.handle(call)
