"""An expense that a manager approves by a link, without an account.

    export BIDE_APP=examples.approval_by_link:app BIDE_CALLBACK_BASE_URL=http://127.0.0.1:8000
    export BIDE_KEYRING_FILE=keys.json
    bide keys generate
    bide serve --port 8000 &
    echo '{"employee": "Ada", "approver": "grace@example.com", "what": "Train", "amount": 89.9}' |
        bide submit expenses --input -
    python -m examples.approval_by_link.mail    # what would be sent, to whom

The address opens a page that shows the expense and has a form for each of the two answers. Opening
it changes nothing, so a mail program may look at it; sending a form decides, once.
"""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field, Tag
from typing_extensions import TypeAliasType

from bide import App, Await, Inbox, NonRetryable, Pipeline


class Expense(BaseModel):
    """What somebody wants to have back, and who may say so."""

    employee: str
    approver: str
    what: str
    amount: Decimal


class Approved(BaseModel):
    """The amount is paid."""

    note: str = Field("", description="for the employee")


class Declined(BaseModel):
    """It is not, and the employee learns why."""

    reason: str = Field(description="for the employee")


Verdict = TypeAliasType(
    "Verdict", Annotated[Approved, Tag("approve")] | Annotated[Declined, Tag("decline")]
)


def check(expense: Expense) -> Expense:
    """Ask nobody about what cannot be paid."""
    if expense.amount <= 0:
        raise NonRetryable("an expense has a positive amount")
    return expense


def outcome(verdict: Verdict) -> str:
    """What the employee is told."""
    if isinstance(verdict, Approved):
        return " ".join(filter(None, ("Approved.", verdict.note)))
    return f"Declined: {verdict.reason}"


approve = Await("Approve expense", Expense, Verdict, via=Inbox(), timeout="7d")
expenses = Pipeline("expenses", Expense).then(check).wait(approve).then(outcome)
app = App(expenses)
