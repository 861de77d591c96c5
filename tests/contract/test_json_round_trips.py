"""One loader for every door: whatever it takes, each store keeps and gives back unchanged."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bide import App, Pipeline
from bide.planning.json_limits import MalformedJson, strict_loads
from bide.settings import Settings


def same(value: Any) -> Any:
    return value


echo = Pipeline("echo", Any).then(same)

#: Texts as a hostile client writes them: escapes of NUL and of halves of pairs among them.
_PIECES = st.sampled_from(
    [
        "\\u0000",
        "\\ud800",
        "\\udc00",
        "\\ud83d\\ude00",
        "\\u007f",
        "\\uffff",
        "é",
        "\U0001f600",
        "a",
    ]
)
_TEXTS = st.lists(_PIECES, max_size=4).map(lambda pieces: '"' + "".join(pieces) + '"')
_NUMBERS = st.one_of(
    st.integers(-(10**66), 10**66).map(str),
    st.sampled_from(
        ["1e308", "1e309", "-0", "-0.0", "5e-324", "NaN", "1E+2", "18446744073709551616"]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
)
_DOCUMENTS = st.recursive(
    st.one_of(_TEXTS, _NUMBERS, st.sampled_from(["null", "true", "false"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: "[" + ",".join(items) + "]"),
        st.lists(st.tuples(_TEXTS, inner), max_size=4).map(
            lambda pairs: "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=12,
)


@pytest.fixture(params=["sqlite", "postgres"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    url = f"sqlite:///{tmp_path / 'bide.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_store")
    async with App(echo, store=url, settings=Settings()).running() as running:
        yield running


async def test_what_is_taken_is_kept(app: App) -> None:
    """A document is refused by the loader, or comes back from the store as the same value, to the
    last digit; no store is the one to refuse it.
    """
    taken: list[Any] = []

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(_DOCUMENTS)
    def collect(text: str) -> None:
        try:
            taken.append(strict_loads(text.encode()))
        except MalformedJson:
            pass

    collect()
    executions = [await app.submit(echo, value) for value in taken]
    results = [await each.result(timeout="60s") for each in executions]

    assert len(taken) > 100
    assert [json.dumps(value) for value in results] == [json.dumps(value) for value in taken]
