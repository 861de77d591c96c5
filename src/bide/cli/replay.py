"""`bide replay`: an execution's life as one document."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bide.cli import output
from bide.cli.complaints import CliError
from bide.cli.options import (
    DEFAULT_TENANT,
    AppOption,
    JsonOption,
    StoreOption,
    Target,
    TenantOption,
)
from bide.cli.session import with_service
from bide.runtime.service import Service


def replay(
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="Its id.")],
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help='Where to write it; "-" is stdout.')
    ] = "-",
    payloads: Annotated[
        bool,
        typer.Option("--payloads", help="With what was submitted, asked and answered."),
    ] = False,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:
    """Export an execution's life as replay JSON, of any size."""

    async def export(service: Service) -> int:
        pieces = await service.replay(tenant, execution, payloads=payloads)
        size = 0
        if out == "-":
            async for piece in pieces:
                size += sys.stdout.write(piece.decode())
            return size
        # Beside it first: what is there under that name is whole.
        partial = Path(f"{out}.part")
        try:
            with partial.open("wb") as file:  # noqa: ASYNC230 - this process does nothing beside it
                async for piece in pieces:
                    size += file.write(piece)
            partial.replace(out)  # noqa: ASYNC240 - this process does nothing beside it
        except OSError as error:
            raise CliError(f"{out}: {error.strerror}") from error
        return size

    size = with_service(Target(app, store, tenant, json), export)
    if out != "-":
        if json:
            output.print_json({"execution": execution, "out": out, "bytes": size})
        else:
            output.say(f"{out}: {size:,} bytes")
