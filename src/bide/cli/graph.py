"""`bide graph`: a pipeline as a picture."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bide.cli import output
from bide.cli.complaints import USAGE, CliError
from bide.cli.locate import find_app
from bide.cli.options import AppOption
from bide.drawing.figure import figure_of
from bide.drawing.mermaid import mermaid
from bide.drawing.svg import svg
from bide.planning.pipeline import plan_of
from bide.planning.plan import Plan


class Form(StrEnum):
    """How a picture is written."""

    MERMAID = "mermaid"
    SVG = "svg"


_ENDINGS = {".svg": Form.SVG, ".mmd": Form.MERMAID, ".mermaid": Form.MERMAID}
_WRITERS = {Form.SVG: svg, Form.MERMAID: mermaid}


def graph(
    pipeline: Annotated[
        str | None,
        typer.Argument(
            metavar="[PIPELINE]", help="Which one; may be left out where the app has one."
        ),
    ] = None,
    form: Annotated[
        Form | None,
        typer.Option(
            "--format", help="How it is written; else by the file's ending, else Mermaid."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE", help="Write it there (.svg, .mmd); else to stdout."),
    ] = None,
    app: AppOption = None,
) -> None:
    """Draw a pipeline: steps, types, shapes, and awaits with their transports and timeouts."""
    picture = _WRITERS[_form(form, out)](figure_of(_plan(app, pipeline)))
    if out is None:
        sys.stdout.write(picture)
        return
    Path(out).write_text(picture, encoding="utf-8")
    output.remark(f"wrote {out}")


def _form(form: Form | None, out: str | None) -> Form:
    if form is not None:
        return form
    if out is None:
        return Form.MERMAID
    found = _ENDINGS.get(Path(out).suffix.lower())
    if found is None:
        raise CliError(
            f"{out!r} does not say how to draw: name it .svg or .mmd, or write --format svg",
            exit_code=USAGE,
        )
    return found


def _plan(app: str | None, wanted: str | None) -> Plan:
    plans = [plan_of(each) for each in find_app(app).pipelines]
    if wanted is None and len(plans) == 1:
        return plans[0]
    for plan in plans:
        if wanted in {plan.pipeline, plan.title}:
            return plan
    names = ", ".join(plan.pipeline for plan in plans)
    said = "which pipeline?" if wanted is None else f"there is no pipeline {wanted!r};"
    raise CliError(f"{said} the app has: {names}")
