"""Commands that act: complete, assign, cancel, redrive, release, pause and resume."""

from typing import Annotated, Any

import typer

from bide.cli import output
from bide.cli.complaints import USAGE, CliError, field_errors
from bide.cli.documents import opened, read_document
from bide.cli.look import print_execution
from bide.cli.options import (
    DEFAULT_TENANT,
    AppOption,
    JsonOption,
    StoreOption,
    Target,
    TenantOption,
)
from bide.cli.process import os_caller
from bide.cli.session import document_bytes_max, with_service
from bide.model.ids import parse_interaction
from bide.runtime.service import Service
from bide.runtime.views import (
    MISSING,
    Completion,
    ExecutionView,
    InteractionView,
    PipelineView,
    Reply,
    Submission,
)
from bide.web import rendering


def complete(
    interaction: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="The interaction, as `bide pending` lists it.",
                       show_default=False),
    ] = None,
    correlation: Annotated[
        str | None,
        typer.Option("--correlation", metavar="KEY", help="Its correlation id, in place of ID.",
                     show_default=False),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option("--step", metavar="STEP", help="The await that KEY is for: id or name.",
                     show_default=False),
    ] = None,
    payload: Annotated[
        str | None,
        typer.Option("--payload", metavar="FILE", help='The answer as JSON; "-" reads stdin.',
                     show_default=False),
    ] = None,
    actor: Annotated[
        str | None,
        typer.Option("--actor", metavar="NAME", help="Who answers.", show_default=False),
    ] = None,
    fail: Annotated[
        str | None,
        typer.Option("--fail", metavar="CODE:MESSAGE", help="Report a failure in place of it.",
                     show_default=False),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Recorded with it.", show_default=False),
    ] = None,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Answer an interaction; the same answer again does no harm."""
    target = Target(app, store, tenant, json)
    if (interaction is None) == (correlation is None):
        raise CliError("give the interaction's ID, or --correlation KEY", exit_code=USAGE)
    completion = Completion(
        interaction_id=interaction,
        correlation_id=correlation,
        step_id=step or None,
        actor=actor or None,
        idempotency_key=key or None,
        payload=_answer(target, payload, fail),
        failure=None if fail is None else _failure(fail),
    )

    async def act(service: Service) -> Reply:
        return await service.complete(tenant, completion, by=os_caller(tenant))

    reply = with_service(target, act)
    if json:
        output.print_json(_reply_json(reply))
    receipt = reply.receipt
    if not rendering.is_admitted(reply):
        raise CliError(_refusal(interaction or correlation or "", reply))
    if not json:
        done = f": {receipt.status}" if receipt.status else ""
        output.say(output.text(f"{receipt.outcome}{done}", "green"))
        if receipt.execution_id:
            output.remark(f"what follows: bide show {receipt.execution_id}")


def cancel(
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="Its id.")],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for the timeline.")
    ] = "",
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:
    """Cancel an execution, and what it waits for with it."""
    target = Target(app, store, tenant, json)

    async def act(service: Service) -> ExecutionView:
        return await service.cancel(tenant, execution, reason, caller=os_caller(tenant))

    view = with_service(target, act)
    if json:
        output.print_json(rendering.execution_detail(view))
    else:
        print_execution(view, None)


def redrive(
    id: Annotated[
        str,
        typer.Argument(metavar="ID", help="Of a dead letter, a reject, or a failed interaction."),
    ],
    start: Annotated[
        str,
        typer.Option("--from", metavar="start|await",
                     help="From its start, or from its await with the answers that are there."),
    ] = "start",
    again: Annotated[
        bool, typer.Option("--again", help="Another one, where it was redriven before.")
    ] = False,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Do it again: a new execution, or, of an await that is still open, the item asked once more."""
    if start not in {"start", "await"}:
        raise CliError(f"--from is {start!r}; write start or await", exit_code=USAGE)
    target = Target(app, store, tenant, json)

    async def act(service: Service) -> Submission | InteractionView:
        if parse_interaction(id) is not None:
            return await service.ask_again(tenant, id, caller=os_caller(tenant))
        return await service.redrive(
            tenant, id, from_await=start == "await", again=again, caller=os_caller(tenant)
        )

    made = with_service(target, act)
    if isinstance(made, InteractionView):
        if json:
            output.print_json(rendering.interaction(made))
        else:
            output.say(output.text(made.interaction_id, "bold"))
            output.remark("asked again; whatever comes for the old one is late")
    elif json:
        output.print_json(
            {
                "executionId": made.execution_id,
                "duplicate": made.duplicate,
                "submittedAtEpochMs": made.submitted_at_ms,
            }
        )
    else:
        output.say(output.text(made.execution_id, "bold"))
        if made.duplicate:
            output.remark("it was redriven before, as this; --again makes another one")


def release(
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="Its id.")],
    as_: Annotated[
        str,
        typer.Option("--as", metavar="FINGERPRINT", help="As which boundary of the app it goes on;"
                     " `bide pipelines` lists them."),
    ],
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="NAME", help="Who says so.", show_default=False),
    ] = None,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Let an execution that no worker fits go on as another boundary."""
    target = Target(app, store, tenant, json)

    async def act(service: Service) -> ExecutionView:
        return await service.release(
            tenant, execution, as_, by=by or None, caller=os_caller(tenant)
        )

    view = with_service(target, act)
    if json:
        output.print_json(rendering.execution_detail(view))
    else:
        print_execution(view, None)


def link(
    interaction: Annotated[
        str, typer.Argument(metavar="ID", help="The interaction, as `bide pending` lists it.")
    ],
    actor: Annotated[
        str | None,
        typer.Option("--actor", metavar="NAME", help="Who decides; else they say who they are.",
                     show_default=False),
    ] = None,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Make the address at which one person decides; whoever has it can."""

    async def act(service: Service) -> str:
        return await service.link(tenant, interaction, actor=actor)

    address = with_service(Target(app, store, tenant, json), act)
    if json:
        output.print_json({"interactionId": interaction, "url": address})
    else:
        output.say(output.text(address))


def assign(
    interaction: Annotated[
        str, typer.Argument(metavar="ID", help="The interaction, as `bide pending` lists it.")
    ],
    who: Annotated[
        str | None, typer.Argument(metavar="WHO", help="Whose it is.", show_default=False)
    ] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="It is nobody's any more.")] = False,
    claim: Annotated[bool, typer.Option("--claim", help="Only if nobody else has it.")] = False,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:
    """Say whose an interaction is."""
    if (who is None) != nobody or (nobody and claim):
        raise CliError("say who: WHO, WHO --claim, or --nobody", exit_code=USAGE)
    target = Target(app, store, tenant, json)

    async def act(service: Service) -> InteractionView:
        if claim and who is not None:
            return await service.claim(tenant, interaction, who, caller=os_caller(tenant))
        return await service.assign(tenant, interaction, who or None, caller=os_caller(tenant))

    view = with_service(target, act)
    if json:
        output.print_json(rendering.interaction(view))
    else:
        output.say(output.text(f"{interaction} is {view.assignee or 'nobody'}'s"))


def pause(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Its id.")],
    app: AppOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Stop the claims of a pipeline in every process; submissions and answers are taken in."""
    _set_paused(Target(app, store, json=json), pipeline, paused=True)


def resume(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Its id.")],
    app: AppOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Let a paused pipeline go on."""
    _set_paused(Target(app, store, json=json), pipeline, paused=False)


def _set_paused(target: Target, pipeline: str, *, paused: bool) -> None:
    async def act(service: Service) -> PipelineView:
        return await service.pause(pipeline, paused=paused)

    view = with_service(target, act)
    if target.json:
        output.print_json(rendering.pipeline(view))
    else:
        output.say(output.text(f"{view.pipeline} {'is paused' if paused else 'goes on'}"))


def _answer(target: Target, payload: str | None, fail: str | None) -> object:
    """What --payload holds, and MISSING where a failure is reported in its place."""
    if (payload is None) == (fail is None):
        raise CliError(
            "give the answer with --payload FILE (or -), or --fail CODE:MESSAGE in place of it",
            exit_code=USAGE,
        )
    if payload is None:
        return MISSING
    with opened(payload) as file:
        return read_document(file, payload, document_bytes_max(target))


def _failure(written: str) -> tuple[str, str]:
    code, _, message = (part.strip() for part in written.partition(":"))
    if not code or not message:
        raise CliError(f"--fail is {written!r}; write CODE:MESSAGE", exit_code=USAGE)
    return code, message


def _reply_json(reply: Reply) -> dict[str, Any]:
    """The receipt, and why where it was not admitted."""
    written: dict[str, Any] = {**rendering.receipt(reply.receipt)}
    if not rendering.is_admitted(reply):
        written |= {"code": reply.code, "detail": reply.detail, "errors": list(reply.errors)}
    return written


def _refusal(interaction: str, reply: Reply) -> str:
    """The line that says why, with the receipt."""
    receipt = reply.receipt
    if receipt.outcome == "unknown":
        return f"unknown: {reply.detail or f'there is no interaction {interaction!r}'}"
    named = reply.code if reply.code == receipt.outcome else f"{receipt.outcome} ({reply.code})"
    said = "; ".join(filter(None, (reply.detail, field_errors(reply.errors))))
    status = f"; interaction {interaction} is {receipt.status}" if receipt.status else ""
    return f"{named}: {said or 'it was not admitted'}{status}"
