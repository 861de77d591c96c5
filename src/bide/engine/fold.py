"""One batch of moves, decided in order of arrival over the rows that its commit has read.

Moves that concern the same rows see each other's work, so equal keys of one batch are answered as
duplicate or conflict of the first, and a unit that receives five hundred answers is written once.

A worker may come with a `Handover`: then what becomes ready in the batch is claimed for it at once,
as long as it has room and can run it, and the outcome carries the claim.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast, get_args

from bide.engine.decision import Decision
from bide.engine.dispatching import DispatchOffer, decide_claim_dispatch, followed
from bide.engine.moves import (
    Claimed,
    GiveBack,
    Handed,
    Handover,
    Move,
    Moved,
    NewHandoff,
    OfferAgain,
    Outcome,
    Publishing,
    Release,
    Settled,
    ToSend,
    Traceable,
)
from bide.engine.publishing import (
    HandoffOffer,
    decide_claim_handoff,
    decide_publish,
    decide_submitted,
    is_published,
)
from bide.engine.rows import Rows
from bide.engine.rules import decide, open_unit
from bide.engine.running import ClaimOffer, decide_claim, hand_over
from bide.model.ids import ExecutionId, UnitId
from bide.model.records import Dispatch, Execution, Handoff, Trace, Unit, replace
from bide.model.status import ExecutionStatus


class Transacted(NamedTuple):
    """What a commit came to, for each that goes on with it."""

    #: For whoever asked: one for each move, in the order of the moves.
    outcomes: list[Outcome]
    #: For the worker that offered to take over: what is its own now.
    claims: list[Claimed]
    #: For the other workers: how many executions became ready and were handed to nobody.
    left_ready: int
    #: For whoever waits: every execution that the commit wrote, as it is now.
    executions: list[Execution]
    #: For dispatchers: how many interactions are to be sent since.
    to_send: int = 0
    #: For whoever counts: every unit that has come to its end, as it is now.
    ended: tuple[Unit, ...] = ()
    #: For whoever counts: publications as they were written, or as they were settled.
    handed: tuple[Handoff, ...] = ()

    def then(self, other: "Transacted") -> "Transacted":
        """What both parts of a commit came to."""
        return Transacted(
            [*self.outcomes, *other.outcomes],
            [*self.claims, *other.claims],
            self.left_ready + other.left_ready,
            [*self.executions, *other.executions],
            self.to_send + other.to_send,
            (*self.ended, *other.ended),
            (*self.handed, *other.handed),
        )


def fold(moves: Sequence[Move], rows: Rows, now: int, handover: Handover | None) -> Transacted:
    """Decide every move; `rows` holds afterwards what has to be written."""
    outcomes: list[Outcome] = []
    claims: list[Claimed] = []
    left_ready = to_send = 0
    for move in _with_admissions(moves, rows, now, outcomes):
        decision = decide(move, rows, now)
        if decision.ready and decision.execution is not None:
            if handover is not None and _takes(handover, move, decision.execution, len(claims)):
                decision = _handed_over(decision, decision.execution, handover, claims)
            else:
                left_ready += 1
        if decision.interactions:
            to_send += _keep_dispatches(decision, rows)
        rows.apply(decision)
        if decision.fact is not None and type(move) in _TRACED:
            _leave_trace(cast("Traceable", move), decision, rows)
        outcomes.append(decision.outcome)
    return Transacted(
        outcomes,
        claims,
        left_ready,
        rows.executions.written(),
        to_send,
        rows.ended(),
        tuple(rows.handoffs.written()),
    )


_PUBLISHING = frozenset(get_args(Publishing))


def _with_admissions(
    moves: Sequence[Move], rows: Rows, now: int, outcomes: list[Outcome]
) -> Iterator[Move]:
    """Every move, and behind one that publishes the submissions that it leads to.

    `outcomes` ends with what the move last given came to; those of submissions are taken out again.
    """
    for move in moves:
        yield move
        if type(move) in _PUBLISHING:
            new: Sequence[NewHandoff | OfferAgain] = cast("Publishing", move).handoffs
        elif type(move) is OfferAgain:
            new = (move,)
        else:
            continue
        if not new:
            continue
        made = outcomes[-1]
        for each in new:
            handoff = _written(each, made, rows, now)
            if handoff is None or each.admission is None or handoff.status.is_terminal:
                continue
            yield each.admission
            told = decide_submitted(handoff, outcomes.pop(), now)
            rows.apply(told)
            if type(move) is OfferAgain:
                outcomes[-1] = told.outcome


def _written(new: NewHandoff | OfferAgain, made: Outcome, rows: Rows, now: int) -> Handoff | None:
    """The publication as its commit has it so far; None where there is none to admit."""
    if isinstance(made, Handed):
        return made.handoff
    if isinstance(new, OfferAgain) or not is_published(made):
        return None
    assert isinstance(made, Moved)
    decision = decide_publish(new, made.execution, now)
    rows.apply(decision)
    return rows.handoffs.get(new.id)


def _takes(handover: Handover, move: Move, execution: Execution, taken: int) -> bool:
    """Whether the worker that offers to can take what a move has made ready.

    Not what it has just given back: it wants to be rid of it. And what was released comes without
    what its segment starts from.
    """
    return (
        taken < handover.slots
        and execution.fingerprint in handover.fingerprints
        and not isinstance(move, GiveBack | Release)
    )


def _handed_over(
    decision: Decision, ready: Execution, handover: Handover, claims: list[Claimed]
) -> Decision:
    """The decision with its execution claimed, in the same version and fact."""
    assert decision.fact is not None
    execution, fact = hand_over(ready, decision.fact, handover.owner, handover.lease_ms)
    base, reopened = decision.unit, None
    if base is not None and base.number > execution.resumed:
        base, reopened = None, base
    claims.append(Claimed(execution, decision.ready_body, base, reopened))
    outcome = Moved(execution) if isinstance(decision.outcome, Moved) else decision.outcome
    return replace(decision, execution=execution, fact=fact, outcome=outcome)


_TRACED = frozenset(get_args(Traceable))


def _leave_trace(move: Traceable, decision: Decision, rows: Rows) -> None:
    """Let a traced execution go on in the trace of what has just moved it."""
    execution, trace = decision.execution, move.trace
    if execution is not None and trace is not None:
        rows.traces.append(Trace(execution.id, execution.tenant, trace.parent, trace.state))


def _keep_dispatches(decision: Decision, rows: Rows) -> int:
    """Let the dispatches follow the interactions that a decision writes; gives how many are new."""
    first = decision.interactions[0]
    unit = decision.unit or rows.units.get(UnitId(first.execution, first.unit))
    if unit is None or not unit.sends:
        return 0
    of = decision.execution or rows.executions.get(first.execution)
    new = 0
    for interaction in decision.interactions:
        known = rows.dispatches.get(interaction.id)
        changed = followed(interaction, known, unit, of.pipeline if of else None)
        if changed is not None:
            rows.dispatches.put(changed.id, changed)
            new += known is None
    return new


def fold_claims(
    offer: ClaimOffer, due: Sequence[Execution], rows: Rows, now: int
) -> list[Execution]:
    """Claim every execution of `due`; gives those that are the worker's now."""
    claimed: list[Execution] = []
    for execution in due:
        decision = decide_claim(offer, execution, open_unit(rows, execution), now)
        rows.apply(decision)
        if decision.execution and decision.execution.status is ExecutionStatus.RUNNING:
            claimed.append(decision.execution)
    return claimed


def fold_dispatches(
    offer: DispatchOffer, due: Sequence[Dispatch], rows: Rows, now: int
) -> list[ToSend]:
    """Claim what of `due` is still to be sent; `rows` holds its units and interactions, whole."""
    routes = {each.route: each for each in offer.routes}
    claimed: list[ToSend] = []
    for dispatch in due:
        interaction = rows.interactions.get(dispatch.id)
        unit = rows.units.get(UnitId(dispatch.execution, dispatch.unit))
        if interaction is None or unit is None:
            continue
        route = routes[dispatch.route]
        decision = decide_claim_dispatch(offer.owner, route, dispatch, interaction, unit, now)
        rows.apply(decision)
        if isinstance(decision.outcome, Settled):
            taken = rows.dispatches.get(dispatch.id)
            assert taken is not None
            claimed.append(ToSend(decision.interactions[0], unit, taken))
    return claimed


def fold_handoffs(
    offer: HandoffOffer, due: Sequence[Handoff], rows: Rows, now: int
) -> list[Handoff]:
    """Claim what of `due` is still to be offered; gives what is the dispatcher's now."""
    claimed: list[Handoff] = []
    for handoff in due:
        rows.handoffs.load(handoff.id, handoff)
        decision = decide_claim_handoff(offer, handoff, now)
        rows.apply(decision)
        if isinstance(decision.outcome, Handed):
            claimed.append(decision.outcome.handoff)
    return claimed


def starts_of(
    rows: Rows, executions: Iterable[Execution]
) -> tuple[list[ExecutionId], list[UnitId]]:
    """Where a store finds what claimed executions start from: those whose input it is, and the
    units of one interaction whose answer it is. The answers of a stream are read in pages.
    """
    starting: list[ExecutionId] = []
    resuming: list[UnitId] = []
    for execution in executions:
        base = UnitId(execution.id, execution.resumed)
        if not execution.resumed:
            starting.append(execution.id)
        elif (unit := rows.units.get(base)) is not None and not unit.per_item:
            resuming.append(base)
    return starting, resuming


def claims_of(
    rows: Rows, executions: Sequence[Execution], bodies: Mapping[ExecutionId, bytes]
) -> list[Claimed]:
    """Join claimed executions with what their segments start from.

    `bodies` holds what `starts_of` tells to read.
    """
    claimed: list[Claimed] = []
    for execution in executions:
        base = rows.units.get(UnitId(execution.id, execution.resumed))
        reopened = open_unit(rows, execution)
        was = rows.executions.was(execution.id)
        taken_over = was is not None and was.status is ExecutionStatus.RUNNING
        claimed.append(Claimed(execution, bodies.get(execution.id), base, reopened, taken_over))
    return claimed
