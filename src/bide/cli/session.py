"""Opening the app for one look or one act, through the service that every edge uses."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from bide import App
from bide.cli.complaints import CliError
from bide.cli.locate import find_app
from bide.cli.options import Target
from bide.cli.process import run
from bide.cli.stores import refuse_missing
from bide.runtime.service import Service

T = TypeVar("T")


def with_service(
    target: Target, action: Callable[[Service], Awaitable[T]], *, creates: bool = False
) -> T:
    """Run `action` on the app's service, without workers.

    A look at a database that is not there is a mistake in its name; only with `creates` is the
    file made.
    """
    app = find_app(target.app, target.store)
    if not creates:
        refuse_missing(app)
    return run(_with(app, action))


def document_bytes_max(target: Target) -> int:
    """How long one JSON document may be: as long as over HTTP."""
    return find_app(target.app, target.store).settings.http_max_body_bytes


def found(value: T | None, what: str, id: str, tenant: str) -> T:
    """The value, or the error that there is none."""
    if value is None:
        raise CliError(f"there is no {what} {id!r} in tenant {tenant!r}")
    return value


async def _with(app: App, action: Callable[[Service], Awaitable[T]]) -> T:
    async with app.running(workers=False):
        return await action(app.service)
