"""How many executions a tenant may have open at once.

A submission must not pay for a count, so the count is a sample: read now and then, at most a tenth of
the time that goes by, and raised by what this process takes in meanwhile. The bound is thus exceeded
by at most what the other processes take in between two samples; it keeps one tenant from filling the
store and is no exact allowance.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from bide.errors import QuotaExceeded
from bide.spi.store import Store

#: A sample is good for this long, and for so many times as long as it took to read.
_SAMPLE_S: Final = 1.0
_REST: Final = 10
#: Without authentication a tenant is whatever a client says, so samples are not kept for ever.
_TENANTS_MAX: Final = 10_000


@dataclass(slots=True)
class _Sample:
    open: int = 0
    good_until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Quota:
    """Takes submissions of a tenant until enough of its executions are open."""

    def __init__(self, store: Store, bound: int) -> None:
        self._store = store
        self._bound = bound
        self._samples: dict[str, _Sample] = {}

    async def take(self, tenant: str) -> None:
        """Count one more open execution of the tenant.

        Raises:
            QuotaExceeded: it has enough.
            StoreUnavailable: they could not be counted.
        """
        if not self._bound:
            return
        sample = self._samples.get(tenant)
        if sample is None:
            if len(self._samples) >= _TENANTS_MAX:
                self._samples.clear()
            sample = self._samples[tenant] = _Sample()
        async with sample.lock:
            if time.monotonic() >= sample.good_until:
                await self._read(tenant, sample)
        if sample.open >= self._bound:
            raise QuotaExceeded("tenant_open_max", bound=self._bound, unit="open executions")
        sample.open += 1

    async def _read(self, tenant: str, sample: _Sample) -> None:
        began = time.monotonic()
        counts = await self._store.count_by_status(tenant, None)
        ended = time.monotonic()
        sample.open = sum(count for status, count in counts.items() if not status.is_terminal)
        sample.good_until = ended + max(_SAMPLE_S, _REST * (ended - began))
