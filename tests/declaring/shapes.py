"""Types and steps that the declarations of the tests name, for awaits of every cardinality."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Tag
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType

from bide import Answer, Many, Retry, step


class Message(BaseModel):
    """A value that travels as JSON, camelCase outside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Job(Message):
    job_id: str
    size: int = 2


class Page(Message):
    page_number: int


class Verdict(Message):
    fine: bool


class Report(Message):
    fine: int


class Signed(Message):
    page_number: int
    fine: bool
    by: str


class Yes(Message):
    note: str = ""


class No(Message):
    reason: str


class Later(Message):
    days: int


Reply = TypeAliasType("Reply", Annotated[Yes, Tag("yes")] | Annotated[No, Tag("no")] | Later)


class Done(Message):
    text: str


def pages(job: Job) -> Iterator[Page]:
    for number in range(job.size):
        yield Page(page_number=number)


def report(verdicts: Iterator[Verdict]) -> Report:
    return Report(fine=sum(verdict.fine for verdict in verdicts))


def publish(signed: Iterator[Signed]) -> Done:
    return Done(text=", ".join(f"{one.page_number} by {one.by}" for one in signed))


def sign(page: Page, verdict: Verdict, answer: Answer) -> Signed:
    return Signed(page_number=page.page_number, fine=verdict.fine, by=answer.actor)


def sign_all(pages: Many[Page], verdict: Verdict, answer: Answer) -> Signed:
    return Signed(page_number=len(pages), fine=verdict.fine, by=answer.actor)


def nobody(page: Page) -> Signed:
    return Signed(page_number=page.page_number, fine=False, by="nobody")


def on_yes(yes: Yes) -> Done:
    return Done(text=f"yes {yes.note}")


def on_no(no: No) -> Done:
    return Done(text=f"no: {no.reason}")


def no_again(no: No) -> Yes:
    return Yes(note=no.reason)


def on_later(later: Later) -> Done:
    return Done(text=f"in {later.days}")


def on_the_rest(reply: No | Later) -> Done:
    return Done(text=type(reply).__name__)


@step(id="pinned", retry=Retry(7), timeout="3s")
def careful(job: Job) -> Job:
    return job


NUMBER = 7
