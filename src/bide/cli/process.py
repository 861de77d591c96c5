"""Running a command's coroutine: uvloop, and signals that stop it gracefully.

The first SIGINT or SIGTERM cancels (or calls `on_stop`), so that whatever was opened is closed; the
second one ends the process at once, which loses nothing that was acknowledged.
"""

import asyncio
import contextlib
import getpass
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from bide.cli.complaints import INTERRUPTED, TERMINATED, CliError
from bide.runtime.process import loop_factory, tune_collector
from bide.security.access import Caller

T = TypeVar("T")

_EXIT_CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end; a signal cancels it."""
    tune_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_cancelled_by_signals(main))


def os_caller(tenant: str) -> Caller:
    """Who uses the command line: the operating system's user, trusted as the store's operator."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        name = f"uid {os.getuid()}"
    return Caller(tenant, operator=name)


def on_signals(first: Callable[[signal.Signals], None]) -> None:
    """Call `first` on the first signal to stop; leave at once on the second."""
    loop = asyncio.get_running_loop()
    stopping: list[signal.Signals] = []

    def received(number: signal.Signals) -> None:
        if stopping:
            sys.stderr.flush()
            os._exit(_EXIT_CODES[number])
        stopping.append(number)
        first(number)

    for number in _EXIT_CODES:
        # Only the main thread of the main interpreter hears signals; a test may run us elsewhere.
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, received, number)


async def _cancelled_by_signals(main: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(main)
    heard: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        heard.append(number)
        task.cancel()

    on_signals(stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not heard:
            raise
        raise CliError("interrupted", exit_code=_EXIT_CODES[heard[0]]) from None
