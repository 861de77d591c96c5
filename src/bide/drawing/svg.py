"""A figure as SVG: one file without fonts, scripts or addresses, legible in light and in dark.

Widths are reckoned from the number of characters, since nothing here can measure a font: a little
too wide is the worst that happens. The picture brings its own background, so that it can stand on
any page; where a viewer knows whether its reader wants dark, the colours follow.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from bide.drawing.figure import Arrow, Box, Figure, Kind

#: Of 13 px; titles are set in bold.
_CHARACTER: Final = 7.4
_BOLD: Final = 8.8
_LINE: Final = 18
_PADDING: Final = 12
_BETWEEN: Final = 28
_GAP: Final = 58
_MARGIN: Final = 24

_STYLE: Final = """
    svg { font: 13px system-ui, sans-serif; }
    .page { fill: #ffffff; }
    .box { fill: #f4f5f7; stroke: #5b6472; stroke-width: 1.2; }
    .await { fill: #fff3d6; stroke: #a86500; stroke-width: 2; }
    .start, .end { fill: #e6f0ff; stroke: #2f63b5; }
    .keep, .join { fill: none; stroke-dasharray: 4 3; }
    .title { font-weight: 600; fill: #1b1f24; }
    .line, .label { fill: #3d444d; }
    .arrow { fill: none; stroke: #5b6472; stroke-width: 1.4; }
    .stream { stroke-width: 3.4; }
    .head { fill: #5b6472; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #16191d; }
      .box { fill: #23282f; stroke: #8b95a3; }
      .await { fill: #3a2d10; stroke: #e0a63c; }
      .start, .end { fill: #1c2a40; stroke: #7aa5ea; }
      .keep, .join { fill: none; }
      .title { fill: #f0f3f6; }
      .line, .label { fill: #c6cdd5; }
      .arrow { stroke: #8b95a3; }
      .head { fill: #8b95a3; }
    }
"""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A box and where it stands."""

    box: Box
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


def svg(figure: Figure) -> str:
    """Write a figure as an SVG document."""
    placed, wide = _placed(figure)
    width = wide + 2 * _MARGIN
    height = max(one.bottom for one in placed.values()) + _MARGIN
    title = _text(figure.title)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
            f' viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-labelledby="title">'
        ),
        f'  <title id="title">{title}</title>',
        f"  <style>{_STYLE}  </style>",
        f'  <rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        *(_arrow(arrow, placed, figure) for arrow in figure.arrows),
        *(_box(one) for one in placed.values()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _placed(figure: Figure) -> tuple[Mapping[str, _Placed], float]:
    """Put the layers below each other, each in the middle of the widest one; give its width, too."""
    columns = [[_column(box, figure.arrows) for box in layer] for layer in figure.layers]
    widths = [sum(layer) + _BETWEEN * (len(layer) - 1) for layer in columns]
    found: dict[str, _Placed] = {}
    y = float(_MARGIN)
    for layer, wide, total in zip(figure.layers, columns, widths, strict=True):
        x = _MARGIN + (max(widths) - total) / 2
        height = max(_height(box) for box in layer)
        for box, column in zip(layer, wide, strict=True):
            width = _width(box)
            place = x + (column - width) / 2
            found[box.id] = _Placed(box, round(place, 1), y, round(width, 1), _height(box))
            x += column + _BETWEEN
        y += height + _GAP
    return found, max(widths)


def _column(box: Box, arrows: Sequence[Arrow]) -> float:
    """The width that a box takes with the labels of its arrows, which stand above and below it."""
    labels = [one.label for one in arrows if box.id in {one.source, one.target}]
    return max([_width(box), *(2 * _reckoned(label) + 16 for label in labels)])


def _width(box: Box) -> float:
    title = _reckoned(box.title) * _BOLD / _CHARACTER
    return max([title, *map(_reckoned, box.lines)]) + 2 * _PADDING


def _height(box: Box) -> float:
    return _LINE * (1 + len(box.lines)) + 2 * _PADDING - 6


def _reckoned(text: str) -> float:
    """About how wide a text is: signs of some scripts take two places."""
    return _CHARACTER * sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _box(placed: _Placed) -> str:
    box = placed.box
    corner = {Kind.STEP: 4, Kind.AWAIT: 10}.get(box.kind, placed.height / 2)
    lines = [
        (
            f'    <rect class="box {box.kind}" x="{placed.x:g}" y="{placed.y:g}"'
            f' width="{placed.width:g}" height="{placed.height:g}" rx="{corner:g}"/>'
        )
    ]
    for number, text in enumerate((box.title, *box.lines)):
        y = placed.y + _PADDING + 10 + number * _LINE
        style = "line" if number else "title"
        lines.append(_label(style, placed.middle, y, text, anchor="middle"))
    return "\n".join([f'  <g id="{box.id}">', *lines, "  </g>"])


def _arrow(arrow: Arrow, placed: Mapping[str, _Placed], figure: Figure) -> str:
    """A line down, across half way, and down again; its label stands where only it goes."""
    source, target = placed[arrow.source], placed[arrow.target]
    x, y, to_x, to_y = source.middle, source.bottom, target.middle, target.y
    together = sum(one.target == arrow.target for one in figure.arrows) > 1
    turn = to_y - 20 if together else y + 16
    path = f"M{x:g} {y:g}V{turn:g}H{to_x:g}V{to_y - 8:g}"
    style = "arrow stream" if arrow.stream else "arrow"
    head = f"M{to_x - 5:g} {to_y - 8:g}h10l-5 8z"
    label_x, label_y = (x, y + 18) if together else (to_x, to_y - 18)
    return "\n".join(
        [
            f'  <g data-from="{arrow.source}" data-to="{arrow.target}">',
            f'    <path class="{style}" d="{path}"/>',
            f'    <path class="head" d="{head}"/>',
            _label("label", label_x + 8, label_y, arrow.label, anchor="start"),
            "  </g>",
        ]
    )


def _label(style: str, x: float, y: float, text: str, *, anchor: str) -> str:
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f'    <text class="{style}" {place}>{_text(text)}</text>'


def _text(text: str) -> str:
    """Text as XML can hold it; a sign that XML does not know becomes the one for that."""
    return escape("".join(one if _in_xml(one) else "�" for one in text))


def _in_xml(character: str) -> bool:
    """Whether XML 1.0 allows it (section 2.2)."""
    code = ord(character)
    return (
        code in {0x9, 0xA, 0xD}
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or code > 0xFFFF
    )
