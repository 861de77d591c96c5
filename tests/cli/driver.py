"""A shop to run, and the command line as a function."""

import asyncio
import io
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from bide.cli.locate import find_app
from bide.cli.root import run

SHOP = '''
"""An app with a wait, one without, and one that fails."""

from collections.abc import Iterator

from pydantic import BaseModel

from bide import App, Await, Inbox, NonRetryable, Pipeline, RejectItem


class Order(BaseModel):
    id: int
    dish: str = "soup"


class Verdict(BaseModel):
    accepted: bool


class Slip(BaseModel):
    text: str


def check(order: Order) -> Order:
    if order.id < 0:
        raise NonRetryable("no such order")
    return order


def write(verdict: Verdict) -> Slip:
    return Slip(text="yes" if verdict.accepted else "no")


def double(number: int) -> int:
    return 2 * number


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def pick(number: int) -> int:
    if number == 2:
        raise RejectItem("not two")
    return number


decide = Await("Decide", Order, Verdict, via=Inbox("kitchen"), timeout="1h")
orders = Pipeline("orders", Order).then(check).wait(decide).then(write)
doubles = Pipeline("doubles", int).then(double)
picks = Pipeline("picks", int).then(numbers).then(pick)
app = App(orders, doubles, picks)
'''


@dataclass(frozen=True)
class Result:
    """What a command printed, and how it left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    def complaint(self) -> str:
        """The one line of an error."""
        assert self.code != 0
        assert self.out == ""
        [line] = self.err.splitlines()
        assert line.startswith("bide: ")
        return line.removeprefix("bide: ")


class Cli:
    """`bide` with arguments, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._patch = patch

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Result:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        self._capsys.readouterr()
        code = run(arguments)
        out, err = self._capsys.readouterr()
        return Result(code, out, err)

    def work(self, *executions: str) -> None:
        """Run a worker until each execution has ended or waits outside."""

        async def settle() -> None:
            app = find_app(None)
            async with app.running():
                for execution in executions:
                    view = await app.service.wait("default", execution, 60, parked=True)
                    assert view is not None

        asyncio.run(settle())

    def submit(self, pipeline: str = "orders", value: str = '{"id": 1}', *options: str) -> str:
        """Submit one, and give its id."""
        submitted = self("submit", pipeline, "--input", "-", "--json", *options, stdin=value)
        assert submitted.code == 0, submitted.err
        return submitted.json["executionId"]

    def parked(self) -> str:
        """Submit an order, let it park, and give the id of its interaction."""
        execution = self.submit()
        self.work(execution)
        [question] = self("pending", "--execution", execution, "--json").lines
        return question["interactionId"]
