"""Processes of the bench: each measurement has one of its own, on the loop that servers run on."""

import asyncio
import multiprocessing
import signal
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar, cast

from bide.bench.figures import WrongResult
from bide.errors import BideError
from bide.runtime.process import loop_factory, tune_collector

T = TypeVar("T")
P = ParamSpec("P")


def in_child(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run in a fresh process, so that memory and caches are those of this measurement alone.

    When the wait for it is given up, the process is ended: what it wrote is of no use to anybody.
    """
    fresh = multiprocessing.get_context("spawn")
    receiver, sender = fresh.Pipe(duplex=False)
    child = fresh.Process(target=_send_outcome, args=(sender, function, arguments, named))
    child.start()
    sender.close()
    try:
        outcome, problem = receiver.recv()
    except EOFError:
        raise WrongResult("the measuring process ended without a figure") from None
    finally:
        child.kill()
        child.join()
    if problem is not None:
        raise WrongResult(problem)
    return cast("T", outcome)


def _send_outcome(
    sender: Connection, function: Callable[..., Any], arguments: Any, named: Any
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends this process
    try:
        sender.send((function(*arguments, **named), None))
    except Exception as error:  # noqa: BLE001 - the parent tells its user
        said = str(error) if isinstance(error, BideError) else f"{type(error).__name__}: {error}"
        sender.send((None, said))


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on the loop that servers run on."""
    tune_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)
