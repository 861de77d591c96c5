"""What the demo claims, worked out from the files alone: the input, the output and the rule."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from examples.csv_payments.provider import approves

HEADER = ["ID", "Recipient", "Amount", "Currency"]
FIRST_NAMES = ["Ada", "Alan", "Barbara", "Donald", "Edsger", "Frances", "Grace", "Hedy", "Joan"]
LAST_NAMES = ["Abbott", "Berger", "Castro", "Dumont", "Ekman", "Fischer", "Garcia", "Horvat"]
CURRENCIES = ["EUR", "USD", "GBP", "CHF", "SEK", "JPY", "AUD"]


def write_payments(path: Path, count: int) -> None:
    """Write payments with the ids 1 to `count`, the same ones each time."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for number in range(1, count + 1):
            recipient = f"{FIRST_NAMES[number % 9]} {LAST_NAMES[number % 8]}"
            cents = 100 + number * 7_919 % 999_900
            currency = CURRENCIES[number % 7]
            writer.writerow([number, recipient, f"{cents // 100}.{cents % 100:02}", currency])


def read_ids(path: Path) -> list[str]:
    """Read the ids of an input, in its order.

    Raises:
        ValueError: it is no file of payments.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != HEADER:
            raise ValueError(f"{path} does not start with the header {','.join(HEADER)}")
        return [row["ID"] for row in rows]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What came out, beside what should have."""

    rows_in: int
    rows_out: int
    approved: int
    unapproved: int
    #: Rows of the output that no row of the input accounts for, and the other way round.
    duplicates: int
    missing: int
    in_order: bool
    #: Every payment has the outcome that the provider's rule gives it.
    as_decided: bool

    @property
    def holds(self) -> bool:
        """True when every payment was finished once."""
        complete = self.rows_in == self.rows_out and self.duplicates == self.missing == 0
        return complete and self.in_order and self.as_decided


def prove(ids: list[str], output: Path) -> Proof:
    """Compare an output with the ids of its input."""
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [row["csvId"] for row in rows]
    outcomes = Counter(row["message"] for row in rows)
    return Proof(
        rows_in=len(ids),
        rows_out=len(rows),
        approved=outcomes["Complete"],
        unapproved=outcomes["Rejected"],
        duplicates=(Counter(found) - Counter(ids)).total(),
        missing=(Counter(ids) - Counter(found)).total(),
        in_order=found == ids,
        as_decided=all(
            row["message"] == ("Complete" if approves(row["csvId"]) else "Rejected") for row in rows
        ),
    )
