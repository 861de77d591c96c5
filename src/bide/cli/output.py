"""What commands print: JSON for programs, tables for people, progress on a terminal.

Data goes to stdout and everything else to stderr. Stored text is shown with its control characters
spelled out and is never read as markup.
"""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from bide.cli.complaints import printable
from bide.model.status import ExecutionStatus, InteractionStatus, UnitStatus
from bide.web import rendering

_WIDEST = 10_000
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000

_STYLES = {
    "QUEUED": "cyan",
    "RUNNING": "blue",
    "WAITING_EXTERNAL": "yellow",
    "WAITING": "yellow",
    "DISPATCHED": "yellow",
    "WAIT_RETRY": "magenta",
    "SUCCEEDED": "green",
    "COMPLETED": "green",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "DLQ": "bold red",
    "CANCELLED": "dim",
}


def people() -> Console:
    """The console for people: stdout."""
    return Console(highlight=False)


def aside() -> Console:
    """The console for what is not data: progress and remarks, on stderr."""
    return Console(stderr=True, highlight=False)


def to_json(value: Any) -> str:
    """One line of JSON."""
    return rendering.encode(value).decode()


def print_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(f"{to_json(value)}\n")


def print_lines(values: Iterable[Any]) -> None:
    """Print JSON, one value a line."""
    sys.stdout.writelines(f"{to_json(value)}\n" for value in values)


def say(text: str | Text) -> None:
    """Print a line for people; long ones are left to the terminal, so that ids can be copied."""
    people().print(text if isinstance(text, Text) else Text(text), soft_wrap=True)


def remark(text: str) -> None:
    """Print a line that is not data."""
    aside().print(Text(printable(text)), soft_wrap=True)


def print_table(
    *headings: str, rows: Iterable[Sequence[str | Text]], numbers: Sequence[str] = ()
) -> None:
    """Print a table; columns in `numbers` are set to the right.

    Nothing is ever cut or broken, so that ids can be copied: where a table does not fit, its lines
    are left to the terminal, without borders and padding.
    """
    lines = [[cell if isinstance(cell, Text) else text(cell) for cell in row] for row in rows]
    console = people()
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        side: Literal["left", "right"] = "right" if heading in numbers else "left"
        made.add_column(heading, no_wrap=True, justify=side)
    for line in lines:
        made.add_row(*line)
    measured = console.measure(made, options=console.options.update_width(_WIDEST))
    if console.is_terminal and measured.maximum <= console.width:
        console.print(made)
        return
    right = [heading in numbers for heading in headings]
    for row in aligned([[Text(heading, style="bold") for heading in headings], *lines], right):
        console.print(row, soft_wrap=True)


def aligned(lines: Sequence[Sequence[Text]], right: Sequence[bool]) -> Iterable[Text]:
    """Lines in columns, two spaces apart, with nothing after the last word."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        joined = Text()
        for cell, width, to_the_right in zip(line, widths, right, strict=True):
            space = " " * (width - cell.cell_len)
            joined.append_text(Text.assemble(space, cell) if to_the_right else cell + Text(space))
            joined.append("  ")
        joined.rstrip()
        yield joined


def text(value: object, style: str = "") -> Text:
    """Stored text, safe to show; nothing for None."""
    return Text("" if value is None else printable(str(value)), style=style)


def status(value: ExecutionStatus | UnitStatus | InteractionStatus) -> Text:
    """A status in its colour."""
    return Text(value.name, style=_STYLES.get(value.name, ""))


def when(unix_ms: int | None) -> str:
    """A time of day in the reader's zone."""
    if unix_ms is None:
        return ""
    local = datetime.fromtimestamp(unix_ms / _SECOND, tz=UTC).astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S}.{unix_ms % _SECOND:03}"


def span(ms: int) -> str:
    """A length of time in its two largest units: 1d 3h, 4m 10s, 250ms."""
    sign, ms = ("-", -ms) if ms < 0 else ("", ms)
    if ms < _SECOND:
        return f"{sign}{ms}ms"
    if ms < _MINUTE:
        return f"{sign}{ms / _SECOND:.1f}s"
    for unit, size, smaller, smaller_size in (
        ("d", _DAY, "h", _HOUR),
        ("h", _HOUR, "m", _MINUTE),
        ("m", _MINUTE, "s", _SECOND),
    ):
        if ms >= size:
            rest = ms % size // smaller_size
            return f"{sign}{ms // size}{unit}" + (f" {rest}{smaller}" if rest else "")
    raise AssertionError(ms)


def short_json(value: Any, length: int) -> str:
    """A payload in one line, cut where it gets long."""
    return cut(to_json(value), length)


def cut(line: str, length: int) -> str:
    """A line of at most so many characters, which shows that it was cut."""
    return line if len(line) <= length else f"{line[: length - 1]}…"


def progress(total: int | None, what: str, *, beside_json: bool = False) -> Progress:
    """A bar of one task on stderr, which shows only when that is a terminal.

    With `beside_json` it stays away where it would come between lines of data on that terminal.
    """
    console = aside()
    hidden = not console.is_terminal or (beside_json and sys.stdout.isatty())
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=hidden,
        redirect_stdout=False,  # stdout is data, and data is not to be wrapped
        redirect_stderr=False,
    )
    bar.add_task(what, total=total)
    return bar
