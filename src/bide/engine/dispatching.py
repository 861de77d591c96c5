"""Dispatch: claiming what is to be sent, and recording what came of it.

An interaction that has to be sent has a `Dispatch` beside it: when it is due, who has it under
which fence, how often it was tried. The row follows its interaction (`kept_in_step`), whatever
commit changes that one, so nobody who answers or ends an interaction has to know of dispatch.

A lease is held as an execution's is. It outlives the longest try, so it is not renewed; when it
runs out, whoever held it is gone, and another sends the same interaction again, under the same id.

Only a definite refusal fails an interaction before its deadline. What may have arrived is tried
again while tries are left; then it stays open, *exhausted*, until it is answered or times out.

What happens when it crashes here: before the claim, nothing was sent; after it, perhaps, so it is
sent once more. An answer may come before the record of the dispatch, which then does nothing.
"""

from typing import NamedTuple

from bide.engine.decision import Decision
from bide.engine.moves import Denied, Postponed, Refused, Sent, Settled, SettleDispatch, Unsent
from bide.engine.settling import settle
from bide.engine.transitions import INTERACTION, InteractionEvent, UnitEvent, after
from bide.model.records import Dispatch, Execution, Interaction, Unit, replace
from bide.model.status import InteractionStatus

#: The code of an interaction that its receiver will never take.
REFUSED = "dispatch-refused"
LOST = Refused("another dispatcher has it, or it has ended")


class RouteOffer(NamedTuple):
    """What a dispatcher is ready to send of one await."""

    route: str
    pipeline: str
    step_id: str
    #: How many it takes.
    limit: int
    #: Longer than one try can take.
    lease_ms: int
    #: Tries that one interaction has.
    attempts_max: int
    #: Interactions of the await that may be in flight, over all dispatchers; None: any number.
    max_in_flight: int | None = None

    def room(self, in_flight: int) -> int:
        """How many more may be claimed, while so many are in flight that nobody has lost."""
        if self.max_in_flight is None:
            return self.limit
        return max(0, min(self.limit, self.max_in_flight - in_flight))


class DispatchOffer(NamedTuple):
    """What a dispatcher is ready to send."""

    owner: str
    routes: tuple[RouteOffer, ...]


def followed(
    interaction: Interaction, known: Dispatch | None, unit: Unit, pipeline: str | None
) -> Dispatch | None:
    """The dispatch of an interaction that a commit writes, where that changes it; else None.

    One that is born WAITING is due at once; one that has ended is nobody's business any more.
    """
    if known is None:
        if interaction.status is not InteractionStatus.WAITING or pipeline is None:
            return None
        return Dispatch(
            *interaction.id, interaction.tenant, pipeline, unit.step_id, unit.fingerprint,
            due_at=interaction.created_at,
        )  # fmt: skip
    if not interaction.status.is_terminal or not (known.in_flight or known.due_at is not None):
        return None
    return closed(known)


def closed(dispatch: Dispatch) -> Dispatch:
    """`dispatch` of what is not to be sent any more."""
    return replace(dispatch, due_at=None, in_flight=False, owner=None)


def decide_claim_dispatch(
    owner: str,
    route: RouteOffer,
    dispatch: Dispatch,
    interaction: Interaction,
    unit: Unit,
    now: int,
) -> Decision:
    """Take what is due; give up what was lost too often, and what needs no sending any more."""
    if dispatch.due_at is None or dispatch.due_at > now:
        return Decision(Refused("not due"))
    status = after(INTERACTION, interaction.status, InteractionEvent.DISPATCH_STARTED)
    if status is None or unit.status.is_terminal or _is_late(interaction, unit, now):
        in_flight = dispatch.in_flight and not interaction.status.is_terminal
        left = replace(closed(dispatch), in_flight=in_flight)
        return Decision(Refused("it is not to be sent any more"), written=(left,))
    if dispatch.attempts >= route.attempts_max:
        lost = replace(closed(dispatch), exhausted=True, error="its dispatcher was lost")
        return Decision(
            Refused("all its tries were used up"),
            interactions=_moved(interaction, InteractionEvent.DISPATCH_POSTPONED, now),
            written=(lost,),
        )
    claimed = replace(
        dispatch,
        due_at=now + route.lease_ms,
        in_flight=True,
        attempts=dispatch.attempts + 1,
        fence=dispatch.fence + 1,
        owner=owner,
    )
    return Decision(
        Settled(interaction.id),
        interactions=_moved(interaction, InteractionEvent.DISPATCH_STARTED, now),
        written=(claimed,),
    )


def decide_settle_dispatch(
    move: SettleDispatch,
    dispatch: Dispatch | None,
    interaction: Interaction | None,
    unit: Unit | None,
    execution: Execution | None,
    now: int,
) -> Decision:
    """Record what came of a try, unless it was answered, ended or taken over meanwhile."""
    if dispatch is None or interaction is None or unit is None:
        return Decision(Refused("it is nothing that is sent"))
    if interaction.status is not InteractionStatus.DISPATCHING or dispatch.fence != move.fence:
        return Decision(LOST)
    result = move.result
    if isinstance(result, Denied):
        return _denied(result, interaction, unit, execution, now)
    event = InteractionEvent.DISPATCH_POSTPONED
    if isinstance(result, Sent):
        event = InteractionEvent.DISPATCHED
        left = replace(
            dispatch, due_at=None, owner=None, dispatched_at=now, exhausted=False, error=None
        )
    elif isinstance(result, Postponed):
        left = _postponed(result, dispatch, now)
    else:
        assert isinstance(result, Unsent)
        attempts = dispatch.attempts - 1
        left = replace(dispatch, due_at=now, in_flight=False, owner=None, attempts=attempts)
    return Decision(
        Settled(move.interaction), interactions=_moved(interaction, event, now), written=(left,)
    )


def _postponed(result: Postponed, dispatch: Dispatch, now: int) -> Dispatch:
    exhausted = dispatch.attempts >= result.attempts_max
    return replace(
        dispatch,
        due_at=None if exhausted else now + result.delay_ms,
        in_flight=False,
        owner=None,
        exhausted=exhausted,
        error=result.message,
    )


def _denied(
    result: Denied, interaction: Interaction, unit: Unit, execution: Execution | None, now: int
) -> Decision:
    """Fail the interaction, with all that its unit's item policy says follows."""
    if unit.status.is_terminal or _is_late(interaction, unit, now):
        return Decision(Refused("its deadline has passed, or its unit has ended"))
    [failed] = _moved(interaction, InteractionEvent.FAILED, now)
    failed = replace(failed, error_code=REFUSED, error_message=f"{result.code}: {result.message}")
    return settle(failed, unit, execution, UnitEvent.FAILED, now, Settled(failed.id))


def _moved(interaction: Interaction, event: InteractionEvent, now: int) -> tuple[Interaction]:
    status = INTERACTION[interaction.status][event]
    return (replace(interaction, status=status, updated_at=now),)


def _is_late(interaction: Interaction, unit: Unit, now: int) -> bool:
    """True when no answer could be in time any more."""
    return now > interaction.deadline_at or (
        unit.deadline_at is not None and now > unit.deadline_at
    )
