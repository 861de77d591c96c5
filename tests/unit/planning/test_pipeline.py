"""Pipelines compile call by call: what may follow what, and the plan that comes out."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Tag

from bide import (
    Answer,
    Answered,
    Await,
    Collect,
    Context,
    DefinitionError,
    Inbox,
    Many,
    Missing,
    PayloadError,
    Pipeline,
    Retry,
    branch,
    step,
)
from bide.planning.compile import check_complete
from bide.planning.pipeline import plan_of
from bide.planning.plan import PlanAwait, PlanKeep, PlanRoute, PlanStep
from bide.planning.shapes import Cardinality


class Row(BaseModel):
    number: int


class Priced(Row):
    cents: int = 0


class Report(BaseModel):
    count: int = 0


class Failure(BaseModel):
    reason: str = ""


class Client: ...


def expand(report: Report) -> Iterator[Row]:
    yield Row(number=report.count)


def price(row: Row) -> Priced:
    return Priced(number=row.number)


async def price_later(row: Row, client: Client, ctx: Context) -> Priced:
    return Priced(number=row.number)


def twice(row: Row) -> Iterator[Row]:
    yield row
    yield row


def count(rows: Iterator[Row]) -> Report:
    return Report(count=sum(1 for _ in rows))


async def filtered(rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
    async for row in rows:
        yield row


def boundary(request: Any, answer: Any, name: str = "Ask", **options: Any) -> Await[Any, Any, Any]:
    given: dict[str, Any] = {"via": Inbox(), "timeout": "1d", **options}
    return Await(name, request, answer, **given)


ONE: Pipeline[Any, Any] = Pipeline("matrix", Report)
ROW: Pipeline[Any, Any] = Pipeline("matrix", Row)
STREAM: Pipeline[Any, Any] = Pipeline("matrix", Many[Row])

# --- what follows what --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("built", "output", "many"),
    [
        (lambda: ONE.then(expand), "Row", True),
        (lambda: ROW.then(price), "Priced", False),
        (lambda: STREAM.then(price), "Priced", True),
        (lambda: STREAM.then(price_later), "Priced", True),
        (lambda: STREAM.then(twice), "Row", True),
        (lambda: STREAM.then(count), "Report", False),
        (lambda: STREAM.then(filtered), "Row", True),
        (lambda: ROW.wait(boundary(Row, Report)), "Report", False),
        (lambda: ONE.wait(boundary(Report, Many[Row])), "Row", True),
        (lambda: STREAM.wait(boundary(Row, Report)), "Report", True),
        (lambda: STREAM.wait(boundary(Many[Row], Report)), "Report", False),
        (lambda: STREAM.wait(boundary(Many[Row], Many[Report])), "Report", True),
        (lambda: Pipeline("base", Priced).wait(boundary(Row, Report)), "Report", False),
        (lambda: ROW.wait(boundary(Row | Failure, Report)), "Report", False),
        (lambda: ROW.wait(boundary(Row, list[Row])), "list[Row]", False),
    ],
)
def test_the_matrix(built: Callable[[], Pipeline[Any, Any]], output: str, *, many: bool) -> None:
    """Everything that may follow something compiles, to one value or to a stream."""
    plan = plan_of(built())

    assert (output, many) == (plan.output.item.name, plan.output.many)


@pytest.mark.parametrize(
    ("start", "asked", "expected", "per_item"),
    [
        (ROW, boundary(Row, Report), Cardinality.ONE_TO_ONE, False),
        (ROW, boundary(Row, Many[Report]), Cardinality.ONE_TO_MANY, False),
        (STREAM, boundary(Row, Report), Cardinality.ONE_TO_ONE, True),
        (STREAM, boundary(Many[Row], Report), Cardinality.MANY_TO_ONE, False),
        (STREAM, boundary(Many[Row], Many[Report]), Cardinality.MANY_TO_MANY, False),
    ],
)
def test_cardinality_comes_from_types(
    start: Pipeline[Any, Any], asked: Await[Any, Any, Any], expected: Cardinality, *, per_item: bool
) -> None:
    """No flag says what the types say already."""
    [planned] = plan_of(start.wait(asked)).awaits()

    assert (expected, per_item) == (planned.cardinality, planned.per_item)
    assert (planned.request.many, planned.answer.many) == (
        expected.startswith("MANY"),
        expected.endswith("MANY"),
    )


# --- the plan -----------------------------------------------------------------------------------


@step(id="book-once", retry=Retry(2), timeout="30s")
def book(report: Report) -> Row:
    return Row(number=report.count)


def test_a_plan_knows_its_steps() -> None:
    """Positions, ids, options, calls and what is asked for by type."""
    pipeline = ONE.then(book).wait(boundary(Row, Row, "Ask nicely")).then(price_later)
    plan = plan_of(pipeline)
    first, asked, last = plan.elements

    assert isinstance(first, PlanStep)
    assert (first.position, first.id, first.name) == (0, "book-once", "book")
    assert (first.retry, first.timeout_ms, first.function) == (Retry(2), 30_000, book)
    assert isinstance(asked, PlanAwait)
    assert (asked.position, asked.id, asked.timeout_ms) == (1, "ask-nicely", 86_400_000)
    assert isinstance(last, PlanStep)
    assert (last.is_async, last.timeout_ms, last.retry) == (True, None, Retry())
    assert last.wants == (("client", Client), ("ctx", Context))
    assert plan.resources == {Client, Context}
    assert plan.step_names == ("book", "Ask nicely", "price_later")
    assert repr(pipeline) == "<Pipeline 'matrix': book-once -> ask-nicely -> price-later>"


def test_boundaries_are_found() -> None:
    """By the very object, by id, by name and by an id of before."""
    asked = boundary(Row, Row, "Ask nicely")
    plan = plan_of(Pipeline("p", Row, renamed={"ask": "ask-nicely"}).wait(asked).then(price))
    [planned] = plan.awaits()

    assert plan.await_of(asked) is plan.await_by_id("ask-nicely") is planned
    assert plan.await_by_id("ask") is plan.by_name("ask") is plan.by_name("Ask nicely") is planned
    assert plan.by_name("price") is plan.positions[1]
    assert plan.await_of(boundary(Row, Row, "Ask nicely")) is None
    assert plan.await_by_id("price") is plan.by_name("nobody") is None


def test_a_builder_is_never_changed() -> None:
    """Two pipelines may begin alike and part."""
    one, other = ROW.then(price), ROW.then(twice)

    assert plan_of(ROW).elements == ()
    assert (plan_of(one).step_names, plan_of(other).step_names) == (("price",), ("twice",))
    assert (one.name, one.id, Pipeline("My Orders", Row).id) == ("matrix", "matrix", "my-orders")


# --- branches -----------------------------------------------------------------------------------


def judged(row: Row, passed: bool, answer: Answer) -> Report | Failure:
    return Report() if passed else Failure(reason=answer.actor)


def failed(failure: Failure) -> Report:
    return Report()


def failed_twice(failure: Failure) -> Iterator[Row]:
    yield Row(number=1)


def either(value: Report | Failure) -> Report:
    return Report()


JUDGED: Pipeline[Any, Any] = ROW.wait(boundary(Row, bool, "Judge", project=judged))
STREAM_JUDGED: Pipeline[Any, Any] = STREAM.wait(boundary(Row, bool, "Judge", project=judged))


def route_of(pipeline: Pipeline[Any, Any]) -> PlanRoute:
    route = plan_of(pipeline).elements[-1]
    assert isinstance(route, PlanRoute)
    return route


def test_each_variant_goes_to_its_branch() -> None:
    """Branches have positions of their own, what is kept has none."""
    pipeline = JUDGED.then(branch(failed).keep(Report)).then(book)
    route = plan_of(pipeline).elements[1]
    assert isinstance(route, PlanRoute)

    assert route.select(Failure()) is route.branches[0]
    assert isinstance(route.select(Report()), PlanKeep)
    assert (route.position, route.output.name) == (1, "Report")
    assert [part.position for part in plan_of(pipeline).positions] == [0, 1, 2]
    assert plan_of(pipeline).element_index == (0, 1, 2)
    with pytest.raises(PayloadError):
        route.select("neither")


def test_an_await_and_a_yielding_function_are_branches_after_one_value() -> None:
    """They end in one value, or all of them in a stream."""
    appeal = boundary(Failure, Report, "Appeal")
    asked = route_of(JUDGED.then(branch(appeal).keep(Report)))
    yielded = JUDGED.then(branch(failed_twice).branch(expand))

    assert isinstance(asked.branches[0], PlanAwait)
    assert plan_of(yielded).output.many
    assert asked.branches[0].boundary is appeal


def test_a_stream_is_divided_item_by_item() -> None:
    """The stream goes on behind the branches."""
    route = route_of(STREAM_JUDGED.then(branch(failed).keep(Report)))

    assert (route.per_item, route.yields) == (True, False)
    assert plan_of(STREAM_JUDGED.then(either)).output.many


def test_kept_variants_keep_their_declared_names() -> None:
    """A merge is a union again, with the tags that came in."""

    def same(failure: Failure) -> Failure:
        return failure

    tagged = Annotated[Report, Tag("fine")] | Annotated[Failure, Tag("failed")]
    route = route_of(Pipeline("tagged", tagged).then(branch(same).keep(Report)))

    assert sorted(route.output.variants) == ["Failure", "fine"]
    assert sorted(route.by_tag) == ["failed", "fine"]


def test_a_branch_may_take_several_variants() -> None:
    """It is given the union of them, by their names, and the rest goes elsewhere."""
    route = route_of(Pipeline("three", Report | Failure | Row).then(branch(either).branch(price)))
    first, second = route.branches

    assert route.select(Report()) is route.select(Failure()) is first
    assert route.select(Row(number=1)) is second
    assert (first.input.name, second.input.name) == ("Report | Failure", "Row")
    assert first.input.encode(Failure()) == b'{"Failure":{"reason":""}}'


def test_an_await_may_leave_variants_to_others() -> None:
    """What it does not take is named with the line to write."""
    with pytest.raises(DefinitionError, match=r"\.then\(branch\(<appeal>\)\.keep\(Report\)\)"):
        JUDGED.wait(boundary(Failure, Report, "Appeal"))


# --- streams with gaps, projections -------------------------------------------------------------


def answered(item: Answered[Report]) -> Report:
    return item.value


def missing(item: Missing) -> Report:
    return Report()


def test_a_collected_stream_has_gaps() -> None:
    """The next step takes what was answered and what is missing."""
    asked = boundary(Row, Report, items=Collect(tolerate="5%"), unit_timeout="2d")
    [planned] = plan_of(STREAM.wait(asked)).awaits()

    assert planned.output.name == "Report"
    assert sorted(planned.gives.variants) == ["Answered", "Missing"]
    assert (planned.collect, planned.unit_timeout_ms) == (Collect(tolerate="5%"), 172_800_000)
    assert plan_of(STREAM.wait(asked).then(branch(answered).branch(missing))).output.many


def test_a_projection_decides_what_goes_on() -> None:
    """An actor submits only what it owns."""
    [planned] = plan_of(JUDGED).awaits()

    assert (planned.answer.name, planned.output.name) == ("bool", "Report | Failure")


# --- keys and fingerprints ----------------------------------------------------------------------


class Payment(BaseModel):
    id: str
    amount: Any = None


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ((), None),
        ("id", "p1"),
        ("amount", "21.5"),
        (["id", "amount"], '["p1",21.5]'),
        (lambda payment: f"x-{payment.id}", "x-p1"),
    ],
)
def test_keys(key: Any, expected: str | None) -> None:
    """One field is its text, several are a canonical list, a function says what it wants."""
    [planned] = plan_of(
        Pipeline("keys", Payment).wait(boundary(Payment, bool, idempotent_on=key, correlate_on=key))
    ).awaits()
    payment = Payment(id="p1", amount=21.5)

    assert expected == planned.key_of(payment)
    assert expected == planned.correlation_of(payment)


@pytest.mark.parametrize("key", ["", " ", 3, "x" * 1_001, "a\0b"])
def test_unusable_keys_are_refused(key: object) -> None:
    """A key goes into indexes and headers."""
    asked = boundary(Payment, bool, idempotent_on=lambda payment: key)
    [planned] = plan_of(Pipeline("keys", Payment).wait(asked)).awaits()

    with pytest.raises(PayloadError, match="idempotent_on gave"):
        planned.key_of(Payment(id="p1"))


def fingerprint_of(request: Any, answer: Any, pipeline: str = "f", **options: Any) -> str:
    built = Pipeline(pipeline, request).wait(boundary(request, answer, **options))
    return next(plan_of(built).awaits()).fingerprint


def test_fingerprints_cover_the_contract_and_nothing_else() -> None:
    """Ids, shape and schemas count; titles, descriptions, order and functions do not."""

    def named(fields: dict[str, Any], doc: str = "") -> Any:
        return type("Ask", (BaseModel,), {"__annotations__": fields, "__doc__": doc})

    plain = named({"a": int, "b": str})
    base = fingerprint_of(plain, bool)

    assert base == fingerprint_of(named({"b": str, "a": int}, "Described."), bool, timeout="2d")
    assert base == fingerprint_of(plain, bool, idempotent_on="a")
    others = [
        fingerprint_of(named({"a": int, "b": int}), bool),
        fingerprint_of(plain, str),
        fingerprint_of(plain, Many[bool]),
        fingerprint_of(plain, bool, pipeline="g"),
        fingerprint_of(plain, bool, id="other"),
        fingerprint_of(plain, bool, project=lambda_with_hints),
    ]
    assert len({base, *others}) == 7


def lambda_with_hints(request: Any, answer: bool, meta: Answer) -> str:
    return meta.actor


def test_fingerprints_stay_what_they_are() -> None:
    """Parked executions of yesterday carry these; a change here holds them all."""
    plan = plan_of(Pipeline("hello", str).wait(boundary(str, bool, "Ship it?")))

    assert (plan.fingerprint, next(plan.awaits()).fingerprint) == (
        "173a05cc1cc7fc99",
        "b066f0bdb932b227",
    )


def test_a_pipeline_is_checked_when_it_is_whole() -> None:
    """Only an app can say that nothing more comes."""
    asked = boundary(Row, Row)
    check_complete(plan_of(Pipeline("p", Row, renamed={"was": "ask"}).wait(asked)))

    with pytest.raises(DefinitionError, match="pipeline 'p' has no step"):
        check_complete(plan_of(Pipeline("p", Row)))
    with pytest.raises(DefinitionError, match="renames 'was' to 'is', which it does not have"):
        check_complete(plan_of(Pipeline("p", Row, renamed={"was": "is"}).wait(asked)))
    with pytest.raises(DefinitionError, match="renames 'price', which it still has"):
        renamed = Pipeline("p", Row, renamed={"price": "ask"})
        check_complete(plan_of(renamed.wait(asked).then(price)))
