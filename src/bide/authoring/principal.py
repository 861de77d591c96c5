"""Who is asking: what an app's `identify` function makes of a request's credential."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bide.errors import DefinitionError

#: `submit` starts and cancels executions, `decide` answers and assigns interactions, `operate`
#: pauses pipelines and releases what is held, `administer` reads the audit; whoever is known may
#: look. No role holds another.
ROLES: Final = frozenset({"submit", "decide", "operate", "administer"})


@dataclass(frozen=True, slots=True, init=False)
class Principal:
    """A person or a program that was authenticated, with what it may do and where.

    Args:
        id: who it is; recorded as the actor of its answers.
        groups: the groups whose interactions it may answer.
        roles: some of `submit`, `decide`, `operate` and `administer`, or none.
        tenant: the tenant that it belongs to; it sees nothing of any other.
        credential: by what it was known, kind and key id (`api-key:a1b2`), as the audit shows it;
            never the credential itself.

    Raises:
        ValueError: the id or the tenant is blank. HTTP answers that like a missing credential.
    """

    id: str
    groups: frozenset[str]
    roles: frozenset[str]
    tenant: str
    credential: str

    def __init__(
        self,
        id: str,
        *,
        groups: Iterable[str] = (),
        roles: Iterable[str] = ("submit", "decide"),
        tenant: str = "default",
        credential: str = "identify",
    ) -> None:
        object.__setattr__(self, "id", _present("id", id))
        object.__setattr__(self, "groups", _names("groups", groups))
        object.__setattr__(self, "roles", _names("roles", roles))
        object.__setattr__(self, "tenant", _present("tenant", tenant))
        object.__setattr__(self, "credential", _present("credential", credential))
        if unknown := sorted(self.roles - ROLES):
            raise DefinitionError(
                f"Principal {id!r}: there is no role {unknown[0]!r};"
                " roles are 'submit', 'decide', 'operate' and 'administer'."
            )


def _present(what: str, text: str) -> str:
    if not text.strip():
        raise ValueError(f"Principal: the {what} is blank")
    return text


def _names(what: str, names: Iterable[str]) -> frozenset[str]:
    # A bare string is an iterable of its letters, and "kitchen" would become seven groups.
    if isinstance(names, str):
        raise DefinitionError(f"Principal: write {what}=[{names!r}], a list of names.")
    return frozenset(names)
