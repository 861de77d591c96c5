"""Draw the state diagrams of docs/reference/states.md from the transition tables.

python scripts/diagrams.py            write the page
python scripts/diagrams.py --check    fail when it is not what the tables say
"""

import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

from bide.engine.transitions import EXECUTION, INTERACTION, UNIT, Table
from bide.model.status import ExecutionStatus, InteractionStatus, UnitStatus

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "states.md"

_HEAD = """\
# States

<!-- Made by scripts/diagrams.py from bide.engine.transitions; edit there. -->

What may follow what. An event that a diagram does not show for a status is refused there and
changes nothing: there are no rules beside these. What has ended is never reopened.
"""
_MACHINES: tuple[tuple[str, str, Table[Any, Any], IntEnum], ...] = (
    (
        "Execution",
        (
            "Submitting makes it `QUEUED`. A *claim* of one that is `RUNNING` takes it over after a"
            " lost lease.\nIn a hand-over, *resumed* and *claimed* are one commit."
        ),
        EXECUTION,
        ExecutionStatus.QUEUED,
    ),
    (
        "Await unit",
        "It opens as its boundary is reached. `EXPIRED` is known on the wire and never written.",
        UNIT,
        UnitStatus.WAITING_EXTERNAL,
    ),
    (
        "Interaction",
        (
            "Born `WAITING` where a dispatcher has to send it, `DISPATCHED` where being stored is being"
            " sent.\n`EXPIRED` is known on the wire and never written."
        ),
        INTERACTION,
        InteractionStatus.WAITING,
    ),
)


def page() -> str:
    """The page, whole."""
    parts = [_HEAD]
    for title, text, table, start in _MACHINES:
        parts.append(f"\n## {title}\n\n{text}\n\n```mermaid\n{_diagram(table, start)}```\n")
    return "".join(parts)


def _diagram(table: Table[Any, Any], start: Any) -> str:
    return "".join(f"{line}\n" for line in _lines(table, start))


def _lines(table: Table[Any, Any], start: Any) -> Iterator[str]:
    yield "stateDiagram-v2"
    yield f"    [*] --> {start.name}"
    reached = {start} | {after for events in table.values() for after in events.values()}
    for status, events in table.items():
        by_target: dict[Any, list[str]] = {}
        for event, after in events.items():
            by_target.setdefault(after, []).append(str(event.value))
        for after, names in by_target.items():
            yield f"    {status.name} --> {after.name}: {', '.join(names)}"
    for status, events in table.items():
        if not events and status in reached:
            yield f"    {status.name} --> [*]"


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    if arguments == ["--check"]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
            return 0
        print(f"{PAGE} is not what the tables say; run python scripts/diagrams.py")
        return 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
