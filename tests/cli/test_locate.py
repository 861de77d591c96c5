"""Finding the app, and saying in one line why it is not found."""

from pathlib import Path

import pytest

from bide.cli.complaints import CliError
from bide.cli.locate import app_name_here, find_app

PLAIN = "from bide import App, Pipeline\ndef same(x: int) -> int: return x\napp = App(Pipeline('p', int).then(same))\n"


def test_the_working_directory_is_importable_first_of_all(shop: Path) -> None:
    """MODULE:APP is looked up where the user stands."""
    assert [pipeline.name for pipeline in find_app("shop:app").pipelines] == [
        "orders",
        "doubles",
        "picks",
    ]


def test_the_environment_comes_before_the_project(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BIDE_APP wins over pyproject.toml; without it the project's own app is taken."""
    assert app_name_here() == "shop:app"

    monkeypatch.setenv("BIDE_APP", "other:app")

    assert app_name_here() == "other:app"


def test_an_attribute_may_lie_deeper(folder: Path) -> None:
    """MODULE:A.B finds an attribute of an attribute."""
    (folder / "deep_shop.py").write_text(f"{PLAIN}class holder:\n    inner = app\n")

    assert find_app("deep_shop:holder.inner") is find_app("deep_shop:app")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere:app", "no module 'nowhere'"),
        ("nowhere.deeper:app", "no module 'nowhere'"),
        ("shop:ap", "module 'shop' has no 'ap'; it has shop:app"),
        ("shop:orders", "shop:orders is of type Pipeline, not an App; it has shop:app"),
        ("shop", "write MODULE:APP, for example shop:app"),
        ("shop.py:app", "'shop.py' is a file: name its module, shop"),
        (":app", "write MODULE:APP"),
        ("shop:", "write MODULE:APP"),
    ],
)
def test_a_name_that_finds_nothing_says_why(shop: Path, name: str, words: str) -> None:
    """A wrong name is one line that says what there is instead."""
    with pytest.raises(CliError, match=words.replace("(", r"\(")):
        find_app(name)


def test_an_app_that_does_not_import_names_its_line(folder: Path) -> None:
    """An error inside the user's module names file and line, also when an import of its own fails."""
    (folder / "broken_shop.py").write_text("x = 1\ny = undefined\n")
    (folder / "hungry_shop.py").write_text("import there_is_no_such_package\n")

    with pytest.raises(CliError, match=r"NameError.*broken_shop\.py, line 2"):
        find_app("broken_shop:app")
    with pytest.raises(CliError, match=r"there_is_no_such_package.*hungry_shop\.py, line 1"):
        find_app("hungry_shop:app")


def test_an_app_that_leaves_while_imported_is_an_error(folder: Path) -> None:
    """A module that calls exit() does not end the command silently."""
    (folder / "leaving_shop.py").write_text("raise SystemExit(0)\n")

    with pytest.raises(CliError, match="ended with exit code 0"):
        find_app("leaving_shop:app")


def test_no_app_at_all_says_where_to_name_one(folder: Path) -> None:
    """Without any name the line tells all three ways."""
    with pytest.raises(CliError, match=r"--app MODULE:APP, set BIDE_APP.*pyproject\.toml"):
        find_app(None)


@pytest.mark.parametrize("text", ["[tool.bide\n", "[tool.bide]\napp = 3\n", "\xff"])
def test_a_project_file_that_cannot_be_read_is_named(folder: Path, text: str) -> None:
    """A broken pyproject.toml is an error that names it."""
    (folder / "pyproject.toml").write_text(text, encoding="latin-1")

    with pytest.raises(CliError, match=r"pyproject\.toml"):
        app_name_here()
