"""Every operation that an edge offers, in JSON terms: names and JSON values in, views out.

HTTP and the CLI translate to and from this class and hold no rule of their own. Payloads are JSON
values as `strict_loads` gives them. Ids are text; one that does not parse is an unknown one. A
tenant sees only its own rows: another tenant's look exactly like absent ones.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from bide.model.status import ExecutionStatus
from bide.runtime.views import (
    Check,
    Completion,
    DeadLetterView,
    ExecutionView,
    InteractionView,
    Reply,
    Submission,
    TimelineEntry,
    UnitView,
)
from bide.settings import Settings


class Service:
    """The operations of one running app."""

    settings: Settings

    @property
    def pipelines(self) -> Sequence[str]:
        """Names of the app's pipelines, in the order of the app; the first is the default."""
        raise NotImplementedError

    async def submit(
        self, pipeline: str, value: Any, *, key: str | None = None, tenant: str = "default"
    ) -> Submission:
        """Store an execution, or find the one its key names.

        Raises:
            UnknownPipeline, InvalidInput (.errors), SubmitConflict, LimitExceeded,
            StoreUnavailable.
        """
        raise NotImplementedError

    async def execution(self, tenant: str, execution_id: str) -> ExecutionView | None:
        """Where an execution stands."""
        raise NotImplementedError

    async def executions(
        self,
        tenant: str,
        *,
        pipeline: str | None = None,
        status: ExecutionStatus | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[ExecutionView]:
        """A page of executions, newest first; `before` is the last id of the page before."""
        raise NotImplementedError

    async def wait(
        self, tenant: str, execution_id: str, timeout_s: float, *, parked: bool = False
    ) -> ExecutionView | None:
        """Wait until the execution is terminal (or, with `parked`, waits outside); then, or when
        the time is up, say where it stands."""
        raise NotImplementedError

    async def result(self, tenant: str, execution_id: str) -> Any:
        """The result of a SUCCEEDED execution as a JSON value (a list for a stream).

        Raises:
            UnknownExecution, NotFinished (.status), ResultTooLarge.
        """
        raise NotImplementedError

    def results(self, tenant: str, execution_id: str) -> AsyncIterator[Any]:
        """A streaming result, item by item, read in pages."""
        raise NotImplementedError

    async def pending(
        self,
        tenant: str,
        *,
        group: str | None = None,
        assignee: str | None = None,
        step: str | None = None,
        execution_id: str | None = None,
        limit: int = 100,
    ) -> list[InteractionView]:
        """Open interactions, oldest deadline first; `step` is a step's id or name."""
        raise NotImplementedError

    async def interaction(self, tenant: str, interaction_id: str) -> InteractionView | None:
        """One interaction."""
        raise NotImplementedError

    async def complete(self, tenant: str, completion: Completion) -> Reply:
        """Take in a completion and give its one receipt, whatever it is.

        Raises only StoreUnavailable: nothing was acknowledged.
        """
        raise NotImplementedError

    async def complete_many(
        self, tenant: str, completions: Sequence[Completion]
    ) -> list[Reply | None]:
        """Take in many, in shared commits; a receipt each, in order. None for each that the
        store failed on: nothing of it was acknowledged."""
        raise NotImplementedError

    async def cancel(self, tenant: str, execution_id: str, reason: str = "") -> ExecutionView:
        """Cancel an execution and its open unit in one commit.

        Raises:
            UnknownExecution, AlreadyEnded.
        """
        raise NotImplementedError

    async def timeline(self, tenant: str, execution_id: str) -> list[TimelineEntry]:
        """The facts of an execution's life, in order."""
        raise NotImplementedError

    async def units(self, tenant: str, execution_id: str) -> list[UnitView]:
        """The await units of an execution, in the order of their opening."""
        raise NotImplementedError

    async def dead_letters(
        self,
        tenant: str,
        *,
        pipeline: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[DeadLetterView]:
        """A page of dead letters, newest first."""
        raise NotImplementedError

    async def dead_letter(self, tenant: str, dead_letter_id: str) -> DeadLetterView | None:
        """One dead letter."""
        raise NotImplementedError

    async def counts(self, tenant: str, pipeline: str | None = None) -> dict[ExecutionStatus, int]:
        """How many executions stand where."""
        raise NotImplementedError

    async def checks(self) -> list[Check]:
        """Everything that would keep an await from working (`bide doctor`, readiness)."""
        raise NotImplementedError
