"""What would be published can be installed and run; `make release ARGS=--install` tries each extra."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from scripts.release import HELLO, MODULES, ROOT, build, extras


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source archive, as an index would have it."""
    return build(tmp_path_factory.mktemp("dist"))


def test_the_wheel_has_all_that_the_sources_have(wheel: Path) -> None:
    """Every module, statement and migration is in it, its types are marked, and nothing else is."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("bide/")}
        others = {name.split("/")[0] for name in archive.namelist()} - {"bide"}

    sources = [path for path in (ROOT / "src" / "bide").rglob("*") if path.is_file()]
    kept = [path for path in sources if "__pycache__" not in path.parts]
    assert packed == {path.relative_to(ROOT / "src").as_posix() for path in kept}
    assert "bide/py.typed" in packed
    assert all(name.endswith(".dist-info") for name in others)


def test_it_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Installed into a folder of its own, the program of five lines parks and goes on."""
    place = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", place, wheel]
    subprocess.run([*pip, "--disable-pip-version-check"], check=True)

    done = subprocess.run(
        [sys.executable, "-c", f"{HELLO}\nimport bide; print(bide.__file__)"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(place)


def test_every_extra_is_tried_and_is_in_all() -> None:
    """One that is new gets a line in the release, and comes with `bide[all]`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [whole] = project["optional-dependencies"]["all"]

    assert {*MODULES, "all"} == {*extras()}
    assert whole == f"bide[{','.join(sorted(MODULES))}]"
