"""The CSV payments: the same bytes come out, whatever happens to the service on the way."""

import csv
import io
import os
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from examples.csv_payments.provider import approves, decide
from tests.examples.payments import run_payments
from tests.processes import ROOT

#: SHA-256 of the output of the first 12 payments.
GOLDEN_12 = "e6400bd427896dc565781a610944d3296c703c7197ccdcb60f957ac246f1b1e9"


def test_the_providers_rule_gives_the_published_split() -> None:
    """Of the ids 1 to 1000, the provider approves 907."""
    approved = sum(approves(str(number)) for number in range(1, 1001))

    assert approved == 907


def test_the_provider_knows_nothing_of_the_service() -> None:
    """The provider's process imports no module of Bide and none of the example's pipeline."""
    script = ROOT / "examples" / "csv_payments" / "provider.py"
    program = (
        "import runpy, sys\n"
        f"runpy.run_path({str(script)!r})\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('bide', 'examples')])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd="/"
    )

    assert answer.stdout.strip() == "[]"


def test_the_provider_decides_by_the_payment_alone() -> None:
    """The same payment gets the same answer, conversation included."""
    payment = {"id": str(UUID(int=7)), "csvId": "1"}

    assert decide(payment) == decide(dict(reversed(payment.items())))


@pytest.mark.process
async def test_payments_come_out_in_order_with_the_columns_of_the_contract(tmp_path: Path) -> None:
    """The output holds each row once, in the input's order, as the results say it."""
    run = await run_payments(tmp_path, 12)

    assert run.sha256 == GOLDEN_12
    assert run.files == {"payments.csv", "payments.out.csv"}
    rows = list(csv.DictReader(io.StringIO(run.output.decode())))
    assert [row["csvId"] for row in rows] == [str(number) for number in range(1, 13)]
    assert list(rows[0]) == [
        "csvPaymentsOutputFilename",
        "csvPaymentsInputFilePath",
        "csvId",
        "recipient",
        "amount",
        "currency",
        "conversationId",
        "status",
        "message",
        "fee",
    ]
    assert [{**row, "status": int(row["status"])} for row in rows] == run.results
    assert {row["csvPaymentsInputFilePath"] for row in rows} == {"payments.csv"}
    assert {row["csvPaymentsOutputFilename"] for row in rows} == {"payments.out.csv"}
    for row in rows:
        assert row["message"] == ("Complete" if approves(row["csvId"]) else "Rejected")
        assert Decimal(row["amount"]) > 0


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_kill_at_a_commit_changes_no_byte(tmp_path: Path, side: str) -> None:
    """The service dies right before, or right after, each of its commits: the output is the same.

    Commits are tried one after another until the service ends its work before the commit comes.
    """
    for number in range(1, 100):
        run = await run_payments(tmp_path / str(number), 12, failpoint=f"{side}-commit:{number}")

        assert run.sha256 == GOLDEN_12, f"{side}-commit:{number}"
        assert run.files == {"payments.csv", "payments.out.csv"}, f"{side}-commit:{number}"
        if run.kills == 0:
            assert number > 5, "the failpoint never came"
            return
    pytest.fail("a hundred commits for twelve payments")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_kills_at_random_instants_change_no_byte(tmp_path: Path) -> None:
    """The service dies at twenty random instants, four a run: the output is the same each time."""
    seed = int(os.environ.get("BIDE_TEST_SEED") or random.randrange(1_000_000))
    print(f"BIDE_TEST_SEED={seed}")
    chance = random.Random(seed)
    undisturbed = await run_payments(tmp_path / "undisturbed", 200)

    for number in range(5):
        # The provider takes a second altogether, so that the last kill comes in time as well.
        instants = [chance.uniform(0, 0.19) for _ in range(4)]
        run = await run_payments(
            tmp_path / str(number), 200, batch=10, per_second=200, kill_after_s=instants
        )

        assert run.output == undisturbed.output, f"seed {seed}, run {number}"
        assert run.results == undisturbed.results, f"seed {seed}, run {number}"
        assert run.kills == len(instants), f"seed {seed}, run {number}"
