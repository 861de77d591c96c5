"""A process that is killed after any of its commits leaves what another one needs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.obligations.registry import Shape
from tests.obligations.world import ITEMS, result_of

ROOT = Path(__file__).parents[2]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("shape", [Shape.SCALAR, Shape.STREAM, Shape.SEQUENTIAL])
def test_a_kill_after_every_commit(shape: Shape, tmp_path: Path) -> None:
    """After each kill the flow ends as it does without one: one execution, nothing asked twice."""
    command = [sys.executable, "-m", "tests.integration.mortal", str(tmp_path), shape.value]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    asked = {Shape.SCALAR: 1, Shape.STREAM: ITEMS, Shape.SEQUENTIAL: 2}[shape]
    assert [line.pop("killed") for line in lines] == [True] * (len(lines) - 1) + [False]
    assert len(lines) > 3
    for line in lines:
        assert line == {
            "result": json.loads(result_of(shape)),
            "executions": 1,
            "interactions": asked,
            "repeated": 0,
        }
