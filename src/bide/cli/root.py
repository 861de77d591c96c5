"""The commands by their names, and the one place where errors become a line and an exit code."""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from bide.cli import (
    act,
    audit,
    bench,
    crashtest,
    declare,
    graph,
    keys,
    look,
    new,
    replay,
    serve,
    submit,
    upkeep,
)
from bide.cli.complaints import FAILED, INTERRUPTED, USAGE, exit_code_of, explain

app = typer.Typer(
    name="bide",
    help="Typed, durable pipelines that wait well.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
dlq = typer.Typer(
    name="dlq",
    help="What did not succeed: executions, items left out, answers that nobody asked for.",
    invoke_without_command=True,
)

key_commands = typer.Typer(
    name="keys", help="Keys that tokens are signed with, and API keys.", invoke_without_command=True
)

app.command("serve")(serve.serve)
app.command("worker")(serve.worker)
app.command("submit")(submit.submit)
app.command("executions")(look.executions)
app.command("show")(look.show)
app.command("replay")(replay.replay)
app.command("pending")(look.pending)
app.command("complete")(act.complete)
app.command("assign")(act.assign)
app.command("link")(act.link)
app.command("cancel")(act.cancel)
app.command("release")(act.release)
app.command("audit")(audit.audit)
app.command("pipelines")(look.pipelines)
app.command("pause")(act.pause)
app.command("resume")(act.resume)
app.command("receipts")(look.receipts)
app.add_typer(dlq)
dlq.command("ls")(look.dead_letters)
dlq.command("show")(look.dead_letter)
dlq.command("redrive")(act.redrive)
app.add_typer(key_commands)
key_commands.command("generate")(keys.generate)
key_commands.command("rotate")(keys.rotate)
key_commands.command("revoke")(keys.revoke)
key_commands.command("list")(keys.list_)
app.command("new")(new.new)
app.command("check")(declare.check)
app.command("schema")(declare.schema)
app.command("graph")(graph.graph)
app.command("migrate")(upkeep.migrate)
app.command("doctor")(upkeep.doctor)
app.command("bench")(bench.bench)
app.command("crashtest")(crashtest.crashtest)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code; an error is one line on stderr."""
    try:
        code = app(list(arguments), prog_name="bide", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has gone, as `| head` does
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort before the user
        return _complain(error)
    if code == INTERRUPTED:
        print("bide: interrupted", file=sys.stderr)
    return code if isinstance(code, int) else 0


@app.callback()
def bide(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True)
    ] = False,
) -> None:
    """Typed, durable pipelines that wait well."""
    if version:
        from importlib.metadata import version as version_of

        print(f"bide {version_of('bide')}")
        raise typer.Exit
    _help_without_command(context)


@dlq.callback()
def dead_letters(context: typer.Context) -> None:
    """What did not succeed: executions, and items left out."""
    _help_without_command(context)


@key_commands.callback()
def token_keys(context: typer.Context) -> None:
    """Keys that tokens are signed with, and API keys."""
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


def _complain(error: Exception) -> int:
    if os.environ.get("BIDE_DEBUG") and not isinstance(error, typer.TyperException):
        import traceback

        traceback.print_exception(error)
    code = exit_code_of(error)
    hint = ""
    if code == USAGE and isinstance(error, typer.TyperException):
        hint = " (bide COMMAND --help tells more)"
    print(f"bide: {explain(error)}{hint}", file=sys.stderr)
    return code
