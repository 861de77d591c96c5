"""Where a secret is found: a reference that may stand in code, logs and pages.

A definition holds no secret, so none can be committed, printed or sent with one. The processes that
need it read it when they start.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from typing import Final

from bide.errors import DefinitionError

_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret in a variable of the environment, `Secret(env="NAME")`, or in a file,
    `Secret(file="/run/secrets/name")`; blanks and line ends around it are no part of it.

    Raises:
        DefinitionError: neither or both are given, or `env` is no name of a variable. The message
            repeats neither, in case the secret itself was written there.
    """

    _: KW_ONLY
    env: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if (self.env is None) == (self.file is None):
            raise DefinitionError('Secret: write Secret(env="NAME") or Secret(file="PATH").')
        if self.env is not None and not _VARIABLE.fullmatch(self.env):
            raise DefinitionError(
                "Secret: env is no name of a variable; name the variable that holds the secret, "
                'as in Secret(env="PARTNER_SECRET").'
            )
        if self.file is not None and not self.file.strip("\0 "):
            raise DefinitionError('Secret: file is blank; write Secret(file="/run/secrets/name").')

    def __str__(self) -> str:
        """How messages name it: never what it holds."""
        return f"${self.env}" if self.env is not None else f"file {self.file}"
