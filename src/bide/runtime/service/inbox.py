"""Interactions: listing them, assigning them, taking in their completions."""

from collections.abc import Sequence

from bide.authoring.answers import Receipt
from bide.engine.moves import (
    Assign,
    Refused,
    TakenBy,
)
from bide.errors import (
    AlreadyAssigned,
    AlreadyEnded,
    DefinitionError,
    InvalidInput,
    StoreUnavailable,
    UnknownInteraction,
)
from bide.model.ids import (
    parse_execution,
    parse_interaction,
)
from bide.runtime.pending import pending
from bide.runtime.service.base import Operations
from bide.runtime.texts import check_text
from bide.runtime.views import (
    Completion,
    InteractionView,
    ReceiptCounts,
    Reply,
)
from bide.security.access import Caller
from bide.security.tokens import Claims, Purpose, TokenRefused
from bide.spi.store import PendingQuery


class Interactions(Operations):
    """Interactions: listing them, assigning them, taking in their completions."""

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
        execution = parse_execution(execution_id) if execution_id is not None else None
        if execution_id is not None and execution is None:
            return []
        step_id = self._step_id(step) if step is not None else None
        query = PendingQuery(tenant, group, assignee, step_id, execution, limit)
        return await self._interaction_views(await pending(self._store, self._plans, query))

    async def interaction(self, tenant: str, interaction_id: str) -> InteractionView | None:
        """One interaction."""
        id_ = parse_interaction(interaction_id)
        if id_ is None:
            return None
        [asked] = await self._store.interactions_by_id(tenant, [id_])
        views = await self._interaction_views([asked] if asked else [])
        return views[0] if views else None

    async def assign(
        self,
        tenant: str,
        interaction_id: str,
        assignee: str | None,
        *,
        by: str | None = None,
        only_from: frozenset[str | None] | None = None,
        caller: Caller | None = None,
    ) -> InteractionView:
        """Say whose an open interaction is, None for nobody's.

        Args:
            tenant: whose rows.
            interaction_id: which.
            assignee: whose it is from now on.
            by: who says so.
            only_from: whose it must be for that, None standing for nobody's; else anybody's.
            caller: who acts, for the audit.

        Raises:
            UnknownInteraction, AlreadyAssigned, AlreadyEnded, InvalidInput.
        """
        for name, text in (("assignee", assignee), ("actor", by)):
            problem = check_text(text) if text is not None else None
            if problem is not None:
                raise InvalidInput(f"the {name} {problem}")
        view = await self.interaction(tenant, interaction_id)
        id_ = parse_interaction(interaction_id)
        if view is None or id_ is None:
            raise _unknown(interaction_id)
        outcome = await self._committer.commit(
            Assign(id_, tenant, assignee, only_from, self._signed(caller))
        )
        if isinstance(outcome, TakenBy):
            raise AlreadyAssigned(
                f"interaction {interaction_id} is {outcome.assignee or 'nobody'}'s",
                assignee=outcome.assignee,
            )
        now = await self.interaction(tenant, interaction_id)
        assert now is not None
        if isinstance(outcome, Refused):
            status = now.status.name
            raise AlreadyEnded(f"interaction {interaction_id}: {outcome.reason}", status=status)
        return now

    async def claim(
        self, tenant: str, interaction_id: str, by: str, *, caller: Caller | None = None
    ) -> InteractionView:
        """Take an open interaction that nobody has; raises like `assign`."""
        mine = frozenset({None, by})
        return await self.assign(tenant, interaction_id, by, by=by, only_from=mine, caller=caller)

    async def unclaim(
        self, tenant: str, interaction_id: str, by: str, *, caller: Caller | None = None
    ) -> InteractionView:
        """Put an interaction of one's own back; raises like `assign`."""
        mine = frozenset({None, by})
        return await self.assign(tenant, interaction_id, None, by=by, only_from=mine, caller=caller)

    async def complete(
        self, tenant: str, completion: Completion, *, by: Caller | None = None
    ) -> Reply:
        """Take in a completion and give its one receipt, whatever it is.

        Args:
            tenant: whose rows; with a token that binds no other, the token's.
            completion: what came.
            by: who sent it; None for the store's operator, who may answer everything.

        Raises only StoreUnavailable: nothing was acknowledged.
        """
        reply = await self._admission.admit_one(tenant, completion, by)
        if reply is None:
            raise StoreUnavailable("the store did not take the completion; send it again")
        return reply

    async def complete_many(
        self, tenant: str, completions: Sequence[Completion], *, by: Caller | None = None
    ) -> list[Reply | None]:
        """Take in many, in shared commits; a receipt each, in order. None for each that the
        store failed on: nothing of it was acknowledged.
        """
        return await self._admission.admit(tenant, completions, by)

    def knows_token(self, token: str) -> bool:
        """Whether a resume token was signed here, expired or not; reads nothing."""
        try:
            self._tokens.check(token, Purpose.RESUME, 0)
        except TokenRefused:
            return False
        return True

    def claims_of(self, token: str, purpose: Purpose) -> Claims:
        """What a token says that is good here and now; reads nothing.

        Raises:
            TokenRefused: it is not.
        """
        return self._admission.claims_of(token, purpose)

    async def link(self, tenant: str, interaction_id: str, *, actor: str | None = None) -> str:
        """The address at which one person decides an interaction, without another credential.

        Args:
            tenant: whose rows.
            interaction_id: what is decided.
            actor: who decides; None: whoever has the link says who they are.

        Raises:
            UnknownInteraction: there is none of that id.
            DefinitionError: there is no keyring, or no address to begin the link with.
            InvalidInput: the actor is none, or too long for a link.
        """
        base = self.settings.callback_base_url.rstrip("/")
        if not base:
            raise DefinitionError("a link begins with where this API is reached from outside;"
                                  " set BIDE_CALLBACK_BASE_URL=https://...")  # fmt: skip
        problem = check_text(actor) if actor is not None else None
        if problem is not None:
            raise InvalidInput(f"the actor {problem}")
        id_ = parse_interaction(interaction_id)
        [asked] = await self._store.interactions_by_id(tenant, [id_]) if id_ else [None]
        if asked is None:
            raise _unknown(interaction_id)
        try:
            token = self._tokens.issue(asked.interaction, Purpose.DECIDE, actor=actor)
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        return f"{base}/decide/{token}"

    async def receipts(self, tenant: str) -> ReceiptCounts:
        """How many completions got which receipt."""
        stored = await self._store.count_receipts(tenant)
        return ReceiptCounts(
            process=self._admission.given(tenant),
            stored={outcome.value: count for outcome, count in stored.items()},
        )


def _unknown(interaction_id: str) -> UnknownInteraction:
    receipt = Receipt(interaction_id=interaction_id, outcome="unknown")
    return UnknownInteraction(f"there is no interaction {interaction_id}", receipt=receipt)
