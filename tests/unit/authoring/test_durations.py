"""Durations: what authors may write, and what it comes to in milliseconds."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bide.authoring.durations import DURATION_MS_MAX, duration_ms, timeout_seconds
from bide.errors import DefinitionError


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("200ms", 200),
        ("5s", 5_000),
        ("30m", 1_800_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("1.5h", 5_400_000),
        ("2d", 172_800_000),
        ("1w", 604_800_000),
        ("PT30M", 1_800_000),
        ("P1DT12H", 129_600_000),
        ("PT0.2S", 200),
        ("P2W", 1_209_600_000),
        (timedelta(minutes=30), 1_800_000),
        (timedelta(microseconds=1_500), 1),
    ],
)
def test_every_written_form_is_read(written: str | timedelta, expected: int) -> None:
    """Short texts, ISO 8601 and timedeltas come to whole milliseconds."""
    assert expected == duration_ms(written, "timeout")


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "30",
        "30 minutes",
        "30m1h",
        "1h1h",
        "m",
        "P",
        "PT",
        "P1Y",
        "P1M",
        "-5s",
        "1e3s",
        "٣s",
    ],
)
def test_texts_that_are_no_durations_are_refused(written: str) -> None:
    """What could be read in two ways, or in none, is refused."""
    with pytest.raises(DefinitionError, match="which is no duration"):
        duration_ms(written, "timeout")


@pytest.mark.parametrize("written", [30, 0.5, True])
def test_a_bare_number_is_refused(written: float) -> None:
    """A wait of months shows its unit."""
    with pytest.raises(DefinitionError, match="a bare number does not say its unit"):
        duration_ms(written, "timeout")


def test_another_type_is_refused() -> None:
    """What is no duration at all is named by its type."""
    with pytest.raises(DefinitionError, match="timeout is no duration but NoneType"):
        duration_ms(None, "timeout")


@pytest.mark.parametrize("written", ["0s", "0.1ms", timedelta(0), timedelta(seconds=-1)])
def test_less_than_a_millisecond_is_refused(written: str | timedelta) -> None:
    """A wait takes time."""
    with pytest.raises(DefinitionError, match="at least one millisecond"):
        duration_ms(written, "timeout")


@pytest.mark.parametrize("written", ["3651d", "999999999999999w", timedelta.max])
def test_more_than_ten_years_is_refused(written: str | timedelta) -> None:
    """A deadline fits every store's clock."""
    with pytest.raises(DefinitionError, match="at most ten years"):
        duration_ms(written, "timeout")


@given(st.integers(min_value=1, max_value=DURATION_MS_MAX))
def test_milliseconds_are_read_back(milliseconds: int) -> None:
    """No millisecond is lost, as a text or as a timedelta."""
    assert milliseconds == duration_ms(f"{milliseconds}ms", "timeout")
    assert milliseconds == duration_ms(timedelta(milliseconds=milliseconds), "timeout")


@pytest.mark.parametrize(("written", "expected"), [(0, 0.0), (1.5, 1.5), ("5s", 5.0)])
def test_calls_take_seconds_too(written: str | float, expected: float) -> None:
    """A number is seconds where something is called and not defined."""
    assert expected == timeout_seconds(written)


@pytest.mark.parametrize("written", [-1, float("nan"), float("inf"), "soon"])
def test_calls_refuse_nonsense(written: str | float) -> None:
    """A timeout of a call is a `ValueError`: nothing was being defined."""
    with pytest.raises(ValueError, match="timeout is"):
        timeout_seconds(written)
