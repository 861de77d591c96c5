"""Publications on the command line: what `show` says of them, and their dead letters."""

from pathlib import Path

import pytest

from tests.cli.driver import Cli

NOTES = """
from pydantic import BaseModel

from bide import App, Pipeline, Publication, Subscription


class Note(BaseModel):
    key: str
    text: str


def read(note: Note) -> Note:
    return note


noted = Publication("noted", idempotent_on="key")
notes = Pipeline("notes", Note, publishes=noted).then(read)
readers = Pipeline("readers", Note, subscribes=Subscription("noted")).then(read)
app = App(notes, readers)
"""


@pytest.fixture
def bide(cli: Cli, shop: Path) -> Cli:
    """The command line in a folder with an app that publishes."""
    (shop / "shop.py").write_text(NOTES)
    return cli


def published(bide: Cli, text: str) -> str:
    """The id of an execution that has ended and published."""
    execution = bide.submit("notes", f'{{"key": "k", "text": "{text}"}}')
    bide.work(execution)
    return execution


def test_show_names_target_and_source(bide: Cli) -> None:
    """From a source to its target and back, by the ids that `show` prints."""
    source = published(bide, "a")

    [out] = bide("show", source, "--json").json["lineage"]["published"]
    there = bide("show", source).out
    back = bide("show", out["executionId"]).out

    assert f"published noted k: admitted by readers as {out['executionId']}" in joined(there)
    assert f"made of noted k, published by {source} of notes" in joined(back)


def test_a_refused_publication_is_a_dead_letter(bide: Cli) -> None:
    """It is listed and shown with what was published, and says why it is refused again."""
    published(bide, "a")
    source = published(bide, "b")
    [out] = bide("show", source, "--json").json["lineage"]["published"]

    listed = bide("dlq", "ls", "--json").lines
    shown = bide("dlq", "show", out["handoffId"]).out
    again = bide("dlq", "redrive", out["handoffId"])

    assert [(each["deadLetterId"], each["kind"]) for each in listed] == [
        (out["handoffId"], "handoff")
    ]
    assert '"text":"b"' in shown
    assert "handoff-conflict" in again.complaint()


def joined(text: str) -> str:
    """The text as if its lines were as long as it takes."""
    return " ".join(text.split())
