"""The JSON Schema says of files what the loader says."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from bide.declaring.vocabulary import json_schema
from tests.declaring.test_broken import FOLDER, MESSAGES
from tests.processes import ROOT

#: Broken in their words, which a schema sees; the others are broken in what the words mean.
SEEN = {"missing-word", "number-without-unit", "unknown-word"}


def holds(document: Any) -> bool:
    return jsonschema_rs.validator_for(json_schema()).is_valid(document)


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_schema_is_one() -> None:
    """It is a valid schema, and JSON."""
    assert jsonschema_rs.meta.is_valid(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


@pytest.mark.parametrize(
    "path", [*ROOT.glob("examples/*/*.yaml"), FOLDER / "good.yaml"], ids=lambda path: path.stem
)
def test_the_schema_takes_what_loads(path: Path) -> None:
    """Files that load are valid by the schema."""
    assert holds(document(path))


@pytest.mark.parametrize("name", sorted(MESSAGES.keys() - {"a-tag", "wrong-indent"}))
def test_the_schema_refuses_wrong_words(name: str) -> None:
    """Of the broken files, it refuses those whose words are wrong, and only those."""
    assert holds(document(FOLDER / f"{name}.yaml")) is (name not in SEEN)


def test_no_word_may_be_empty() -> None:
    """A key without a value is refused by the schema, as the loader refuses it."""
    good = document(FOLDER / "good.yaml")

    assert not holds(good | {"many": None})
    assert not holds(good | {"renamed": None})
