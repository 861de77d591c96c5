"""The mails that go out: to each approver the link for their question, and to nobody else.

Here they are printed; a program of your own would hand them to its mail server. A link can be made
again at any time: it is signed and not stored.
"""

import asyncio
from typing import NamedTuple

from bide import App
from examples.approval_by_link import app, approve


class Mail(NamedTuple):
    """One mail; whoever holds `link` can decide, so it is for `to` alone."""

    to: str
    subject: str
    link: str


async def mails(running: App) -> list[Mail]:
    """One mail for each open question, of which the approver's name goes into the record."""
    found: list[Mail] = []
    for question in await running.pending(approve):
        expense = question.request
        link = await running.link(question, actor=expense.approver)
        subject = f"{expense.employee} asks for {expense.amount}: {expense.what}"
        found.append(Mail(expense.approver, subject, link))
    return found


async def main() -> None:
    """Print them."""
    async with app.running(workers=False) as running:
        for mail in await mails(running):
            print(f"To: {mail.to}\nSubject: {mail.subject}\n\n{mail.link}\n")


if __name__ == "__main__":
    asyncio.run(main())
