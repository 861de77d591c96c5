"""Deploys and assignments in a terminal."""

from pathlib import Path

import pytest

from tests.cli.driver import SHOP, Cli


@pytest.mark.usefixtures("shop")
def test_a_pipeline_is_paused_and_resumed(cli: Cli) -> None:
    """What is paused is listed, shown by doctor and held; then it goes on."""
    execution = cli.submit("doubles", "21")
    assert cli("pause", "doubles").out == "doubles is paused\n"
    paused = [each["pipeline"] for each in cli("pipelines", "--json").lines if each["paused"]]
    assert paused == ["doubles"]
    assert "paused" in cli("pipelines").out
    doctor = cli("doctor")
    assert doctor.code == 0
    assert "pipeline 'doubles' is paused" in doctor.out
    [held] = cli("executions", "--held", "--json").lines
    assert (held["executionId"], held["held"]) == (
        execution, {"reason": "pipeline 'doubles' is paused"},
    )  # fmt: skip

    assert cli("resume", "doubles", "--json").json["paused"] is False
    cli.work(execution)
    assert cli("show", execution, "--json").json["result"] == 42
    assert cli("executions", "--held").out == ""
    assert "no pipeline" in cli("pause", "nothing").complaint()


@pytest.mark.usefixtures("shop")
def test_assigning(cli: Cli) -> None:
    """A question is claimed, given to somebody else and put back; the list says whose it is."""
    question = cli.parked()

    assert cli("assign", question, "ada", "--claim").out == f"{question} is ada's\n"
    assert "is ada's" in cli("assign", question, "bo", "--claim").complaint()
    assert cli("assign", question, "bo", "--json").json["assignee"] == "bo"
    assert "assignee bo" in cli("pending").out
    assert [
        each["interactionId"] for each in cli("pending", "--assignee", "bo", "--json").lines
    ] == [question]
    assert cli("assign", question, "--nobody").out == f"{question} is nobody's\n"
    assert cli("assign", question).code == 2


def test_doctor_says_who_would_be_held_and_release_lets_them_go(cli: Cli, shop: Path) -> None:
    """A deploy that renames an await without saying so is told of what waits there."""
    question = cli.parked()
    execution = question.partition("_")[0]
    (shop / "later.py").write_text(SHOP.replace('Await("Decide"', 'Await("Judge"'))
    at_later = ("--app", "later:app")

    doctor = cli("doctor", *at_later)

    assert doctor.code == 0
    assert "pipeline 'orders': 1 parked at 'decide' would be held" in " ".join(doctor.out.split())
    assert "can go on with everything" in cli("doctor").out
    fingerprints = next(
        each["fingerprints"]
        for each in cli("pipelines", "--json", *at_later).lines
        if each["pipeline"] == "orders"
    )
    assert "no boundary" in cli("release", execution, "--as", "0000", *at_later).complaint()
    released = cli("release", execution, "--as", fingerprints["judge"], "--by", "ada", *at_later)
    assert released.code == 0, released.err
    assert "can go on with everything" in cli("doctor", *at_later).out
    answered = cli("complete", question, "--payload", "-", *at_later, stdin='{"accepted": true}')
    assert answered.code == 0, answered.err
