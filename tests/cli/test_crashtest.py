"""`bide crashtest`: what it says of careful and of careless pipelines."""

from pathlib import Path

import pytest

from tests.cli.driver import Cli

CARELESS = """
from uuid import uuid4

from bide import App, Await, Context, Inbox, Pipeline

spent: list[str] = []


def charge(cents: int, ctx: Context) -> str:
    spent.append(ctx.idempotency_key)
    return f"{cents} cents, {len(spent)}"


def number(cents: int) -> str:
    return str(uuid4())


confirm = Await("Confirm", str, bool, via=Inbox(), timeout="1d")
charges = Pipeline("charges", int).then(charge).wait(confirm)
numbers = Pipeline("numbers", int).then(number)
app = App(charges, numbers)


def yes(request: str) -> bool:
    assert "cents" in request
    return True
"""


@pytest.fixture
def order(shop: Path) -> list[str]:
    """An order of the shop, as options."""
    (shop / "order.json").write_text('{"id": 1}')
    (shop / "yes.json").write_text('{"accepted": true}')
    return ["crashtest", "orders", "--input", "order.json"]


@pytest.fixture
def careless(folder: Path) -> list[str]:
    """A pipeline with a step that does more each time, as options."""
    (folder / "careless.py").write_text(CARELESS)
    (folder / "cents.json").write_text("7")
    return ["crashtest", "charges", "--app", "careless:app", "--input", "cents.json"]


def test_a_careful_pipeline_stands_it(cli: Cli, order: list[str]) -> None:
    """Its steps ran more than once, and every run came to the same end."""
    done = cli(*order, "--answer", "decide=yes.json")

    assert done.code == 0, done.err
    assert done.out.splitlines()[-3:-1] == [
        "check            2  yes",
        "write            2  yes",
    ]
    assert done.out.splitlines()[-1].endswith("commits, the same end in all of them: SUCCEEDED")


def test_in_json(cli: Cli, order: list[str]) -> None:
    """One document says the same."""
    said = cli(*order, "--answer", "Decide=yes.json", "--json").json

    assert said["runs"] > 40
    assert said.pop("runs") is not None
    assert said == {
        "pipeline": "orders",
        "commits": 4,
        "executions": [{"status": "SUCCEEDED", "errorCode": None}],
        "resultsEqual": True,
        "steps": [
            {"stepId": "check", "ranAtMost": 2, "idempotent": True},
            {"stepId": "write", "ranAtMost": 2, "idempotent": True},
        ],
        "findings": [],
    }


def test_what_nobody_answers_comes_to_its_deadline(cli: Cli, order: list[str]) -> None:
    """In every run, and a step that never ran is said to be nothing."""
    said = cli(*order, "--json").json

    assert said["executions"] == [{"status": "FAILED", "errorCode": "await-timed-out"}]
    assert said["resultsEqual"] is True
    assert said["steps"][1] == {"stepId": "write", "ranAtMost": 0, "idempotent": None}


def test_a_careless_step_is_named(cli: Cli, careless: list[str]) -> None:
    """The exit code says that something is wrong, the line what, and how to see it again."""
    done = cli(*careless, "--answer", "confirm=careless:yes")

    assert done.code == 1
    [row] = [line for line in done.out.splitlines() if line.startswith("charge")]
    assert row.split() == ["charge", "2", "no"]
    assert done.err.startswith("bide: step 'charge' is not idempotent, found with seed 0, ")
    variation = done.err.rsplit(" ", 1)[1].strip()
    again = cli(*careless, "--answer", "confirm=careless:yes", "--only", variation, "--json")
    assert again.code == 1
    assert again.json["runs"] == 2
    assert {finding["variation"] for finding in again.json["findings"]} == {variation}
    assert again.json["findings"][0]["stepId"] == "charge"


def test_results_that_differ_are_said(cli: Cli, careless: list[str], folder: Path) -> None:
    """The last step's output is the result, so that is another one as well."""
    careless[1] = "numbers"
    done = cli(*careless)

    assert done.code == 1
    assert "commits, not the same end: SUCCEEDED" in done.out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--answer", "foo=yes.json"], "there is no await 'foo' in 'orders'; it has: decide"),
        (["--answer", "decide"], "--answer 'decide': write decide=FILE"),
        (["--answer", "decide=no.json"], "no.json: No such file or directory"),
        (["--answer", "decide=shop:maybe"], "--answer: module 'shop' has no function 'maybe'"),
        (["--answer", "decide=shed:yes"], "--answer: importing 'shed': No module named 'shed'"),
        (["--answer", "decide=order.json"], "the value does not fit Verdict"),
        (["--only", "soon"], "only='soon' is no variation"),
        (["--only", "0:99:d1"], "that run has "),
    ],
)
def test_mistakes_are_one_line(
    cli: Cli, order: list[str], options: list[str], complaint: str
) -> None:
    """Each says what is wrong with the command or its files."""
    assert complaint in cli(*order, *options).complaint()
