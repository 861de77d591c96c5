"""`bide graph` as a command: which pipeline, in which form, to where."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.cli.driver import Cli


def test_mermaid_goes_to_stdout_and_svg_to_its_file(cli: Cli, shop: Path) -> None:
    """The file's ending says the form; without a file it is Mermaid."""
    printed = cli("graph", "orders")
    written = cli("graph", "orders", "--out", "orders.svg")

    assert printed.out.startswith("flowchart TD\n")
    assert "interaction-api, group kitchen" in printed.out
    assert (written.code, written.out, written.err) == (0, "", "wrote orders.svg\n")
    assert ET.parse(shop / "orders.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert cli("graph", "orders", "--out", "orders.mmd").code == 0
    assert (shop / "orders.mmd").read_text() == printed.out
    assert cli("graph", "orders", "--format", "svg").out == (shop / "orders.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there is no pipeline 'nothing'; the app has: orders, doubles, picks"),
        ([], "which pipeline? the app has: orders, doubles, picks"),
        (["orders", "--out", "orders.png"], "'orders.png' does not say how to draw: name it .svg"),
        (["orders", "--out", "no/orders.svg"], "no/orders.svg: No such file or directory"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    cli: Cli, shop: Path, arguments: list[str], said: str
) -> None:
    """A wrong pipeline, ending or folder is said with what there is."""
    assert said in cli("graph", *arguments).complaint()


def test_no_store_is_opened(cli: Cli, shop: Path) -> None:
    """A picture makes no database."""
    cli("graph", "orders")

    assert not (shop / "bide.db").exists()
