"""YAML text as plain values, each with its place; the only module that knows the YAML library.

PyYAML reads the syntax and gives events; what they mean is decided here. So scalars are those of
YAML 1.2 (`no` is a text, `010` is ten), nothing is ever constructed by a tag, and every bound holds
while the text is read and not after: a file of opening brackets ends at the depth allowed, and an
alias counts as all that it stands for.

The parser in pure Python is used even where the one in C is there: both know the same language, but
differ at its edges (tabs) and in the words of their messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from bide.errors import DeclarationError, DefinitionError

#: What one file may hold: characters, levels, and values with every alias written out.
CHARACTERS_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 32
VALUES_MAX: Final = 10_000
#: Digits of a number; a longer one is no number that anything here takes.
DIGITS_MAX: Final = 18

Path: TypeAlias = tuple[str | int, ...]

#: The core schema of YAML 1.2.2, section 10.3.2, for plain scalars: those without quotes.
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text; both count from 1, as editors do."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it begins; of a mapping also where its keys do."""

    #: A text, a number, a bool or None; a list of nodes; a dict of nodes.
    value: str | float | bool | list[Node] | dict[str, Node] | None
    mark: Mark
    keys: Mapping[str, Mark] = field(default_factory=dict[str, Mark])
    #: The values in it and below it, itself counted, with every alias written out.
    size: int = 1

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, list):
            return [one.plain() for one in self.value]
        if isinstance(self.value, dict):
            return {key: one.plain() for key, one in self.value.items()}
        return self.value

    def at(self, path: Path) -> Node:
        """The node at a path, or the last one on the way there that is in the text."""
        node = self
        for part in path:
            found = node.child(part)
            if found is not None:
                node = found
        return node

    def mark_of(self, path: Path) -> Mark:
        """Where a path begins: at its key where that is in the text, else at what should hold it."""
        *above, last = path or ("",)
        holder = self.at(tuple(above))
        return holder.keys.get(str(last)) or holder.at((last,)).mark

    def child(self, part: str | int) -> Node | None:
        if isinstance(self.value, dict):
            return self.value.get(str(part))
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            return self.value[part]
        return None


def read(text: str, file: str) -> Node:
    """Read one document.

    Raises:
        DeclarationError: it is no YAML, or goes over a bound; `file` opens the message.
        DefinitionError: the extra is not installed.
    """
    if len(text) > CHARACTERS_MAX:
        raise DeclarationError(
            f"the file has more than {CHARACTERS_MAX:,} characters; divide it", file=file
        )
    reader = _Reader(file, _events(text, file))
    return reader.document()


def _events(text: str, file: str) -> Iterator[Any]:
    try:
        import yaml  # type: ignore[import-untyped]  # PyYAML brings no types
    except ImportError as error:
        raise DefinitionError(
            'reading YAML takes PyYAML, which is not installed: pip install "bide[yaml]"'
        ) from error
    try:
        yield from cast("Any", yaml).parse(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _no_yaml(error, text, file) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        raise DeclarationError(
            f"the character U+{error.character:04X} cannot be part of YAML; leave it out",
            file=file, line=line, column=column,
        ) from None  # fmt: skip


def _no_yaml(error: Any, text: str, file: str) -> DeclarationError:
    mark = error.problem_mark or error.context_mark
    problem = re.sub(r"[<>]", "'", str(error.problem or error.context))
    line = text.splitlines()[mark.line : mark.line + 1] if mark else []
    before = "".join(line)[: mark.column if mark else 0]
    colon = "mapping values are not allowed here" in problem
    if colon and ": " in before:
        problem = "a second ':' in one line; put the text in quotes, or begin a new line"
    elif colon or "expected 'block end'" in problem:
        problem = "this line is indented otherwise than those that it belongs to"
    elif "'\\t'" in problem:
        problem = "a tab cannot stand here; write spaces"
    elif error.context and error.problem:
        quotes = (
            "; put texts with signs in quotes" if "while parsing a flow" in error.context else ""
        )
        problem = f"{error.context}, {problem}{quotes}"
    return DeclarationError(
        f"this is no YAML: {problem}", file=file,
        line=mark.line + 1 if mark else None, column=mark.column + 1 if mark else None,
    )  # fmt: skip


class _Reader:
    """Builds the tree from events; recursion is as deep as `DEPTH_MAX` and no deeper."""

    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self._file = file
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._seen = 0

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                if root is not None:
                    raise self._wrong(
                        event, "a second document begins here; write one pipeline a file"
                    )
                root = self._node(next(self._events), 1)
        if root is None:
            raise self._error("the file is empty; write name:, input: and steps:", Mark(1, 1))
        return root

    def _node(self, event: Any, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise self._wrong(event, f"more than {DEPTH_MAX} levels, one in another; write fewer")
        self._seen += 1
        if self._seen > VALUES_MAX:
            raise self._wrong(event, f"more than {VALUES_MAX:,} values in one file; divide it")
        if getattr(event, "tag", None) is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._wrong(event, f"the tag {tag!r} has no meaning here; leave it out")
        match type(event).__name__:
            case "ScalarEvent":
                node = self._scalar(event)
            case "SequenceStartEvent":
                node = self._sequence(event, depth)
            case "MappingStartEvent":
                node = self._mapping(event, depth)
            case _:
                return self._alias(event)
        if event.anchor is not None:  # known from its end on, so that nothing holds itself
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, event: Any, depth: int) -> Node:
        items: list[Node] = []
        size = 1
        while type(inner := next(self._events)).__name__ != "SequenceEndEvent":
            items.append(self._node(inner, depth + 1))
            size = self._bounded(size + items[-1].size, inner)
        return Node(items, _mark(event), size=size)

    def _mapping(self, event: Any, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        size = 1
        while type(inner := next(self._events)).__name__ != "MappingEndEvent":
            key = self._key(inner, depth + 1)
            if key in keys:
                raise self._wrong(
                    inner, f"{key!r} stands here twice, first in line {keys[key].line}; keep one"
                )
            keys[key] = _mark(inner)
            values[key] = self._node(next(self._events), depth + 1)
            size = self._bounded(size + values[key].size, inner)
        return Node(values, _mark(event), keys, size)

    def _key(self, event: Any, depth: int) -> str:
        if type(event).__name__ != "ScalarEvent":
            raise self._wrong(event, "a key is a text; this one is not")
        node = self._node(event, depth)
        if event.value == "<<" and event.style is None:
            raise self._wrong(event, "'<<' is not in YAML 1.2; write the keys out")
        if not isinstance(node.value, str):
            raise self._wrong(event, f"a key is a text; put {event.value!r} in quotes")
        return node.value

    def _scalar(self, event: Any) -> Node:
        text: str = event.value
        mark = _mark(event)
        unusable = next((one for one in text if one == "\0" or "\ud800" <= one <= "\udfff"), None)
        if unusable is not None:
            raise self._wrong(event, f"U+{ord(unusable):04X} cannot be stored; leave it out")
        if event.style is not None:
            return Node(text, mark)
        if text in _NULL:
            return Node(None, mark)
        if text in _BOOL:
            return Node(_BOOL[text], mark)
        whole = _INT.fullmatch(text)
        if whole or _FLOAT.fullmatch(text):
            if sum(character.isalnum() for character in text) > DIGITS_MAX:
                raise self._wrong(
                    event, "the number is too long; if it is a text, put it in quotes"
                )
            return Node(_integer(text) if whole else _float(text), mark)
        return Node(text, mark)

    def _alias(self, event: Any) -> Node:
        known = self._anchors.get(event.anchor)
        if known is None:
            raise self._wrong(event, f"nothing before this is named '&{event.anchor}'")
        return known

    def _bounded(self, size: int, event: Any) -> int:
        if size > VALUES_MAX:
            raise self._wrong(
                event, f"with its aliases written out, more than {VALUES_MAX:,} values; use fewer"
            )
        return size

    def _wrong(self, event: Any, message: str) -> DeclarationError:
        return self._error(message, _mark(event))

    def _error(self, message: str, mark: Mark) -> DeclarationError:
        return DeclarationError(message, file=self._file, line=mark.line, column=mark.column)


def _integer(text: str) -> int:
    return int(text, 0 if text.startswith(("0o", "0x")) else 10)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
