"""A world in which processes die: apps over one set of rows, and a store that ends them."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from bide import App, Await, Inbox, Interaction, Many, Pipeline, Transport, Webhook
from bide.app import app as app_module
from bide.engine.moves import (
    Admit,
    Append,
    CloseUnit,
    Finish,
    OpenUnit,
    Park,
    SettleDispatch,
    Submit,
    ToSend,
)
from bide.errors import StoreUnavailable
from bide.model.ids import ExecutionId, UnitId
from bide.model.records import Interaction as Row
from bide.model.status import InteractionStatus
from bide.runtime.clock import system_clock
from bide.runtime.plans import Plans
from bide.runtime.runtime import Runtime
from bide.settings import Settings
from bide.spi.clock import Clock
from bide.spi.store import Store
from bide.stores.memory import MemoryData, MemoryStore
from bide.stores.postgres.store import PostgresStore
from bide.stores.sqlite.store import SqliteStore
from bide.testing import FakeClock
from bide.testing.mortal import Died, Fate, Mortal
from bide.testing.store_contract import StoreFactory, check_invariants
from bide.testing.store_contract.harness import Driver, Dump
from tests.integration.partner import Partner, webhook
from tests.integration.support import PATIENCE_S, quick
from tests.obligations.registry import Mode, Shape

#: The commits after which a process may die.
COMMITS: dict[str, type] = {
    "submit": Submit, "park": Park, "open": OpenUnit, "append": Append, "close": CloseUnit,
    "admit": Admit, "finish": Finish, "dispatch-claim": ToSend, "dispatch-settle": SettleDispatch,
}  # fmt: skip
#: Those of a dispatcher, which there is only where something has to be sent.
DISPATCHES = {ToSend, SettleDispatch}
ITEMS = 5


# --- a pipeline for each shape --------------------------------------------------------------------


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def join(texts: Iterator[str]) -> str:
    return ",".join(texts)


def length(text: str) -> int:
    return len(text)


def pipeline_of(shape: Shape, via: Transport | None = None) -> Pipeline[Any, Any]:
    """A pipeline with such a boundary."""

    def _await(name: str, request: Any, answer: Any) -> Await[Any, Any, Any]:
        return Await(name, request, answer, via=via or Inbox(), timeout="1d")

    start: Pipeline[Any, Any] = Pipeline("flow", int)
    match shape:
        case Shape.SCALAR:
            return start.wait(_await("ask", int, str)).then(length)
        case Shape.STREAM | Shape.EMPTY:
            return start.then(numbers).wait(_await("ask", int, str)).then(join)
        case Shape.ONE_TO_MANY:
            return start.wait(_await("ask", int, Many[str])).then(join)
        case Shape.MANY_TO_ONE:
            return start.then(numbers).wait(_await("ask", Many[int], str)).then(length)
        case Shape.MANY_TO_MANY:
            return start.then(numbers).wait(_await("ask", Many[int], Many[str])).then(join)
        case Shape.SEQUENTIAL:
            first = start.wait(_await("ask", int, str)).then(length)
            return first.wait(_await("ask again", int, str))


def input_of(shape: Shape) -> int:
    return 0 if shape is Shape.EMPTY else ITEMS


def answer_to(shape: Shape, question: Interaction[Any, Any]) -> Any:
    """What is answered to a question: the same whenever it is asked."""
    request = question.request
    if shape is Shape.ONE_TO_MANY:
        return [f"<{index}>" for index in range(request)]
    if shape is Shape.MANY_TO_MANY:
        return [f"<{item}>" for item in request]
    if shape is Shape.MANY_TO_ONE:
        return "".join(f"<{item}>" for item in request)
    return f"<{request}>"


def result_of(shape: Shape) -> bytes:
    """What comes out, whatever happened on the way."""
    joined = ",".join(f"<{item}>" for item in range(input_of(shape)))
    return {
        Shape.SCALAR: b"3",
        Shape.MANY_TO_ONE: b"15",
        Shape.SEQUENTIAL: b'"<3>"',
    }.get(shape, f'"{joined}"'.encode())


# --- the world ------------------------------------------------------------------------------------


class Doom(Fate):
    """Ends a process after the first commit of each sort that the world has doomed."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def after(self, made: Sequence[type[Any]]) -> None:
        fatal = set(made) & self._world.fatal
        if fatal:
            self._world.fatal -= fatal
            self._world.deaths += 1
            self._world.is_dead = True
            raise Died("the process has died")

    async def claimed(self, kind: type[Any]) -> None:
        await self.after([kind])


@dataclass
class Story:
    """What is left of an execution, and what was seen of it on the way."""

    dump: Dump
    id: ExecutionId
    #: Statuses in which interactions were listed.
    listed: list[InteractionStatus]
    #: What a segment would read of each unit.
    answers: dict[UnitId, list[Row]]
    deaths: int


@dataclass
class Rows:
    """What outlives processes: in memory, in a file, or in a database of a server."""

    #: Which store keeps them.
    store: str
    #: The file or the address; nothing for memory.
    place: str = ""
    data: MemoryData = field(default_factory=MemoryData)

    def handle(self, clock: Clock) -> Store:
        """Open them anew, as a process does."""
        match self.store:
            case "memory":
                return MemoryStore(clock, self.data)
            case "sqlite":
                return SqliteStore(self.place, clock)
            case "postgres":
                return PostgresStore(self.place, clock)
            case other:
                raise AssertionError(f"no store is called {other}")


class World:
    """One set of rows, and processes over it that may die."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._offset = 0
        self.fatal: set[type] = set()
        self.is_dead = False
        self.deaths = 0
        #: Who gets what has to be sent.
        self.partner = Partner()

    def _clock(self) -> int:
        return system_clock() + self._offset

    def _open_runtime(self, url: str, plans: Plans, settings: Settings, **rest: Any) -> Runtime:
        mortal: Any = Mortal(self._rows.handle(self._clock), Doom(self))
        return Runtime(mortal, plans, settings, self._clock, **rest)

    async def live(self, shape: Shape, fatal: Iterable[type] = ()) -> Story:
        """Run an execution to its end, through processes that die after the commits in `fatal`."""
        self.fatal = set(fatal)
        via = webhook() if self.fatal & DISPATCHES else None
        pipeline = pipeline_of(shape, via)
        settings = quick(stop_timeout_ms=0, page_items=2)
        listed: list[InteractionStatus] = []
        with patch.object(app_module, "open_runtime", self._open_runtime):
            async with asyncio.timeout(PATIENCE_S):
                app = App(pipeline, settings=settings, transports={Webhook: self.partner})
                while not await self._life(app, shape, listed):
                    self.is_dead = False
                    self._offset += 60_000  # longer than any lease
        return await self._told(listed)

    async def _life(self, app: App, shape: Shape, listed: list[InteractionStatus]) -> bool:
        """One process; True when the execution has ended before it died."""
        try:
            async with app.running():
                execution = await app.submit("flow", input_of(shape), idempotency_key="the one")
                while not self.is_dead:
                    if (await execution.status()).status.is_terminal:
                        return not self.fatal or self.deaths > 0
                    # The last first: items are read in their order whatever that of the answers.
                    for question in reversed(await app.pending()):
                        view = await app.service.interaction("default", question.interaction_id)
                        assert view is not None
                        if view.dispatch and view.status is not InteractionStatus.DISPATCHED:
                            continue  # a partner answers what it has got
                        listed.append(view.status)
                        await app.complete(question, answer_to(shape, question), actor="ada")
                    await asyncio.sleep(0.001)
        except StoreUnavailable:
            assert self.is_dead
        return False

    async def _told(self, listed: list[InteractionStatus]) -> Story:
        store = self._rows.handle(self._clock)
        await store.open()
        try:
            factory = StoreFactory(name=self._rows.store, fresh=None)  # type: ignore[arg-type]  # opens no other
            driver = Driver(store, FakeClock(), factory)
            dump = await driver.dump()
            check_invariants(dump)
            [id_] = dump.executions
            answers = {
                unit.id: await store.answers(unit.tenant, unit.id, 0, 100)
                for unit in dump.units.values()
            }
            return Story(dump, id_, listed, answers, self.deaths)
        finally:
            await store.close()


_told: dict[tuple[Shape, Mode, str], Story] = {}


async def story_of(shape: Shape, mode: Mode, rows: Rows) -> Story:
    """The story of such an execution; lived once, and read by every test that asks about it.

    Restarted means that a process dies after the first commit of each sort.
    """
    known = _told.get((shape, mode, rows.store))
    if known is None:
        fatal = set(COMMITS.values()) - DISPATCHES if mode is Mode.RESTARTED else ()
        known = _told[shape, mode, rows.store] = await World(rows).live(shape, fatal)
    return known
