"""What is wrong with a pipeline, in the words that its author reads."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from bide import Await, Collect, DefinitionError, Inbox, Many, Pipeline, branch


class InputFile(BaseModel):
    path: str


class Row(BaseModel):
    number: int


class Approved(BaseModel):
    number: int


class Unapproved(BaseModel):
    number: int


class Output(BaseModel):
    status: str


class Opaque: ...


def read(file: InputFile) -> Iterator[Row]:
    yield Row(number=1)


def approved(status: Approved) -> Output:
    return Output(status="approved")


def unapproved(status: Unapproved) -> Output:
    return Output(status="unapproved")


def several(status: Approved) -> Iterator[Output]:
    yield Output(status="approved")


def total(rows: Iterator[Output]) -> int:
    return 0


def total_of_list(rows: list[Output]) -> int:
    return 0


def opaque(row: Row) -> Opaque:
    return Opaque()


def judge(row: Row, answer: Approved, meta: str) -> Output:
    return Output(status=meta)


async def judge_later(row: Row, answer: Approved, meta: object) -> Output:
    return Output(status="")


def late(row: Row) -> Output:
    return Output(status="late")


def ask(request: Any, answer: Any, name: str = "Ask", **options: Any) -> Await[Any, Any, Any]:
    return Await(name, request, answer, via=Inbox(), timeout="1d", **options)


PAYMENTS: Pipeline[Any, Any] = (
    Pipeline("csv-payments", InputFile)
    .then(read)
    .wait(ask(Row, Approved | Unapproved, "Await Payment Provider"))
)
ONE: Pipeline[Any, Any] = Pipeline("one", Row)
STREAM: Pipeline[Any, Any] = Pipeline("stream", Many[Row])
EITHER: Pipeline[Any, Any] = Pipeline("either", Approved | Unapproved)

MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "a variant without a branch": (
        lambda: PAYMENTS.then(approved),
        (
            "pipeline 'csv-payments', step 3 'approved' takes Approved,\n"
            "but 'await-payment-provider' before it gives Approved | Unapproved.\n"
            "  Give Unapproved a branch:   .then(branch(approved).branch(<function taking Unapproved>))\n"
            "  or let it pass:             .then(branch(approved).keep(Unapproved))"
        ),
    ),
    "a branch too few": (
        lambda: PAYMENTS.then(branch(approved)),
        (
            "pipeline 'csv-payments', step 3 'approved': Unapproved has no branch,\n"
            "and 'await-payment-provider' before it gives Approved | Unapproved.\n"
            "  Give it one:      .then(branch(approved).branch(<function taking Unapproved>))\n"
            "  or let it pass:   .then(branch(approved).keep(Unapproved))"
        ),
    ),
    "a branch for something else": (
        lambda: PAYMENTS.then(branch(approved).branch(late)),
        (
            "pipeline 'csv-payments', step 4 'late' is a branch for Row,\n"
            "but 'await-payment-provider' before it gives Approved | Unapproved.\n"
            "  Let it take one of them, or leave it out:   .then(branch(...))"
        ),
    ),
    "a variant taken twice": (
        lambda: PAYMENTS.then(branch(approved).branch(unapproved).keep(Approved)),
        (
            "pipeline 'csv-payments', step 5 'keep(Approved)' takes Approved,\n"
            "which the branch 'approved' takes already. Leave one of the two out, or narrow its type."
        ),
    ),
    "a branch of no union": (
        lambda: ONE.then(branch(late)),
        (
            "pipeline 'one', step 1 'late' divides a union,\n"
            "but the pipeline's input is Row, which has one variant.\n"
            "  Write the step alone:   .then(<function>)"
        ),
    ),
    "an await as a branch of a stream": (
        lambda: PAYMENTS.then(branch(approved).branch(ask(Unapproved, Output))),
        (
            "pipeline 'csv-payments', step 4 'ask' is an await, and a branch after a stream gives one"
            " value an item;\n"
            "here 'await-payment-provider' before it gives a stream of Approved | Unapproved.\n"
            "  Bring the stream to one value first:   .then(<function taking Iterator[...]>)"
        ),
    ),
    "branches that disagree": (
        lambda: EITHER.then(branch(several).branch(unapproved)),
        (
            "pipeline 'either', step 1 'branch': its branches 'several' give a stream,\n"
            "but 'unapproved' one value.\n"
            "  Let all of them yield, or none:   -> Iterator[...]"
        ),
    ),
    "a skipped step": (
        lambda: Pipeline("p", InputFile).then(late),
        (
            "pipeline 'p', step 1 'late' takes Row,\n"
            "but the pipeline's input is InputFile.\n"
            "  Change what it takes:   def late(value: InputFile, ...)\n"
            "  or convert before it:   .then(<function taking InputFile, giving Row>)"
        ),
    ),
    "an await on another type": (
        lambda: Pipeline("p", InputFile).wait(ask(Row, bool)),
        (
            "pipeline 'p', step 1 'ask' takes Row,\n"
            "but the pipeline's input is InputFile.\n"
            "  Change what it takes:   Await(..., InputFile, ...)\n"
            "  or convert before it:   .then(<function taking InputFile, giving Row>)"
        ),
    ),
    "a list where a stream comes": (
        lambda: STREAM.then(late).then(total_of_list),
        (
            "pipeline 'stream', step 2 'total_of_list' takes list[Output], one value,\n"
            "but 'late' before it gives a stream of Output.\n"
            "  Take the whole stream:   Iterator[Output]\n"
            "  or one item at a time:   Output"
        ),
    ),
    "a stream where one value comes": (
        lambda: ONE.then(late).then(total),
        (
            "pipeline 'one', step 2 'total' takes a stream of Output,\n"
            "but 'late' before it gives Output, one value.\n"
            "  Take one value:                    def total(value: Output, ...)\n"
            "  or let the step before it yield:   -> Iterator[Output]"
        ),
    ),
    "a question about a stream that is none": (
        lambda: ONE.wait(ask(Many[Row], bool)),
        (
            "pipeline 'one', step 1 'ask' asks about Many[Row],\n"
            "but the pipeline's input is Row, one value.\n"
            "  Ask about one value:               Await(..., Row, ...)\n"
            "  or let the step before it yield:   -> Iterator[Row]"
        ),
    ),
    "a stream of answers for each item": (
        lambda: STREAM.wait(ask(Row, Many[Output])),
        (
            "pipeline 'stream', step 1 'ask' is answered with Many[Output] for each Row,\n"
            "but the pipeline's input is a stream of Row.\n"
            "  Ask once about all:         Await(..., Many[Row], Many[Output], ...)\n"
            "  or take one list an item:   Await(..., Row, list[Output], ...)"
        ),
    ),
    "an id that is taken": (
        lambda: ONE.wait(ask(Row, Row)).wait(ask(Row, Row)),
        (
            "pipeline 'one', step 2 'ask' has the id 'ask', as step 1 has.\n"
            '  Give this one another:   id="..." in its Await, or @step(id="...") on a second function'
        ),
    ),
    "an await as a step": (
        lambda: ONE.then(ask(Row, Row)),
        "pipeline 'one', step 1 'ask' is an await. Write .wait(...) instead of .then(...).",
    ),
    "a step as an await": (
        lambda: ONE.wait(late),
        (
            "pipeline 'one', step 1 'late' is no await but function. "
            "Write .wait(Await(...)); a function goes into .then(...)."
        ),
    ),
    "no step at all": (
        lambda: ONE.then(None),
        "pipeline 'one', step 1 'NoneType' is no function but NoneType. Write .then(<function>).",
    ),
    "a type without JSON": (
        lambda: ONE.then(opaque),
        (
            "pipeline 'one', step 1 'opaque' gives Opaque, which cannot be stored:\n"
            "  it has no JSON form; make it a model, a dataclass or a TypedDict."
        ),
    ),
    "an input without JSON": (
        lambda: Pipeline("p", Opaque),
        (
            "pipeline 'p' takes Opaque, which cannot be stored:\n"
            "  it has no JSON form; make it a model, a dataclass or a TypedDict."
        ),
    ),
    "a key that is no field": (
        lambda: ONE.wait(ask(Row, bool, idempotent_on="nummer")),
        (
            "pipeline 'one', step 1 'ask': idempotent_on names 'nummer', which Row does not have.\n"
            "  It has: number"
        ),
    ),
    "a field of a text": (
        lambda: Pipeline("p", str).wait(ask(str, bool, correlate_on="number")),
        (
            "pipeline 'p', step 1 'ask': correlate_on names fields, but str has none. "
            "Give a function of the request: lambda request: ..."
        ),
    ),
    "a field of a stream": (
        lambda: STREAM.wait(ask(Many[Row], bool, idempotent_on="number")),
        (
            "pipeline 'stream', step 1 'ask': idempotent_on names fields, but the request is Many[Row]."
            " Give a function of the stream: lambda items: ..."
        ),
    ),
    "items of one question": (
        lambda: ONE.wait(ask(Row, bool, items=Collect())),
        (
            "pipeline 'one', step 1 'ask': items is for one question an item of a stream,\n"
            "but the pipeline's input is Row, and this await asks once. Leave items out."
        ),
    ),
    "a projection without hints": (
        lambda: ONE.wait(ask(Row, Approved, project=lambda *_: 1)),
        (
            "pipeline 'one', step 1 'ask': project does not say what it gives. "
            "Write a function with hints: def project(request, answer, meta: Answer) -> <Type>"
        ),
    ),
    "a projection of something else": (
        lambda: ONE.wait(ask(Row, Approved, project=judge)),
        "pipeline 'one', step 1 'ask': project takes str,\nbut it is called with Answer.",
    ),
    "a projection that waits": (
        lambda: ONE.wait(ask(Row, Approved, project=judge_later)),
        (
            "pipeline 'one', step 1 'ask': project is async, but it is called inside a commit and must "
            "be pure. Make it a `def`."
        ),
    ),
    "a projection of two arguments": (
        lambda: ONE.wait(ask(Row, Approved, project=lambda row, answer: 1)),
        "pipeline 'one', step 1 'ask': project is called with 3 arguments, and takes (row, answer).",
    ),
    "an outcome of another type": (
        lambda: ONE.wait(ask(Row, Approved, on_timeout=late)),
        (
            "pipeline 'one', step 1 'ask': on_timeout gives Output,\n"
            "but the next step takes Approved.\n"
            "  Let it give that: -> Approved"
        ),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_told_with_the_line_to_write(mistake: str) -> None:
    """The message names pipeline, step, both types and what to write instead."""
    make, expected = MISTAKES[mistake]

    with pytest.raises(DefinitionError) as caught:
        make()

    assert expected == str(caught.value)
