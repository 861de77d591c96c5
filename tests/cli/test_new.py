"""`bide new` as a command: what it says, and which names it refuses."""

from pathlib import Path

import pytest

from bide.scaffold.choices import Choice
from bide.scaffold.project import files_of
from tests.cli.driver import Cli


def test_the_command_says_what_it_wrote(cli: Cli, folder: Path) -> None:
    """It lists the files, and what to do next on stderr; --json has them as data."""
    result = cli("new", "shop")

    assert result.code == 0
    assert set(result.out.splitlines()) == {
        f"shop/{path}" for path in files_of(Choice(name="shop"))
    }
    assert result.err == "next: cd shop && make test\n"
    assert cli("new", "mall", "--json").json["folder"] == "mall"
    assert (folder / "mall" / "Makefile").exists()


BAD_NAMES = {
    "1x": "'1x' is no name of a project: small letters and digits, a letter first,"
    " '-' or '_' between words; such as x",
    "MyShop": "'MyShop' is no name of a project: small letters and digits, a letter first,"
    " '-' or '_' between words; such as my-shop",
    "x y": "'x y' is no name of a project: small letters and digits, a letter first,"
    " '-' or '_' between words; such as x-y",
    "": "'' is no name of a project: small letters and digits, a letter first,"
    " '-' or '_' between words",
    "class": "'class' is a word of Python's own; write class-app, for example",
    "match": "'match' is a word of Python's own; write match-app, for example",
    "json": "'json' is the name of a module that is there already; write json-app, for example",
    "bide": "'bide' is the name of a module that is there already; write bide-app, for example",
    "a/b": "'a/b' is a path; go where the project should be, and name it",
    "..": "'..' is a path; go where the project should be, and name it",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_cannot_be_one_is_refused(cli: Cli, folder: Path, name: str) -> None:
    """One line says which name could be, and nothing is written."""
    result = cli("new", name)

    assert result.code == 2
    assert result.complaint() == BAD_NAMES[name]
    assert list(folder.iterdir()) == []


def test_what_is_there_is_left_alone(cli: Cli, folder: Path) -> None:
    """A folder or a file of that name is refused and not touched."""
    (folder / "shop").mkdir()
    (folder / "mall").write_text("mine")

    for name in ("shop", "mall"):
        complaint = cli("new", name).complaint()
        assert complaint == f"{name} is there already; remove it, or choose another name"
    assert list((folder / "shop").iterdir()) == []
    assert (folder / "mall").read_text() == "mine"
