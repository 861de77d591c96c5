"""`explore`: nothing is found in what is right, and whatever is planted is, with a line to repeat it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bide import (
    App,
    Await,
    Context,
    Inbox,
    Pipeline,
    Publication,
    Subscription,
    Transaction,
    Webhook,
    branch,
)
from bide.engine import ending, redriving, rules, running, settling, waiting
from bide.engine.moves import Admit, Outcome, Submit, Submitted
from bide.engine.submitting import decide_submit
from bide.model.records import Execution, replace
from bide.model.status import ExecutionStatus
from bide.runtime.committer import Committer
from bide.testing import Simulation, explore
from bide.testing.exploration import Scenario, Variation
from bide.testing.fate import Mishap
from examples import csv_payments
from examples.csv_payments import asking, over_kafka
from examples.csv_payments.messages import (
    ApprovedPaymentOutput,
    CsvPaymentsInputFile,
    PaymentOutput,
    PaymentRecord,
    UnapprovedPaymentOutput,
)
from examples.csv_payments.steps import (
    finalize_payment_output,
    process_approved_payment_status,
    process_csv_payments_input,
    process_unapproved_payment_status,
)
from examples.restaurant_approval import app as restaurant
from examples.restaurant_approval import decide, orders
from examples.restaurant_approval.messages import (
    PendingRestaurantApproval,
    PlaceRestaurantOrderRequest,
    ValidatedRestaurantOrderRequest,
)
from examples.restaurant_approval.steps import finalize_restaurant_decision, validate_order_request
from tests.obligations.registry import Shape
from tests.obligations.world import answer_to, input_of, pipeline_of, result_of
from tests.simulation.flows import ORDER, approved, approved_once, paid

REPEAT = re.compile(r'; repeat: explore\(app, (\w+), only="(\d+:[bl]?\d+:(?:d1|d2|r))"\)$')


def found(app: App, scenario: Scenario) -> str:
    """The line of the first finding, which says the same when it is repeated by what it says."""
    with pytest.raises(AssertionError) as first:
        explore(app, scenario)
    line = str(first.value)
    match = REPEAT.search(line)
    assert match is not None, line
    assert match[1] == scenario.__name__
    assert "\n" not in line
    with pytest.raises(AssertionError) as second:
        explore(app, scenario, only=match[2])
    assert str(second.value) == line
    return line


# --- what is right ------------------------------------------------------------------------------


def test_the_restaurant_stands_it() -> None:
    """Every step runs again somewhere, at no commit does it matter."""
    explored = explore(restaurant, approved_once)

    assert explored.commits == 4
    assert explored.runs > 60
    assert set(explored.repeated) == {
        "validate-order-request", "create-pending-approval", "finalize-restaurant-decision",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("example", [csv_payments, over_kafka], ids=["inbox", "kafka"])
def test_the_payments_stand_it(example: Any, tmp_path: Path) -> None:
    """So it is with a stream whose answers come backwards, and a step that writes a file."""
    scenario = paid(tmp_path, rows=3, pipeline=example.payments)

    explored = explore(example.app, scenario, seeds=[0])

    assert explored.commits > 8
    assert set(explored.repeated) == {
        "process-csv-payments-input", "process-approved-payment-status",
        "process-unapproved-payment-status", "finalize-payment-output",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("shape", Shape)
def test_every_shape_of_await_stands_it(shape: Shape) -> None:
    """Whatever an await asks and takes, one question or a stream, one after another or none."""
    flow = pipeline_of(shape)

    async def answered(sim: Simulation) -> None:
        execution = await sim.submit(flow, input_of(shape), idempotency_key="the one")
        while questions := await sim.pending():
            for question in reversed(questions):
                await sim.complete(question, answer_to(shape, question), actor="ada")
        assert json.dumps(await execution.result()).encode() == result_of(shape)

    assert explore(App(flow), answered).runs > 40


async def test_it_runs_where_an_event_loop_runs() -> None:
    """A plain function, also when it is called from async code."""
    assert explore(restaurant, approved_once, only="1:2:d2").runs == 2


ring = Await("Ring", str, str, via=Webhook("https://partner.example/rings"), timeout="10m")
ringing = Pipeline("ringing", str).wait(ring)


async def rung(sim: Simulation) -> int:
    """Somebody is rung up and answers."""
    execution = await sim.submit(ringing, "hello", idempotency_key="one")
    [question] = await execution.parked(ring, timeout="1m")
    await sim.complete(question, "hi")
    assert await execution.result() == "hi"
    return len({each.interaction_id for each in sim.sent})


def test_what_is_sent_again_is_one_request() -> None:
    """A dispatcher dies at each of its commits, and the partner knows the repeat by its id."""
    explored = explore(App(ringing), rung)

    assert explored.repeated == {}
    assert explored.commits == 6


async def book(cents: int, tx: Transaction) -> int:
    """Enter a booking in the commit that parks the execution; give how many there are."""
    await tx.execute("create table if not exists bookings (cents integer not null)")
    await tx.execute("insert into bookings values ($1)", cents)
    return len(await tx.fetch("select cents from bookings"))


def test_a_transactional_step_stands_it() -> None:
    """What it writes in its commit is there once, wherever the process dies."""
    confirm = Await("Confirm", int, bool, via=Inbox(), timeout="1d")
    bookings = Pipeline("bookings", int).then(book).wait(confirm)

    async def booked_once(sim: Simulation) -> None:
        execution = await sim.submit(bookings, 7, idempotency_key="one")
        [question] = await sim.pending(confirm)
        assert question.request == 1
        await sim.complete(question, answer=True)
        assert await execution.result() is True

    assert explore(App(bookings), booked_once).repeated == {"book": 2}


def doubled(number: int) -> int:
    return 2 * number


def named(number: int, ctx: Context) -> str:
    """Give what holds the execution's id, which has to stay the same."""
    return f"{number} of {ctx.execution_id}"


def test_what_is_handed_on_stands_it() -> None:
    """A publication makes one execution, under one id, wherever the process dies."""
    counted = Publication("counted", idempotent_on=str)
    counts = Pipeline("counts", int, publishes=counted).then(doubled)
    names = Pipeline("names", int, subscribes=Subscription("counted")).then(named)

    async def counted_once(sim: Simulation) -> None:
        execution = await sim.submit(counts, 7, idempotency_key="one")
        assert await execution.result() == 14
        assert sum((await sim.service.counts("default", "names")).values()) == 1

    explored = explore(App(counts, names), counted_once)

    assert [(end.pipeline, end.status) for end in explored.ends] == [
        ("counts", "SUCCEEDED"), ("names", "SUCCEEDED"),
    ]  # fmt: skip
    assert explored.repeated == {"doubled": 2, "named": 2}


# --- steps that are not idempotent --------------------------------------------------------------


def create_pending_approval(order: ValidatedRestaurantOrderRequest) -> PendingRestaurantApproval:
    """Planted: another id each time it runs."""
    return PendingRestaurantApproval(
        order_id=uuid4(),
        created_at=order.validated_at,
        **order.model_dump(exclude={"validated_at"}),
    )


def test_a_step_that_makes_another_id_each_time_is_named() -> None:
    """The order's id is a new one in the second run of the step."""
    careless = (
        Pipeline("restaurant-approval", PlaceRestaurantOrderRequest)
        .then(validate_order_request)
        .then(create_pending_approval)
        .wait(decide)
        .then(finalize_restaurant_decision)
    )

    async def approved_carelessly(sim: Simulation) -> None:
        await approved(sim, careless)

    line = found(App(careless), approved_carelessly)

    assert line.startswith("step 'create-pending-approval' is not idempotent, found with seed 0")


def read_payments(file: CsvPaymentsInputFile) -> Iterator[PaymentRecord]:
    """Planted: ids that are not of the row."""
    for record in process_csv_payments_input(file):
        yield record.model_copy(update={"id": uuid4()})


def append_payment_output(
    rows: Iterator[ApprovedPaymentOutput | UnapprovedPaymentOutput],
) -> Iterator[PaymentOutput]:
    """Planted: rows go straight into the output, behind those of an earlier run."""
    for row in rows:
        source = row.csv_payments_input_file_path
        target = source.parent / row.csv_payments_output_filename
        header = "" if target.exists() else "header\n"
        with target.open("a", encoding="utf-8") as out:
            out.write(f"{header}{row.csv_id}\n")
        relative = {"csv_payments_input_file_path": source.name}
        yield PaymentOutput.model_validate(row.model_dump() | relative)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (read_payments, finalize_payment_output, "step 'read-payments' is not idempotent"),
        (process_csv_payments_input, append_payment_output, "'append-payment-output'"),
    ],
)  # fmt: skip
def test_careless_payments_are_named(first: Any, last: Any, expected: str, tmp_path: Path) -> None:
    """By what it gives, or as what ran again where the scenario's own check failed."""
    careless = (
        Pipeline("csv-payments", CsvPaymentsInputFile)
        .then(first)
        .wait(asking(Inbox(group="payment-provider")))
        .then(branch(process_approved_payment_status).branch(process_unapproved_payment_status))
        .then(last)
    )

    line = found(App(careless), paid(tmp_path, rows=3, pipeline=careless))

    assert expected in line


# --- a scenario that is not careful -------------------------------------------------------------


def test_a_submission_without_a_key_is_found() -> None:
    """Who asks again after a crash makes a second order."""

    async def ordered_without_a_key(sim: Simulation) -> None:
        await sim.submit(orders, ORDER)

    line = found(restaurant, ordered_without_a_key)

    assert "crash after commit 1 (submit): there are 2 executions and not 1;" in line


def test_what_fails_by_itself_is_raised_as_it_is() -> None:
    """A scenario that fails when nothing befalls it has nothing to do with crashes."""

    async def wrong(sim: Simulation) -> None:
        raise LookupError("no such order")

    with pytest.raises(LookupError, match="no such order"):
        explore(restaurant, wrong)


# --- planted bugs of the engine -----------------------------------------------------------------


def test_a_missing_fence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose lease others have writes nevertheless."""

    def holds(execution: Execution | None, fence: int) -> bool:
        return execution is not None and execution.status is ExecutionStatus.RUNNING

    for module in (ending, redriving, running, settling, waiting):
        monkeypatch.setattr(module, "holds", holds)

    line = found(restaurant, approved_once)

    assert "lease lost before commit 2 (park)" in line
    assert "a process that had lost its lease was let write (park)" in line


def test_an_acknowledgement_before_the_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission is told to be stored, the process dies, and it is not."""

    async def commit(self: Committer, move: Any) -> Outcome:
        if isinstance(move, Submit):
            self.add((move,), lambda _: None)
            return Submitted(move.execution, duplicate=False, created_at=0)
        return (await self._queued((move,)))[0]

    monkeypatch.setattr(Committer, "commit", commit)

    assert "crash before commit 1 (submit)" in found(restaurant, approved_once)


def test_a_submit_key_that_nobody_compares_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same key makes a second execution."""

    def forgetful(move: Submit, taken: Any, known: Any, now: int) -> Any:
        return decide_submit(replace(move, key=None), None, known, now)

    rule = rules.RULES[Submit]
    monkeypatch.setitem(
        rules.RULES, Submit, rule._replace(decide=lambda move, rows, now: forgetful(
            move, None, rows.executions.get(move.execution), now)),
    )  # fmt: skip

    assert "answer delivered twice" in found(restaurant, approved_once)


def test_an_answer_that_nobody_compares_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answer again is a conflict with itself."""
    decide_rule = rules.RULES[Admit]

    def forgetful(move: Admit, rows: Any, now: int) -> Any:
        return decide_rule.decide(replace(move, digest=b"another" + bytes([now % 256])), rows, now)

    monkeypatch.setitem(rules.RULES, Admit, decide_rule._replace(decide=forgetful))

    line = found(restaurant, approved_once)

    assert "(admit)" in line or "answer delivered twice" in line


# --- naming a variation -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "variation"),
    [
        ("7:4:d2", Variation(7, Mishap(4, "after"), "twice")),
        ("0:b12:d1", Variation(0, Mishap(12, "before"))),
        ("1:l3:r", Variation(1, Mishap(3, "late"), "reordered")),
        ("3:0:r", Variation(3, None, "reordered")),
    ],
)
def test_a_variation_is_what_it_is_written_as(written: str, variation: Variation) -> None:
    """Its written form is read back."""
    assert Variation.read(written) == variation
    assert str(variation) == written


@pytest.mark.parametrize("only", ["", "7", "7:4", "7:x4:d2", "7:4:d3", "7:4:d2 "])
def test_what_is_no_variation_is_refused(only: str) -> None:
    """In a line that shows one."""
    with pytest.raises(ValueError, match='copy one from a failure: "7:4:d2"'):
        explore(restaurant, approved_once, only=only)


def test_a_commit_that_is_never_reached_is_refused() -> None:
    """Rather than passed, when the scenario has changed since."""
    with pytest.raises(ValueError, match="that run has 4 commits"):
        explore(restaurant, approved_once, only="0:99:d1")
