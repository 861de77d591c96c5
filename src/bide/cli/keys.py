"""`bide keys`: the keys that tokens are signed with, which no command prints; and API keys, each of
which is printed when it is made, and never again.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from bide.authoring.durations import duration_ms
from bide.cli import output
from bide.cli.complaints import USAGE, CliError
from bide.cli.options import DEFAULT_TENANT, JsonOption, TenantOption
from bide.errors import DefinitionError
from bide.runtime.clock import system_clock
from bide.security.apikeys import NO_KEYS, ApiKey, ApiKeys
from bide.security.files import read_key_file, write_key_file
from bide.security.keyring import Keyring, new_key
from bide.settings import Settings

FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", show_default=False, dir_okay=False,
                 help="The file; else BIDE_KEYRING_FILE, with --api BIDE_API_KEYS_FILE."),
]  # fmt: skip
ApiOption = Annotated[bool, typer.Option("--api", help="An API key, and no key of tokens.")]


def generate(
    api: ApiOption = False,
    actor: Annotated[
        str | None,
        typer.Option("--actor", metavar="NAME", help="Whose API key it is.", show_default=False),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="NAME", help="Of which group; may be repeated.",
                     show_default=False),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", show_default=False,
                     help="submit, decide, operate or administer; may be repeated."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="SPAN", help='After how long: "90d".',
                     show_default=False),
    ] = None,
    tenant: TenantOption = DEFAULT_TENANT,
    file: FileOption = None,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Make a keyring with one new key, which is shown to nobody; or an API key, which is shown once."""
    if not api:
        if actor or group or role or expires:
            raise CliError("whose key, and what it may do, is said with --api", exit_code=USAGE)
        return _generate_keyring(file, as_json=json)
    if actor is None:
        raise CliError("say whose API key it is: --actor NAME", exit_code=USAGE)
    path, now = _path(file, api=True), _now()
    known = ApiKeys.parse(read_key_file(path), str(path)) if path.exists() else NO_KEYS
    try:
        keys, key, text = known.issued(
            now, actor=actor, tenant=tenant, groups=group or [], roles=role or [],
            expires=_after(now, "--expires", expires),
        )  # fmt: skip
    except ValueError as error:
        raise CliError(str(error), exit_code=USAGE) from None
    write_key_file(path, keys.render())
    _show_once(key, text, as_json=json)
    return None


def rotate(
    api: Annotated[
        str | None,
        typer.Option("--api", metavar="ID", help="Replace this API key, in place of the key that"
                     " signs tokens.", show_default=False),
    ] = None,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="SPAN", help="How long the old API key stays good.")
    ] = "1d",
    file: FileOption = None,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Let a new key sign; what the others have signed stays good. Running processes see it."""
    if api is not None:
        path, now = _path(file, api=True), _now()
        until = _after(now, "--overlap", overlap) or now
        known = ApiKeys.parse(read_key_file(path), str(path))
        keys, key, text = known.rotated(api, now, until)
        write_key_file(path, keys.render())
        _show_once(key, text, as_json=json)
        return
    path, keyring = _changed(file, lambda keyring: keyring.rotated(new_key(_now())))
    _tell(path, keyring, json, f"{keyring.signing.id} signs now; the others verify")


def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="Of a key that does not sign.")],
    api: ApiOption = False,
    file: FileOption = None,
    json: JsonOption = False,
) -> None:
    """Take a key away: what it has signed, or who comes with it, is refused from now on."""
    if api:
        path = _path(file, api=True)
        keys = ApiKeys.parse(read_key_file(path), str(path)).without(key)
        write_key_file(path, keys.render())
        if json:
            output.print_json({"file": str(path), "keys": [_api_row(each) for each in keys]})
        else:
            output.say(output.text(f"{key} is gone; whoever comes with it is refused"))
        return
    path, keyring = _changed(file, lambda keyring: keyring.without(key))
    _tell(path, keyring, json, f"{key} is gone; what it had signed is refused")


def list_(api: ApiOption = False, file: FileOption = None, json: JsonOption = False) -> None:
    """Show the keys' names, what they do and since when; never the keys."""
    path = _path(file, api=api)
    text = read_key_file(path)
    if api:
        rows = [_api_row(each) for each in ApiKeys.parse(text, str(path))]
    else:
        rows = _rows(Keyring.parse(text, str(path)))
    if json:
        output.print_lines(rows)
        return
    heads = ["id", "actor", "tenant", "groups", "roles", "created", "expires"] if api else [
        "id", "use", "created",
    ]  # fmt: skip
    output.print_table(*heads, rows=[[_cell(row[head]) for head in heads] for row in rows])


def _generate_keyring(file: Path | None, *, as_json: bool) -> None:
    path = _path(file)
    if path.exists():
        raise CliError(f"{path} is there already; bide keys rotate adds a key to it")
    keyring = Keyring.of(new_key(_now()))
    write_key_file(path, keyring.render())
    _tell(path, keyring, as_json, f"made {path}: {keyring.signing.id} signs")


def _show_once(key: ApiKey, text: str, *, as_json: bool) -> None:
    """Print a new API key, the one time that anybody can see it."""
    if as_json:
        output.print_json({**_api_row(key), "key": text})
        return
    output.say(output.text(text, "bold"))
    output.remark(f"key {key.id} of {key.principal.id}: keep it now, it cannot be shown again")


def _after(now: datetime, option: str, span: str | None) -> datetime | None:
    try:
        return None if span is None else now + timedelta(milliseconds=duration_ms(span, option))
    except (DefinitionError, OverflowError) as error:
        raise CliError(str(error), exit_code=USAGE) from None


def _api_row(key: ApiKey) -> dict[str, Any]:
    who = key.principal
    return {
        "id": key.id,
        "actor": who.id,
        "tenant": who.tenant,
        "groups": sorted(who.groups),
        "roles": sorted(who.roles),
        "created": _written(key.created),
        "expires": None if key.expires is None else _written(key.expires),
    }


def _cell(value: object) -> str:
    return ", ".join(cast("list[str]", value)) if isinstance(value, list) else str(value or "")


def _path(file: Path | None, *, api: bool = False) -> Path:
    settings = Settings()
    path = file or (settings.api_keys_file if api else settings.keyring_file)
    if path is None:
        name = "BIDE_API_KEYS_FILE" if api else "BIDE_KEYRING_FILE"
        raise CliError(f"which file? name it with --file FILE, or set {name}")
    return path


def _changed(file: Path | None, change: Callable[[Keyring], Keyring]) -> tuple[Path, Keyring]:
    path = _path(file)
    keyring = change(Keyring.parse(read_key_file(path), str(path)))
    write_key_file(path, keyring.render())
    return path, keyring


def _tell(path: Path, keyring: Keyring, as_json: bool, said: str) -> None:
    if as_json:
        output.print_json({"file": str(path), "keys": _rows(keyring)})
    else:
        output.say(output.text(said))


def _rows(keyring: Keyring) -> list[dict[str, Any]]:
    return [
        {
            "id": key.id,
            "use": "sign" if key is keyring.signing else "verify",
            "created": _written(key.created),
        }
        for key in keyring.keys.values()
    ]


def _now() -> datetime:
    return datetime.fromtimestamp(system_clock() / 1000, UTC)


def _written(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
