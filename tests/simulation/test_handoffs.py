"""Publications in a simulation: whatever befalls a process, each is taken once and told of."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import pytest

from bide import (
    App,
    Context,
    Deployment,
    Execution,
    NotRedrivable,
    Pipeline,
    Publication,
    Subscription,
    Transaction,
)
from bide.engine import rules
from bide.engine.moves import SettleHandoff
from bide.engine.publishing import decide_settle_handoff
from bide.engine.rows import Rows
from bide.model.ids import ExecutionId, format_execution
from bide.model.records import replace
from bide.runtime.views import HandoffView
from bide.spi.handoff import Answer, Offer, Taken
from bide.spi.transport import Refused, Unclear
from bide.testing import Simulation, explore
from examples.checkout import shop
from examples.checkout.messages import OrderPaid, ParcelPacked

DELIVERY = Deployment("https://delivery.example")


class Elsewhere:
    """Another deployment: it takes one execution for each key, and is not always heard."""

    def __init__(self) -> None:
        self._made: dict[str, ExecutionId] = {}
        self._answers: Counter[str] = Counter()
        self._refusals: Callable[[Offer], bool] = lambda _: False
        #: What it has taken, by key.
        self.bodies: dict[str, bytes] = {}

    def begin(self, refusals: Callable[[Offer], bool] = lambda _: False) -> None:
        """Forget everything, for the next run of a scenario."""
        self._made.clear()
        self._answers.clear()
        self.bodies.clear()
        self._refusals = refusals

    def __call__(self, offer: Offer) -> Answer:
        """Take it; of each key the first answer is lost on its way back."""
        if self._refusals(offer):
            return Refused("handoff-invalid", "no such field")
        duplicate = offer.key in self._made
        made = ExecutionId(sha256(offer.key.encode()).digest()[:16])
        assert self.bodies.setdefault(offer.key, offer.body) == offer.body
        self._made[offer.key] = made
        self._answers[offer.key] += 1
        if self._answers[offer.key] == 1:
            return Unclear("the answer was lost")
        return Taken(made, duplicate)

    def has(self, handoff: HandoffView) -> bool:
        """Whether it has what was settled as taken, under the execution that was told."""
        made = self._made.get(handoff.key)
        return made is not None and format_execution(made) == handoff.execution_id


async def published(sim: Simulation, execution: Execution[object] | str) -> list[HandoffView]:
    """What an execution has published, once all of it is settled."""
    id_ = execution if isinstance(execution, str) else execution.execution_id
    while True:
        await sim.settle()
        found = (await sim.service.lineage("default", id_)).published
        if all(each.status in {"admitted", "refused"} for each in found):
            return found
        assert await sim.skip(), "a publication is never settled"


def doubled(number: int) -> int:
    return 2 * number


def test_what_is_offered_is_taken_once() -> None:
    """Under one id and one key, and it is settled only as what the other side has taken."""
    elsewhere = Elsewhere()
    packed = Publication("packed", idempotent_on=str, to=DELIVERY)
    app = App(Pipeline("packing", int, publishes=packed).then(doubled))

    async def handed_once(sim: Simulation) -> None:
        elsewhere.begin()
        execution = await sim.submit("packing", 7, idempotency_key="one")
        assert await execution.result() == 14
        [out] = await published(sim, execution)
        assert out.status == "admitted"
        assert elsewhere.has(out)
        assert {(each.handoff_id, each.key) for each in sim.handed} == {(out.handoff_id, "14")}

    explored = explore(app, handed_once, taker=elsewhere)

    # Submit, finish, and twice a claim and what came of it.
    assert explored.commits >= 6
    assert explored.repeated == {"doubled": 2}


def test_what_is_refused_is_told_once_and_redriven() -> None:
    """A refusal leaves its source as it is and one dead letter; what is repaired is taken."""
    elsewhere = Elsewhere()
    packed = Publication("packed", idempotent_on=str, to=DELIVERY)
    app = App(Pipeline("packing", int, publishes=packed).then(doubled))

    async def repaired(sim: Simulation) -> None:
        elsewhere.begin(lambda _: True)
        execution = await sim.submit("packing", 7, idempotency_key="one")
        [out] = await published(sim, execution)
        [letter] = await sim.service.dead_letters("default")
        assert (out.status, letter.dead_letter_id) == ("refused", out.handoff_id)
        assert await execution.result() == 14
        assert elsewhere.bodies == {}

        elsewhere.begin()
        with suppress(NotRedrivable):  # whoever heard no answer asks again, and it is done
            await sim.redrive(letter.dead_letter_id)
        [out] = await published(sim, execution)
        assert out.status == "admitted"
        assert elsewhere.has(out)
        assert len(await sim.service.dead_letters("default")) == 1

    explore(app, repaired, taker=elsewhere)


def test_the_checkout_stands_it() -> None:
    """An order is paid, packed in the same store and delivered by another deployment, each once."""
    elsewhere = Elsewhere()

    async def delivered_once(sim: Simulation) -> None:
        elsewhere.begin()
        order = shop.Order(order_id="order-1", address="1 Main St", cents=100)
        execution = await sim.submit(shop.checkout, order, idempotency_key="order-1")
        assert isinstance(await execution.result(), OrderPaid)
        [paid] = await published(sim, execution)
        parcel = sim.execution(shop.dispatch, str(paid.execution_id))
        assert isinstance(await parcel.result(), ParcelPacked)
        [packed] = await published(sim, parcel)
        [origin] = (await sim.service.lineage("default", parcel.execution_id)).made_of

        assert (paid.status, packed.status) == ("admitted", "admitted")
        assert origin.execution_id == execution.execution_id
        assert elsewhere.has(packed)
        assert list(elsewhere.bodies) == ["order-1"]

    explored = explore(shop.app, delivered_once, taker=elsewhere)

    assert [(end.pipeline, end.status) for end in explored.ends] == [
        ("checkout", "SUCCEEDED"), ("dispatch", "SUCCEEDED"),
    ]  # fmt: skip
    assert explored.repeated == {"charge": 2, "pack": 2}


TABLE = "create table if not exists entries (execution text not null, number integer not null)"
INSERT = "insert into entries values ($1, $2)"
ALL = "select execution, number from entries order by execution, number"


async def book(number: int, ctx: Context, tx: Transaction) -> int:
    await tx.execute(TABLE)
    await tx.execute(INSERT, ctx.execution_id, number)
    return number


async def seen(number: int, tx: Transaction) -> list[int]:
    """What is booked, as the target finds it; its rows are its source's."""
    return [row["number"] for row in await tx.fetch(ALL)]


def test_rows_and_publications_are_there_once() -> None:
    """Of a transactional step: its row, a target here and one elsewhere, whatever befalls."""
    elsewhere = Elsewhere()
    publications = [
        Publication("booked", idempotent_on=str, after="book"),
        Publication("sent", idempotent_on=str, to=DELIVERY),
    ]
    bookings = Pipeline("bookings", int, publishes=publications).then(book)
    told = Pipeline("told", int, subscribes=Subscription("booked")).then(seen)

    async def booked_once(sim: Simulation) -> None:
        elsewhere.begin()
        execution = await sim.submit(bookings, 7, idempotency_key="one")
        assert await execution.result() == 7
        here, there = sorted(await published(sim, execution), key=lambda each: each.publication)
        assert await sim.execution(told, str(here.execution_id)).result() == [7]
        assert elsewhere.has(there)
        assert sum((await sim.service.counts("default", "told")).values()) == 1

    explored = explore(App(bookings, told), booked_once, taker=elsewhere)

    assert set(explored.repeated) == {"book", "seen"}


def test_a_settlement_that_nobody_fences_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a courier settles what another one has claimed meanwhile."""

    def unfenced(move: SettleHandoff, rows: Rows, now: int) -> object:
        handoff = rows.handoffs.get(move.handoff)
        fence = handoff.fence if handoff else move.fence
        return decide_settle_handoff(replace(move, fence=fence), handoff, now)

    rule = rules.RULES[SettleHandoff]
    monkeypatch.setitem(rules.RULES, SettleHandoff, rule._replace(decide=unfenced))
    packed = Publication("packed", idempotent_on=str, to=DELIVERY)
    app = App(Pipeline("packing", int, publishes=packed).then(doubled))

    async def handed_on(sim: Simulation) -> None:
        execution = await sim.submit("packing", 7, idempotency_key="one")
        await published(sim, execution)

    with pytest.raises(AssertionError, match=r"let write \(settle handoff\)"):
        explore(app, handed_on)
