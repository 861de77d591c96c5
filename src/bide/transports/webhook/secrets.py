"""Reads the secrets that webhooks name, when their transport is opened; files also when they change.

A secret is checked where it is read: what could not be sent, or would sign with what a partner
could never verify, stops the start. Every complaint names the place that was looked at and never
what was found there, and what was read is wrapped so that no log and no traceback shows it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from bide.authoring.secrets import Secret
from bide.errors import DefinitionError
from bide.security.files import Watched
from bide.settings import Settings

T = TypeVar("T")

#: Makes of a secret's text what it is used as; the second argument names its place in messages.
Parse = Callable[[SecretStr, str], T]


def read_secret(secret: Secret, parse: Parse[T]) -> Callable[[], T]:
    """What is made of a secret, as it is now: a file that changes is read again.

    Raises:
        DefinitionError: it is not there, is empty, or `parse` refuses it.
    """
    if secret.env is not None:
        return _fixed(parse(_text(os.environ.get(secret.env, ""), str(secret)), str(secret)))
    return _watched(Path(secret.file or ""), parse)


def read_app_secrets(settings: Settings, parse: Parse[T]) -> Callable[[], T] | None:
    """The same of what webhooks are signed with that name no secret of their own; None without.

    Raises:
        DefinitionError: both places are given, or as `read_secret`.
    """
    given, path = settings.webhook_secrets, settings.webhook_secrets_file
    if given is not None and path is not None:
        raise DefinitionError(
            "BIDE_WEBHOOK_SECRETS and BIDE_WEBHOOK_SECRETS_FILE are both set; unset one"
        )
    if path is not None:
        return _watched(path, parse)
    if given is not None:
        where = "$BIDE_WEBHOOK_SECRETS"
        return _fixed(parse(_text(given.get_secret_value(), where), where))
    return None


def _watched(path: Path, parse: Parse[T]) -> Callable[[], T]:
    def parsed(data: bytes, where: str) -> T:
        return parse(_text(data.decode(errors="replace"), f"file {where}"), f"file {where}")

    return Watched(path, parsed).current


def _fixed(value: T) -> Callable[[], T]:
    return lambda: value


def _text(text: str, where: str) -> SecretStr:
    stripped = text.strip()
    if not stripped:
        raise DefinitionError(f"the secret in {where} is missing or empty")
    return SecretStr(stripped)
