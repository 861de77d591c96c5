"""`bide keys`: the keys that tokens are signed with. No command prints one."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from bide.cli import output
from bide.cli.complaints import CliError
from bide.cli.options import JsonOption
from bide.runtime.clock import system_clock
from bide.security.files import read_key_file, write_key_file
from bide.security.keyring import Keyring, new_key
from bide.settings import Settings

FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="The keyring; else BIDE_KEYRING_FILE.",
                 show_default=False, dir_okay=False),
]  # fmt: skip


def generate(file: FileOption = None, json: JsonOption = False) -> None:
    """Make a keyring with one new key; a file that is there already stays as it is."""
    path = _path(file)
    if path.exists():
        raise CliError(f"{path} is there already; bide keys rotate adds a key to it")
    keyring = Keyring.of(new_key(_now()))
    write_key_file(path, keyring.render())
    _tell(path, keyring, json, f"made {path}: {keyring.signing.id} signs")


def rotate(file: FileOption = None, json: JsonOption = False) -> None:
    """Let a new key sign; what the others have signed stays good. Running processes see it."""
    path, keyring = _changed(file, lambda keyring: keyring.rotated(new_key(_now())))
    _tell(path, keyring, json, f"{keyring.signing.id} signs now; the others verify")


def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="Of a key that does not sign.")],
    file: FileOption = None,
    json: JsonOption = False,
) -> None:
    """Take a key away: every token and link that it has signed is refused from now on."""
    path, keyring = _changed(file, lambda keyring: keyring.without(key))
    _tell(path, keyring, json, f"{key} is gone; what it had signed is refused")


def list_(file: FileOption = None, json: JsonOption = False) -> None:
    """Show the keys' names, what they do and since when; never the keys."""
    path = _path(file)
    keyring = Keyring.parse(read_key_file(path), str(path))
    rows = _rows(keyring)
    if json:
        output.print_lines(rows)
    else:
        output.print_table("key", "use", "created", rows=[list(row.values()) for row in rows])


def _path(file: Path | None) -> Path:
    path = file or Settings().keyring_file
    if path is None:
        raise CliError("which keyring? name it with --file FILE, or set BIDE_KEYRING_FILE")
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
