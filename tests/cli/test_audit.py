"""`bide audit`: what was decided on the command line is told by the operating system's user."""

import getpass

import pytest

from tests.cli.driver import Cli


@pytest.mark.usefixtures("shop")
def test_decisions_of_the_command_line_are_audited(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers, assignments and cancellations, with the user's name and whom they named."""
    monkeypatch.setattr(getpass, "getuser", lambda: "grace")
    first, second = cli.parked(), cli.parked()
    cli("complete", first, "--payload", "-", "--actor", "ada", stdin='{"accepted": true}')
    cli("assign", second, "bob")
    cli("cancel", second.rsplit("_", 2)[0], "--reason", "closed")
    entries = cli("audit", "--json").lines
    shown = cli("audit").out

    assert [(one["deed"], one["actor"], one["outcome"]) for one in reversed(entries)] == [
        ("complete", "ada", "applied"), ("assign", "grace", "done"), ("cancel", "grace", "done"),
    ]  # fmt: skip
    assert {one["credential"] for one in entries} == {"os-user:grace"}
    assert "os-user:grace" in shown
    assert "closed" in shown
    [only] = cli("audit", first.rsplit("_", 2)[0], "--json").lines
    assert only["interactionId"] == first


@pytest.mark.usefixtures("shop")
def test_an_answer_without_an_actor_is_the_users(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever typed it decided it; a user without a name is told by number."""

    def nameless() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr(getpass, "getuser", nameless)
    question = cli.parked()
    cli("complete", question, "--payload", "-", stdin='{"accepted": true}')
    [entry] = cli("audit", "--json").lines

    assert entry["actor"].startswith("uid ")


@pytest.mark.usefixtures("shop")
def test_nothing_to_tell(cli: Cli) -> None:
    """An empty audit says so, on stderr."""
    cli.parked()
    looked = cli("audit")

    assert (looked.code, looked.out) == (0, "")
    assert "nothing was decided" in looked.err
