"""Broken files, and what their authors read: one line each, with a place and what to write.

cd tests/declaring/broken && bide check --package shop *.yaml
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bide import DeclarationError, load

FOLDER = Path(__file__).parent / "broken"

#: What is wrong, by file; each differs from good.yaml in one thing.
MESSAGES = {
    "a-tag": "1:7: the tag '!!python/object/apply:os.system' has no meaning here; leave it out",
    "missing-word": "5:5: step 2: 'timeout' is missing: Until when one interaction may be answered,"
    " as in timeout: PT30M",
    "misspelt-name": "9:5: shop has no 'Decison'; did you mean 'Decision'?",
    "number-without-unit": '10:5: step 2: timeout is the number 30; write its unit: "30s" or "30m"',
    "other-package": "4:5: os.system is outside of what this app lets files name (shop);"
    " wrap it in a function of yours, or add 'os' to packages",
    "secret-in-file": "13:91: Webhook: the header 'Authorization' carries a secret, which does not"
    ' stand in code. Write headers: {"Authorization": {env: PARTNER_KEY}}.',
    "token-left-out": "13:21: webhook with interactionId lets whoever knows an id answer; write"
    " strategy: signedResumeToken, or trustedNetwork: true in transport if only friends can reach"
    " it",
    "unknown-word": "10:5: 'timout' means nothing here; did you mean 'timeout'?",
    "variant-left-over": "14:5: Declined has no step here; write one behind this that takes it,"
    " or let it pass: - keep: shop.Declined",
    "word-twice": "3:1: 'name' stands here twice, first in line 1; keep one",
    "wrong-cardinality": "7:5: MANY_TO_ONE does not fit here: 'check' before it gives one Order;"
    " write cardinality: ONE_TO_ONE",
    "wrong-indent": "10:13: this is no YAML: this line is indented otherwise than those that it"
    " belongs to",
    "wrong-input": "8:5: input is Slip, but 'check' before it gives one Order; write input:"
    " shop.Order, or put a step before it that gives Slip",
}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stand where the author stands, and leave no module behind."""
    monkeypatch.chdir(FOLDER)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    sys.modules.pop("shop", None)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_broken_file_is_refused_in_one_line(name: str) -> None:
    """The message is this one, whole, and the error holds its place as well."""
    with pytest.raises(DeclarationError) as caught:
        load(f"{name}.yaml", packages=["shop"])

    assert str(caught.value) == f"{name}.yaml:{MESSAGES[name]}"
    assert f"{caught.value.line}:{caught.value.column}" == MESSAGES[name].split(": ")[0]


def test_every_broken_file_is_in_the_table() -> None:
    """No file lies there without its message, and without its fault each loads."""
    assert {path.stem for path in FOLDER.glob("*.yaml")} - {"good"} == set(MESSAGES)
    assert load("good.yaml", packages=["shop"]).id == "orders"
