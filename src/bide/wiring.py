"""From configuration to a runtime: the only module that names concrete stores."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bide.errors import DefinitionError
from bide.planning.hints import ResourceKey
from bide.planning.plan import Plan
from bide.runtime.clock import system_clock
from bide.runtime.plans import Plans
from bide.runtime.runtime import Resource, Runtime
from bide.security.authentication import Authentication
from bide.security.desk import HOW, TokenDesk
from bide.settings import Settings
from bide.spi.store import Store
from bide.stores.address import shown
from bide.stores.memory import MemoryStore
from bide.stores.sqlite.store import SqliteStore

_FORMS = (
    "sqlite:///relative.db, sqlite:////absolute.db, postgresql://user@host:5432/database, memory://"
)


def open_runtime(
    url: str,
    plans: Plans,
    settings: Settings,
    *,
    resources: Sequence[Resource] = (),
    given: Mapping[ResourceKey, object],
) -> Runtime:
    """Put a runtime together; nothing is opened before its `start`.

    Raises:
        DefinitionError: a keyring is named that cannot be read, or none is and an await needs one.
    """
    tokens = TokenDesk.of(settings)
    check_tokens(plans.versions, tokens)
    return Runtime(
        store_of(url), plans, settings, system_clock,
        tokens=tokens, resources=resources, given=given,
    )  # fmt: skip


def authentication_of(settings: Settings) -> Authentication | None:
    """Who is known over HTTP, as the settings say; None where nobody is asked.

    Raises:
        DefinitionError: what they say cannot work.
    """
    return Authentication.of(settings, system_clock)


def check_tokens(plans: Iterable[Plan], tokens: TokenDesk) -> None:
    """Refuse to start where an await hands out tokens and no key could sign them.

    Raises:
        DefinitionError: names the await and what to do.
    """
    if tokens.is_open:
        return
    for plan in plans:
        for boundary in plan.awaits():
            if boundary.transport.needs_token:
                raise DefinitionError(
                    f"await {boundary.name!r} of pipeline {plan.title!r} sends resume tokens, and"
                    f" there is no keyring; {HOW}"
                )


def store_of(url: str) -> Store:
    """The store that a URL names.

    Raises:
        DefinitionError: the URL names none; the message lists the forms.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # whose words may hold a part of the password
        raise DefinitionError(
            f"the store {shown(url)!r} cannot be read; write one of: {_FORMS}"
        ) from None
    if parts.scheme == "memory":
        return MemoryStore(system_clock)
    if parts.scheme == "sqlite":
        path = unquote(parts.path).removeprefix("/")
        if parts.netloc or not path or "\0" in path or path == ":memory:":
            raise DefinitionError(f"the store {shown(url)!r} names no file; write one of: {_FORMS}")
        return SqliteStore(str(Path(path)), system_clock)
    if parts.scheme in {"postgresql", "postgres"} and parts.path.strip("/"):
        from bide.stores.postgres.store import PostgresStore

        return PostgresStore(url)
    raise DefinitionError(f"there is no store for {shown(url)!r}; write one of: {_FORMS}")
