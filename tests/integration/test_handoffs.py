"""Checkpoint handoff in one store: what a pipeline publishes is another one's execution."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from bide import (
    App,
    Await,
    DefinitionError,
    Execution,
    ExecutionFailed,
    Inbox,
    NonRetryable,
    NotRedrivable,
    Pipeline,
    Publication,
    Subscription,
    branch,
)
from bide.model.status import ExecutionStatus
from bide.runtime.views import Lineage
from tests.integration.support import eventually, quick

AppOf = Callable[..., App]


class Order(BaseModel):
    order_id: str
    cents: int


class Parcel(BaseModel):
    ref: str
    weight: int = 0


class Small(BaseModel):
    order_id: str


class Large(BaseModel):
    order_id: str


def accept(order: Order) -> Order:
    return order.model_copy(update={"cents": order.cents + 1})


def parcel_of(order: Order) -> Parcel:
    return Parcel(ref=order.order_id)


def pack(parcel: Parcel) -> str:
    return f"packed {parcel.ref}"


async def ship(packed: str) -> str:
    return f"{packed}, shipped"


placed = Publication("Order placed", idempotent_on="order_id")
orders = Pipeline("orders", Order, publishes=placed).then(accept)
dispatch = (
    Pipeline("dispatch", Parcel, subscribes=Subscription("order-placed", mapper=parcel_of))
    .then(pack)
    .then(ship)
)


async def lineage(app: App, execution: Execution[Any] | str) -> Lineage:
    id_ = execution if isinstance(execution, str) else execution.execution_id
    return await app.service.lineage("default", id_)


async def taken_as(app: App, execution: Execution[Any]) -> str:
    """The execution that the one publication of `execution` has made."""
    [handoff] = (await lineage(app, execution)).published
    assert handoff.execution_id is not None, handoff
    return handoff.execution_id


async def count(app: App, pipeline: str) -> int:
    return sum((await app.service.counts("default", pipeline)).values())


async def test_the_result_of_one_is_the_input_of_another(app_of: AppOf) -> None:
    """A source that has ended has published, and the target runs to its own end, by its mapper."""
    async with app_of(orders, dispatch).running() as app:
        source = await app.submit(orders, Order(order_id="o-1", cents=1))
        assert (await source.result(timeout=30)).cents == 2

        target = app.execution(dispatch, await taken_as(app, source))

        assert await target.result(timeout=30) == "packed o-1, shipped"


async def test_lineage_shows_both_ways(app_of: AppOf) -> None:
    """The source tells of its target, and the target of its source."""
    async with app_of(orders, dispatch).running() as app:
        source = await app.submit(orders, Order(order_id="o-1", cents=1))
        await source.result(timeout=30)
        made = await taken_as(app, source)

        [published] = (await lineage(app, source)).published
        [origin] = (await lineage(app, made)).made_of

        assert (published.publication, published.key, published.target, published.status) == (
            "order-placed", "o-1", "dispatch", "admitted",
        )  # fmt: skip
        assert (origin.execution_id, origin.pipeline, origin.publication, origin.key) == (
            source.execution_id, "orders", "order-placed", "o-1",
        )  # fmt: skip
        assert (await lineage(app, source)).made_of == []
        assert await lineage(app, "no such id") == Lineage(made_of=[], published=[])


async def test_a_publication_under_a_known_key_is_the_same_execution(app_of: AppOf) -> None:
    """Two sources that publish the same have one target, which names them both."""
    async with app_of(orders, dispatch).running() as app:
        sources = [await app.submit(orders, Order(order_id="o-1", cents=1)) for _ in range(2)]
        for source in sources:
            await source.result(timeout=30)

        first, second = [await taken_as(app, source) for source in sources]

        assert first == second
        assert await count(app, "dispatch") == 1
        assert {each.execution_id for each in (await lineage(app, first)).made_of} == {
            source.execution_id for source in sources
        }


async def test_another_payload_under_a_known_key_is_a_dead_letter(app_of: AppOf) -> None:
    """Its source has ended well all the same; what was published is kept, and told why."""
    async with app_of(orders, dispatch).running() as app:
        for cents in (1, 2):
            source = await app.submit(orders, Order(order_id="o-1", cents=cents))
            await source.result(timeout=30)

        [published] = (await lineage(app, source)).published
        [letter] = await app.service.dead_letters("default")

        assert published.status == "refused"
        assert (letter.kind, letter.code, letter.dead_letter_id, letter.execution_id) == (
            "handoff", "handoff-conflict", published.handoff_id, source.execution_id,
        )  # fmt: skip
        assert letter.payload == {"order_id": "o-1", "cents": 3}
        with pytest.raises(NotRedrivable, match="made of another payload"):
            await app.redrive(letter.dead_letter_id)


def bad_parcel(order: Order) -> Parcel:
    raise ValueError("no address")


async def test_what_a_mapper_cannot_map_is_kept_until_it_can(shared: str) -> None:
    """A mapper that fails refuses the publication; once it is repaired, that is offered again."""
    broken = Pipeline(
        "dispatch", Parcel, subscribes=Subscription("order-placed", mapper=bad_parcel)
    ).then(pack)
    async with App(orders, broken, store=shared, settings=quick()).running() as app:
        source = await app.submit(orders, Order(order_id="o-1", cents=1))
        await source.result(timeout=30)
        [letter] = await app.service.dead_letters("default")
        assert (letter.code, letter.message) == ("mapper-failed", "ValueError: no address")
        with pytest.raises(NotRedrivable, match="mapper-failed"):
            await app.redrive(letter.dead_letter_id)

    async with App(orders, dispatch, store=shared, settings=quick()).running() as app:
        target = await app.redrive(letter.dead_letter_id)

        assert await target.result(timeout=30) == "packed o-1, shipped"
        assert await taken_as(app, source) == target.execution_id
        with pytest.raises(NotRedrivable, match="was not refused"):
            await app.redrive(letter.dead_letter_id)


confirm = Await("Confirm", Order, bool, via=Inbox(), timeout="1h")


def told(confirmed: bool) -> str:
    return "yes" if confirmed else "no"


async def test_a_named_point_is_published_with_the_park_behind_it(app_of: AppOf) -> None:
    """What a step gives is another pipeline's while its own execution still waits."""
    early = Publication("order-placed", idempotent_on="order_id", after="accept")
    waiting = Pipeline("orders", Order, publishes=early).then(accept).wait(confirm).then(told)
    async with app_of(waiting, dispatch).running() as app:
        source = await app.submit(waiting, Order(order_id="o-1", cents=1))
        [question] = await source.parked(confirm, timeout=30)

        target = app.execution(dispatch, await taken_as(app, source))

        assert await target.result(timeout=30) == "packed o-1, shipped"
        await app.complete(question, True)
        assert await source.result(timeout=30) == "yes"
        assert await count(app, "dispatch") == 1


def length(answer: str) -> int:
    return len(answer)


def settled(answer: str) -> Parcel:
    return Parcel(ref=answer)


async def test_an_answer_is_published(app_of: AppOf) -> None:
    """Behind an await, its answer is published, with the end of the segment that it starts."""
    ask = Await("Ask", Order, str, via=Inbox(), timeout="1h")
    asked = Publication("asked", idempotent_on=lambda answer: answer, after="ask")
    asking = Pipeline("asking", Order, publishes=asked).wait(ask).then(length)
    taking = Pipeline("taking", Parcel, subscribes=Subscription("asked", mapper=settled)).then(pack)
    async with app_of(asking, taking).running() as app:
        source = await app.submit(asking, Order(order_id="o-1", cents=1))
        [question] = await source.parked(ask, timeout=30)
        await app.complete(question, "as you like")
        assert await source.result(timeout=30) == 11

        target = app.execution(taking, await taken_as(app, source))

        assert await target.result(timeout=30) == "packed as you like"


def each_of(order: Order) -> Iterator[int]:
    yield from range(order.cents)


async def summed(numbers: AsyncIterator[int]) -> Parcel:
    return Parcel(ref="sum", weight=sum([number async for number in numbers]))


async def test_a_stream_is_published_once_it_is_one_value(app_of: AppOf) -> None:
    """Before a stream and behind it, one value is published; the stream itself is not."""
    check = Await("Check", int, int, via=Inbox(), timeout="1h")
    publications = [
        Publication("before", idempotent_on="order_id", after="accept"),
        Publication("behind", idempotent_on="ref"),
    ]
    streaming = (
        Pipeline("streaming", Order, publishes=publications)
        .then(accept)
        .then(each_of)
        .wait(check)
        .then(summed)
    )
    one = Pipeline("one", Parcel, subscribes=Subscription("before", mapper=parcel_of)).then(pack)
    other = Pipeline("other", Parcel, subscribes=Subscription("behind")).then(pack)
    async with app_of(streaming, one, other).running() as app:
        source = await app.submit(streaming, Order(order_id="o-1", cents=3))
        questions = await source.parked(check, timeout=30)
        first = await taken_as(app, source)
        await app.complete_many([(each, each.request) for each in questions])
        assert (await source.result(timeout=30)).weight == 6

        published = (await lineage(app, source)).published

        assert [each.publication for each in published] == ["before", "behind"]
        assert published[0].execution_id == first
        second = app.execution(other, str(published[1].execution_id))
        assert await second.result(timeout=30) == "packed sum"


def sized(order: Order) -> Small | Large:
    kind = Small if order.cents < 100 else Large
    return kind(order_id=order.order_id)


def small(order: Small) -> Order:
    return Order(order_id=order.order_id, cents=1)


def large(order: Large) -> Order:
    return Order(order_id=order.order_id, cents=1_000)


async def test_a_branch_publishes_only_what_goes_through_it(app_of: AppOf) -> None:
    """Behind one branch of a union, the variants of the others publish nothing."""
    publication = Publication("order-placed", idempotent_on="order_id", after="large")
    routed = (
        Pipeline("routed", Order, publishes=publication)
        .then(sized)
        .then(branch(small).branch(large))
    )
    async with app_of(routed, dispatch).running() as app:
        sources = [
            await app.submit(routed, Order(order_id=f"o-{cents}", cents=cents))
            for cents in (1, 500)
        ]
        for source in sources:
            await source.result(timeout=30)

        assert (await lineage(app, sources[0])).published == []
        assert await taken_as(app, sources[1])


async def test_several_pipelines_take_one_publication(app_of: AppOf) -> None:
    """Each subscriber owns an execution of its own, made in the same commit."""
    billing = Pipeline("billing", Order, subscribes=Subscription("Order placed")).then(accept)
    async with app_of(orders, dispatch, billing).running() as app:
        source = await app.submit(orders, Order(order_id="o-1", cents=1))
        await source.result(timeout=30)

        published = (await lineage(app, source)).published

        assert {each.target for each in published} == {"dispatch", "billing"}
        assert {each.status for each in published} == {"admitted"}
        billed = next(each for each in published if each.target == "billing")
        result = await app.execution(billing, str(billed.execution_id)).result(timeout=30)
        assert result == Order(order_id="o-1", cents=3)


def fails(order: Order) -> Order:
    raise ValueError("it broke")


async def test_an_execution_that_fails_has_published_nothing(app_of: AppOf) -> None:
    """What its steps would have published goes with it: no row, no target."""
    publication = Publication("order-placed", idempotent_on="order_id", after="accept")
    failing = Pipeline("orders", Order, publishes=publication).then(accept).then(fails)
    async with app_of(failing, dispatch).running() as app:
        source = await app.submit(failing, Order(order_id="o-1", cents=1))
        with pytest.raises(ExecutionFailed):
            await source.result(timeout=30)

        assert (await lineage(app, source)).published == []
        assert await count(app, "dispatch") == 0


async def test_what_has_no_key_ends_its_source(app_of: AppOf) -> None:
    """A publication that nobody could tell from its repeat is not made: its source is in the DLQ."""
    keyless = Publication("order-placed", idempotent_on=lambda order: "")
    failing = Pipeline("orders", Order, publishes=keyless).then(accept)
    async with app_of(failing, dispatch).running() as app:
        source = await app.submit(failing, Order(order_id="o-1", cents=1))
        with pytest.raises(ExecutionFailed, match="publication 'order-placed' cannot be made"):
            await source.result(timeout=30)

        assert (await source.status()).status is ExecutionStatus.DLQ
        assert await count(app, "dispatch") == 0


def breaks(parcel: Parcel) -> str:
    raise NonRetryable("no van")


async def test_after_admission_the_dead_letter_is_the_targets(app_of: AppOf) -> None:
    """A target that fails is in its own DLQ, redriven there, and its source stays as it ended."""
    failing = Pipeline(
        "dispatch", Parcel, subscribes=Subscription("order-placed", mapper=parcel_of)
    ).then(breaks)
    async with app_of(orders, failing).running() as app:
        source = await app.submit(orders, Order(order_id="o-1", cents=1))
        await source.result(timeout=30)
        target = app.execution(failing, await taken_as(app, source))

        with pytest.raises(ExecutionFailed, match="no van"):
            await target.result(timeout=30)
        again = await app.redrive(target.execution_id)

        assert again.execution_id != target.execution_id
        assert (await source.status()).status is ExecutionStatus.SUCCEEDED
        [published] = (await lineage(app, source)).published
        assert (published.status, published.execution_id) == ("admitted", target.execution_id)
        letters = await app.service.dead_letters("default")
        assert target.execution_id in {each.execution_id for each in letters}
        assert {(each.pipeline, each.kind) for each in letters} == {("dispatch", "execution")}


async def test_a_redriven_source_publishes_to_the_same_execution(app_of: AppOf) -> None:
    """What is done again publishes under the same key, and the target is not made again."""
    failed_once: list[str] = []

    def once(order: Order) -> Order:
        if not failed_once:
            failed_once.append(order.order_id)
            raise RuntimeError("the first time")
        return order

    early = Publication("order-placed", idempotent_on="order_id", after="accept")
    waiting = (
        Pipeline("orders", Order, publishes=early)
        .then(accept)
        .wait(confirm_order)
        .then(once_of(once))
    )
    async with app_of(waiting, dispatch).running() as app:
        source = await app.submit(waiting, Order(order_id="o-1", cents=1))
        [question] = await source.parked(confirm_order, timeout=30)
        await app.complete(question, Order(order_id="o-1", cents=1))
        with pytest.raises(ExecutionFailed):
            await source.result(timeout=30)

        again = await app.redrive(source.execution_id)
        [question] = await again.parked(confirm_order, timeout=30)

        [published] = (await lineage(app, again)).published
        assert published.duplicate
        assert published.execution_id == await taken_as(app, source)
        assert await count(app, "dispatch") == 1


confirm_order = Await("Confirm order", Order, Order, via=Inbox(), timeout="1h")


def once_of(fn: Callable[[Order], Order]) -> Callable[[Order], Order]:
    from bide import Retry, step

    return step(id="once", retry=Retry(attempts=1))(fn)


async def test_a_target_is_run_by_whoever_runs_its_pipeline(shared: str) -> None:
    """A process that works on the source alone leaves the target to one that works on it."""
    app = App(orders, dispatch, store=shared, settings=quick())
    other = app.using()
    await app.start(pipelines=["orders"])
    try:
        source = await app.submit(orders, Order(order_id="o-1", cents=1))
        await source.result(timeout=30)
        made = await taken_as(app, source)
        waiting = await app.service.execution("default", made)
        assert waiting is not None
        assert waiting.status is ExecutionStatus.QUEUED

        await other.start(pipelines=["dispatch"])
        try:
            result = await other.execution(dispatch, made).result(timeout=30)
            assert result == "packed o-1, shipped"
        finally:
            await other.stop()
    finally:
        await app.stop()


async def test_a_thousand_orders_make_a_thousand_parcels(app_of: AppOf) -> None:
    """Many at once, half of them submitted twice: each key is taken once, all of it told."""
    async with app_of(orders, dispatch).running() as app:
        sources = [
            await app.submit(orders, Order(order_id=f"o-{number % 500}", cents=1))
            for number in range(1_000)
        ]
        for source in sources:
            await source.result(timeout=60)

        async def done() -> bool:
            counts = await app.service.counts("default", "dispatch")
            return counts == {ExecutionStatus.SUCCEEDED: 500}

        await eventually(done)
        made = [await taken_as(app, source) for source in sources]
        assert made[:500] == made[500:]
        assert len(set(made)) == 500


async def test_in_memory_nothing_can_be_published() -> None:
    """The inline mode refuses before the first step, as it refuses an await."""
    with pytest.raises(DefinitionError, match="nobody takes it in memory"):
        await orders.run_inline(Order(order_id="o-1", cents=1))
