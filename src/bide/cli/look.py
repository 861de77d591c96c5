"""Commands that look: executions, show, pending, and the dead letters."""

import asyncio
import sys
from functools import partial
from typing import Annotated, Any, NamedTuple

import typer
from rich.text import Text

from bide.cli import output
from bide.cli.complaints import USAGE, CliError, one_line
from bide.cli.options import (
    DEFAULT_TENANT,
    AppOption,
    JsonOption,
    LimitOption,
    PipelineOption,
    StoreOption,
    Target,
    TenantOption,
)
from bide.cli.session import found, with_service
from bide.errors import ResultTooLarge
from bide.model.ids import parse_reject
from bide.model.status import ExecutionStatus
from bide.runtime.clock import system_clock
from bide.runtime.service import Service
from bide.runtime.views import (
    DeadLetterView,
    DispatchView,
    ExecutionView,
    HandoffView,
    InteractionView,
    Lineage,
    PipelineView,
    RejectView,
    TimelineEntry,
    UnitView,
)
from bide.web import rendering

_MESSAGE_LENGTH = 80
#: Open questions that `show` lists at most.
_UNANSWERED = 20

BeforeOption = Annotated[
    str | None,
    typer.Option("--before", metavar="ID", help="Older than this one.", show_default=False),
]


def executions(
    pipeline: PipelineOption = None,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="STATUS", help="In this status.", show_default=False),
    ] = None,
    held: Annotated[
        bool, typer.Option("--held", help="Only those that are due and that no worker can claim.")
    ] = False,
    before: BeforeOption = None,
    limit: LimitOption = 20,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:
    """List executions, newest first."""
    target = Target(app, store, tenant, json)
    wanted = None if status is None else _status(status)

    async def look(service: Service) -> list[ExecutionView]:
        return await service.executions(
            tenant, pipeline=pipeline, status=wanted, before=before, limit=limit, held=held
        )

    listed = with_service(target, look)
    if json:
        output.print_lines(map(rendering.execution_detail, listed))
        return
    if not listed:
        output.remark("no executions")
        return
    now = system_clock()
    output.print_table(
            "execution", "status", "age", "pipeline", "at",
            rows=(
                (
                    view.execution_id,
                    _standing(view),
                    output.span(now - view.created_at_ms),
                    view.pipeline,
                    _place(view),
                )
                for view in listed
            ),
    )  # fmt: skip
    if len(listed) == limit:
        output.remark(f"older ones: --before {listed[-1].execution_id}")


def show(
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="Its id.")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with each fact as it comes, up to the end.")
    ] = False,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:
    """Show where an execution stands, and its timeline."""
    target = Target(app, store, tenant, json)
    if follow:
        with_service(target, partial(_follow, tenant, execution, in_json=json))
        return

    async def look(
        service: Service,
    ) -> tuple[_Life, Any]:
        view = found(await service.execution(tenant, execution), "execution", execution, tenant)
        life = _Life(
            view,
            *await asyncio.gather(
                service.lineage(tenant, execution),
                service.units(tenant, execution),
                service.pending(tenant, execution_id=execution, limit=_UNANSWERED),
                service.timeline(tenant, execution),
            ),
        )
        return life, await result_of(service, view)

    life, result = with_service(target, look)
    if json:
        output.print_json(
            {
                **rendering.execution_detail(life.view),
                "lineage": rendering.lineage(life.lineage),
                "units": [rendering.unit(unit) for unit in life.units],
                "pending": [rendering.interaction(each) for each in life.asked],
                "timeline": [rendering.timeline_entry(entry) for entry in life.timeline],
                "result": result,
            }
        )
        return
    _show(life, result)


def pipelines(app: AppOption = None, store: StoreOption = None, json: JsonOption = False) -> None:
    """List the app's pipelines, which are paused, and the fingerprints of their boundaries."""
    target = Target(app, store, json=json)

    async def look(service: Service) -> list[PipelineView]:
        return await service.pipeline_views()

    listed = with_service(target, look)
    if json:
        output.print_lines(map(rendering.pipeline, listed))
        return
    output.print_table(
        "pipeline", "state", "boundary", "fingerprint",
        rows=(
            (
                view.pipeline,
                ", ".join(
                    name for name, on in (("paused", view.paused), ("retired", view.retired)) if on
                ) or "active",
                step_id or "(input)",
                fingerprint,
            )
            for view in listed
            for step_id, fingerprint in view.fingerprints.items()
        ),
    )  # fmt: skip


def pending(
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="NAME", help="For this group.", show_default=False),
    ] = None,
    assignee: Annotated[
        str | None,
        typer.Option("--assignee", metavar="NAME", help="For this person.", show_default=False),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option("--step", metavar="STEP", help="At this await: id or name.",
                     show_default=False),
    ] = None,
    execution: Annotated[
        str | None,
        typer.Option("--execution", metavar="ID", help="Of this execution.", show_default=False),
    ] = None,
    limit: LimitOption = 20,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """List what waits for an answer, oldest deadline first."""
    target = Target(app, store, tenant, json)

    async def look(service: Service) -> list[InteractionView]:
        return await service.pending(
            tenant, group=group, assignee=assignee, step=step, execution_id=execution, limit=limit
        )

    listed = with_service(target, look)
    if json:
        output.print_lines(map(rendering.interaction, listed))
        return
    if not listed:
        output.remark("nothing waits for an answer")
        return
    now = system_clock()
    for view in listed:
        output.say(_question(view, now))
    more = f"; there may be more (--limit {limit})" if len(listed) == limit else ""
    output.remark(f"answer one: bide complete ID --payload FILE{more}")


def dead_letters(
    rejects: Annotated[
        bool, typer.Option("--rejects", help="Items that steps left out, instead.")
    ] = False,
    pipeline: PipelineOption = None,
    before: BeforeOption = None,
    limit: LimitOption = 20,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:
    """List executions that did not succeed, answers that nobody asked for, and publications that
    were not taken, newest first.
    """
    target = Target(app, store, tenant, json)
    if rejects:
        _list_rejects(target, pipeline, before, limit)
        return

    async def look(service: Service) -> list[DeadLetterView]:
        return await service.dead_letters(tenant, pipeline=pipeline, before=before, limit=limit)

    listed = with_service(target, look)
    if json:
        output.print_lines(map(rendering.dead_letter, listed))
        return
    if not listed:
        output.remark("no dead letters")
        return
    output.print_table(
            "dead letter", "status", "when", "pipeline", "code", "message",
            rows=(
                (
                    view.dead_letter_id,
                    output.status(view.status) if view.status else output.text(view.kind),
                    output.when(view.created_at_ms)[:19],
                    view.pipeline,
                    view.code,
                    output.cut(one_line(view.message), _MESSAGE_LENGTH),
                )
                for view in listed
            ),
    )  # fmt: skip
    if len(listed) == limit:
        output.remark(f"older ones: --before {listed[-1].dead_letter_id}")


def dead_letter(
    id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `dlq ls` lists it.")],
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:
    """Show why an execution failed, an item was left out, or an answer was asked for by nobody."""
    target = Target(app, store, tenant, json)
    if parse_reject(id) is not None:
        _show_reject(target, id)
        return

    async def look(service: Service) -> DeadLetterView:
        return found(await service.dead_letter(tenant, id), "dead letter", id, tenant)

    view = with_service(target, look)
    if json:
        output.print_json(rendering.dead_letter(view))
        return
    _print_facts(
        ("dead letter", view.dead_letter_id),
        ("execution", view.execution_id),
        ("pipeline", view.pipeline),
        ("status", output.status(view.status) if view.status else None),
        ("key" if view.kind == "handoff" else "correlation", view.correlation_id),
        ("code", view.code),
        ("message", view.message),
        ("step", view.step_id),
        ("attempts", str(view.attempts)),
        ("actor", view.actor),
        (
            "published" if view.kind == "handoff" else "answer",
            None if view.payload is None else output.short_json(view.payload, 2_000),
        ),
        ("when", output.when(view.created_at_ms)),
    )
    if view.execution_id is not None:
        output.remark(f"its timeline: bide show {view.execution_id}")


def receipts(
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:
    """Count the receipts that stored completions got."""
    target = Target(app, store, tenant, json)

    async def look(service: Service) -> dict[str, int]:
        return (await service.receipts(tenant)).stored

    stored = with_service(target, look)
    if json:
        output.print_json(stored)
    else:
        output.print_table("receipt", "kept", rows=((name, f"{n:,}") for name, n in stored.items()))


def _list_rejects(target: Target, pipeline: str | None, after: str | None, limit: int) -> None:
    async def look(service: Service) -> list[RejectView]:
        return await service.rejects(target.tenant, pipeline=pipeline, after=after, limit=limit)

    listed = with_service(target, look)
    if target.json:
        output.print_lines(map(rendering.reject, listed))
        return
    if not listed:
        output.remark("no rejects")
        return
    output.print_table(
            "reject", "when", "pipeline", "step", "item", "reason",
            rows=(
                (
                    view.reject_id,
                    output.when(view.created_at_ms)[:19],
                    view.pipeline,
                    view.step_id,
                    str(view.item_index),
                    output.cut(one_line(view.reason), _MESSAGE_LENGTH),
                )
                for view in listed
            ),
            numbers=("item",),
    )  # fmt: skip
    if len(listed) == limit:
        output.remark(f"more: --before {listed[-1].reject_id}")


def _show_reject(target: Target, id: str) -> None:
    async def look(service: Service) -> RejectView:
        return found(await service.reject(target.tenant, id), "reject", id, target.tenant)

    view = with_service(target, look)
    if target.json:
        output.print_json(rendering.reject(view))
        return
    _print_facts(
        ("reject", view.reject_id),
        ("execution", view.execution_id),
        ("pipeline", view.pipeline),
        ("step", view.step_id),
        ("item", str(view.item_index)),
        ("reason", view.reason),
        ("fingerprint", view.fingerprint),
        ("when", output.when(view.created_at_ms)),
        ("value", output.short_json(view.item, 2_000)),
    )


async def result_of(service: Service, view: ExecutionView) -> Any:
    """The result of an execution that has one of a size to be shown, else None."""
    if view.status is not ExecutionStatus.SUCCEEDED:
        return None
    try:
        return await service.result(view.tenant, view.execution_id)
    except ResultTooLarge as error:
        output.remark(f"the result is left out: {error}")
        return None


def print_execution(view: ExecutionView, result: Any) -> None:
    """Say where an execution stands, for people."""
    now = system_clock()
    _print_facts(
        ("execution", view.execution_id),
        ("pipeline", view.pipeline),
        ("redriven from", view.redriven_from),
        ("status", _standing(view)),
        ("at", _place(view)),
        ("attempt", str(view.attempt) if view.attempt > 1 else None),
        ("fingerprint", view.fingerprint if view.held else None),
        ("next due", _due(view, now)),
        ("submitted", f"{output.when(view.created_at_ms)} ({_ago(now, view.created_at_ms)})"),
        ("changed", f"{output.when(view.updated_at_ms)} ({_ago(now, view.updated_at_ms)})"),
        ("error", None if view.error_code is None else f"{view.error_code}: {view.error_message}"),
        ("results", None if view.result_count is None else f"{view.result_count:,}"),
        ("result", output.short_json(result, 2_000) if result is not None else None),
    )


class _Life(NamedTuple):
    """What there is to see of an execution."""

    view: ExecutionView
    lineage: Lineage
    units: list[UnitView]
    asked: list[InteractionView]
    timeline: list[TimelineEntry]


def _show(life: _Life, result: Any) -> None:
    view, lineage, units, asked, timeline = life
    print_execution(view, result)
    for origin in lineage.made_of:
        output.say(
            output.text(f"made of {origin.publication} {origin.key}")
            + output.text(f", published by {origin.execution_id} of {origin.pipeline}", "dim")
        )
    for handoff in lineage.published:
        output.say(output.text(_handoff(handoff)))
    console = output.people()
    if units:
        console.print()
        output.print_table(
                "unit", "status", "answered", "open for", "await",
                rows=(
                    (
                        unit.unit_id,
                        output.status(unit.status),
                        f"{unit.settled:,} of {_total(unit)}{_missing(unit)}",
                        output.span(_unit_end(unit) - unit.created_at_ms),
                        unit.step_id,
                    )
                    for unit in units
                ),
        )  # fmt: skip
    now = system_clock()
    for each in asked:
        if each.dispatch is not None:
            output.say(output.text(f"{each.interaction_id}  {_sending(each.dispatch, now)}"))
    console.print()
    start = timeline[0].at_ms if timeline else 0
    output.print_table(
            "when", "after", "what", "unit", "detail",
            rows=(
                (
                    output.when(entry.at_ms),
                    f"+{output.span(entry.at_ms - start)}",
                    entry.what,
                    "" if entry.unit_id is None else entry.unit_id.rpartition("_")[2],
                    entry.detail or "",
                )
                for entry in timeline
            ),
    )  # fmt: skip


async def _follow(tenant: str, execution: str, service: Service, *, in_json: bool) -> None:
    """Print each fact as it comes, and between them how far an open unit has got."""
    start: int | None = None
    progress = ""
    async for page in await service.follow(tenant, execution):
        for entry in page:
            start = entry.at_ms if start is None else start
            if in_json:
                output.print_lines([rendering.timeline_entry(entry)])
            else:
                output.say(_fact_line(entry, start))
        if not in_json:
            said = _progress(await service.units(tenant, execution))
            if said and said != progress:
                output.remark(said)
            progress = said
        sys.stdout.flush()


def _fact_line(entry: TimelineEntry, start: int) -> Text:
    unit = "" if entry.unit_id is None else f"  unit {entry.unit_id.rpartition('_')[2]}"
    detail = f"  {entry.detail}" if entry.detail else ""
    return Text.assemble(
        (f"{output.when(entry.at_ms)}  +{output.span(entry.at_ms - start)}  ", "dim"),
        output.text(f"{entry.what}{unit}{detail}"),
    )


def _progress(units: list[UnitView]) -> str:
    """How far the unit that is open has got; nothing when none is."""
    last = units[-1] if units else None
    if last is None or last.status.is_terminal:
        return ""
    return f"{last.step_id}: {last.settled:,} of {_total(last)} answered"


def _question(view: InteractionView, now: int) -> Text:
    """An open interaction in three lines; its id alone, so that it can be copied."""
    whose = [
        f"{label} {value}"
        for label, value in (("group", view.group), ("assignee", view.assignee))
        if value is not None
    ]
    left = view.deadline_ms - now
    due = f"due in {output.span(left)}" if left > 0 else f"overdue by {output.span(-left)}"
    item = "" if view.item_index is None else f", item {view.item_index}"
    return Text.assemble(
        output.text(view.interaction_id, "bold"),
        "\n  ",
        output.text(view.step or view.step_id, "yellow"),
        output.text(f"{item} of {view.pipeline}; {', '.join([*whose, due])}"),
        output.text(f"; wants {view.output_type}" if view.output_type else ""),
        output.text(f"; {_sending(view.dispatch, now)}" if view.dispatch else ""),
        "\n  ",
        output.text(output.short_json(view.request, 400)),
    )


def _handoff(view: HandoffView) -> str:
    """Where a publication stands, in a line."""
    line = f"published {view.publication} {view.key}: {view.status}"
    to = f" by {view.target}" if view.target else ""
    if view.execution_id is not None:
        return f"{line}{to} as {view.execution_id}{', which was there' if view.duplicate else ''}"
    tries = f" after {view.attempts} tries" if view.attempts else ""
    return f"{line}{to}{tries}{f': {one_line(view.error)}' if view.error else ''}"


def _sending(dispatch: DispatchView, now: int) -> str:
    """How far a request has got on its way, in a few words."""
    tried = f"{dispatch.attempts} {'try' if dispatch.attempts == 1 else 'tries'}"
    why = f": {one_line(dispatch.error)}" if dispatch.error else ""
    if dispatch.dispatched_ms is not None:
        return f"sent {_ago(now, dispatch.dispatched_ms)}"
    if dispatch.exhausted:
        return f"not known to have arrived after {tried}{why}"
    if dispatch.next_attempt_ms is None:
        return f"being sent, try {dispatch.attempts}"
    if not dispatch.attempts:
        return "to be sent"
    left = output.span(max(0, dispatch.next_attempt_ms - now))
    return f"tried again in {left} after {tried}{why}"


def _print_facts(*facts: tuple[str, str | Text | None]) -> None:
    width = max(len(name) for name, value in facts if value is not None)
    for name, value in facts:
        if value is not None:
            shown = value if isinstance(value, Text) else output.text(value)
            output.say(Text.assemble((name.ljust(width), "dim"), "  ", shown))


def _standing(view: ExecutionView) -> Text:
    shown = output.status(view.status)
    return shown if view.held is None else Text.assemble(shown, output.text(f" held: {view.held}"))


def _place(view: ExecutionView) -> str:
    """Steps are counted from 1 for people."""
    if view.status is ExecutionStatus.SUCCEEDED:
        return "the end"
    name = f" {view.step}" if view.step else ""
    return f"step {view.step_index + 1}{name}"


def _due(view: ExecutionView, now: int) -> str | None:
    if view.next_due_at_ms is None or view.status.is_terminal:
        return None
    left = view.next_due_at_ms - now
    return f"in {output.span(left)}" if left > 0 else f"since {output.span(-left)}"


def _ago(now: int, then: int) -> str:
    return f"{output.span(max(0, now - then))} ago"


def _total(unit: UnitView) -> str:
    return f"{unit.appended:,} so far" if unit.total is None else f"{unit.total:,}"


def _missing(unit: UnitView) -> str:
    return f", {unit.missing:,} missing" if unit.missing else ""


def _unit_end(unit: UnitView) -> int:
    return unit.updated_at_ms if unit.status.is_terminal else system_clock()


def _status(name: str) -> ExecutionStatus:
    try:
        return ExecutionStatus[name.upper().replace("-", "_")]
    except KeyError:
        known = ", ".join(one.name for one in ExecutionStatus)
        raise CliError(f"{name!r} is no status; there are {known}", exit_code=USAGE) from None
