"""`bide audit`: who decided what, by which credential."""

from typing import Annotated

import typer

from bide.cli import output
from bide.cli.look import BeforeOption
from bide.cli.options import (
    DEFAULT_TENANT,
    AppOption,
    JsonOption,
    LimitOption,
    StoreOption,
    Target,
    TenantOption,
)
from bide.cli.session import with_service
from bide.runtime.service import Service
from bide.runtime.views import AuditView
from bide.web import rendering


def audit(
    execution: Annotated[
        str | None,
        typer.Argument(metavar="[EXECUTION]", help="Only about this one.", show_default=False),
    ] = None,
    before: BeforeOption = None,
    limit: LimitOption = 20,
    app: AppOption = None,
    store: StoreOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    json: JsonOption = False,
) -> None:
    """List who decided what, by which credential, newest first."""

    async def look(service: Service) -> list[AuditView]:
        return await service.audit(tenant, execution_id=execution, before=before, limit=limit)

    listed = with_service(Target(app, store, tenant, json), look)
    if json:
        output.print_lines(map(rendering.audit, listed))
    elif not listed:
        output.remark("nothing was decided by anybody in particular")
    else:
        output.print_table(
            "when", "who", "by", "what", "outcome", "about", "beside",
            rows=[
                [
                    output.when(entry.at_ms), entry.actor or "", entry.credential, entry.deed,
                    entry.outcome, entry.interaction_id or entry.execution_id or "",
                    entry.detail or "",
                ]
                for entry in listed
            ],
        )  # fmt: skip
