"""What awaits and publications owe, as data: each obligation, the shapes it holds for, and its test.

An obligation is covered by the test function that carries `@pytest.mark.covers(name)`, once for
each of its shapes and modes, on every store. `test_registry.py` compares what is declared here with
what was collected: a declared obligation without its tests, or a test of an undeclared one, fails
the build.
"""

from enum import StrEnum
from typing import NamedTuple


class Shape(StrEnum):
    """What stands at the boundary."""

    SCALAR = "scalar"
    STREAM = "stream"
    EMPTY = "empty stream"
    ONE_TO_MANY = "one to many"
    MANY_TO_ONE = "many to one"
    MANY_TO_MANY = "many to many"
    SEQUENTIAL = "sequential"


class Mode(StrEnum):
    """How the process lived that carried it out."""

    UNINTERRUPTED = "uninterrupted"
    RESTARTED = "restarted"


class Kind(StrEnum):
    """What sort of promise it is."""

    TRANSITION = "transition"
    CRASH = "crash"
    RACE = "race"
    PUBLICATION = "publication"


STORES = ("memory", "sqlite", "postgres")

_ALL = frozenset(Shape)
_BOTH = frozenset(Mode)
_RESTARTED = frozenset({Mode.RESTARTED})
#: Of one interaction: a value, or a stream in one piece.
_WHOLE = frozenset(
    {
        Shape.SCALAR, Shape.ONE_TO_MANY, Shape.MANY_TO_ONE, Shape.MANY_TO_MANY, Shape.SEQUENTIAL,
    }
)  # fmt: skip
_PER_ITEM = frozenset({Shape.STREAM, Shape.EMPTY})
_ASKED = _ALL - {Shape.EMPTY}
_ITEMS = frozenset({Shape.STREAM})


class Obligation(NamedTuple):
    """One promise."""

    name: str
    kind: Kind
    #: What holds, in a line.
    holds: str
    #: The modules and functions that prove it.
    tests: tuple[str, ...]
    shapes: frozenset[Shape]
    modes: frozenset[Mode] = _BOTH


def _transition(name: str, holds: str, shapes: frozenset[Shape]) -> Obligation:
    test = f"test_transitions.py::test_{name.replace('-', '_')}"
    return Obligation(name, Kind.TRANSITION, holds, (test,), shapes)


def _crash(commit: str, holds: str, shapes: frozenset[Shape]) -> Obligation:
    test = f"test_crashes.py::test_after_{commit.replace('-', '_')}"
    return Obligation(f"crash-after-{commit}", Kind.CRASH, holds, (test,), shapes, _RESTARTED)


def _race(name: str, holds: str, shapes: frozenset[Shape], other: str = "") -> Obligation:
    """`other` names the test of the other order, where the two orders differ."""
    tests = tuple(f"test_races.py::test_{each.replace('-', '_')}" for each in (name, other) if each)
    return Obligation(name, Kind.RACE, holds, tests, shapes)


def _publication(name: str, holds: str) -> Obligation:
    test = f"test_publications.py::test_{name.replace('-', '_')}"
    return Obligation(name, Kind.PUBLICATION, holds, (test,), _ALL)


OBLIGATIONS: tuple[Obligation, ...] = (
    _transition("request-persisted", "each request is stored once, at its place", _ASKED),
    _transition("dispatch-admitted", "each stored request is out, and seen to be", _ASKED),
    _transition("completion-persisted", "each answer is kept, with actor and source", _ASKED),
    _transition("scalar-release", "the one answer releases, in its own commit", _WHOLE),
    _transition("item-output-persisted", "each item's answer is read at its index", _ITEMS),
    _transition("parent-release-guard", "no release before the last item and the count", _PER_ITEM),
    _transition("item-parent-release", "a stream's unit releases its execution once", _PER_ITEM),
    _transition("continuation-admitted", "what follows runs once it is claimed, on them all", _ALL),
    _transition("terminal-cleanup", "nothing is open, leased or due after the end", _ALL),
    _crash("submit", "a stored execution is found by its key, and run", _ALL),
    _crash("park", "a parked execution waits, whoever parked it", _WHOLE),
    _crash("open", "an open unit is taken up again, not opened twice", _PER_ITEM),
    _crash("append", "stored items are recognised, not stored twice", _ITEMS),
    _crash("close", "a closed unit waits, or has released already", _PER_ITEM),
    _crash("admit", "an admitted answer counts once, whoever heard of it", _ASKED),
    _crash("finish", "a finished execution has its result", _ALL),
    _crash("dispatch-claim", "what was being sent is sent again, under the same id", _ASKED),
    _crash("dispatch-settle", "what is recorded as sent is not sent again", _ASKED),
    _race("duplicate-against-completion", "an equal answer is told so and changes nothing", _ASKED),
    _race("conflict-against-completion", "another answer is told so, and the first stays", _ASKED),
    _race(
        "timeout-against-completion",
        "the first of answer and deadline ends it",
        _ASKED,
        "completion-against-timeout",
    ),
    _race(
        "cancellation-against-completion",
        "an end binds, whichever comes first",
        _ASKED,
        "completion-against-cancellation",
    ),
    _race(
        "final-item-against-release",
        "the last answer and the close release once",
        _ITEMS,
        "release-against-final-item",
    ),
    _race(
        "completion-against-dispatch",
        "an answer may overtake the record of its dispatch",
        _ASKED,
        "dispatch-against-completion",
    ),
    _race("two-releases", "a second release finds nothing to do", _ASKED),
    _race(
        "reload-against-completion", "an answer is admitted while its reader starts over", _ITEMS
    ),
    _race("replay-of-a-partial-item-set", "a source that repeats itself adds what is new", _ITEMS),
    _race(
        "early-completion-against-park", "an answer that comes first is kept for its park", _ASKED,
        "park-against-early-completion",
    ),
    _publication("publication-once-per-key", "one target takes a key; another payload is refused"),
    _publication("publication-in-the-sources-commit", "no publication without its segment's end"),
    _publication("settlement-after-admission", "it is offered until its target has it"),
)  # fmt: skip
