"""`bide check` and `bide schema`: files that declare pipelines, before anything runs."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from bide import load
from bide.cli import output
from bide.cli.complaints import CliError, one_line
from bide.cli.locate import make_here_importable, packages_here
from bide.cli.options import JsonOption
from bide.errors import DeclarationError
from bide.planning.pipeline import plan_of
from bide.planning.plan import Plan


class Vocabulary(StrEnum):
    """What there is a schema of."""

    YAML = "yaml"


def check(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files of YAML.", show_default=False)
    ],
    package: Annotated[
        list[str] | None,
        typer.Option(
            "--package",
            metavar="NAME",
            help=(
                "A package that files may name things of, several times for several; else"
                " BIDE_PACKAGES, else packages under [tool.bide] in ./pyproject.toml."
            ),
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Load each file and say what it declares, or what is wrong with it; nothing runs."""
    make_here_importable()
    packages = package or packages_here()
    wrong = 0
    for file in files:
        try:
            plan = plan_of(load(file, packages=packages))
        except DeclarationError as error:
            wrong += 1
            _say_wrong(error, json=json)
        else:
            _say_right(file, plan, json=json)
    if wrong:
        one = len(files) == 1
        raise CliError(
            "the file is not right" if one else f"{wrong} of {len(files)} files are not right"
        )


def schema(
    of: Annotated[Vocabulary, typer.Argument(metavar="yaml", help="What it describes.")],
) -> None:
    """Print the JSON Schema of the words that files of YAML may use, for editors."""
    from bide.declaring.vocabulary import schema_text

    assert of is Vocabulary.YAML, "there is no other"
    sys.stdout.write(schema_text())


def _say_right(file: str, plan: Plan, *, json: bool) -> None:
    awaits = len(list(plan.awaits()))
    steps = len(plan.positions) - awaits
    if json:
        found = {"file": file, "ok": True, "pipeline": plan.pipeline}
        output.print_lines([{**found, "steps": steps, "awaits": awaits}])
        return
    words = f"{_count(steps, 'step')}, {_count(awaits, 'await')}"
    output.say(output.text(f"{file}: pipeline {plan.pipeline!r}, {words}"))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _say_wrong(error: DeclarationError, *, json: bool) -> None:
    if json:
        found = {"file": error.file, "ok": False, "line": error.line, "column": error.column}
        output.print_lines([{**found, "message": one_line(str(error))}])
    else:
        output.say(output.text(one_line(str(error))))
