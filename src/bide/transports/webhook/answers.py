"""What a partner's HTTP answer means for the interaction: pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from bide.spi.transport import Delivered, Delivery, Refused, Unclear

#: Answers after which the same request would be refused again. 429 and 5xx ask for another try;
#: so does everything else that says nothing about the request itself.
_DEFINITE: Final = frozenset({400, 401, 403, 404, 405, 410, 422})
#: More seconds than this are as good as for ever; what is too long to wait, the dispatcher says.
_RETRY_AFTER_DIGITS_MAX: Final = 9


def delivery_of(status: int, headers: Iterable[tuple[bytes, bytes]], now_ms: int) -> Delivery:
    """Read an answer's status, and how long its sender wants to be left alone.

    The answer's text is not read: whatever a partner writes there would be stored and shown.
    """
    if 200 <= status < 300:
        return Delivered()
    if status in _DEFINITE:
        return Refused(f"http-{status}", f"the partner answered {status}")
    remark = "; redirects are not followed" if 300 <= status < 400 else ""
    return Unclear(f"the partner answered {status}{remark}", _retry_after(headers, now_ms))


def _retry_after(headers: Iterable[tuple[bytes, bytes]], now_ms: int) -> int | None:
    """Milliseconds from now, from seconds or an HTTP date (RFC 9110, section 10.2.3)."""
    text = next((value for name, value in headers if name.lower() == b"retry-after"), b"").strip()
    if text.isdigit():
        rest = int(text[:_RETRY_AFTER_DIGITS_MAX]) * 1_000
    else:
        try:
            at = parsedate_to_datetime(text.decode("ascii"))
        except (ValueError, OverflowError):
            return None
        # A date of HTTP is in GMT, also where it does not say so.
        rest = round(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1_000) - now_ms
    return max(rest, 0)
