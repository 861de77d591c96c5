"""What goes wrong, as one line for whoever typed the command.

`CliError` is what commands raise themselves; `explain` finds words for everything else. A line says
what happened and what to do next; tracebacks are for whoever sets BIDE_DEBUG.
"""

import json
from collections.abc import Iterable
from typing import TypeGuard

import typer
from pydantic import ValidationError

from bide.errors import BideError, DeclarationError, DefinitionError, FieldError
from bide.settings import Settings

#: Exit codes: the command could not do it, it was typed wrongly, it was interrupted.
FAILED = 1
USAGE = 2
INTERRUPTED = 130
TERMINATED = 143

_ERRORS_SHOWN = 3


class CliError(Exception):
    """A command cannot go on; the message is the line that its user reads."""

    def __init__(self, message: str, *, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def explain(error: BaseException) -> str:
    """Say in one line what happened."""
    return one_line(_words(error))


def exit_code_of(error: BaseException) -> int:
    """The code to leave with."""
    if isinstance(error, CliError | typer.TyperException):
        return error.exit_code
    return FAILED


def is_expected(error: BaseException) -> bool:
    """Whether the message was written for people, so that no traceback is worth offering."""
    known = isinstance(error, CliError | typer.TyperException | BideError | OSError)
    return known or is_of_settings(error)


def is_of_settings(error: BaseException) -> TypeGuard[ValidationError]:
    """Whether a setting in the environment does not fit."""
    return isinstance(error, ValidationError) and error.title == Settings.__name__


def one_line(text: str) -> str:
    """Fold white space, and spell out what a terminal would act on instead of showing."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Spell out control characters: stored text comes from strangers, terminals obey escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _spelled(one) for one in text)


def field_errors(errors: Iterable[FieldError]) -> str:
    """The first few things that are wrong with a payload."""
    listed = list(errors)
    shown = "; ".join(
        f"{error['path'] or 'the value'}: {error['message']}" for error in listed[:_ERRORS_SHOWN]
    )
    more = len(listed) - _ERRORS_SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown


def _spelled(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) < 0x80 else f"\\u{ord(character):04x}"


def _words(error: BaseException) -> str:
    if isinstance(error, typer.TyperException):
        return error.format_message()
    if isinstance(error, DeclarationError):
        return str(error)
    if isinstance(error, DefinitionError):
        return f"the app is not defined rightly: {error}"
    if isinstance(error, BideError):
        said = str(error)
        errors: Iterable[FieldError] = getattr(error, "errors", ())
        new = field_errors(one for one in errors if one["message"] not in said)
        return f"{said} ({new})" if new else said
    if is_of_settings(error):
        return "; ".join(
            f"BIDE_{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors()
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, CliError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error} (BIDE_DEBUG=1 shows where)"
