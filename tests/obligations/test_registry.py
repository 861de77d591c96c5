"""Declared equals implemented."""

from collections import Counter

import pytest

from tests.obligations.conftest import COVERS, FILES
from tests.obligations.registry import OBLIGATIONS, STORES, Kind, Shape


def test_every_obligation_is_covered_and_every_cover_declared(request: pytest.FixtureRequest):
    """The named test of each obligation was collected for each shape, mode and store; no other."""
    modules = {test.partition("::")[0] for each in OBLIGATIONS for test in each.tests}
    if not modules <= request.config.stash[FILES]:
        pytest.skip("only a part of the obligations was collected")

    declared = {
        (each.name, test, shape, mode, store)
        for each in OBLIGATIONS
        for test in each.tests
        for shape in each.shapes
        for mode in each.modes
        for store in STORES
    }

    assert request.config.stash[COVERS] == declared


def test_the_registry_is_whole():
    """Nine transitions, seven crash points, eight races, three of publications; no name twice."""
    kinds = Counter(each.kind for each in OBLIGATIONS)
    names = [each.name for each in OBLIGATIONS]

    assert kinds[Kind.TRANSITION] >= 9
    assert kinds[Kind.CRASH] >= 7
    assert kinds[Kind.RACE] >= 8
    assert kinds[Kind.PUBLICATION] >= 3
    assert len(Shape) == 7
    assert len(names) == len(set(names))
