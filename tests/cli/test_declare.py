"""Files of YAML on the command line: checked, described to editors, and served like an app."""

import json
from pathlib import Path

import pytest

from tests.cli.driver import Cli

FLOW = """\
name: orders
input: shop.Order
steps:
  - call: shop.check
  - name: Decide
    kind: await
    cardinality: ONE_TO_ONE
    input: shop.Order
    output: shop.Verdict
    timeout: 1h
    await: {transport: {type: interaction-api, group: kitchen}}
  - call: shop.write
"""


@pytest.fixture
def flow(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file beside the shop, which its pyproject.toml names."""
    monkeypatch.delenv("BIDE_PACKAGES", raising=False)
    path = shop / "orders.yaml"
    path.write_text(FLOW)
    (shop / "pyproject.toml").write_text(
        '[tool.bide]\napp = "orders.yaml"\npackages = ["shop"]\n', encoding="utf-8"
    )
    return path


def test_a_declared_pipeline_is_used_like_any_other(cli: Cli, flow: Path) -> None:
    """Submit, answer and result: the commands find the file that the project names."""
    submitted = cli("submit", "orders", "--input", "-", "--json", stdin='{"id": 7}').json
    cli.work(submitted["executionId"])
    [question] = cli("pending", "--json").lines
    done = cli("complete", question["interactionId"], "--payload", "-", stdin='{"accepted": true}')

    assert done.code == 0
    assert question["stepId"] == "decide"
    cli.work(submitted["executionId"])
    shown = cli("show", submitted["executionId"], "--json").json
    assert shown["status"] == "SUCCEEDED"


def test_check_says_what_each_file_declares(cli: Cli, flow: Path) -> None:
    """A right file is a line with its counts, and --json has them too."""
    assert cli("check", "orders.yaml").out == "orders.yaml: pipeline 'orders', 2 steps, 1 await\n"
    assert cli("check", "orders.yaml", "--json").lines == [
        {"file": "orders.yaml", "ok": True, "pipeline": "orders", "steps": 2, "awaits": 1}
    ]


def test_check_says_what_is_wrong_with_each_file(cli: Cli, flow: Path) -> None:
    """Every file is looked at; a wrong one is a line with its place, and the exit code is 1."""
    Path("wrong.yaml").write_text(FLOW.replace("timeout", "timout"))

    result = cli("check", "wrong.yaml", "orders.yaml", "none.yaml", "--package", "shop")

    assert result.code == 1
    assert result.out.splitlines() == [
        "wrong.yaml:10:5: 'timout' means nothing here; did you mean 'timeout'?",
        "orders.yaml: pipeline 'orders', 2 steps, 1 await",
        "none.yaml: there is no such file",
    ]
    assert result.err == "bide: 2 of 3 files are not right\n"
    [wrong] = cli("check", "wrong.yaml", "--json").lines
    assert (wrong["ok"], wrong["line"], wrong["column"]) == (False, 10, 5)


def test_a_broken_file_as_the_app_is_one_line(cli: Cli, flow: Path) -> None:
    """Every command says what is wrong with the file, and where, in the words of the loader."""
    flow.write_text(FLOW.replace("shop.write", "shop.wrote"))

    complaint = cli("executions").complaint()

    assert complaint == "orders.yaml:12:5: shop has no 'wrote'; did you mean 'write'?"


@pytest.mark.parametrize(
    ("project", "said"),
    [
        ("", "which packages may a file name things of? set BIDE_PACKAGES=shop, or put"),
        ('packages = "shop"', 'packages under [tool.bide] is no list of texts; write ["shop"]'),
        ("packages = [1]", 'packages under [tool.bide] is no list of texts; write ["shop"]'),
    ],
)
def test_packages_are_said_by_the_project(cli: Cli, flow: Path, project: str, said: str) -> None:
    """Without packages, or with a wrong list of them, the line says what to write."""
    Path("pyproject.toml").write_text(f"[tool.bide]\n{project}\n")

    assert said in cli("check", "orders.yaml").complaint()


def test_packages_of_the_environment_come_first(
    cli: Cli, flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BIDE_PACKAGES is read before the project's list."""
    monkeypatch.setenv("BIDE_PACKAGES", "other, third")

    result = cli("check", "orders.yaml")

    assert "shop.Order is outside of what this app lets files name (other, third)" in result.out


def test_the_schema_is_printed_for_editors(cli: Cli) -> None:
    """What is printed is the committed schema; another name is refused."""
    page = Path(__file__).parent.parent.parent / "docs" / "reference" / "pipeline.schema.json"

    printed = cli("schema", "yaml").out

    assert printed == page.read_text(encoding="utf-8")
    assert json.loads(printed)["$schema"].endswith("2020-12/schema")
    assert cli("schema", "toml").code == 2
