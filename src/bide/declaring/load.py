"""`load`: a file of YAML as a pipeline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bide.declaring.assembly import assemble
from bide.declaring.complaints import complaint
from bide.declaring.document import CHARACTERS_MAX, Node, read
from bide.declaring.names import Names
from bide.declaring.source import Source
from bide.declaring.vocabulary import Declaration
from bide.errors import DeclarationError
from bide.planning.pipeline import Pipeline

#: UTF-8 takes four bytes a character at most.
_BYTES_MAX = 4 * CHARACTERS_MAX


def load(path: str | os.PathLike[str], *, packages: Sequence[str]) -> Pipeline[Any, Any]:
    """Load a pipeline that a local YAML file declares: the same as one that is built in code.

    The file is trusted like code, since it names functions that will run. It may name things of
    `packages` and whatever is below them, and nothing else; the modules that it names are imported.
    The vocabulary is the published one (docs/reference/yaml.md); `bide schema yaml` prints it for
    editors.

    Args:
        path: the file; a relative one from the working directory.
        packages: dotted names of the packages and modules that the file may name things of.

    Raises:
        DeclarationError: it cannot be read, is no YAML 1.2 within the bounds, or does not declare a
            pipeline; the message opens with file, line and column, and `.line` and `.column` have
            them.
        DefinitionError: no package is given, or `bide[yaml]` is not installed.
    """
    file = os.fspath(path)
    names = Names(packages)
    source = Source(file, read(_text(file), file))
    _refuse_blanks(source.document, file)
    try:
        words = Declaration.model_validate(source.document.plain())
    except ValidationError as error:
        raise complaint(error, source) from None
    return assemble(words, source, names)


def _text(file: str) -> str:
    if "://" in file:
        raise DeclarationError("this is an address; only local files are loaded", file=file)
    try:
        if not Path(file).is_file():
            raise DeclarationError("there is no such file", file=file)
        with Path(file).open("rb") as opened:
            return opened.read(_BYTES_MAX + 1).decode("utf-8-sig")
    except OSError as error:
        raise DeclarationError(f"it cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DeclarationError("this is not UTF-8; save it so", file=file, line=line) from error


def _refuse_blanks(node: Node, file: str) -> None:
    """Refuse a key without a value: it is more often forgotten than meant."""
    values: dict[str, Node] | list[Node] = node.value if isinstance(node.value, dict | list) else []
    for key, inner in values.items() if isinstance(values, dict) else enumerate(values, start=1):
        if inner.value is None:
            mark = node.keys.get(str(key), inner.mark)
            what = repr(key) if isinstance(key, str) else f"item {key} of this list"
            raise DeclarationError(
                f"{what} has no value; write one or leave it out",
                file=file, line=mark.line, column=mark.column,
            )  # fmt: skip
        _refuse_blanks(inner, file)
