"""What a process that is Bide's own (`bide serve`, `bide worker`, the bench) does to run well.

A library leaves these to the program that it is part of: they hold for the whole process.
"""

import asyncio
import gc
from collections.abc import Callable

#: Objects made before the young ones are looked through. A batch makes thousands that all die with
#: it; at Python's default (700) the collector walks whatever is alive several times a batch, which
#: took a third of the rate.
_YOUNG_OBJECTS = 100_000
_OLDER_ROUNDS = 50


def tune_collector() -> None:
    """Look for garbage cycles less often, and never among what was there at the start."""
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _OLDER_ROUNDS, _OLDER_ROUNDS)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's event loop; on a platform that has none, asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
