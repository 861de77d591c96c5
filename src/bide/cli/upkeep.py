"""`bide migrate` and `bide doctor`: is everything there that an await needs?"""

from bide.cli import output
from bide.cli.complaints import CliError, explain, is_expected
from bide.cli.locate import find_app
from bide.cli.options import AppOption, JsonOption, StoreOption, Target
from bide.cli.session import with_service
from bide.runtime.service import Service
from bide.runtime.views import Check
from bide.web import rendering


def migrate(app: AppOption = None, store: StoreOption = None, json: JsonOption = False) -> None:
    """Bring the store's schema up to date, or make the store."""
    target = Target(app, store, json=json)
    checks = with_service(target, _checks, creates=True)  # opening the store migrates it
    address = find_app(app, store).store
    said = next((check.message for check in checks if check.name == "store"), "")
    if json:
        output.print_json({"store": address, "migrated": True, "message": said})
    else:
        output.say(output.text(f"up to date: {said or address}"))


def doctor(app: AppOption = None, store: StoreOption = None, json: JsonOption = False) -> None:
    """Check everything that would keep an await from working, and whom this deploy would hold."""
    try:
        checks = with_service(Target(app, store, json=json), _examined, creates=True)
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


async def _checks(service: Service) -> list[Check]:
    return await service.checks()
