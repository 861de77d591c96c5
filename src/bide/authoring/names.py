"""Names that people write and the ids made of them.

An id outlives the code that declared it: parked executions, partners and dashboards hold it. So it
is derived by one rule that never changes (`slug`), and a name that could not be shown, stored or
put into a URL is refused where it is written.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from bide.errors import DefinitionError

#: The longest name and id, in characters.
NAME_CHARACTERS_MAX: Final = 200

#: Control characters (NUL among them) and lone surrogates: neither can be shown or stored.
_UNUSABLE_CATEGORIES: Final = frozenset({"Cc", "Cs"})
_BETWEEN_WORDS: Final = re.compile(r"[\W_]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ID: Final = re.compile(r"[^\W_][\w.-]*")


def slug(name: str) -> str:
    """Make the id of a name: `Await Restaurant Decision` -> `await-restaurant-decision`.

    Letters and digits of any script stay; everything between them becomes one hyphen.
    """
    return _BETWEEN_WORDS.sub("-", unicodedata.normalize("NFC", name).lower()).strip("-")


def slug_of_class(name: str) -> str:
    """Make the id of a class name: `SendReceipt` -> `send-receipt`."""
    return slug(_HUMP.sub("-", name))


def check_name(what: str, name: object) -> str:
    """Give the name back if it can be shown, stored and typed; `what` opens the message."""
    if not isinstance(name, str):
        raise DefinitionError(f"{what}: a name is text, not {type(name).__name__}.")
    if not name.strip():
        raise DefinitionError(f"{what}: the name is blank. Write a few words.")
    if len(name) > NAME_CHARACTERS_MAX:
        raise DefinitionError(
            f"{what}: the name {name[:20]!r}... has {len(name):,} characters; "
            f"at most {NAME_CHARACTERS_MAX} are allowed."
        )
    for character in name:
        if unicodedata.category(character) in _UNUSABLE_CATEGORIES:
            raise DefinitionError(
                f"{what}: the name {name!r} holds U+{ord(character):04X}, "
                "which cannot be shown or stored. Leave it out."
            )
    return name


def id_of_name(what: str, name: str) -> str:
    """Make the id of a checked name, or say that it needs one of its own."""
    id = slug(name)
    if not id:
        raise DefinitionError(
            f"{what}: no id can be made of the name {name!r}. Give one: id='a-few-words'."
        )
    return check_id(what, id)


def check_id(what: str, id: object) -> str:
    """Give an id back that the author chose, if URLs and command lines can carry it as it is."""
    text = check_name(what, id)
    if not _ID.fullmatch(text):
        raise DefinitionError(
            f"{what}: the id {text!r} is not made of letters, digits, '-', '_' and '.'. "
            f"Write id={slug(text) or 'a-few-words'!r}."
        )
    return text
