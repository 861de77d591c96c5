"""`bide replay` and `bide show --follow`."""

import json
from pathlib import Path

from tests.cli.driver import Cli


def _done(cli: Cli) -> str:
    """A finished execution."""
    execution = cli.submit("doubles", "21")
    cli.work(execution)
    return execution


def test_replay_into_a_file(cli: Cli, shop: Path):
    """The document is written whole, under its name and no other."""
    execution = _done(cli)

    done = cli("replay", execution, "--out", "life.json")

    document = json.loads((shop / "life.json").read_text())
    assert done.code == 0
    assert document["schema"] == "bide.replay/1"
    assert document["execution"]["executionId"] == execution
    assert "input" not in document["execution"]
    assert not (shop / "life.json.part").exists()


def test_replay_to_stdout(cli: Cli, shop: Path):
    """Without a file the document goes to stdout, with payloads when asked for."""
    document = cli("replay", _done(cli), "--payloads").json

    assert document["execution"]["input"] == 21
    assert document["execution"]["result"] == 42


def test_replay_of_nothing(cli: Cli, shop: Path):
    """An unknown execution and a folder that is not there are one line each."""
    execution = _done(cli)

    assert "no execution" in cli("replay", "nope").complaint()
    assert "No such file" in cli("replay", execution, "--out", "no/life.json").complaint()


def test_follow_what_has_ended(cli: Cli, shop: Path):
    """Following tells every fact, a line each, and ends with the terminal one."""
    execution = _done(cli)

    lines = cli("show", execution, "--follow").out.splitlines()
    facts = cli("show", execution, "--follow", "--json").lines

    assert len(lines) == len(facts)
    assert "submitted" in lines[0]
    assert "succeeded" in lines[-1]
    assert [fact["version"] for fact in facts] == [*range(1, len(facts) + 1)]
