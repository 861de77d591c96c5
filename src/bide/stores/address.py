"""A store's address as people may see it: with everything but its password."""

import re

_HIDDEN = "***"
#: `scheme://user:password@`, up to the last @: a password may hold unescaped whatever ends it
#: elsewhere, and no part of it may be left over.
_USER_INFO = re.compile(r"(?<=://)([^:@/?#]*):.*@", re.DOTALL)
_PARAMETER = re.compile(r"((?:ssl)?password=)[^&#]*", re.IGNORECASE)


def shown(url: str) -> str:
    """The address with its password replaced: for messages, logs and whatever is printed."""
    return _PARAMETER.sub(rf"\1{_HIDDEN}", _USER_INFO.sub(rf"\1:{_HIDDEN}@", url))
