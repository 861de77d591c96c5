"""The options that commands share, and the value that they come to."""

from dataclasses import dataclass
from typing import Annotated

import typer

#: The help panel of options that commands share.
COMMON = "Everywhere"

AppArgument = Annotated[
    str | None,
    typer.Argument(metavar="[MODULE:APP]", help="The app, as --app.", show_default=False),
]
AppOption = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:APP",
        help=(
            "The app, or a file of YAML; else BIDE_APP, else app under [tool.bide] in"
            " ./pyproject.toml."
        ),
        show_default=False,
        rich_help_panel=COMMON,
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help=(
            "sqlite:///relative.db, sqlite:////absolute.db, postgresql://user@host/database or"
            " memory://; else the app's own."
        ),
        show_default=False,
        rich_help_panel=COMMON,
    ),
]
TenantOption = Annotated[
    str,
    typer.Option("--tenant", metavar="NAME", help="Whose rows.", rich_help_panel=COMMON),
]
MigrateOption = Annotated[
    bool,
    typer.Option("--migrate", help="Run bide migrate first; several at once take turns."),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON document (a list: one a line) on stdout, and nothing else.",
        rich_help_panel=COMMON,
    ),
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=1000, help="At most so many.", metavar="N")
]
PipelineOption = Annotated[
    str | None,
    typer.Option("--pipeline", metavar="NAME", help="Of this pipeline.", show_default=False),
]

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Target:
    """Which app, in which store, for which tenant, and who reads what comes out."""

    app: str | None = None
    store: str | None = None
    tenant: str = DEFAULT_TENANT
    json: bool = False
