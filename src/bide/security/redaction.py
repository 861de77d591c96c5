"""Hiding tokens in texts that are written down: logs, and what quotes an address."""

import logging
import re
from typing import Final

#: What tokens and API keys look like, however they were cut off.
_SECRETS: Final = re.compile(r"\b(bide1\.|bidekey_)[A-Za-z0-9._-]+")


def redact(text: str) -> str:
    """The text, with nothing left of a token or an API key but that there was one."""
    if "bide" not in text:
        return text
    return _SECRETS.sub(r"\1(hidden)", text)


class RedactingFilter(logging.Filter):
    """Hides tokens in log records, for loggers of servers and proxies that write down addresses.

    logging.getLogger("uvicorn.access").addFilter(RedactingFilter())
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, with its message and its arguments redacted."""
        if isinstance(record.msg, str):
            record.msg = redact(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(
                redact(each) if isinstance(each, str) else each for each in record.args
            )
        return True
