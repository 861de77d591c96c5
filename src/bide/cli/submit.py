"""`bide submit`: one execution from a JSON document, or many from NDJSON.

Many are submitted a window at a time, so that they share commits and a file of any length is read
in little memory. Each line stands alone: one that is refused is reported and the others go on.
"""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any, BinaryIO, NamedTuple

import typer
from rich.progress import Progress

from bide.cli import output
from bide.cli.complaints import CliError, explain
from bide.cli.documents import Line, is_many, opened, read_document, read_lines
from bide.cli.look import print_execution, result_of
from bide.cli.options import (
    DEFAULT_TENANT,
    AppOption,
    JsonOption,
    StoreOption,
    Target,
    TenantOption,
)
from bide.cli.session import document_bytes_max, with_service
from bide.errors import BideError, StoreUnavailable
from bide.model.status import ExecutionStatus
from bide.runtime.clock import system_clock
from bide.runtime.service import Service
from bide.runtime.views import ExecutionView, Submission
from bide.web import rendering

_WINDOW = 500


def submit(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Its name.")],
    input: Annotated[
        str,
        typer.Option("--input", metavar="FILE",
                     help='JSON, or NDJSON for many; "-" reads stdin.', show_default=False),
    ],
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", show_default=False,
                     help="Submitted again, it is the same execution. Line n of many has KEY:n."),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option("--wait", metavar="S", min=0, show_default=False,
                     help="Wait so many seconds for the end."),
    ] = None,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Submit one execution, or many."""
    target = Target(app, store, tenant, json)
    bytes_max = document_bytes_max(target)
    with opened(input) as file:
        if is_many(file, input, bytes_max):
            many = _Many(target, pipeline, key, wait)
            with_service(target, lambda service: many.run(service, file, bytes_max), creates=True)
            many.report()
            return
        value = read_document(file, input, bytes_max)
    one = with_service(
        target, lambda service: _one(service, target, pipeline, value, key, wait), creates=True
    )
    _print_one(one, target, key)


class _One(NamedTuple):
    submission: Submission
    #: Where it stands after the wait; None without a wait.
    view: ExecutionView | None
    result: Any


async def _one(
    service: Service, target: Target, pipeline: str, value: Any, key: str | None, wait: float | None
) -> _One:
    submission = await service.submit(pipeline, value, key=key, tenant=target.tenant)
    if wait is None:
        return _One(submission, None, None)
    with output.aside().status("waiting for its end") if not target.json else _Silent():
        view = await service.wait(target.tenant, submission.execution_id, wait)
    return _One(submission, view, view and await result_of(service, view))


def _print_one(one: _One, target: Target, key: str | None) -> None:
    submission, view, result = one
    if target.json:
        output.print_json(_json_of(submission, view, result))
    elif view is not None:
        print_execution(view, result)
    elif submission.duplicate:
        output.say(f"{submission.execution_id} was there before, by its key {key!r}")
    else:
        output.say(submission.execution_id)
    if view is not None and view.status.is_terminal:
        _insist_on_success(view)
    elif not target.json:
        output.remark(f"follow it: bide show {submission.execution_id}")


def _insist_on_success(view: ExecutionView) -> None:
    if view.status is not ExecutionStatus.SUCCEEDED:
        raise CliError(
            f"execution {view.execution_id} ended {view.status.name}:"
            f" {view.error_code}: {view.error_message}"
        )


def _json_of(submission: Submission, view: ExecutionView | None, result: Any) -> dict[str, Any]:
    written: dict[str, Any] = {
        "executionId": submission.execution_id,
        "duplicate": submission.duplicate,
        "submittedAtEpochMs": submission.submitted_at_ms,
    }
    if view is None:
        return written
    return {**written, **rendering.execution_detail(view), "result": result}


class _Many:
    """Submits the lines of a file and counts what becomes of them."""

    def __init__(self, target: Target, pipeline: str, key: str | None, wait: float | None) -> None:
        self._target = target
        self._pipeline = pipeline
        self._key = key
        self._wait = wait
        self._submitted = 0
        self._duplicates = 0
        self._refused: list[str] = []
        self._refusals = 0
        self._ended = 0
        self._ended_badly = 0
        self._started_ms = system_clock()
        self._took_ms = 0

    async def run(self, service: Service, file: BinaryIO, bytes_max: int) -> None:
        """Submit every line; then, if asked to, wait for them all."""
        total = sum(1 for line in file if line.strip())
        file.seek(0)
        deadline = None
        ids: list[tuple[int, Submission]] = []
        with output.progress(total, "submitting", beside_json=self._target.json) as bar:
            for window in _windows(read_lines(file, bytes_max)):
                await self._submit(service, window, ids, bar)
        self._took_ms = system_clock() - self._started_ms
        if self._wait is not None:
            deadline = asyncio.get_running_loop().time() + self._wait
            with output.progress(len(ids), "waiting", beside_json=self._target.json) as bar:
                for window in _windows(ids):
                    await self._await_ends(service, window, deadline, bar)

    async def _submit(
        self,
        service: Service,
        lines: list[Line],
        ids: list[tuple[int, Submission]],
        bar: Progress,
    ) -> None:
        outcomes = await asyncio.gather(*(self._try(service, line) for line in lines))
        for line, outcome in zip(lines, outcomes, strict=True):
            bar.advance(_BAR)
            if isinstance(outcome, Submission):
                self._submitted += not outcome.duplicate
                self._duplicates += outcome.duplicate
                if self._wait is not None:
                    ids.append((line.number, outcome))
                elif self._target.json:
                    output.print_json({"line": line.number} | _json_of(outcome, None, None))
                continue
            self._refuse(line.number, outcome)

    async def _try(self, service: Service, line: Line) -> Submission | tuple[str, str]:
        if line.problem is not None:
            return "malformed", line.problem
        key = None if self._key is None else f"{self._key}:{line.number}"
        try:
            return await service.submit(
                self._pipeline, line.value, key=key, tenant=self._target.tenant
            )
        except StoreUnavailable:
            raise
        except BideError as error:
            return error.code, explain(error)

    def _refuse(self, number: int, outcome: tuple[str, str]) -> None:
        code, message = outcome
        self._refusals += 1
        if self._target.json:
            output.print_json({"line": number, "error": {"code": code, "message": message}})
        if not self._refused:
            self._refused.append(f"line {number}: {message}")

    async def _await_ends(
        self,
        service: Service,
        window: list[tuple[int, Submission]],
        deadline: float,
        bar: Progress,
    ) -> None:
        async def end_of(submission: Submission) -> tuple[ExecutionView | None, Any]:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            view = await service.wait(self._target.tenant, submission.execution_id, left)
            bar.advance(_BAR)
            return view, view and await result_of(service, view)

        ends = await asyncio.gather(*(end_of(submission) for _, submission in window))
        for (number, submission), (view, result) in zip(window, ends, strict=True):
            if view is not None and view.status.is_terminal:
                self._ended += 1
                self._ended_badly += view.status is not ExecutionStatus.SUCCEEDED
            if self._target.json:
                output.print_json({"line": number} | _json_of(submission, view, result))

    def report(self) -> None:
        """Say what became of the lines; an error if any was refused."""
        if not self._target.json:
            seconds = max(self._took_ms, 1) / 1_000
            there = f", {self._duplicates:,} were there before" if self._duplicates else ""
            done = self._submitted + self._duplicates
            output.say(
                f"{self._submitted:,} submitted{there} ({output.span(self._took_ms)},"
                f" {done / seconds:,.0f} a second)"
            )
            if self._wait is not None:
                output.say(f"{self._ended:,} of {done:,} have ended")
        if self._refusals:
            lines = "1 line was" if self._refusals == 1 else f"{self._refusals:,} lines were"
            raise CliError(f"{lines} refused; {self._refused[0]}")
        if self._ended_badly:
            raise CliError(f"{self._ended_badly:,} of the executions did not succeed: bide dlq ls")


_BAR: Any = 0
"""The only task of a progress bar."""


class _Silent:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _windows(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while window := list(islice(rest, _WINDOW)):
        yield window
