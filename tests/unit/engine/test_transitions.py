"""The tables: total, closed, and with no way out of an end."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest

from bide.engine.transitions import (
    EXECUTION,
    INTERACTION,
    UNIT,
    ExecutionEvent,
    InteractionEvent,
    UnitEvent,
    after,
)
from bide.model.status import ExecutionStatus, InteractionStatus, UnitStatus

TABLES: dict[str, tuple[Mapping[Any, Mapping[Any, Any]], type[Enum], type[Enum], Enum]] = {
    "execution": (EXECUTION, ExecutionStatus, ExecutionEvent, ExecutionStatus.QUEUED),
    "unit": (UNIT, UnitStatus, UnitEvent, UnitStatus.WAITING_EXTERNAL),
    "interaction": (INTERACTION, InteractionStatus, InteractionEvent, InteractionStatus.WAITING),
}
#: Known on the wire and never written.
NEVER_WRITTEN = "EXPIRED"

each_table = pytest.mark.parametrize("name", TABLES)


@each_table
def test_total(name: str) -> None:
    """Every status has its row, and every pair of status and event has an answer."""
    table, statuses, events, _ = TABLES[name]

    assert set(table) == set(statuses)
    for status in statuses:
        for event in events:
            assert after(table, status, event) in {None, *statuses}


@each_table
def test_ends_are_final(name: str) -> None:
    """Nothing follows a terminal status, and something follows each other one."""
    table, statuses, _, _ = TABLES[name]

    for status in statuses:
        assert bool(table[status]) != status.is_terminal  # type: ignore[attr-defined]  # each has it


@each_table
def test_every_event_happens(name: str) -> None:
    """No event is without a row that holds it."""
    table, _, events, _ = TABLES[name]

    assert {event for row in table.values() for event in row} == set(events)


@each_table
def test_every_status_is_reached(name: str) -> None:
    """Each status follows from the first by some path, but those that are never written."""
    table, statuses, _, first = TABLES[name]
    reached, seen = {first}, set()

    while reached - seen:
        status = (reached - seen).pop()
        seen.add(status)
        reached |= set(table[status].values())

    assert reached == {status for status in statuses if status.name != NEVER_WRITTEN}


@each_table
def test_is_law(name: str) -> None:
    """Nobody changes a table at run time."""
    table, _, _, first = TABLES[name]

    with pytest.raises(TypeError):
        table[first] = {}  # type: ignore[index]  # the mistake under test
    with pytest.raises(TypeError):
        table[first]["x"] = first  # type: ignore[index]  # the mistake under test


def test_an_open_unit_can_fail_whoever_runs() -> None:
    """Each status in which an execution can have an open unit lets it fail, and be cancelled.

    A unit outlives the segment that was given back or is retried while it read its source; were
    its failure refused there, an acknowledged completion would be lost.
    """
    for status in ExecutionStatus:
        if not status.is_terminal:
            assert after(EXECUTION, status, ExecutionEvent.FAILED) is ExecutionStatus.FAILED
            assert after(EXECUTION, status, ExecutionEvent.CANCELLED) is ExecutionStatus.CANCELLED
