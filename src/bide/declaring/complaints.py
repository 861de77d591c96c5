"""What is wrong with the words of a declaration, as a sentence that says what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bide.declaring.document import Node, Path
from bide.declaring.source import Source
from bide.errors import DeclarationError

#: What a word of a wrong type should be, by the type of pydantic's error.
_WANTED: Final = {
    "string_type": "put it in quotes",
    "list_type": "write a list",
    "model_type": "write a mapping",
    "dict_type": "write a mapping",
    "int_type": "write a whole number",
    "bool_type": "write true or false",
}
_DURATIONS: Final = frozenset({"timeout", "unitTimeout", "first", "longest"})


def complaint(error: ValidationError, source: Source) -> DeclarationError:
    """Say the first thing that is wrong, by its place in the file."""
    found = [source.error(*_said(one, source.document)) for one in error.errors()]
    return min(found, key=lambda one: (one.line or 0, one.column or 0))


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Guess which known word was meant, as the end of a sentence."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"write {one_of(known)}"


def one_of(words: Sequence[str]) -> str:
    """Join words by commas and an "or"."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def shown(value: object) -> str:
    """Write a value as a file has it, with what it is."""
    if isinstance(value, bool):
        return f"{str(value).lower()}, which is no text"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= 60 else f"the text {value[:60]!r}..."
    return "a list" if isinstance(value, list) else "a mapping"


def _said(error: ErrorDetails, document: Node) -> tuple[Path, str]:
    path = _path(error["loc"], document)
    context: dict[str, Any] = error.get("ctx", {})
    word = str(path[-1]) if path else "the file"
    match error["type"]:
        case "unknown_word":
            unknown = str(context["word"])
            meant = did_you_mean(unknown, context["known"])
            return (*path, unknown), f"{unknown!r} means nothing here; {meant}"
        case "missing_word":
            where = f"{_name(path)}: " if path else ""
            return path, f"{where}{context['word']!r} is missing: {context['meaning']}"
        case "literal_error" if isinstance(error["input"], str):
            return path, _other_word(word, error["input"], context["expected"])
        case "union_tag_invalid":
            said = _other_word("type", context["tag"], context["expected_tags"])
            return (*path, "type"), said
        case "union_tag_not_found":
            if path[:1] == ("steps",) and len(path) == 2:
                return path, (
                    f"step {int(path[1]) + 1} says neither call: (a function) nor kind: await"
                    " nor keep: (a type); write one of them"
                )
            return path, f"{word}: 'type' is missing: interaction-api, webhook or kafka"
        case "too_short":
            return path, f"{word} is empty; write one at least"
        case _:
            return path, f"{_name(path)} is {shown(error['input'])}; {_wanted(error, path)}"


def _other_word(word: str, given: str, expected: str) -> str:
    """Say which words may stand where another one does; pydantic lists them in quotes."""
    known = expected.replace("' or '", "', '").strip("'").split("', '")
    return f"{word} is {given!r}; {did_you_mean(given, known)}"


def _wanted(error: ErrorDetails, path: Path) -> str:
    if isinstance(error["input"], int) and path and path[-1] in _DURATIONS:
        return f'write its unit: "{error["input"]}s" or "{error["input"]}m"'
    if error["type"] == "string_type" and isinstance(error["input"], list | dict):
        return "write one text"
    return _WANTED.get(error["type"], error["msg"])


def _path(loc: tuple[str | int, ...], document: Node) -> Path:
    """Leave out what pydantic adds to a place: the names of a union's variants."""
    path: list[str | int] = []
    node = document
    for part in loc:
        inner = node.child(part)
        if inner is not None:
            path.append(part)
            node = inner
    return tuple(path)


def _name(path: Path) -> str:
    """Name a place as people do: step 3, timeout of step 3."""
    if not path:
        return "the file"
    if path[0] == "steps" and len(path) > 1:
        inner = ".".join(map(str, path[2:]))
        return f"step {int(path[1]) + 1}: {inner}" if inner else f"step {int(path[1]) + 1}"
    return ".".join(map(str, path))
