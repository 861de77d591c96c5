"""Texts that users choose (keys, actors, tenants): bounded, and such that every store keeps them."""

NAME_MAX = 255
MESSAGE_MAX = 2_000
_LINE_MAX = 1_000


def check_text(text: str, longest: int = NAME_MAX) -> str | None:
    """Say what is wrong with a text, or None."""
    if not text.strip():
        return "is blank"
    if len(text) > longest:
        return f"has {len(text)} characters, at most {longest} are allowed"
    if "\0" in text:
        return "holds the character NUL"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half a character (a lone surrogate)"
    return None


def storable(text: str) -> str:
    """Cut a text to what fits in a line, and to what every store can keep."""
    return text[:_LINE_MAX].replace("\0", "\\0").encode("utf-8", "replace").decode("utf-8")
