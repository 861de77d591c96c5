"""`bide new`: a project that runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bide.cli import output
from bide.cli.complaints import USAGE, CliError
from bide.cli.options import JsonOption
from bide.errors import DefinitionError
from bide.scaffold import project
from bide.scaffold.choices import Choice, check_name


class Via(StrEnum):
    """How questions leave."""

    INBOX = "inbox"
    WEBHOOK = "webhook"
    KAFKA = "kafka"


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The folder, and the package in it.")],
    via: Annotated[
        Via, typer.Option("--via", help="Who answers: people, or a partner by webhook or broker.")
    ] = Via.INBOX,
    yaml: Annotated[
        bool, typer.Option("--yaml", help="Declare the pipeline in YAML, and not in code.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make a project that runs, in a folder of its own: types, steps, one await, and their tests."""
    try:
        choice = Choice(name=check_name(name), via=via.value, yaml=yaml)
        written = project.write(choice, Path())
    except DefinitionError as error:
        raise CliError(str(error), exit_code=USAGE) from error
    if json:
        output.print_json({"folder": name, "files": [path.as_posix() for path in written]})
        return
    for path in written:
        output.say(path.as_posix())
    output.remark(f"next: cd {name} && make test")
