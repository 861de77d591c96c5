"""`bide migrate` and `bide doctor`: is everything there that an await needs?"""

import os
from typing import Annotated

import typer

from bide.cli import output
from bide.cli.complaints import CliError, explain, is_expected
from bide.cli.configured import configured
from bide.cli.locate import find_app
from bide.cli.options import AppOption, JsonOption, StoreOption, Target
from bide.cli.process import run
from bide.cli.session import with_service
from bide.runtime.service import Service
from bide.runtime.views import Check
from bide.spi.store import Schema
from bide.stores.address import shown
from bide.web import rendering
from bide.wiring import store_of


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if there is need to.")
    ] = False,
    app: AppOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Bring the store's tables up to date, or make them; forwards only.

    With --store and no --app no app is imported: whoever owns the tables need not have its code.
    """
    address = store if store and not app else find_app(app, store).store
    opened = store_of(address)
    before = run(opened.schema() if check else opened.migrate())
    behind = before.present < before.needed
    if json:
        output.print_json(
            {
                "store": shown(address),
                "schema": before.present if check else before.needed,
                "needed": before.needed,
                "migrated": behind and not check,
            }
        )
    elif not check or before.present == before.needed:
        done = "up to date"
        if behind:
            done = f"brought from schema {before.present} to {before.needed}"
        output.say(output.text(f"{done}: {shown(address)}"))
    if check and before.present != before.needed:
        raise CliError(_differs(shown(address), before))


def _differs(address: str, schema: Schema) -> str:
    what = f"{address} has schema {schema.present} and this release needs {schema.needed}"
    return (
        f"{what}: run bide migrate" if schema.present < schema.needed else f"{what}: upgrade bide"
    )


def doctor(
    probe: Annotated[
        bool, typer.Option("--probe", help="Also ask the addresses that partners answer at.")
    ] = False,
    app: AppOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Check everything that would keep an await from working, and whom this deploy would hold."""
    try:
        checks = [*configured(find_app(app, store).settings, os.environ)]
        checks += with_service(Target(app, store, json=json), _examined, creates=True)
        if probe:
            from bide.cli.probe import probe as look  # brings the HTTP client

            checks += run(look(find_app(app, store)))
    except Exception as error:
        if not is_expected(error):
            raise
        checks = [Check(name="app", ok=False, message=explain(error))]
    broken = [check.name for check in checks if not check.ok and not check.warning]
    if json:
        listed = [rendering.check(check, in_full=True) for check in checks]
        output.print_json({"ok": not broken, "checks": listed})
    else:
        _print(checks)
    if broken:
        raise CliError(f"not ready: {', '.join(broken)}")


def _print(checks: list[Check]) -> None:
    for check in checks:
        mark, style = ("ok  ", "green") if check.ok else ("warn", "yellow")
        if not check.ok and not check.warning:
            mark, style = "FAIL", "bold red"
        line = output.text(mark, style).append(f"  {check.name}: ", style="default")
        output.say(line.append_text(output.text(check.message)))
        if check.hint and not check.ok:
            output.say(output.text(f"      {check.hint}", "dim"))


async def _examined(service: Service) -> list[Check]:
    return await service.examine()
