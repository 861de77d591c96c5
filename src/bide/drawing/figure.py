"""What a picture of a plan shows, in layers from top to bottom, before anything is drawn.

A layer is one box, or the branches of a division beside each other. Between two divisions stands a
small box where the variants come together, so that every arrow leads from one box of a layer to one
of the next. The same plan gives the same figure, and nothing in it depends on a clock, a machine or
the order of a set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bide.authoring.context import Context
from bide.authoring.transports import Inbox, Kafka, Transport, Webhook
from bide.planning.codec import Codec
from bide.planning.plan import Plan, PlanAwait, PlanBranch, PlanKeep, PlanRoute, PlanStep
from bide.planning.typeforms import alias_name, type_text

#: A longer line is cut, so that one long name does not make the picture unreadable.
LINE_CHARACTERS: Final = 60

_UNITS_MS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


class Kind(StrEnum):
    """What a box stands for."""

    START = "start"
    STEP = "step"
    AWAIT = "await"
    KEEP = "keep"
    JOIN = "join"
    END = "end"


@dataclass(frozen=True, slots=True)
class Box:
    """One box: what it is called, and what is to be said of it."""

    #: Unique in a figure, and made of its place: letters, digits and nothing else.
    id: str
    kind: Kind
    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrow:
    """What goes from one box to another."""

    source: str
    target: str
    #: The type that goes there.
    label: str
    #: It goes as a stream, item by item.
    stream: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """A whole picture."""

    title: str
    layers: tuple[tuple[Box, ...], ...]
    arrows: tuple[Arrow, ...]


def figure_of(plan: Plan) -> Figure:
    """Say what a picture of a plan shows."""
    drawing = _Drawing(plan)
    for number, element in enumerate(plan.elements):
        if isinstance(element, PlanRoute):
            drawing.divide(number, element)
        else:
            drawing.add(_box(plan, f"n{number}", element), element)
    return drawing.ended()


class _Drawing:
    """A figure that grows downwards; `_open` are the ends that the next layer hangs on."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        taken = [f"takes {_type(plan.input)}"]
        taken += [f"subscribes to {one.publication}" for one in plan.subscribes]
        start = Box("start", Kind.START, cut(plan.title), tuple(map(cut, taken)))
        self._layers: list[tuple[Box, ...]] = [(start,)]
        self._arrows: list[Arrow] = []
        #: Box, type and whether a stream comes out of it.
        self._open = [(start, _type(plan.input.item), plan.input.many)]

    def add(self, box: Box, element: PlanStep | PlanAwait) -> None:
        """Hang one box on all that is open."""
        for source, label, stream in self._open:
            self._arrows.append(Arrow(source.id, box.id, label, stream))
        self._layers.append((box,))
        self._open = [(box, *_given(element, stream=self._open[0][2]))]

    def divide(self, number: int, route: PlanRoute) -> None:
        """Put a box for each branch beside each other."""
        if len(self._open) > 1:
            self._join(f"j{number}")
        [(source, _, stream)] = self._open
        boxes: list[Box] = []
        self._open.clear()
        for place, branch in enumerate(route.branches):
            box = _box(self._plan, f"n{number}b{place}", branch)
            boxes.append(box)
            tags = [tag for tag, found in route.by_tag.items() if found is branch]
            self._arrows.append(Arrow(source.id, box.id, " | ".join(tags), stream))
            self._open.append((box, *_given(branch, stream=stream)))
        self._layers.append(tuple(boxes))

    def ended(self) -> Figure:
        """Close it with the result."""
        lines = [f"gives {_type(self._plan.output)}", *_published(self._plan, None)]
        end = Box("result", Kind.END, "result", tuple(map(cut, lines)))
        for source, label, stream in self._open:
            self._arrows.append(Arrow(source.id, end.id, label, stream))
        return Figure(self._plan.title, (*self._layers, (end,)), tuple(self._arrows))

    def _join(self, id: str) -> None:
        labels = dict.fromkeys(label for _, label, _ in self._open)
        stream = self._open[0][2]
        box = Box(id, Kind.JOIN, "either")
        self._arrows += [Arrow(one.id, id, label, many) for one, label, many in self._open]
        self._layers.append((box,))
        self._open = [(box, " | ".join(labels), stream)]


def _given(part: PlanBranch, *, stream: bool) -> tuple[str, bool]:
    """Say what comes out of a box, given whether a stream goes in."""
    match part:
        case PlanKeep():
            return _type(part.output), stream
        case PlanAwait():
            return _type(part.gives), part.yields
        case PlanStep():
            return _type(part.output), part.yields or (stream and not part.consumes)


def _box(plan: Plan, id: str, part: PlanBranch) -> Box:
    if isinstance(part, PlanKeep):
        return Box(id, Kind.KEEP, "keep", ("passes as it is",))
    kind, lines = (
        (Kind.AWAIT, _await_lines(part))
        if isinstance(part, PlanAwait)
        else (Kind.STEP, _step_lines(part))
    )
    return Box(id, kind, cut(part.name), tuple(map(cut, [*lines, *_published(plan, part.id)])))


def _published(plan: Plan, after: str | None) -> Iterator[str]:
    """Say what is published behind a step, or of the result."""
    return (f"publishes {one.name}" for one in plan.publishes if one.after == after)


def _step_lines(step: PlanStep) -> Iterator[str]:
    shape = f"{'many' if step.consumes else 'one'} to {'many' if step.yields else 'one'}"
    yield f"{shape}, for each item" if step.per_item else shape
    wanted = [type_text(key) for _, key in step.wants if key is not Context]
    if wanted:
        yield f"with {', '.join(wanted)}"


def _await_lines(boundary: PlanAwait) -> Iterator[str]:
    per_item = ", for each item" if boundary.per_item else ""
    yield f"{boundary.cardinality}{per_item}"
    yield _transport(boundary.transport)
    yield f"answered with {_type(boundary.answer)}"
    if boundary.boundary.project is not None:
        yield f"projected to {_type(boundary.output)}"
    fallback = ", then a default" if boundary.boundary.on_timeout is not None else ""
    yield f"timeout {duration(boundary.timeout_ms)}{fallback}"
    if boundary.unit_timeout_ms is not None:
        yield f"timeout of all {duration(boundary.unit_timeout_ms)}"
    if boundary.collect is not None:
        share = boundary.collect.share
        allowed = (
            str(boundary.collect.count) if share is None else f"{(share * 100).normalize():f} %"
        )
        yield f"tolerates {allowed} missing"
    for option in ("idempotent_on", "correlate_on"):
        fields: Any = getattr(boundary.boundary, option)
        words = "a function" if callable(fields) else ", ".join(fields)
        if words:
            yield f"{'business key' if option == 'idempotent_on' else 'correlates by'}: {words}"


def _transport(via: Transport) -> str:
    match via:
        case Inbox():
            said = [f"group {via.group}"] if via.group else []
            said += [f"assignee {via.assignee}"] if via.assignee else []
        case Webhook():
            said = [via.url.partition("?")[0]]  # what a partner put behind it may be its secret
        case Kafka():
            said = [f"{via.request} to {via.response}"]
        case _:
            said = []
    return ", ".join([via.kind, *said])


def _type(codec: Codec[Any]) -> str:
    """Write a type by its alias where it has one, as the author would name it."""
    item = alias_name(codec.item.form) or type_text(codec.item.form)
    return cut(f"Many[{item}]" if codec.many else item)


def duration(ms: int) -> str:
    """Write a span of time in whole units: 30m, 1h 30m, 2d."""
    parts: list[str] = []
    for unit, size in _UNITS_MS:
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts)


def cut(line: str) -> str:
    """Cut a line where it gets long, and show that it was."""
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 1]}…"


def texts(figure: Figure) -> Sequence[str]:
    """Every text of a figure, in the order of reading."""
    boxes = [box for layer in figure.layers for box in layer]
    return [text for box in boxes for text in (box.title, *box.lines)] + [
        arrow.label for arrow in figure.arrows
    ]
