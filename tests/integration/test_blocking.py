"""The blocking twins, and pipelines without a store."""

import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bide import App, Await, Context, DefinitionError, Execution, Inbox, Many, Pipeline
from bide.app.blocking import BlockingApp, BlockingExecution
from tests.servers.postgres import PostgresServer

Apps = Callable[..., App]

ask = Await("Ask", int, int, via=Inbox(), timeout="1h")


def double(number: int) -> int:
    return number * 2


def count_to(number: int) -> Iterator[int]:
    yield from range(number)


asking = Pipeline("asking", int).wait(ask).then(double)
counting = Pipeline("counting", int).then(count_to)


def test_verbs_from_plain_threads(app_of: Apps) -> None:
    """Threads that know no event loop submit, list, answer and wait at the same time."""
    app = app_of(asking, counting).blocking()

    def one(number: int) -> int:
        execution = app.submit(asking, number, idempotency_key=f"key-{number}")
        [question] = execution.parked(ask, timeout=20)
        assert question.request == number
        assert app.complete(question, number + 1, actor="ada").outcome == "applied"
        return execution.result(timeout=20)

    with app, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(40))) == [(n + 1) * 2 for n in range(40)]
        assert app.submit(asking, 1, idempotency_key="key-1").duplicate
        stream = app.submit(counting, 1_100)
        assert stream.result(timeout=20) == list(range(1_100))
        assert list(stream.results()) == list(range(1_100))
        assert app.execution(counting, stream.execution_id).status().result_count == 1_100
        assert sum(app.status().values()) == 41


def test_it_opens_at_the_first_use_and_again_after_a_stop(shared: str) -> None:
    """No start is needed; a stop is final only until the next call."""
    app = App(asking, store=shared).blocking()
    execution = app.submit(asking, 1)
    assert any(thread.name == "bide-blocking" for thread in threading.enumerate())
    app.stop()
    app.stop()
    assert not any(thread.name == "bide-blocking" for thread in threading.enumerate())
    [question] = app.pending(ask)
    assert question.execution_id == execution.execution_id
    assert [each.outcome for each in app.complete_many([(question, 2)])] == ["applied"]
    app.stop()


def test_a_script_brings_a_servers_tables_up_to_date(postgres_server: PostgresServer) -> None:
    """Without an event loop, too, an empty database is made ready and then used."""
    with postgres_server.database() as url:
        app = App(counting, store=url).blocking()
        app.migrate()
        with app:
            assert app.submit(counting, 2).result(timeout=20) == [0, 1]


VERBS = ["migrate", "submit", "execution", "pending", "complete", "complete_many", "fail", "status"]


@pytest.mark.parametrize("verb", VERBS)
def test_app_and_its_blocking_twin_take_the_same(verb: str) -> None:
    """Parameters, their kinds, defaults and types are equal, verb by verb."""
    assert _parameters(getattr(App, verb)) == _parameters(getattr(BlockingApp, verb))


@pytest.mark.parametrize("verb", ["status", "parked", "result", "results", "replay", "cancel"])
def test_execution_and_its_blocking_twin_take_the_same(verb: str) -> None:
    """The handles have the same verbs with the same parameters."""
    assert _parameters(getattr(Execution, verb)) == _parameters(getattr(BlockingExecution, verb))


def test_the_blocking_twins_lack_no_verb() -> None:
    """Every public name of App and Execution has a twin, but for what only a loop can use."""
    assert _public(App) - _public(BlockingApp) == {
        "asgi",
        "blocking",
        "running",
        "service",
        "using",
    }
    assert _public(Execution) - _public(BlockingExecution) == set()


def _public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def _parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in found if each.name != "self"]


# --- run_inline ---------------------------------------------------------------------------------


async def increment(number: int, context: Context) -> int:
    assert Context.current() is context
    return number + 1


async def total(numbers: AsyncIterator[int]) -> int:
    return sum([number async for number in numbers])


def scale(number: int, factor: float) -> float:
    return number * factor


async def test_run_inline() -> None:
    """Without a store a pipeline gives its result, a list for a stream, in the caller's task."""
    assert await counting.then(increment).run_inline(3) == [1, 2, 3]
    assert await counting.then(increment).then(total).run_inline(3) == 6
    assert await Pipeline("many", Many[int]).then(double).run_inline([1, 2]) == [2, 4]
    assert await counting.run_inline(0) == []
    scaled = Pipeline("scaled", int).then(scale)
    assert await scaled.run_inline(2, resources={float: 1.5}) == 3.0
    with pytest.raises(DefinitionError, match="float"):
        await scaled.run_inline(2)


async def test_run_inline_refuses_a_wait_before_the_first_step() -> None:
    """A pipeline with an await needs a store, and says so before anything has run."""
    ran: list[int] = []

    def note(number: int) -> int:
        ran.append(number)
        return number

    with pytest.raises(DefinitionError, match="Ask"):
        await Pipeline("noting", int).then(note).wait(ask).run_inline(1)
    assert ran == []


async def test_run_inline_raises_what_a_step_raises() -> None:
    """There is no retry: the caller gets the step's own exception."""

    def broken(number: int) -> int:
        raise LookupError(number)

    with pytest.raises(LookupError):
        await Pipeline("broken", int).then(broken).run_inline(1)
