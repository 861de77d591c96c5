"""Correlation ids, early answers and the books of receipts, from the app's verbs to the rows."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from bide import (
    Answer,
    App,
    Await,
    CompletionConflict,
    CompletionRejected,
    DefinitionError,
    ExecutionFailed,
    Inbox,
    Many,
    Pipeline,
    UnknownInteraction,
)
from bide.runtime.views import Completion
from tests.integration.support import eventually, quick

Apps = Callable[..., App]


class Order(BaseModel):
    number: str
    amount: int = 1


class Paid(BaseModel):
    reference: str


def ship(paid: Paid) -> str:
    return f"shipped {paid.reference}"


def pay(name: str = "Payment", **options: Any) -> Any:
    given = {"via": Inbox(), "timeout": "1h", "correlate_on": "number"} | options
    return Await(name, Order, Paid, **given)


payment = pay()
orders = Pipeline("orders", Order).wait(payment).then(ship)


async def test_an_answer_by_its_key(app_of: Apps) -> None:
    """The key is the correlation id on every side, and names the interaction for an answer."""
    async with app_of(orders).running() as app:
        execution = await app.submit(orders, Order(number="A-1"))
        [question] = await execution.parked(payment, timeout="30s")
        [view] = await app.service.pending("default")

        receipt = await app.complete(payment, Paid(reference="x"), correlation_id=" A-1 ")

        assert question.correlation_id == view.correlation_id == "A-1"
        assert (receipt.outcome, receipt.interaction_id) == ("applied", question.interaction_id)
        assert await execution.result(timeout="30s") == "shipped x"
        again = await app.complete(payment, Paid(reference="x"), correlation_id="A-1")
        assert again.outcome == "duplicate"
        with pytest.raises(CompletionConflict):
            await app.complete(payment, Paid(reference="y"), correlation_id="A-1")


async def test_an_answer_before_its_question(app_of: Apps) -> None:
    """It is checked, kept, and adopted; a repeat is a duplicate before and after."""
    async with app_of(orders).running() as app:
        outcomes = [
            (await app.complete(payment, Paid(reference="x"), correlation_id="A-1")).outcome
            for _ in range(2)
        ]
        with pytest.raises(CompletionRejected):
            await app.complete(payment, "no payment", correlation_id="A-2")  # type: ignore[call-overload]  # a caller without a checker
        execution = await app.submit(orders, Order(number="A-1"))

        assert outcomes == ["buffered", "duplicate"]
        assert await execution.result(timeout="30s") == "shipped x"
        what = [each.what for each in await app.service.timeline("default", execution.execution_id)]
        assert [one for one in what if one in {"parked", "resumed"}] == ["parked", "resumed"]
        again = await app.complete(payment, Paid(reference="x"), correlation_id="A-1")
        assert again.outcome == "duplicate"


async def test_a_key_that_is_taken(app_of: Apps) -> None:
    """The second execution under a key fails with a code that says so; the first waits on."""
    async with app_of(orders).running() as app:
        first = await app.submit(orders, Order(number="A-1"))
        await first.parked(payment, timeout="30s")
        second = await app.submit(orders, Order(number="A-1"))

        with pytest.raises(ExecutionFailed) as failure:
            await second.result(timeout="30s")

        assert failure.value.code == "correlation-taken"
        await app.complete(payment, Paid(reference="x"), correlation_id="A-1")
        assert await first.result(timeout="30s") == "shipped x"
        third = await app.submit(orders, Order(number="A-1"))
        await third.parked(payment, timeout="30s")
        await app.complete(payment, Paid(reference="z"), correlation_id="A-1")
        assert await third.result(timeout="30s") == "shipped z"


async def test_a_key_in_several_scopes(app_of: Apps) -> None:
    """A key that fits several awaits is refused until the step is named."""
    other = pay("Invoice")
    invoices = Pipeline("invoices", Order).wait(other).then(ship)
    async with app_of(orders, invoices).running() as app:
        completion = Completion(correlation_id="A-1", payload={"reference": "x"})
        early = await app.service.complete("default", completion)
        for pipeline, boundary in ((orders, payment), (invoices, other)):
            execution = await app.submit(pipeline, Order(number="A-1"))
            await execution.parked(boundary, timeout="30s")
        ambiguous = await app.service.complete("default", completion)
        named = Completion(correlation_id="A-1", step_id="invoice", payload={"reference": "x"})
        settled = await app.service.complete("default", named)
        left = await app.service.complete("default", completion)

        codes = [(reply.code, reply.receipt.outcome) for reply in (early, ambiguous)]
        assert codes == [("ambiguous-correlation", "rejected")] * 2
        assert (settled.receipt.outcome, settled.receipt.step_id) == ("applied", "invoice")
        assert (left.receipt.outcome, left.receipt.step_id) == ("applied", "payment")


async def test_a_shared_scope(app_of: Apps) -> None:
    """Awaits that name one scope share its keys."""
    first, second = pay("One", correlate_in="payments"), pay("Two", correlate_in="payments")
    one = Pipeline("one", Order).wait(first)
    two = Pipeline("two", Order).wait(second)
    async with app_of(one, two).running() as app:
        await (await app.submit(one, Order(number="A-1"))).parked(first, timeout="30s")

        with pytest.raises(ExecutionFailed) as failure:
            await (await app.submit(two, Order(number="A-1"))).result(timeout="30s")

        assert failure.value.code == "correlation-taken"


async def test_items_by_their_keys(app_of: Apps) -> None:
    """Each item of a stream has its own key, and answers come before and after it."""

    def each(count: int) -> Iterator[Order]:
        for number in range(count):
            yield Order(number=f"A-{number}")

    many = Pipeline("many", int).then(each).wait(payment).then(ship)
    async with app_of(many).running() as app:
        await app.complete(payment, Paid(reference="0"), correlation_id="A-0")
        execution = await app.submit(many, 3)
        await execution.parked(payment, timeout="30s")
        for number in (2, 1):
            answer = Paid(reference=str(number))
            await app.complete(payment, answer, correlation_id=f"A-{number}")

        assert await execution.result(timeout="30s") == ["shipped 0", "shipped 1", "shipped 2"]


async def test_what_nobody_asked_for(app_of: Apps) -> None:
    """An early answer that nobody asks for in time is a dead letter with its payload."""
    async with app_of(orders, buffer_ttl_ms=1).running() as app:
        await app.complete(payment, Paid(reference="x"), correlation_id="A-1", actor="bank")

        [letter] = await eventually(lambda: app.service.dead_letters("default"))

        assert (letter.kind, letter.execution_id, letter.code) == (
            "completion", None, "buffer-expired",
        )  # fmt: skip
        assert (letter.correlation_id, letter.payload, letter.actor) == (
            "A-1", {"reference": "x"}, "bank",
        )  # fmt: skip
        assert await app.service.dead_letter("default", letter.dead_letter_id) == letter
        execution = await app.submit(orders, Order(number="A-1"))
        await execution.parked(payment, timeout="30s")


async def test_only_awaits_with_a_key_take_one(app_of: Apps) -> None:
    """A key for an await without `correlate_on` is refused where it is written."""
    plain = Await("Plain", Order, Paid, via=Inbox(), timeout="1h")
    async with app_of(Pipeline("plain", Order).wait(plain)).running() as app:
        with pytest.raises(DefinitionError, match="correlate_on"):
            await app.complete(plain, Paid(reference="x"), correlation_id="A-1")
        reply = await app.service.complete(
            "default", Completion(correlation_id="A-1", payload={"reference": "x"})
        )
        assert reply.receipt.outcome == "unknown"
    with pytest.raises(UnknownInteraction):
        async with app_of(orders).running() as app:
            await app.complete("A-1", Paid(reference="x"))


def test_a_projection_has_no_early_answers() -> None:
    """`project` with `correlate_on` is refused when the pipeline is defined, and says why."""

    def project(order: Order, paid: Paid, answer: Answer) -> str:
        return order.number

    with pytest.raises(DefinitionError, match=r"project and correlate_on do not go together"):
        Pipeline("p", Order).wait(pay(project=project))


def test_a_whole_stream_by_a_function(store: str) -> None:
    """An aggregate is correlated by a function of its items; the blocking verbs take keys too."""
    batch = Await(
        "Batch", Many[Order], Paid, via=Inbox(), timeout="1h",
        correlate_on=lambda items: "+".join(each.number for each in items),
    )  # fmt: skip
    batches = Pipeline("batches", Many[Order]).wait(batch).then(ship)
    with App(batches, store=store, settings=quick()).blocking() as app:
        app.complete(batch, Paid(reference="x"), correlation_id="a+b")
        execution = app.submit(batches, [Order(number="a"), Order(number="b")])

        assert execution.result(timeout="30s") == "shipped x"
        assert app.receipts().process["buffered"] == 1


async def test_answers_race_their_questions(shared: str) -> None:
    """Of two processes' worth of apps on one store, no answer and no question miss each other."""
    ours, theirs = (App(orders, store=shared, settings=quick()) for _ in range(2))
    async with ours.running(), theirs.running(workers=False):
        numbers = [f"A-{number}" for number in range(60)]

        async def ask(number: str) -> str:
            return await (await ours.submit(orders, Order(number=number))).result(timeout="60s")

        async def answer(number: str) -> str:
            paid = Paid(reference=number)
            return (await theirs.complete(payment, paid, correlation_id=number)).outcome

        calls: list[Any] = []
        for index, number in enumerate(numbers):
            pair = [ask(number), answer(number)]
            calls += pair if index % 2 else reversed(pair)
        results = await asyncio.gather(*calls)

        assert {result for result in results if result.startswith("shipped")} == {
            f"shipped {number}" for number in numbers
        }
        assert set(results) - {f"shipped {number}" for number in numbers} <= {"applied", "buffered"}


async def test_the_books_balance(app_of: Apps) -> None:
    """Of ten thousand completions of every kind each gets one receipt, and rows agree exactly."""
    brief = pay("Brief", timeout="1ms")
    hurried = Pipeline("hurried", Order).wait(brief).then(ship)
    rng = random.Random(7)
    # Nothing is swept, so that what is late stays late by its deadline alone.
    async with app_of(orders, hurried, sweep_interval_ms=3_600_000).running() as app:
        service = app.service

        async def parked(pipeline: Any, boundary: Any, count: int, prefix: str) -> list[str]:
            runs = await asyncio.gather(
                *(app.submit(pipeline, Order(number=f"{prefix}{n}")) for n in range(count))
            )
            questions = [(await run.parked(boundary, timeout="30s"))[0] for run in runs]
            return [question.interaction_id for question in questions]

        open_ = await parked(orders, payment, 150, "open-")
        over = await parked(hurried, brief, 20, "over-")
        await asyncio.sleep(0.01)

        def named(interaction: str, reference: Any = "x") -> Completion:
            return Completion(interaction_id=interaction, payload={"reference": reference})

        def keyed(key: str, reference: Any = "x") -> Completion:
            return Completion(
                correlation_id=key, step_id="payment", payload={"reference": reference}
            )

        makers: list[Callable[[], tuple[str, Completion]]] = [
            lambda: ("default", named(rng.choice(open_), rng.choice("xxxxy"))),
            lambda: ("default", keyed(f"open-{rng.randrange(150)}", rng.choice("xxxxy"))),
            lambda: ("default", named(rng.choice(over))),
            lambda: ("default", keyed(f"early-{rng.randrange(300)}", rng.choice("xxy"))),
            lambda: ("default", named(rng.choice(open_)[:-3] + "999")),
            lambda: ("default", named("forged")),
            lambda: ("globex", named(rng.choice(open_))),
            lambda: ("default", named(rng.choice(open_), 7)),
            lambda: ("default", keyed(f"early-{rng.randrange(300)}", None)),
        ]
        sent = [rng.choice(makers)() for _ in range(10_000)]
        told: Counter[tuple[str, str]] = Counter()

        async def send(part: list[tuple[str, Completion]]) -> None:
            for tenant in ("default", "globex"):
                batch = [completion for owner, completion in part if owner == tenant]
                for reply in await service.complete_many(tenant, batch):
                    assert reply is not None
                    told[tenant, reply.receipt.outcome] += 1

        await asyncio.gather(*(send(sent[start : start + 250]) for start in range(0, 10_000, 250)))
        asked = [await app.submit(orders, Order(number=f"early-{n}")) for n in range(0, 300, 10)]
        for execution in asked:
            await eventually(lambda run=execution: _has_moved(app, run))

        assert sum(told.values()) == 10_000
        for tenant in ("default", "globex"):
            counts = await app.receipts(tenant=tenant)
            given = {name: told[tenant, name] for name in counts.process}
            assert counts.process == given
            kept = {name: given[name] for name in counts.stored}
            assert counts.stored == kept
        seen = {name for (tenant, name), count in told.items() if tenant == "default" and count}
        assert seen == {
            "applied", "duplicate", "conflict", "late", "buffered", "rejected", "unknown",
        }  # fmt: skip
        assert {name for tenant, name in told if tenant == "globex"} == {"unknown"}


async def _has_moved(app: App, execution: Any) -> bool:
    view = await app.service.execution("default", execution.execution_id)
    return view is not None and view.status.name not in {"QUEUED", "RUNNING"}
