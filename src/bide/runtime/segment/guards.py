"""Bounds of what crosses a boundary; nothing of what goes over them is stored."""

from bide.errors import (
    LimitExceeded,
)
from bide.settings import Settings


def guard_bytes(body: bytes, settings: Settings) -> None:
    """Refuse a payload that is too large; nothing of it is stored."""
    if len(body) > settings.payload_max_bytes:
        raise LimitExceeded(
            "payload_max_bytes", bound=settings.payload_max_bytes, unit="bytes", actual=len(body)
        )


def guard_items(count: int, bound: int, side: str) -> None:
    """Refuse too many items in one aggregate."""
    if bound and count > bound:
        raise LimitExceeded(
            f"await_aggregate_max_{side}_items", bound=bound, unit="items", actual=count
        )
