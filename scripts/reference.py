"""Writes the pages of docs/reference that are made from the code.

python scripts/reference.py           writes them
python scripts/reference.py --check   fails if they are not what would be written
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic_core import PydanticUndefined

import bide
from bide.cli.options import COMMON
from bide.cli.root import app
from bide.declaring.vocabulary import Declaration, Words, schema_text
from bide.runtime.health import CHECKS
from bide.settings import Settings
from bide.telemetry.catalogue import METRICS
from bide.web.problems import PROBLEMS

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
MADE = "<!-- Made by scripts/reference.py from the code; edit there. -->"

TABLE_HEAD = "| | default | |\n| --- | --- | --- |\n"

CLI_HEAD = f"""\
# The command line

{MADE}

The app that a command works with is `MODULE:APP`: given to the command, else `BIDE_APP`, else
`app` under `[tool.bide]` in the `pyproject.toml` of the working directory. That directory is
importable. The app may also be a file of YAML, which names things of the packages that
`BIDE_PACKAGES` (with commas between them) or `packages` under `[tool.bide]` says.

With `--json` a command prints one JSON document, a list as one document a line, with the names of
the wire contract; nothing else goes to stdout. Remarks, progress and errors go to stderr. An error
is one line, and the exit code is 0 (done), 1 (not done: refused, unknown, not reachable), 2 (typed
wrongly), 130 or 143 (interrupted). `BIDE_DEBUG=1` adds the traceback.

Options of every command that they make sense for:

"""

SETTINGS_HEAD = f"""\
# Settings

{MADE}

Read from the environment when an app is made; `App(settings=Settings(...))` sets them in code.
Names that end in `_MS` are milliseconds.

| variable | default | meaning |
| --- | --- | --- |
"""

METRICS_HEAD = f"""\
# Metrics

{MADE}

`BIDE_METRICS=true` shows them at `/metrics`; `pip install "bide[telemetry]"` brings what they take.
[Watch it run](../how-to/watch-it-run.md) says what to alert on. A label that is not known is empty;
no label holds a tenant, an id or anything else that a sender may choose. What is not called a level
counts from the start of one process.

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
"""

HEALTH_HEAD = f"""\
# Health

{MADE}

`GET /healthz` is 200 while the process answers. `GET /readyz` is 200 while it takes work, else 503,
with one entry a check; `bide doctor` makes the same checks and some more, and `bide serve` and
`bide worker` log at their start what fails. An entry has `name`, `ok`, `warning` (it fails and the
process is ready all the same), `message` and `hint`. Strangers are told the names alone.

| check | what holds when it passes |
| --- | --- |
"""

ERRORS_HEAD = f"""\
# Errors

{MADE}

All are in `bide`, and all are `BideError`s: `except BideError` catches whatever Bide itself has to
say. What a step raises of its own stays what it is. A code never changes with the wording; it stands
in logs, metrics, dead letters and in the `type` of an HTTP problem.

| error | is a | code | what happened |
| --- | --- | --- | --- |
"""

PROBLEMS_HEAD = """
## Over HTTP

A problem (RFC 9457) has `type` (its last part is the code), `title`, `status`, `detail`, and
`errors` where something does not fit.

| code | status | title |
| --- | --- | --- |
"""


YAML_HEAD = f"""\
# Words of a declaration

{MADE}

A file of YAML declares one pipeline. [Declare a pipeline in YAML](../how-to/yaml.md) shows how;
[the schema](pipeline.schema.json) says the same to editors, and `bide schema yaml` prints it. A type
or a function is written as `package.module.name` and found in the packages that the app allows;
`str`, `int`, `float` and `bool` need no package. A span of time is ISO 8601 (`PT30M`), or `30m`,
`1h30m`, `2d`. What is left out means what it means in code.
"""


def cli_page() -> str:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    commands = "".join(_commands(root, "bide"))
    return CLI_HEAD + TABLE_HEAD + "".join(_common(root)) + commands


def settings_page() -> str:
    """Every setting."""
    rows = [
        f"| `BIDE_{name.upper()}` | {_default(field.default)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    ]
    return SETTINGS_HEAD + "".join(rows)


def metrics_page() -> str:
    """Every metric."""
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{one}`' for one in each.labels)}"
        f" | {each.help} |\n"
        for each in METRICS
    ]
    return METRICS_HEAD + "".join(rows)


def health_page() -> str:
    """Every check of readiness."""
    rows = [f"| `{name}` | {meaning} |\n" for name, meaning in CHECKS.items()]
    return HEALTH_HEAD + "".join(rows)


def errors_page() -> str:
    """Every error, and every problem over HTTP."""
    found = [one for name in bide.__all__ if _is_error(one := getattr(bide, name))]
    errors = [
        f"| `{one.__name__}` | `{_parent(one)}` | `{one.code}` | {_summary(one)} |\n"
        for one in sorted(found, key=lambda one: one.__name__)
        if one is not bide.BideError
    ]
    problems = [
        f"| `{code}` | {int(kind.status)} | {kind.title} |\n"
        for code, kind in sorted(PROBLEMS.items(), key=lambda each: (each[1].status, each[0]))
    ]
    return ERRORS_HEAD + "".join(errors) + PROBLEMS_HEAD + "".join(problems)


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, bide.BideError)


def _parent(error: type) -> str:
    public = (one for one in error.__mro__[1:] if not one.__name__.startswith("_"))
    return next(public).__name__


def _summary(error: type) -> str:
    """The first paragraph of what it says of itself."""
    return " ".join((error.__doc__ or "").strip().split("\n\n")[0].split())


def yaml_page() -> str:
    """Every word of a declaration."""
    return YAML_HEAD + "".join(map(_words, _models(Declaration)))


def _models(root: type[Words]) -> list[type[Words]]:
    """A model and those that it leads to, each once, in the order of reading."""
    found: list[type[Words]] = [root]
    for field in root.model_fields.values():
        for inner in _inner(field.annotation):
            found += [one for one in _models(inner) if one not in found]
    return found


def _inner(annotation: Any) -> list[type[Words]]:
    if isinstance(annotation, type) and issubclass(annotation, Words):
        return [annotation]
    return [model for one in get_args(annotation) for model in _inner(one)]


def _words(model: type[Words]) -> str:
    rows = [
        f"| `{field.alias or name}` | {_form(field.annotation)}"
        f"{', needed' if field.is_required() else ''} | {' '.join((field.description or '').split())} |\n"
        for name, field in model.model_fields.items()
    ]
    meaning = " ".join((model.__doc__ or "").split())
    return (
        f"\n## {_title(model)}\n\n{meaning}\n\n| word | | |\n| --- | --- | --- |\n{''.join(rows)}"
    )


def _form(annotation: Any) -> str:
    """What may stand there, in words."""
    if annotation is type(None):
        return ""
    if isinstance(annotation, type) and issubclass(annotation, Words):
        return f"[{_title(annotation)}](#{_title(annotation).lower().replace(' ', '-')})"
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{one}`" for one in get_args(annotation))
    if get_origin(annotation) is list:
        return f"list of {_form(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return f"mapping to {_form(get_args(annotation)[1])}"
    if get_args(annotation):
        return " or ".join(dict.fromkeys(filter(None, map(_form, get_args(annotation)))))
    return {str: "text", int: "number", bool: "true or false"}.get(annotation, "")


def _title(model: type[Words]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__).capitalize()


def pages() -> dict[Path, str]:
    """The pages by their files."""
    return {
        FOLDER / "cli.md": cli_page(),
        FOLDER / "errors.md": errors_page(),
        FOLDER / "settings.md": settings_page(),
        FOLDER / "metrics.md": metrics_page(),
        FOLDER / "health.md": health_page(),
        FOLDER / "yaml.md": yaml_page(),
        FOLDER / "pipeline.schema.json": schema_text(),
    }


def stale() -> list[Path]:
    """Files that are not what would be written."""
    return [
        path
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def _commands(command: Any, path: str) -> Iterator[str]:
    for name, inner in getattr(command, "commands", {}).items():
        if getattr(inner, "commands", None):
            yield from _commands(inner, f"{path} {name}")
        else:
            yield _command(inner, f"{path} {name}")


def _common(root: Any) -> Iterator[str]:
    """The shared options, once."""
    shared = {
        one.name: _option_row(one)
        for command in root.commands.values()
        for one in command.params
        if _is_shared(one)
    }
    yield from shared.values()


def _is_shared(option: Any) -> bool:
    return getattr(option, "rich_help_panel", None) == COMMON


def _command(command: Any, path: str) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    shared = ", ".join(f"`{one.opts[0]}`" for one in options if _is_shared(one))
    options = [one for one in options if not _is_shared(one)]
    usage = " ".join([path, *(_argument(one) for one in arguments), "[OPTIONS]"])
    lines = [f"\n## `{path}`\n\n{command.help}\n\n```\n{usage}\n```\n"]
    if options or arguments:
        lines.append(f"\n{TABLE_HEAD}")
    lines += [f"| `{_argument(one)}` | | {one.help or ''} |\n" for one in arguments]
    lines += [_option_row(one) for one in options]
    lines.append(f"\nAnd {shared}.\n" if shared else "")
    return "".join(lines)


def _option_row(option: Any) -> str:
    return f"| {_option(option)} | {_shown_default(option)} | {option.help} |\n"


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _option(option: Any) -> str:
    names = "`, `".join([*option.opts, *option.secondary_opts])
    takes = "" if option.is_flag else f" {option.metavar or 'VALUE'}"
    return f"`{names}{takes}`"


def _shown_default(option: Any) -> str:
    if option.required:
        return "required"
    if option.default in (None, "", False, []) or option.default is PydanticUndefined:
        return ""
    if option.is_flag:
        return f"`{option.opts[0]}`"
    return f"`{option.default}`"


def _default(value: object) -> str:
    if value is None or value in ("", ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    if arguments == ["--check"]:
        old = stale()
        for path in old:
            print(f"{path} is not what the code says; run python scripts/reference.py")
        return 1 if old else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
