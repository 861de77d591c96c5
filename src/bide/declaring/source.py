"""The file that is being read: what is wrong anywhere in it is said with its place."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bide.declaring.document import Node, Path
from bide.declaring.names import Unresolved
from bide.errors import DeclarationError, DefinitionError

#: An option in code that reads almost the same in a file.
_OPTION: Final = re.compile(r"(\w+)=(?=\{)")
_SECRET: Final = re.compile(r'Secret\((env|file)="([^"]*)"\)')
#: What only code can write, in the lines of a message that say what to write.
_CODE: Final = re.compile(r"\.then\(|\.wait\(|Await\(|branch\(|App\(|lambda")


@dataclass(frozen=True, slots=True)
class Source:
    """A document and the name that its file is shown by."""

    file: str
    document: Node

    def error(self, path: Path, message: str) -> DeclarationError:
        """Make the error of a place."""
        mark = self.document.mark_of(path)
        return DeclarationError(message, file=self.file, line=mark.line, column=mark.column)

    @contextmanager
    def at(self, path: Path) -> Generator[None]:
        """Let whatever is refused inside be said of this place."""
        try:
            yield
        except DeclarationError:
            raise
        except DefinitionError as error:
            raise self.error(path, in_one_line(str(error))) from error
        except Unresolved as error:
            raise self.error(path, str(error)) from error.__cause__


def in_one_line(message: str) -> str:
    """Fold a message of the builder, without the lines that say what to write in code."""
    first, *others = message.replace(" or a timedelta", "").splitlines()
    kept = [line for line in others if not (line.startswith("  ") and _CODE.search(line))]
    joined = " ".join(" ".join([first, *kept]).split())
    return _OPTION.sub(r"\1: ", _SECRET.sub(r"{\1: \2}", joined))
