"""How things look."""

import pytest
from rich.text import Text

from bide.cli.complaints import one_line, printable
from bide.cli.output import aligned, cut, span


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0ms"), (999, "999ms"), (1_000, "1.0s"), (59_000, "59.0s"), (60_000, "1m"),
        (61_000, "1m 1s"), (3_600_000, "1h"), (5_400_000, "1h 30m"), (90_000_000, "1d 1h"),
        (-5_000, "-5.0s"),
    ],
)  # fmt: skip
def test_a_span_has_its_two_largest_units(ms: int, shown: str) -> None:
    """A length of time is short to read."""
    assert span(ms) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – ünï", "plain – ünï"),
        ("\x1b[31m", "\\u001b[31m"),
        ("a\x07\x9b", "a\\u0007\\u009b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, shown: str) -> None:
    """Control and direction characters are shown and not acted on."""
    assert printable(text) == shown


def test_an_error_is_one_line() -> None:
    """Line breaks and runs of blanks in a message are folded."""
    assert one_line("one\n  two\r\n\tthree\x00") == "one two three\\u0000"


def test_columns_are_aligned_and_nothing_is_cut() -> None:
    """Every column is as wide as its widest cell; numbers stand to the right; no blanks at ends."""
    rows = [[Text("id"), Text("n"), Text("what")], [Text("x" * 40), Text("1,000"), Text("")]]

    assert [line.plain for line in aligned(rows, [False, True, False])] == [
        f"id{' ' * 38}      n  what",
        f"{'x' * 40}  1,000",
    ]


def test_a_cut_shows_that_it_is_one() -> None:
    """A line that is cut ends in an ellipsis and has the length asked for."""
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
