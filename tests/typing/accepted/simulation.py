"""A simulation has the verbs of an app, with its types."""

from datetime import datetime
from typing import assert_type

from bide import App, Await, Execution, Inbox, Interaction, Pipeline, Receipt
from bide.testing import Explored, Simulation, explore, simulate

approve = Await("Ship it?", str, bool, via=Inbox(), timeout="1d")
hello = Pipeline("hello", str).wait(approve)
app = App(hello)


async def test_hello() -> None:
    async with simulate(app) as sim:
        assert_type(sim, Simulation)
        execution = await sim.submit(hello, "v2", idempotency_key="v2")
        assert_type(execution, Execution[bool])
        await sim.settle()
        [question] = await sim.pending(approve)
        assert_type(question, Interaction[str, bool])
        await sim.advance("29m")
        await sim.crash()
        assert_type(await sim.complete(question, True, actor="ada"), Receipt)
        assert_type(await execution.result(), bool)
        assert_type(sim.now, datetime)


async def shipped(sim: Simulation) -> None:
    execution = await sim.submit(hello, "v2", idempotency_key="v2")
    [question] = await execution.parked(approve, timeout="5s")
    await sim.complete(question, True)


def test_every_crash() -> None:
    explore(app, shipped)
    assert_type(explore(app, shipped, only="7:4:d2"), Explored)
