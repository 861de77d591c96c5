"""Lists of what waits, by steps that may have been called otherwise when it was asked."""

from bide.runtime.plans import Plans
from bide.spi.store import Asked, PendingQuery, Store


async def pending(store: Store, plans: Plans, query: PendingQuery) -> list[Asked]:
    """Open interactions, oldest deadline first, those of a renamed step under its old ids too."""
    if query.step_id is None:
        return await store.pending(query)
    steps = plans.step_ids(query.step_id)
    found = [asked for step in steps for asked in await store.pending(query._replace(step_id=step))]
    if len(steps) > 1:
        found.sort(key=lambda asked: (asked.interaction.deadline_at, asked.interaction.id))
    return found[: query.limit]
