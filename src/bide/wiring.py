"""From configuration to a runtime: the only module that names concrete stores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bide.errors import DefinitionError
from bide.planning.hints import ResourceKey
from bide.runtime.clock import system_clock
from bide.runtime.plans import Plans
from bide.runtime.runtime import Resource, Runtime
from bide.settings import Settings
from bide.spi.store import Store
from bide.stores.address import shown
from bide.stores.memory import MemoryStore
from bide.stores.sqlite.store import SqliteStore

_FORMS = "sqlite:///relative.db, sqlite:////absolute.db, memory://"


def open_runtime(
    url: str,
    plans: Plans,
    settings: Settings,
    *,
    resources: Sequence[Resource] = (),
    given: Mapping[ResourceKey, object],
) -> Runtime:
    """Put a runtime together; nothing is opened before its `start`."""
    store = store_of(url)
    return Runtime(store, plans, settings, system_clock, resources=resources, given=given)


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
    raise DefinitionError(f"there is no store for {shown(url)!r}; write one of: {_FORMS}")
