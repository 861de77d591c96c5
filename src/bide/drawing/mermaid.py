"""A figure as Mermaid, which code hosts and documentation draw from its text."""

from __future__ import annotations

from typing import Final

from bide.drawing.figure import Box, Figure, Kind

#: The signs around a box's text.
_SHAPES: Final = {
    Kind.START: ("([", "])"),
    Kind.STEP: ("[", "]"),
    Kind.AWAIT: ("{{", "}}"),
    Kind.KEEP: ("(", ")"),
    Kind.JOIN: ("((", "))"),
    Kind.END: ("([", "])"),
}
#: What Mermaid or a browser would read as its own inside of quotes, as entity codes.
_ESCAPED: Final = str.maketrans({sign: f"#{ord(sign)};" for sign in '#"&<>`\\'})


def mermaid(figure: Figure) -> str:
    """Write a figure as a flowchart; an await is a hexagon, a stream a thick arrow."""
    lines = ["flowchart TD"]
    lines += [f"    {_box(box)}" for layer in figure.layers for box in layer]
    for arrow in figure.arrows:
        line = "==>" if arrow.stream else "-->"
        lines.append(f'    {arrow.source} {line}|"{_escaped(arrow.label)}"| {arrow.target}')
    return "\n".join(lines) + "\n"


def _box(box: Box) -> str:
    before, after = _SHAPES[box.kind]
    text = "<br/>".join(map(_escaped, (box.title, *box.lines)))
    return f'{box.id}{before}"{text}"{after}'


def _escaped(text: str) -> str:
    return text.translate(_ESCAPED)
