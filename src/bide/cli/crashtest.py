"""`bide crashtest`: a user's pipeline, crashed at every one of its commits."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.text import Text

from bide.cli import output
from bide.cli.complaints import USAGE, CliError
from bide.cli.documents import opened, read_document
from bide.cli.locate import find_app, make_here_importable
from bide.cli.options import AppOption, JsonOption
from bide.cli.process import run
from bide.planning.plan import Plan, PlanAwait

if TYPE_CHECKING:
    from bide.testing.exploration import Explored, Explorer, Finding
    from bide.testing.scripted import Answering


def crashtest(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Its name.")],
    input: Annotated[
        str,
        typer.Option("--input", metavar="FILE", help='JSON; "-" reads stdin.', show_default=False),
    ],
    answer: Annotated[
        list[str] | None,
        typer.Option("--answer", metavar="AWAIT=FILE", show_default=False,
                     help="What every question of this await is answered: a file of JSON, or"
                          " MODULE:FUNCTION, which takes the request. Without one it comes to its"
                          " deadline."),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, metavar="N", help="Play all of it so often.")
    ] = 2,
    points: Annotated[
        int,
        typer.Option("--points", min=1, metavar="N",
                     help="Of the commits of one run, crash at so many, taken evenly."),
    ] = 40,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="VARIATION", show_default=False,
                     help="Play one variation again, as a finding names it: 0:4:d2."),
    ] = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Run a pipeline with a crash at every commit, and compare the results.

    Its steps run for real, and some hundred times: give the app resources that may be used so.
    """
    from bide.testing.exploration import Explorer
    from bide.testing.scripted import scripted

    found = find_app(app)
    plan = found._plans.get(pipeline)
    bytes_max = found.settings.http_max_body_bytes
    with opened(input) as file:
        value = read_document(file, input, bytes_max)
    answers = dict(_answering(plan, each, bytes_max) for each in answer or ())
    explorer = Explorer(found, scripted(plan.pipeline, value, answers), points=points)
    try:
        findings = run(_findings(explorer, range(seeds), only, as_json=json))
    except ValueError as error:
        raise CliError(str(error), exit_code=USAGE) from error
    _Tested(plan, explorer.explored, findings).report(as_json=json)


async def _findings(
    explorer: Explorer, seeds: Sequence[int], only: str | None, *, as_json: bool
) -> list[Finding]:
    with output.progress(None, "crashing", beside_json=as_json):
        return [finding async for finding in explorer.findings(seeds, only)]


class _Step(NamedTuple):
    id: str
    #: How often it ran at most for one item of one execution.
    times: int
    is_idempotent: bool

    @property
    def verdict(self) -> Text:
        """Whether it is idempotent, as far as it ran at all."""
        if not self.times:
            return Text("")
        return Text("yes", "green") if self.is_idempotent else Text("no", "bold red")


class _Tested(NamedTuple):
    """What became of a pipeline under crashes."""

    plan: Plan
    explored: Explored
    findings: list[Finding]

    @property
    def steps(self) -> list[_Step]:
        """Each step, in the pipeline's order."""
        unsteady = {finding.step for finding in self.findings}
        times = self.explored.steps
        return [
            _Step(step.id, times.get(step.id, 0), step.id not in unsteady)
            for step in self.plan.steps()
        ]

    @property
    def results_are_equal(self) -> bool:
        """Whether every run came to the same end."""
        return all(finding.step is not None for finding in self.findings)

    def report(self, *, as_json: bool) -> None:
        """Say it; an error where anything was found."""
        if as_json:
            output.print_json(self._json())
        else:
            self._print()
        if self.findings:
            first = self.findings[0]
            raise CliError(f"{first}; repeat: add --only {first.run.variation}")

    def _json(self) -> Mapping[str, Any]:
        return {
            "pipeline": self.plan.pipeline,
            "runs": self.explored.runs,
            "commits": self.explored.commits,
            "executions": [
                {"status": end.status, "errorCode": end.error_code} for end in self.explored.ends
            ],
            "resultsEqual": self.results_are_equal,
            "steps": [
                {
                    "stepId": step.id,
                    "ranAtMost": step.times,
                    "idempotent": step.is_idempotent if step.times else None,
                }
                for step in self.steps
            ],
            "findings": [
                {
                    "variation": str(finding.run.variation),
                    "stepId": finding.step,
                    "message": str(finding),
                }
                for finding in self.findings
            ],
        }

    def _print(self) -> None:
        output.print_table(
            "step", "ran at most", "idempotent",
            rows=[[step.id, str(step.times), step.verdict] for step in self.steps],
            numbers=("ran at most",),
        )  # fmt: skip
        explored = self.explored
        equal = "the same end in all of them" if self.results_are_equal else "not the same end"
        ends = ", ".join(f"{end.status}{_because(end.error_code)}" for end in explored.ends)
        output.say(f"{explored.runs:,} runs over {explored.commits:,} commits, {equal}: {ends}")


def _because(error_code: str | None) -> str:
    return f" ({error_code})" if error_code else ""


def _answering(plan: Plan, written: str, bytes_max: int) -> tuple[str, Answering]:
    """Read `AWAIT=FILE` or `AWAIT=MODULE:FUNCTION`."""
    name, _, source = written.partition("=")
    place = plan.by_name(name.strip())
    if not isinstance(place, PlanAwait):
        awaits = ", ".join(each.id for each in plan.awaits()) or "none"
        raise CliError(f"there is no await {name!r} in {plan.pipeline!r}; it has: {awaits}")
    if not source:
        raise CliError(f"--answer {written!r}: write {place.id}=FILE", exit_code=USAGE)
    if ":" in source and not Path(source).exists():
        return place.id, _function(source)
    with opened(source) as file:
        value = read_document(file, source, bytes_max)
    return place.id, lambda _: value


def _function(source: str) -> Answering:
    module_name, _, name = source.partition(":")
    make_here_importable()
    try:
        found: object = getattr(importlib.import_module(module_name), name, None)
    except ImportError as error:
        raise CliError(f"--answer: importing {module_name!r}: {error}") from error
    if not callable(found):
        raise CliError(f"--answer: module {module_name!r} has no function {name!r}")
    return found
