"""The chart: four panels of bars, drawn to scale from zero, as one SVG without scripts or fonts."""

from collections.abc import Callable, Sequence
from html import escape

from benchmarks.peers.report import Standing

_WIDTH, _BAR, _GAP, _HEAD, _LABELS, _VALUES = 720, 18, 5, 34, 190, 80
_BIDE, _PEER, _TEXT = "#0b6e4f", "#b8c0c8", "#1d2329"
_PANELS: tuple[tuple[str, Callable[[Standing], float | None]], ...] = (
    ("W1 park and resume: executions a second", lambda one: one.rate("park-resume")),
    ("Idle: milliseconds from answer to result, half take less", lambda one: one.idle_ms("p50")),
    ("W2 items of one unit, a second", lambda one: one.rate("items")),
    ("W3 three plain steps: executions a second", lambda one: one.rate("submit")),
)


def chart(standings: Sequence[Standing], caption: str) -> str:
    """The SVG of these standings, Bide's in a colour of their own."""
    parts: list[str] = []
    top = 8
    for heading, value in _PANELS:
        drawn, top = _panel(heading, [(one, value(one)) for one in standings], top)
        parts += drawn
    parts.append(_text(8, top + 18, caption, size=11))
    height = top + 30
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" role="img">',
            "<title>Bide beside its peers</title>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _panel(
    heading: str, values: Sequence[tuple[Standing, float | None]], top: int
) -> tuple[list[str], int]:
    """One panel, and where the next one begins."""
    known = [(one, value) for one, value in values if value is not None]
    most = max((value for _, value in known), default=1.0)
    parts = [_text(8, top + 20, heading, size=14)]
    top += _HEAD
    for one, value in known:
        length = max(1.0, (_WIDTH - _LABELS - _VALUES) * value / most)
        colour = _BIDE if one.contender.peer is None else _PEER
        digits = 1 if value < 100 else 0
        parts += [
            _text(16, top + 13, one.label),
            f'<rect x="{_LABELS}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>',
            _text(_LABELS + length + 6, top + 13, f"{value:,.{digits}f}"),
        ]
        top += _BAR + _GAP
    return parts, top + 8


def _text(x: float, y: float, text: str, *, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{_TEXT}">{escape(text)}</text>'
