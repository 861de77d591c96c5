"""What a new project may be, and what each choice brings."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bide.errors import DefinitionError

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
#: Names that other packages in the same environment have.
_TAKEN: Final = frozenset({"bide", "test", "tests", "pytest", "pydantic"}) | sys.stdlib_module_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """How the project's questions leave: what it needs, and how it is written in code."""

    #: Of Bide.
    extras: tuple[str, ...]
    #: What code imports of Bide for it, and writes.
    class_name: str
    via: str
    #: Which tests it has: those of an inbox, or those of what is sent.
    flows: str
    #: What `make run` makes and git must not have.
    ignored: tuple[str, ...] = ()


CARRIERS: Final[Mapping[str, Carrier]] = MappingProxyType(
    {
        "inbox": Carrier(extras=(), class_name="Inbox", via='Inbox(group="sales")', flows="inbox"),
        "webhook": Carrier(
            extras=("webhook",),
            class_name="Webhook",
            via='Webhook("http://127.0.0.1:8100/orders")',
            flows="sent",
            ignored=("keyring.json", "webhook-secret"),
        ),
        "kafka": Carrier(
            extras=("kafka",),
            class_name="Kafka",
            via='Kafka(request="{package}.orders.asked", response="{package}.orders.decided")',
            flows="sent",
            ignored=("keyring.json",),
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One project."""

    name: str
    #: One of `CARRIERS`.
    via: str = "inbox"
    #: The pipeline is declared, and not built in code.
    yaml: bool = False

    @property
    def package(self) -> str:
        """The name as Python can import it."""
        return self.name.replace("-", "_")

    @property
    def carrier(self) -> Carrier:
        """What its questions leave by."""
        return CARRIERS[self.via]


def check_name(name: str) -> str:
    """Give a project's name back if it can be a folder and a package.

    Raises:
        DefinitionError: it cannot; the message says which name could.
    """
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise DefinitionError(f"{name!r} is a path; go where the project should be, and name it")
    if not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{name!r} is no name of a project: small letters and digits, a letter first, '-' or '_'"
            f" between words{_such_as(name)}"
        )
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or keyword.issoftkeyword(package):
        raise DefinitionError(f"{name!r} is a word of Python's own; write {name}-app, for example")
    if package in _TAKEN:
        raise DefinitionError(
            f"{name!r} is the name of a module that is there already; write {name}-app, for example"
        )
    return name


def _such_as(name: str) -> str:
    """Guess a name that could be, where there is one."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
    guess = "-".join(words).lstrip("0123456789-")
    return f"; such as {guess}" if _NAME.fullmatch(guess) else ""
