"""The demo's proof fails when it should."""

import csv
from pathlib import Path

import pytest

from examples.csv_payments.proof import prove, read_ids, write_payments
from examples.csv_payments.provider import approves


def output_of(path: Path, ids: list[str]) -> Path:
    """Write an output as it should be for these ids."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["csvId", "message"])
        writer.writerows([id, "Complete" if approves(id) else "Rejected"] for id in ids)
    return path


def test_an_input_is_the_same_each_time(tmp_path: Path) -> None:
    """The payments of the demo are made by arithmetic alone: ids from 1 on, equal bytes."""
    write_payments(tmp_path / "a.csv", 1000)
    write_payments(tmp_path / "b.csv", 1000)

    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert read_ids(tmp_path / "a.csv") == [str(number) for number in range(1, 1001)]


def test_a_whole_output_holds(tmp_path: Path) -> None:
    """Each row once, in order, as decided: the proof holds, and counts both sides."""
    ids = [str(number) for number in range(1, 1001)]

    found = prove(ids, output_of(tmp_path / "out.csv", ids))

    assert found.holds
    assert (found.approved, found.unapproved) == (907, 93)


def test_ids_that_the_input_repeats_are_no_duplicates(tmp_path: Path) -> None:
    """A file may name an id twice; then both come out."""
    ids = ["1", "2", "1"]

    assert prove(ids, output_of(tmp_path / "out.csv", ids)).holds


@pytest.mark.parametrize(
    ("ids", "duplicates", "missing"),
    [
        (["1", "2", "2", "3"], 1, 0),
        (["1", "3"], 0, 1),
        (["1", "2", "2"], 1, 1),
        (["2", "1", "3"], 0, 0),
    ],
)
def test_what_is_twice_missing_or_misplaced_is_found(
    tmp_path: Path, ids: list[str], duplicates: int, missing: int
) -> None:
    """One row too many, too few or in another place: the proof does not hold."""
    found = prove(["1", "2", "3"], output_of(tmp_path / "out.csv", ids))

    assert not found.holds
    assert (found.duplicates, found.missing) == (duplicates, missing)


def test_a_wrong_outcome_is_found(tmp_path: Path) -> None:
    """A row that says something else than the provider decided is noticed."""
    output = output_of(tmp_path / "out.csv", ["1", "2"])
    output.write_text(output.read_text().replace("2,Rejected", "2,Complete"))

    assert not prove(["1", "2"], output).holds
